"""A mapping says which key of a source is which observation or action: a TOML file, or a guess.

    source = "pusht.zarr"            # the dataset, from this file's folder
    control_hz = 10.0                # where the layout states none
    task = "..."                     # optional; so are episodes = [0, 1, …], tasks = ["open", …],
    leave_out_failed = true          # filter = "train" and
    drop_frames = [0, 1]             # so many frames at each episode's start and end

    [[observation]]
    name = "state"
    key = "state"                    # columns = [0, 3] takes a part of it
    kind = "state"                   # or points (shape = [3, 512]), rgb (shape = [3, 96, 96])
    unit = "m"
    frame = "base"
    low = [...]                      # optional: the smallest and largest values of the data
    high = [...]
    clip = true                      # values outside become the nearest of low to high; without
                                     # them of the range that single values do not decide

    [[action]]
    name = "action"
    key = "action"
    kind = "absolute"                # or delta, velocity: then hold = 0.0
    unit = "m"
    frame = "base"

    [camera.front]                   # what `camera = "front"` of points and rgb is, if it is known
    width, height, fx, fy, cx, cy, depth_unit_m, base_frame ("base"), T_base_camera; or hand_frame
    ("hand"), T_hand_camera of a camera on the hand. Images alone need none of it.

Wherever a command takes a dataset it takes such a file.
"""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import tomlkit

from ofp_edge.camera_parameters import CameraParameters, stood
from ofp_edge.errors import DatasetError, OfpError, SpecMismatch
from ofp_edge.toml import Table, read_toml

SUFFIX = ".toml"
_OBSERVATION = ("name", "kind", "unit", "frame")


@dataclass(frozen=True)
class Entry:
    """Says where one field's values are. values: of ObservationField or ActionField, as far as they
    are known; columns: (first, last + 1) of the key's last axis."""

    key: str
    values: dict[str, Any]
    columns: tuple[int, int] | None = None

    @property
    def name(self) -> str:
        """The field's name."""
        return str(self.values["name"])


@dataclass(frozen=True)
class Mapping:
    """Maps keys to fields. guessed: one line for each entry that nobody stated, and for what is
    left; () for a file. remarks: those of them that are of no key."""

    source: Path
    observations: tuple[Entry, ...]
    actions: tuple[Entry, ...]
    control_hz: float | None = None
    task: str | None = None
    episodes: tuple[int, ...] | None = None
    filter_key: str | None = None
    cameras: dict[str, CameraParameters] = field(default_factory=dict)
    guessed: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()
    drop_frames: tuple[int, int] = (0, 0)
    tasks: tuple[str, ...] | None = None
    leave_out_failed: bool = False

    def to_json(self) -> dict[str, Any]:
        """Return everything that decides what is read, except the source's path: for its hash."""
        return {
            "observations": [asdict(x) for x in self.observations],
            "actions": [asdict(x) for x in self.actions],
            "control_hz": self.control_hz,
            "task": self.task,
            "episodes": self.episodes,
            "cameras": {name: x.to_json() for name, x in self.cameras.items()},
            "filter": self.filter_key,
            **({"drop_frames": list(self.drop_frames)} if any(self.drop_frames) else {}),
            **({"tasks": list(self.tasks)} if self.tasks is not None else {}),
            **({"leave_out_failed": True} if self.leave_out_failed else {}),
        }


def read_mapping(path: Path) -> Mapping:
    """Read a mapping file. DatasetError (one line) with the entry that is wrong."""
    top = read_toml(path, DatasetError)
    source = path.parent / str(top.take("source", str))
    control_hz = top.positive("control_hz") if "control_hz" in top.values else None
    task = top.take("task", str) if "task" in top.values else None
    episodes = tuple(top.take("episodes", list)) if "episodes" in top.values else None
    if episodes is not None and not all(isinstance(x, int) and x >= 0 for x in episodes):
        raise DatasetError(f"{path}: episodes: expected whole numbers from 0 on, got {episodes}.")
    filter_key = top.take("filter", str) if "filter" in top.values else None
    drop = top.take("drop_frames", list) if "drop_frames" in top.values else [0, 0]
    if len(drop) != 2 or not all(type(x) is int and x >= 0 for x in drop):
        raise DatasetError(
            f"{path}: drop_frames: expected how many at each episode's start and end, as [0, 1], "
            f"got {drop}."
        )
    tasks = tuple(top.take("tasks", list)) if "tasks" in top.values else None
    if tasks is not None and not (tasks and all(isinstance(x, str) for x in tasks)):
        raise DatasetError(f'{path}: tasks: expected texts, as ["open"], got {list(tasks)}.')
    failed = top.take("leave_out_failed", bool) if "leave_out_failed" in top.values else False
    observations = tuple(_entry(x, _OBSERVATION) for x in top.each("observation"))
    actions = tuple(_entry(x, _OBSERVATION) for x in top.each("action"))
    cameras = {}
    if "camera" in top.values:
        for name, values in top.take("camera", dict).items():
            try:
                cameras[name] = _camera(values)
            except (OfpError, AttributeError, TypeError, ValueError) as cause:
                raise DatasetError(f"{path}: [camera.{name}]: {cause}") from None
    top.nothing_left()
    return Mapping(
        source,
        observations,
        actions,
        control_hz,
        task,
        episodes,
        filter_key,
        cameras,
        drop_frames=(drop[0], drop[1]),
        tasks=tasks,
        leave_out_failed=failed,
    )


def _camera(values: Any) -> CameraParameters:
    """The parameters that a file states, depth_unit_m and base_frame by default as in a rig."""
    try:
        placed = stood(values)
    except SpecMismatch as cause:
        raise DatasetError(f"{cause.what}: {cause.todo}") from None
    return CameraParameters.from_json({"depth_unit_m": 0.001, "base_frame": "base", **placed})


def clipped_keys(mapping: Mapping) -> set[str]:
    """Return the keys that are read, and clipped by whatever reads them."""
    entries = (*mapping.observations, *mapping.actions)
    plain = {x.key for x in entries if not x.values.get("clip")}
    return {x.key for x in entries} - plain


def mapping_text(mapping: Mapping, path: Path) -> str:
    """Return the text of a mapping file to be written at `path`, with remarks on guesses."""
    document = tomlkit.document()
    for line in mapping.guessed:
        plain_line = "".join(x if x.isprintable() else "\ufffd" for x in line)
        document.add(tomlkit.comment(f"guessed: {plain_line}"))
    document["source"] = os.path.relpath(mapping.source, path.parent)
    plain = {"control_hz": mapping.control_hz, "task": mapping.task, "filter": mapping.filter_key}
    for name, value in plain.items():
        if value is not None:
            document[name] = value
    if any(mapping.drop_frames):
        document["drop_frames"] = list(mapping.drop_frames)
    if mapping.tasks is not None:
        document["tasks"] = list(mapping.tasks)
    if mapping.leave_out_failed:
        document["leave_out_failed"] = True
    for name, entries in (("observation", mapping.observations), ("action", mapping.actions)):
        tables = tomlkit.aot()
        for entry in entries:
            table = tomlkit.table()
            table.update({"name": entry.name, "key": entry.key})
            if entry.columns is not None:
                table["columns"] = list(entry.columns)
            for key, value in entry.values.items():
                if key != "name" and value is not None:
                    table[key] = list(value) if isinstance(value, tuple) else value
            tables.append(table)
        document[name] = tables
    if mapping.cameras:
        document["camera"] = {name: x.to_json() for name, x in mapping.cameras.items()}
    return tomlkit.dumps(document)


def _entry(table: Table, needed: tuple[str, ...]) -> Entry:
    for name in (*needed, "key"):
        if not isinstance(table.values.get(name), str):
            raise DatasetError(f"{table.path}: {table.where(name)}: expected a text.")
    values = dict(table.values)
    key, columns = values.pop("key"), values.pop("columns", None)
    if columns is not None and not (
        isinstance(columns, list)
        and len(columns) == 2
        and all(type(x) is int for x in columns)
        and 0 <= columns[0] < columns[1]
    ):
        raise DatasetError(
            f"{table.path}: {table.where('columns')}: expected [first, last + 1], got {columns}."
        )
    if type(values.get("clip", True)) is not bool:
        raise DatasetError(f"{table.path}: {table.where('clip')}: expected true or false.")
    plain = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
    return Entry(key, plain, tuple(columns) if columns else None)
