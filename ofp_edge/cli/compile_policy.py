"""`ofp-edge compile` of a policy: the bundle is made, and people are told what is in it."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.markup import escape
from rich.table import Table

from ofp_edge.boards.orin import OrinBoard, floor
from ofp_edge.cli.agreement import agreement_lines
from ofp_edge.cli.estimate import delegated_in, delegation_warnings, estimate_lines
from ofp_edge.cli.output import Document, Output
from ofp_edge.extras import require_installed
from ofp_edge.origin import install_line
from ofp_edge.targets.registry import board_for
from ofp_edge.targets.registry import target as known_target

if TYPE_CHECKING:
    from ofp_edge.cli.compile import BundleOptions
    from ofp_edge.cli.start_options import StartOptions
    from ofp_edge.targets.compile import Compiled


def policy_bundle(
    output: Output, policy: Path, target: str, out: Path, board: str | None,
    options: BundleOptions, starts: StartOptions, *, force: bool,
) -> Document:  # fmt: skip
    """The document of `compile POLICY`. Raises what `compile_policy` raises."""
    engines, chosen_board = known_target(target).engines, board_for(target, board)
    # Both are known before the slow imports.
    for module in ("torch", "torchao", "safetensors", "onnx", "onnxscript"):
        require_installed(module, "quantize")
    from ofp_edge.targets.compile import compile_policy

    start = time.perf_counter()
    with output.progress("compiling") as progress:
        compiled = compile_policy(
            policy,
            target,
            out,
            board_name=board,
            nfe=options.nfe,
            start=starts.of,
            prompt_words=options.prompt_words,
            leave_out=options.leave_out or (),
            strict=options.strict,
            force=force,
            progress=progress,
            say=lambda line: output.console.print(line, soft_wrap=True, markup=False),
        )
    seconds, manifest = time.perf_counter() - start, compiled.manifest
    artefacts = _artefacts(compiled)
    output.console.print(_table(f"{out}, target {target}", artefacts))
    _say_answered(output, artefacts)
    _say_of_graphs(output, compiled, artefacts)
    _say_left_out(output, compiled, engines)
    default, gate = manifest.default, manifest.provenance["gate"]
    if manifest.provenance["recipe"] is not None and gate is None:
        output.console.print("gate: not run (ofp-edge quantize --gate)")
    output.console.print(
        f"default {default.engine} {default.precision}; every engine loaded and within tolerance; "
        f"{seconds:.0f} s"
    )
    if isinstance(chosen_board, OrinBoard):
        _say_floor(output, compiled, chosen_board)
    if graphs := manifest.provenance["tensorrt"]:
        output.console.print(
            f"every operation is in TensorRT {graphs['operator_table']}'s table; ONNX Runtime "
            "answered for TensorRT here. Next, on the Orin: "
            f"ofp-edge compile {out} --target {target}",
            soft_wrap=True,
        )
    return {
        "bundle": out,
        "target": manifest.target,
        "board": manifest.board,
        "default": {"engine": default.engine, "precision": default.precision},
        "artefacts": artefacts,
        "gate": gate,
        "agreement": manifest.provenance["agreement"],
        "estimate": manifest.provenance["estimate"],
        "boards": manifest.provenance["boards"],
        "engines": [],
        "left_out": manifest.provenance["left_out"],
        "sha256": compiled.sha256,
        "seconds": seconds,
    }


def _artefacts(compiled: Compiled) -> list[dict[str, Any]]:
    """Plain JSON values of every artefact."""
    found = []
    for item in compiled.manifest.artefacts:
        exported = compiled.exported[item.file]
        found.append(
            {
                "function": item.function,
                "engine": item.engine,
                "precision": item.precision,
                "file": item.file,
                "size": item.size,
                "sha256": item.sha256,
                "delegates": exported.delegates,
                "delegated_share": exported.delegated_share,
                "left_out": list(exported.left_out),
                "parity": compiled.parity[item.file],
                "tolerance": item.tolerance,
            }
        )
    return found


def _table(title: str, artefacts: list[dict[str, Any]]) -> Table:
    table = Table(title=title)
    for column in ("function", "engine", "precision", "KB", "delegated", "parity", "tolerance"):
        table.add_column(
            column, justify="right" if column not in ("function", "engine") else "left"
        )
    for item in artefacts:
        share, parity, tolerance = item["delegated_share"], item["parity"], item["tolerance"]
        delegated = delegated_in(share, item["delegates"])
        shown = ("in act", "")  # of what stays on the device
        if parity:
            worst = max(parity, key=lambda name: parity[name] / min(tolerance[name]))
            shown = f"{parity[worst]:.1e}", f"{min(tolerance[worst]):.1e}"
        table.add_row(
            item["function"],
            item["engine"],
            item["precision"],
            f"{item['size'] / 1000:.0f}",
            delegated,
            *shown,
        )
    return table


def _say_of_graphs(output: Output, compiled: Compiled, artefacts: list[dict[str, Any]]) -> None:
    provenance = compiled.manifest.provenance
    for line in delegation_warnings(artefacts):
        output.log.print(line, soft_wrap=True)
    lines = [*estimate_lines(provenance["estimate"]), *agreement_lines(provenance["agreement"])]
    graphs = provenance["tensorrt"]
    for file, layers in (graphs["higher_precision"] if graphs else {}).items():
        if layers:
            lines.append(
                f"{file}: not in its precision: {escape(', '.join(dict.fromkeys(layers)))}"
            )
    for line in lines:
        output.console.print(line, soft_wrap=True)


def _say_answered(output: Output, artefacts: list[dict[str, Any]]) -> None:
    """Whose answers `parity` is of, where an engine computes on the device alone."""
    from ofp_edge.targets.registry import checked_on

    for engine in dict.fromkeys(item["engine"] for item in artefacts):
        if (by := checked_on(engine)) != engine:
            output.console.print(
                f"parity of {engine}'s programs is {by}'s, which computed them here; {engine} is "
                "held against the same answers on the device",
                soft_wrap=True,
            )


def _say_left_out(output: Output, compiled: Compiled, engines: tuple[str, ...]) -> None:
    """Which of the target's engines the bundle lacks, and why."""
    left_out = compiled.manifest.provenance["left_out"]
    for what, why in left_out.items():
        said = f"[yellow]warning:[/] {what} is left out: {escape(why)}"
        output.log.print(said, soft_wrap=True)
    for engine in engines:
        told = any(what.startswith(f"{engine} ") for what in left_out)
        if engine not in {item.engine for item in compiled.manifest.artefacts} and not told:
            remedy = f"it is not installed here. Run: {escape(install_line(engine))}"
            said = f"warning: not for {engine}: {compiled.unfit.get(engine, remedy)}"
            output.log.print(said, soft_wrap=True)


def _say_floor(output: Output, compiled: Compiled, board: OrinBoard) -> None:
    default = compiled.manifest.default
    costs = compiled.manifest.provenance["costs"]
    least = floor(board, costs, default.precision, default.nfe)
    output.console.print(
        f"{board.name}: no chunk is faster than {least['chunk_ms']:.3f} ms at "
        f"{least['gpu_mhz']} MHz: an estimate from peaks, several times below what is reached",
        soft_wrap=True,
    )
