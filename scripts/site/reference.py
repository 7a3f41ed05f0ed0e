"""Writes docs/reference from the code: every option of every command, the keys of rigs, mappings
and manifests. A test holds the pages to the code."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Sequence
from dataclasses import MISSING, Field, fields
from pathlib import Path
from typing import Any

import typer.main

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "scripts")]  # run as a script, from anywhere

from command_table import leaves  # noqa: E402


def pages() -> dict[str, str]:
    """Return the text of every page, by its name."""
    made = {"options": options(), "rig": rig(), "mapping": mapping(), "manifest": manifest()}
    return {f"{name}.md": text for name, text in made.items()}


def main() -> None:
    """Write the pages."""
    folder = ROOT / "docs/reference"
    folder.mkdir(exist_ok=True)
    for name, text in pages().items():
        (folder / name).write_text(text, encoding="utf-8")


def options() -> str:
    """Every command with what its --help says."""
    from ofp_edge.cli.main import build_app

    parts = [
        "# Options\n",
        "What `ofp-edge COMMAND --help` says, of every command. Keys of the documents that "
        "`--json` prints, and exit codes: [commands](../commands.md).\n",
    ]
    for name, command in leaves(typer.main.get_command(build_app())):
        arguments = [p for p in command.params if p.param_type_name == "argument"]
        usage = " ".join(str(p.name).upper() for p in arguments)
        parts += [f"## {name}\n", f"`ofp-edge {' '.join([name, usage]).strip()}`\n"]
        parts.append(_prose(command.help or ""))
        rows = [
            (
                "/".join(f"`{x}`" for x in (*p.opts, *p.secondary_opts))
                if p.param_type_name == "option"
                else f"`{str(p.name).upper()}`",
                _default(p),
                _cell(getattr(p, "help", None) or ""),
            )
            for p in (*arguments, *(x for x in command.params if x not in arguments))
            if p.name != "help" and not getattr(p, "hidden", False)
        ]
        parts.append(_table(("option", "default", "what"), rows))
    return "\n".join(parts)


def rig() -> str:
    """The tables of a rig file."""
    from ofp_edge.rig.engine import EngineEntry
    from ofp_edge.rig.file import CameraEntry, Rig, RobotEntry
    from ofp_edge.rig.realtime import RealtimeEntry
    from ofp_edge.rig.safety import FieldLimits, SafetyEntry, Workspace
    from ofp_edge.rig.timing import Timing

    intro = (
        "# Rig file\n\nOne TOML file a robot: `ofp-edge rig new BUNDLE` drafts it, "
        "`ofp-edge rig check` says all that is wrong with it. What the options of a driver are: "
        "`ofp-edge robots`, `ofp-edge cameras`. How the times work together: "
        "[fixed latency](../runtime.md); what each limit does: [safety](../safety.md).\n"
    )
    tables: tuple[tuple[str, type[Any], Sequence[str]], ...] = (
        ("At the top", Rig, ("path", "robot", "cameras", "timing", "engine", "safety", "realtime")),
        ("[robot]", RobotEntry, ()),
        ("[cameras.NAME]", CameraEntry, ("name",)),
        ("[timing]", Timing, ()),
        ("[engine]", EngineEntry, ()),
        ("[safety]", SafetyEntry, ("limits", "workspace", "goal_ranges")),
        ("[safety.limits.FIELD]", FieldLimits, ()),
        ("[safety.workspace]", Workspace, ()),
        ("[realtime]", RealtimeEntry, ()),
    )
    head = "`schema_version = 1` is the file's first line.\n"
    return "\n".join([intro, head, *(_of_class(*row) for row in tables)])


def mapping() -> str:
    """The keys of a mapping file, and of the fields in it."""
    from ofp_edge.camera_parameters import CameraParameters
    from ofp_edge.data.mapping import Entry, Mapping
    from ofp_edge.fields import KINDS
    from ofp_edge.spec import ActionField

    intro = (
        "# Mapping file\n\nSays which key of a dataset is which field: `ofp-edge data info SOURCE "
        "--write-mapping mapping.toml` drafts it. How to fill it in: [data](../data.md). An "
        "`[[observation]]` or `[[action]]` has `key`, `columns`, and the field's own.\n"
    )
    left_out = ("guessed", "remarks", "observations", "actions", "cameras")
    top = _of_class("At the top", Mapping, left_out).replace("`filter_key`", "`filter`")
    parts = [top, _of_class("[[observation]] and [[action]]", Entry, ("values",))]
    parts.append(_of_class("[camera.NAME]", CameraParameters, ()))
    kinds = {kind: cls for kind, cls in KINDS.items() if inspect.isclass(cls)}
    parts += [_of_class(f'kind = "{kind}"', cls, ()) for kind, cls in kinds.items()]
    parts.append(_of_class("[[action]]", ActionField, ()))
    return "\n".join([intro, *parts])


def manifest() -> str:
    """The entries of a bundle's manifest.json."""
    from ofp_edge import manifest as module
    from ofp_edge.functions import Function

    intro = (
        "# Bundle's manifest\n\n`manifest.json` lists what a bundle holds, by hash. It is written "
        "by `compile` and read by everything that runs a bundle; which versions open: "
        "[compatibility](../compatibility.md).\n"
    )
    order = ("Manifest", "Artefact", "FileEntry", "TimeRow", "Committed", "Prompted", "Default")
    classes = [getattr(module, name) for name in order]
    return "\n".join([intro, *(_of_class(cls.__name__, cls, ()) for cls in (*classes, Function))])


def _of_class(title: str, cls: type[Any], left_out: Sequence[str]) -> str:
    rows = [
        (f"`{f.name}`", f"`{_type(f)}`", _field_default(f))
        for f in fields(cls)
        if f.name not in left_out and not f.name.startswith("_")
    ]
    return f"## {title}\n\n{_prose(inspect.getdoc(cls) or '')}\n" + _table(
        ("key", "type", "default"), rows
    )


def _type(f: Field[Any]) -> str:
    return str(f.type).replace("|", "or").replace("  ", " ")


def _field_default(f: Field[Any]) -> str:
    if f.default is not MISSING:
        return f"`{f.default!r}`" if f.default is not None else "-"
    return "-" if f.default_factory is not MISSING else "required"


def _default(parameter: Any) -> str:
    if parameter.required:
        return "required"
    value = parameter.default
    if callable(value) or value is None or value is False:
        return "-"
    return f"`{_cell(str(value))}`"


def _prose(text: str) -> str:
    return inspect.cleandoc(text).replace("\b", "").replace("<", "&lt;") + "\n"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(row)} |" for row in lines) + "\n"


if __name__ == "__main__":
    main()
