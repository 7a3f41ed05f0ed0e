"""`ofp-edge compile`: a policy in, a bundle for one target out; on an Orin, a bundle's engines."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from ofp_edge.cli.agreement import agreement_lines
from ofp_edge.cli.estimate import delegation_warnings, estimate_lines
from ofp_edge.cli.output import Document, Force, Output, add_command
from ofp_edge.errors import OfpError
from ofp_edge.extras import require_installed
from ofp_edge.origin import install_line


def compile_(
    output: Output,
    policy: Annotated[
        Path,
        typer.Argument(
            help="Policy folder from train or quantize; on a Jetson Orin a bundle for it."
        ),
    ],
    target: Annotated[str, typer.Option("--target", help="See `ofp-edge targets`.")],
    out: Annotated[
        Path | None, typer.Option("-o", "--output", help="Bundle folder to write.")
    ] = None,
    board: Annotated[
        str | None, typer.Option("--board", help="Board it is meant for; none by default.")
    ] = None,
    precision: Annotated[
        str | None,
        typer.Option(help="Of a bundle's engines: fp32, fp16 or int8. Default: the bundle's own."),
    ] = None,
    fallback: Annotated[
        bool,
        typer.Option(
            "--fallback", help="Engines that answer wrong: build the next precision instead."
        ),
    ] = False,
    nfe: Annotated[
        int | None,
        typer.Option(
            help="Network evaluations a chunk, of a policy of many steps. Default: its own."
        ),
    ] = None,
    leave_out: Annotated[
        list[str] | None,
        typer.Option(
            help="ENGINE or ENGINE:PRECISION that the bundle does without; may be repeated."
        ),
    ] = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="Refuse an operation that XNNPACK does not take.")
    ] = False,
    force: Force = False,
) -> Document:
    """Compile a policy into a bundle and check every engine against torch.

    On a Jetson Orin, given a bundle for it: build, check and keep its TensorRT engines.
    """
    if (policy / "manifest.json").is_file():
        if leave_out:
            raise OfpError("--leave-out is for a policy; a bundle holds what it holds.")
        return _engines(output, policy, target, out, precision, fallback)
    if precision is not None or fallback:
        raise OfpError("--precision and --fallback are for a bundle's engines, on the device.")
    if out is None:
        raise OfpError("give -o, the bundle folder to write.")
    from ofp_edge.boards.orin import OrinBoard, floor, require_room
    from ofp_edge.runtime.runners.tensorrt.engine import build_bytes
    from ofp_edge.targets.registry import board_for
    from ofp_edge.targets.registry import target as known_target

    engines, chosen_board = known_target(target).engines, board_for(target, board)
    # Both are known before the slow imports.
    for module in ("torch", "torchao", "safetensors", "onnx", "onnxscript"):
        require_installed(module, "quantize")
    from ofp_edge.targets.compile import compile_policy

    weights = policy / "model.safetensors"
    if isinstance(chosen_board, OrinBoard) and weights.is_file():
        require_room(chosen_board, build_bytes(weights.stat().st_size))
    start = time.perf_counter()
    with output.progress("compiling") as progress:
        compiled = compile_policy(
            policy,
            target,
            out,
            board_name=board,
            nfe=nfe,
            leave_out=leave_out or (),
            strict=strict,
            force=force,
            progress=progress,
        )
    seconds = time.perf_counter() - start
    manifest = compiled.manifest
    table = Table(title=f"{out}, target {target}")
    for column in ("function", "engine", "precision", "KB", "delegated", "parity", "tolerance"):
        table.add_column(
            column, justify="right" if column not in ("function", "engine") else "left"
        )
    artefacts = []
    for item in manifest.artefacts:
        exported, parity = compiled.exported[item.file], compiled.parity[item.file]
        share = exported.delegated_share
        delegated = "" if share is None else f"{share:.0%} in {exported.delegates}"
        worst = max(parity, key=lambda name: parity[name] / min(item.tolerance[name]))
        table.add_row(
            item.function, item.engine, item.precision, f"{item.size / 1000:.0f}", delegated,
            f"{parity[worst]:.1e}", f"{min(item.tolerance[worst]):.1e}",
        )  # fmt: skip
        artefacts.append(
            {
                "function": item.function, "engine": item.engine, "precision": item.precision,
                "file": item.file, "size": item.size, "sha256": item.sha256,
                "delegates": exported.delegates, "delegated_share": share,
                "left_out": list(exported.left_out), "parity": parity,
                "tolerance": item.tolerance,
            }
        )  # fmt: skip
    output.console.print(table)
    for line in delegation_warnings(artefacts):
        output.log.print(line, soft_wrap=True)
    for line in estimate_lines(manifest.provenance["estimate"]):
        output.console.print(line, soft_wrap=True)
    for line in agreement_lines(manifest.provenance["agreement"]):
        output.console.print(line, soft_wrap=True)
    graphs = manifest.provenance["tensorrt"]
    for file, layers in (graphs["higher_precision"] if graphs else {}).items():
        if layers:
            said = f"{file}: not in its precision: {escape(', '.join(layers))}"
            output.console.print(said, soft_wrap=True)
    left_out = manifest.provenance["left_out"]
    for what, why in left_out.items():
        said = f"[yellow]warning:[/] {what} is left out: {escape(why)}"
        output.log.print(said, soft_wrap=True)
    for engine in engines:
        told = any(what.startswith(f"{engine} ") for what in left_out)
        if engine not in {item.engine for item in manifest.artefacts} and not told:
            remedy = f"it is not installed here. Run: {escape(install_line(engine))}"
            said = f"warning: not for {engine}: {compiled.unfit.get(engine, remedy)}"
            output.log.print(said, soft_wrap=True)
    default, gate = manifest.default, manifest.provenance["gate"]
    if manifest.provenance["recipe"] is not None and gate is None:
        output.console.print("gate: not run (ofp-edge quantize --gate)")
    output.console.print(
        f"default {default.engine} {default.precision}; every engine loaded and within tolerance; "
        f"{seconds:.0f} s"
    )
    if isinstance(chosen_board, OrinBoard):
        costs = manifest.provenance["costs"]
        least = floor(chosen_board, costs, default.precision, default.nfe)
        output.console.print(
            f"{chosen_board.name}: no chunk is faster than {least['chunk_ms']:.3f} ms at "
            f"{least['gpu_mhz']} MHz: an estimate from peaks, several times below what is reached",
            soft_wrap=True,
        )
    if graphs:
        output.console.print(
            f"every operation is in TensorRT {graphs['operator_table']}'s table; ONNX Runtime "
            "answered for TensorRT here. Next, on the Orin: "
            f"ofp-edge compile {out} --target {target}",
            soft_wrap=True,
        )
    return {
        "bundle": out, "target": manifest.target, "board": manifest.board,
        "default": {"engine": default.engine, "precision": default.precision},
        "artefacts": artefacts, "gate": gate, "agreement": manifest.provenance["agreement"],
        "estimate": manifest.provenance["estimate"], "engines": [], "left_out": left_out,
        "sha256": compiled.sha256, "seconds": seconds,
    }  # fmt: skip


def _engines(
    output: Output, path: Path, target: str, out: Path | None, precision: str | None, fallback: bool
) -> Document:
    """The bundle's engines on this Orin, found or built."""
    from ofp_edge.bundle import open_bundle
    from ofp_edge.cli.engines import build_engines, engine_json
    from ofp_edge.runtime.runners.table import ENGINES

    start = time.perf_counter()
    bundle = open_bundle(path)
    manifest = bundle.manifest
    if manifest.target != target:
        raise OfpError(f"{path} is a bundle for {manifest.target}, not {target}.")
    engine = next((e for e, _ in bundle.engines() if ENGINES[e].on_device), None)
    if engine is None:
        raise OfpError(f"{path} is a finished bundle: nothing is built on a {target} device.")
    if out is not None:
        raise OfpError(f"-o is for a policy: engines lie beside their bundle, in {path}.engines.")
    _, wanted = bundle.choose(engine, precision)
    prepared = build_engines(output, bundle, engine, wanted, fallback=fallback)
    for item in prepared:
        worst = max(item.parity.values())
        output.console.print(
            f"{item.file}: {'built' if item.reason else 'found'}, parity {worst:.1e}",
            soft_wrap=True,
        )
    if (got := prepared[0].precision) != wanted:
        output.console.print(
            f"[yellow]{wanted} answers wrong on this device; {got} was built in its place: give "
            f"--precision {got} to run and profile."
        )
    return {
        "bundle": path, "target": target, "board": manifest.board,
        "default": {"engine": engine, "precision": got}, "artefacts": [], "gate": None,
        "agreement": None, "estimate": None, "engines": [engine_json(item) for item in prepared],
        "left_out": manifest.provenance.get("left_out", {}), "sha256": bundle.sha256,
        "seconds": time.perf_counter() - start,
    }  # fmt: skip


KEYS = (
    "bundle", "target", "board", "default", "artefacts", "gate", "agreement", "estimate", "engines",
    "left_out", "sha256", "seconds",
)  # fmt: skip


def add(app: typer.Typer) -> None:
    """Register the command."""
    add_command(app, "compile", compile_, KEYS)
