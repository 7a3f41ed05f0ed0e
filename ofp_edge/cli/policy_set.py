"""`ofp-edge policy set`: state of a trained policy what its data did not state."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ofp_edge.cli.output import Document, Output, add_command, foreign
from ofp_edge.errors import OfpError
from ofp_edge.extras import require

if TYPE_CHECKING:
    from ofp_edge.policy.amend import Statement

KEYS = ("policy", "changed", "unstated", "written", "sha256")


def set_(
    output: Output,
    policy: Annotated[Path, typer.Argument(help="Policy folder; changed.")],
    mapping: Annotated[
        Path | None,
        typer.Option(
            help="Mapping file (docs/data.md): its units, frames, ranges, cameras and task are "
            "taken, by the fields' names."
        ),
    ] = None,
    unit: Annotated[
        list[str] | None, typer.Option(help="FIELD=UNIT, as action=deg; may be repeated.")
    ] = None,
    frame: Annotated[
        list[str] | None, typer.Option(help="FIELD=FRAME, as action=base; may be repeated.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print what would change, change nothing.")
    ] = False,
) -> Document:
    """State units, frames, ranges and cameras of a trained policy, without training it again.

    Weights and normalisation stay as they are: a plan beside them goes on to hold, a bundle is
    compiled again. Without options it prints what nobody has stated.
    """
    require("torch", "train")
    from ofp_edge.policy.folder import read_config
    from ofp_edge.quantize.amend import amend_policy
    from ofp_edge.quantize.plan import policy_sha256

    said = _statement(mapping, unit or [], frame or [])
    changes = amend_policy(policy, said, dry_run=dry_run)
    for change in changes:
        line = f"{change.what}: {_short(change.before)} -> {_short(change.after)}"
        output.console.print(foreign(line), soft_wrap=True)
    if not changes:
        output.console.print("nothing changes", soft_wrap=True)
    elif not dry_run:
        output.console.print(f"{policy}: written. Compile its bundles again.", soft_wrap=True)
    unstated = _unstated(read_config(policy)) if not (dry_run and changes) else None
    for line in unstated or ():
        output.console.print(f"  not stated: {foreign(line)}", soft_wrap=True)
    return {
        "policy": policy,
        "changed": [{"what": x.what, "before": x.before, "after": x.after} for x in changes],
        "unstated": unstated,
        "written": bool(changes) and not dry_run,
        "sha256": policy_sha256(policy),
    }


def _statement(mapping: Path | None, units: list[str], frames: list[str]) -> Statement:
    from ofp_edge.data.mapping import read_mapping
    from ofp_edge.policy.amend import Statement

    fields: dict[str, dict[str, Any]] = {}
    read = None if mapping is None else read_mapping(mapping)
    if read is not None:
        for entry in (*read.observations, *read.actions):
            own = {k: v for k, v in entry.values.items() if k not in ("name", "clip")}
            fields[entry.name] = own
    for option, given in (("unit", units), ("frame", frames)):
        for text in given:
            name, equals, value = text.partition("=")
            if not (name and equals and value):
                raise OfpError(f"--{option} {text}: expected FIELD={option.upper()}.")
            fields.setdefault(name, {})[option] = value
    cameras = {} if read is None else read.cameras
    return Statement(fields, cameras, None if read is None else read.task)


def _unstated(config: Any) -> list[str]:
    from ofp_edge.camera_parameters import UNKNOWN

    spec = config.spec
    found = [
        f"{what} {f.name}: {'unit (1) and ' if f.unit in ('1', UNKNOWN) else ''}frame"
        for what, fields in (("observation", spec.observations), ("action", spec.actions))
        for f in fields
        if getattr(f, "frame", None) == UNKNOWN
    ]
    for name, camera in config.cameras.items():
        if not camera.known:
            only_images = spec.only_images(name)
            needed = "which its images do not need" if only_images else "which points need"
            found.append(f"camera {name}: lens and place, {needed}")
    return found


def _short(value: Any) -> str:
    if isinstance(value, dict):
        return f"{value['width']} x {value['height']}, frame {value['base_frame']}"
    if isinstance(value, tuple):
        return f"[{', '.join(f'{x:g}' for x in value)}]"
    return str(value)


def add(app: typer.Typer) -> None:
    """Register the command."""
    add_command(app, "set", set_, KEYS)
