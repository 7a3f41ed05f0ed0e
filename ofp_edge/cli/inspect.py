"""`ofp-edge inspect`: what a policy or a bundle is; a bundle needs neither torch nor engine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich import box
from rich.table import Table
from rich.text import Text

from ofp_edge.bundle import MANIFEST, open_bundle
from ofp_edge.cli.agreement import agreement_lines
from ofp_edge.cli.estimate import delegated_in, delegation_warnings, estimate_lines
from ofp_edge.cli.output import Document, Output, add_command, printable
from ofp_edge.counted import counted
from ofp_edge.errors import BundleError, OfpError
from ofp_edge.extras import require
from ofp_edge.manifest import TimeRow
from ofp_edge.provenance import Graph
from ofp_edge.spec import ActionField, PolicySpec
from ofp_edge.start import MEAN, way_of
from ofp_edge.strict import parse_json
from ofp_edge.unit_text import scaled, stated

if TYPE_CHECKING:
    from ofp_edge.quantize.plan import Plan

_PLAN = "quantization.json"


def inspect(
    output: Output, path: Annotated[Path, typer.Argument(help="Policy or bundle folder.")]
) -> Document:
    """Describe a policy or a bundle: interface, size, layers, artefacts, origin, hashes."""
    if (path / MANIFEST).exists():
        document = _bundle(path)
    elif (path / "config.json").exists():
        document = _policy(path)
    else:
        raise OfpError(f"{path} is neither a policy nor a bundle folder.")
    _show(output, document)
    return document


def _bundle(path: Path) -> Document:
    from ofp_edge.quantize.plan import plan_from_json

    bundle = open_bundle(path)
    manifest = bundle.manifest
    graphs, layers = manifest.provenance.get("graphs", {}), []
    if any(entry.file == _PLAN for entry in manifest.files):
        what = str(path / _PLAN)
        value = parse_json(bundle.read(_PLAN), what, BundleError)
        layers = _layers(plan_from_json(value, what, BundleError))
    return {
        "kind": "bundle",
        "path": path,
        "sha256": bundle.sha256,
        "target": manifest.target,
        "board": manifest.board,
        "spec": manifest.spec.to_json(),
        "costs": manifest.provenance.get("costs", {}),
        "layers": layers,
        "time_rows": _rows(manifest.time_rows),
        "start": None if manifest.deterministic else asdict(manifest.start),
        "default": {
            "engine": manifest.default.engine,
            "precision": manifest.default.precision,
            "nfe": manifest.default.nfe,
        },
        "artefacts": [
            {
                "function": a.function,
                "engine": a.engine,
                "precision": a.precision,
                "file": a.file,
                "size": a.size,
                "sha256": a.sha256,
                "tolerance": a.tolerance,
                "requires": a.requires,
                **asdict(Graph()),
                **graphs.get(a.file, {}),
            }
            for a in manifest.artefacts
        ],
        "provenance": manifest.provenance,
    }


def _policy(path: Path) -> Document:
    require("torch", "train")
    require("safetensors", "train")
    from ofp_edge.policy.deployed import split
    from ofp_edge.policy.folder import load_policy
    from ofp_edge.quantize.gate import read_gate
    from ofp_edge.quantize.plan import policy_sha256, read_plan
    from ofp_edge.targets.cost import costs

    policy, plan = load_policy(path), read_plan(path)
    deployed, config = split(policy), policy.config
    gate = read_gate(path) if plan else None
    rows = deployed.time_rows if policy.sampling.velocity else ()
    return {
        "kind": "policy",
        "path": path,
        "sha256": policy_sha256(path),
        "target": None,
        "board": None,
        "spec": config.spec.to_json(),
        "costs": costs(deployed),
        "layers": _layers(plan) if plan else [],
        "time_rows": _rows(rows),
        "start": asdict(config.start) if policy.sampling.draws else None,
        "default": None,
        "artefacts": [],
        "provenance": {
            "method": config.method,
            "preset": config.preset,
            "trunk": config.network.trunk_kind,
            "task": config.task,
            "training": config.to_json()["training"],
            "recipe": plan.recipe if plan else None,
            "ranges": plan.method if plan else None,
            "calibration_sha256": plan.calibration_sha256 if plan else None,
            "gate": gate.summary() if gate else None,
        },
    }


def _layers(plan: Plan) -> list[dict[str, Any]]:
    keys = ("function", "name", "operation", "precision", "reason")
    return [{key: getattr(layer, key) for key in keys} for layer in plan.layers]


def _rows(rows: Sequence[TimeRow]) -> list[dict[str, Any]]:
    return [{"name": row.name, "t": row.t, "r": row.r} for row in rows]


def _show(output: Output, document: Document) -> None:
    def say(text: str) -> None:
        output.console.print(printable(text), markup=False, soft_wrap=True)

    spec = PolicySpec.from_json(document["spec"])
    where = f", target {document['target']}" if document["target"] else ""
    head = Text.assemble((document["kind"], "bold"), printable(f" {document['path']}{where}"))
    output.console.print(head, soft_wrap=True)
    say(f"sha256       {document['sha256']}")
    for f in spec.observations:
        say(f"observation  {f.name} {f.shown()}")
    for a in spec.actions:
        say(f"action       {a.name} {a.shape}, {a.kind}, {_unit(a)}")
    say(
        f"timing       {counted(spec.n_obs_steps, 'frame')} in, "
        f"{counted(spec.horizon, 'action')} out, "
        f"{spec.n_action_steps} executed, {spec.control_hz:g} Hz"
    )
    rows = ", ".join(
        f"{r['name']} {r['t']:g}→{MEAN if way_of(r['t'], r['r']) == MEAN else format(r['r'], 'g')}"
        for r in document["time_rows"]
    )
    if (start := document["start"]) is None:
        say("start        deterministic: no noise, no times; one evaluation a chunk")
    else:
        say(f"time rows    {rows or 'none: it answers in many steps and has no deployed form'}")
        say(
            f"start        noise {start['noise_cold']:g} cold, {start['noise_warm']:g} warm; "
            f"{start['cold_nfe'] or 'as many'} evaluations cold"
        )
    for function, cost in document["costs"].items():
        megaflops = cost["flops"] / 1e6
        say(f"{function:12} {cost['parameters']:,} parameters, {megaflops:.2f} MFLOP a call")
    if document["layers"]:
        _show_layers(output, document["layers"])
    if document["artefacts"]:
        table = Table("function", "engine", "precision", "KB", "delegated", "sha256")
        for x in document["artefacts"]:
            share = x["delegated_share"]
            delegated = delegated_in(share, x["delegates"])
            size, digest = f"{x['size'] / 1000:.0f}", x["sha256"][:12]
            table.add_row(
                *_cells(x["function"], x["engine"], x["precision"], size, delegated, digest)
            )
        output.console.print(table)
        for line in delegation_warnings(document["artefacts"]):
            output.log.print(printable(line), markup=False, soft_wrap=True)
        say(f"default      {document['default']['engine']} {document['default']['precision']}")
    provenance = document["provenance"]
    for key, value in provenance.items():
        if isinstance(value, (str, int)):
            say(f"{key:<18} {value}")
    if provenance.get("recipe") is not None:
        _show_gate(output, provenance.get("gate"))
    for line in estimate_lines(provenance.get("estimate")):
        say(line)
    for line in agreement_lines(provenance.get("agreement", {})):
        say(f"agreement          {line}")


def _show_layers(output: Output, layers: Sequence[dict[str, Any]]) -> None:
    """A row a layer, then each reason once, with the layers that it holds for."""
    table = Table("function", "layer", "precision", box=box.SIMPLE_HEAD, pad_edge=False)
    reasons: dict[tuple[str, str], list[str]] = {}
    for x in layers:
        table.add_row(*_cells(x["function"], x["name"], x["precision"]))
        if x["reason"]:
            reasons.setdefault((x["precision"], x["reason"]), []).append(x["name"])
    output.console.print(table)
    for (precision, reason), names in reasons.items():
        said = f"{precision}: {', '.join(names)}: {reason}"
        output.console.print(printable(said), markup=False)


def _unit(action: ActionField) -> str:
    """What a raw 1 is, where that is not 1 of the unit."""
    if action.scale != 1:
        return scaled(action.unit, action.scale)
    return f"in {unit}" if (unit := stated(action.unit)) else "without a unit"


def _cells(*texts: str) -> list[Text]:
    return [Text(printable(text)) for text in texts]


def _show_gate(output: Output, gate: dict[str, Any] | None) -> None:
    if gate is None:
        output.console.print("gate               not run")
        return
    output.console.print(f"gate               {'passed' if gate['passed'] else 'FAILED'}")
    for name, says in gate["says"].items():
        output.console.print(printable(f"  {name:<16} {says}"), markup=False, soft_wrap=True)


KEYS = (
    "kind", "path", "sha256", "target", "board", "spec", "costs", "layers", "time_rows", "start",
    "default", "artefacts", "provenance",
)  # fmt: skip


def add(app: typer.Typer) -> None:
    """Register the command."""
    add_command(app, "inspect", inspect, KEYS)
