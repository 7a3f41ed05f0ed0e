"""The rig of which one camera is being calibrated: read though the rest is open, and written back.

tomlkit keeps a user's comments.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import tomlkit
from tomlkit.items import InlineTable

from ofp_edge.errors import RigError
from ofp_edge.files import write_bytes
from ofp_edge.rig.file import CameraEntry, Rig, is_of, look_at_rig
from ofp_edge.toml import OPEN, parse_toml


def read_for_calibration(path: Path, camera: str, *, robot: bool = False) -> Rig:
    """Read a rig of which the calibration of one camera needs that camera alone, and the robot
    where `robot`: what is open elsewhere does not matter, and neither does this camera's own pose.

    Raises RigError where an entry that is needed is open, or any entry is wrong, or there is no
    such camera.
    """
    rig, asked, wrong = look_at_rig(path)
    if wrong:
        raise RigError(wrong[0])
    entry = _require_camera(rig, camera)
    tables = [f"cameras.{camera}", *(["robot"] if robot else ())]
    pose = f"cameras.{camera}.parameters"
    needed = [x for x in map(str, asked) if any(is_of(x, table) for table in tables)]
    if needed := [x for x in needed if not is_of(x, pose)]:
        raise RigError(f"{path}: {needed[0]}. `ofp-edge rig check {path}` lists what is open.")
    known = {key: value for key, value in entry.parameters.items() if value != OPEN}
    return replace(rig, cameras={**rig.cameras, camera: replace(entry, parameters=known)})


def set_camera(
    path: Path, name: str, changes: dict[str, dict[str, Any]], *, without: tuple[str, ...] = ()
) -> None:
    """Write entries of [cameras.<name>.<table>] into a rig file; keep everything else, comments
    too.

    changes: by table, e.g. {"parameters": {"fx": 615.3}}. A 4 x 4 list is written a row a line.
    without: entries of `parameters` to take out. Raises RigError when there is no such camera or
    the file would not be what was wanted; it is then as it was.
    """
    read_for_calibration(path, name)
    document = parse_toml(path, RigError)
    wanted = document.unwrap()
    for table, values in changes.items():
        for part in (document, wanted):
            camera: Any = part["cameras"][name]
            inline = isinstance(camera, InlineTable)
            if new := table not in camera:
                camera[table] = tomlkit.inline_table() if inline else tomlkit.table()
            entries = camera[table]
            for key in without:
                if table == "parameters" and key in entries:
                    del entries[key]
            for key, value in values.items():
                _put(entries, key, value)
            if new and not inline and part is document:
                camera[table].add(tomlkit.nl())
    text = tomlkit.dumps(document)
    if tomlkit.parse(text).unwrap() != wanted:
        raise RigError(
            f"{path}: this file's order of tables can't be kept. Write by hand, under "
            f"[cameras.{name}]: {changes}"
        )
    write_bytes(path, text.encode())


def _require_camera(rig: Rig, name: str) -> CameraEntry:
    """Return the rig's camera of this name. Raises RigError listing them."""
    if name not in rig.cameras:
        have = sorted(rig.cameras) or "no camera"
        raise RigError(f"{rig.path}: [cameras.{name}]: expected, got {have}.")
    return rig.cameras[name]


def _put(entries: Any, key: str, value: Any) -> None:
    """Set an entry of a table; numbers in a list of rows change in place, beside their comments."""
    is_rows = isinstance(value, list) and bool(value) and isinstance(value[0], list)
    old = entries.get(key)
    if is_rows and isinstance(old, list) and [_length(row) for row in old] == [4] * 4:
        for old_row, row in zip(old, value, strict=True):
            for column, number in enumerate(row):
                old_row[column] = number
    elif is_rows:
        array = tomlkit.array()
        for row in value:
            array.append(row)
        entries[key] = array.multiline(True)
    else:
        entries[key] = value


def _length(row: Any) -> int:
    return len(row) if isinstance(row, list) else 0
