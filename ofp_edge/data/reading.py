"""Reading is a source under a mapping: typed fields, and their values in blocks, in our form."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ofp_edge.camera_parameters import CameraParameters
from ofp_edge.data.guess import guess, odd_actions
from ofp_edge.data.labels import chosen_episodes, failures, several_tasks, tasks_of
from ofp_edge.data.layouts import open_source
from ofp_edge.data.mapping import SUFFIX, Entry, Mapping, read_mapping
from ofp_edge.data.pictures import turned
from ofp_edge.data.ranges import clipped, kept, offered, range_of
from ofp_edge.data.source import Source
from ofp_edge.data.store import interface_of
from ofp_edge.data.times import check_times, odd_stamps
from ofp_edge.errors import DatasetError
from ofp_edge.fields import State
from ofp_edge.fields.values import NotFinite, is_depth, numbers
from ofp_edge.files import canonical_json, sha256_bytes
from ofp_edge.progress import Progress, silent
from ofp_edge.spec import ActionField, Interface, ObservationField
from ofp_edge.strict import Place


@dataclass(frozen=True)
class Reading:
    """A source whose fields and cameras are complete; episodes: numbers in the source, in order.
    odd: what to look at in what is read, one line each; remarks: of that kind, what the values and
    labels themselves say, also once they are converted. tasks: of each episode, () where none is
    known or the mapping states one."""

    source: Source
    mapping: Mapping
    control_hz: float
    interface: Interface
    cameras: dict[str, CameraParameters]
    episodes: tuple[int, ...]
    odd: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()
    tasks: tuple[str | None, ...] = ()

    @property
    def several_tasks(self) -> str | None:
        """That these episodes are of more than one task, and how to choose; None if they aren't."""
        return several_tasks(self.tasks, self.episodes) if self.tasks else None

    @property
    def successes(self) -> tuple[bool | None, ...]:
        """Whether each episode's task was done, None where that is unknown."""
        known = self.source.successes
        return tuple(known[e] if known else None for e in self.episodes)

    @property
    def lengths(self) -> tuple[int, ...]:
        """The number of frames of each episode read."""
        dropped = sum(self.mapping.drop_frames)
        return tuple(self.source.lengths[episode] - dropped for episode in self.episodes)

    def fields(self) -> list[tuple[Entry, ObservationField | ActionField]]:
        """Return every field with its entry: observations, then actions."""
        entries = (*self.mapping.observations, *self.mapping.actions)
        return list(
            zip(entries, (*self.interface.observations, *self.interface.actions), strict=True)
        )

    def blocks(
        self, entry: Entry, field: ObservationField | ActionField, episode: int
    ) -> Iterator[NDArray[Any]]:
        """Yield checked values of one field in one episode of the source.

        state, action: (n, D) float32; rgb: (n, H, W, 3) uint8 as recorded; points: (n, N, 3)
        float32 in the box, or of a depth key (n, H, W) uint16. DatasetError with the frame.
        """
        where = f"{self.source.path}: episode {episode}, field {field.name!r}"
        key, done = self.source.keys[entry.key], self.mapping.drop_frames[0]
        for block in kept(self.source, entry.key, episode, self.mapping.drop_frames):
            if block.shape[1:] != key.shape:
                raise DatasetError(
                    f"{where}: frames of {block.shape[1:]} from frame {done} on, expected "
                    f"{key.shape} as in the first episode. Leave the episode out."
                )
            read = field.recorded if isinstance(field, ObservationField) else numbers
            try:
                values = read(block, entry.columns, where, done)
            except NotFinite as cause:
                raise offered(cause, self.source, self.mapping, entry, self.episodes) from None
            if entry.values.get("clip"):
                values = clipped(values, field)
            yield values
            done += len(block)

    def sha256(self) -> str:
        """Return the hash of the source's bytes and of the mapping applied to them."""
        plain = {"source": self.source.sha256(), "mapping": self.mapping.to_json()}
        return sha256_bytes(canonical_json(plain))


def open_reading(path: Path, progress: Progress = silent) -> Reading:
    """Open a source by a mapping file, or by a guess where `path` is the source itself.

    DatasetError: no such layout, a key that is not there, mixed rates, a NaN.
    """
    if path.suffix == SUFFIX and path.is_file():
        mapping = read_mapping(path)
        source = open_source(mapping.source, mapping.filter_key)
    else:
        source = open_source(path)
        mapping = guess(source)
    return read_by(source, mapping, progress)


def read_by(source: Source, mapping: Mapping, progress: Progress = silent) -> Reading:
    """Complete the mapping's fields from the source: shapes, and ranges by reading the numbers."""
    source, episodes = turned(source, mapping), _episodes(source, mapping)
    rate = source.rate_of(episodes)
    if rate is not None and mapping.control_hz not in (None, rate):
        raise DatasetError(
            f"{source.path}: recorded at {rate:g} Hz, the mapping says {mapping.control_hz:g}. "
            "Leave control_hz out."
        )
    rate = rate or mapping.control_hz
    if rate is None:
        raise DatasetError(f"{source.path}: no rate in the data: give control_hz in the mapping.")
    for episode in episodes:
        check_times(source, episode, rate)
    cameras = _cameras(source, mapping)
    entries = mapping.observations, mapping.actions
    total = len(entries[0]) + len(entries[1])
    plain: list[list[dict[str, Any]]] = [[], []]
    remarks: list[str] = []
    for number, (what, entry) in enumerate(
        ("observation" if not i else "action", x) for i in (0, 1) for x in entries[i]
    ):
        progress(number, total, entry.name)
        values = _complete(source, mapping, entry, what, episodes, remarks)
        plain[what == "action"].append(values)
        if entry.values.get("camera") and is_depth(source.keys[entry.key].shape):
            _check_depth(source, entry, mapping)
    progress(total, total)
    document = {"observations": plain[0], "actions": plain[1], "control_hz": rate}
    interface = interface_of(f"mapping of {source.path}", document)
    tasks = tasks_of(source, mapping, episodes)
    if len(set(tasks)) > 1:
        mapping = replace(mapping, control_hz=rate)
    else:
        mapping = replace(mapping, control_hz=rate, task=mapping.task or source.task)
    keys = _keys(mapping)
    lines = [*source.notes, *(line for key in keys for line in source.odd(key, episodes))]
    lines += [*odd_stamps(source, keys, episodes, rate), *odd_actions(source, mapping, episodes)]
    odd = tuple(dict.fromkeys(lines))
    made = Reading(source, mapping, rate, interface, cameras, episodes, odd, tasks=tasks)
    if failed := failures(made.successes, episodes):
        remarks.append(failed)
    return replace(made, remarks=tuple(remarks))


def _episodes(source: Source, mapping: Mapping) -> tuple[int, ...]:
    chosen = chosen_episodes(source, mapping)
    keys, dropped = [key for key in _keys(mapping) if key in source.keys], sum(mapping.drop_frames)
    for episode in chosen:
        if (why := source.wrong(episode, keys)) is not None:
            raise source.refusal(why, episode, chosen, keys)
        if source.lengths[episode] <= dropped:
            raise DatasetError(
                f"{source.path}: episode {episode}: {source.lengths[episode]} frames, of which "
                f"drop_frames = {list(mapping.drop_frames)} leaves none. Leave the episode out."
            )
    return chosen


def _keys(mapping: Mapping) -> list[str]:
    """The keys that a mapping reads, each once."""
    return list(dict.fromkeys(x.key for x in (*mapping.observations, *mapping.actions)))


def _cameras(source: Source, mapping: Mapping) -> dict[str, CameraParameters]:
    """The cameras that fields name, those not stated as unknown ones of the recorded size."""
    cameras = {}
    for entry in mapping.observations:
        name = entry.values.get("camera")
        if not isinstance(name, str) or (name in cameras and name not in mapping.cameras):
            continue
        shape = source.require_key(entry.key, f"observation {entry.name!r}").shape
        image = _class(source, entry).stream == "color"
        rows, columns = shape[:2] if image else (1, 1)
        camera = mapping.cameras.get(name, CameraParameters.unknown(columns, rows))
        if image and (camera.height, camera.width) != (rows, columns):
            raise DatasetError(
                f"mapping of {source.path}: [camera.{name}]: {camera.width} x {camera.height}, but "
                f"{entry.key} is {columns} x {rows}."
            )
        cameras[name] = camera
    for name in mapping.cameras:
        if name not in cameras:
            raise DatasetError(f"mapping of {source.path}: [camera.{name}]: no field names it.")
    return cameras


def _complete(
    source: Source,
    mapping: Mapping,
    entry: Entry,
    what: str,
    episodes: tuple[int, ...],
    remarks: list[str],
) -> dict[str, Any]:
    """The entry's values as plain JSON, with shape, scale and range; remarks: lines are added."""
    where = f"{what} {entry.name!r}"
    key, values = source.require_key(entry.key, where), dict(entry.values)
    kind = _class(source, entry) if what == "observation" else State
    number = key.dtype.startswith(("float", "int", "uint", "bool"))
    axes = (0, 1) if kind.joined else (max(kind.frame_axes or 0, 0),)  # one number is a state too
    fits = (
        key.is_image
        if kind.frame_axes == 3
        else number and (kind.frame_axes is None or len(key.shape) in axes)
    )
    if not fits:
        raise DatasetError(
            f"{source.path}: {where}: key {entry.key!r} is {key.shape} {key.dtype}, expected "
            f"{kind.frame_form}."
        )
    if kind.joined:
        width = int(np.prod(key.shape, dtype=np.int64))
        if entry.columns and entry.columns[1] > width:
            raise DatasetError(
                f"{source.path}: {where}: columns {list(entry.columns)} of {entry.key!r}, which "
                f"has {width}."
            )
        values.setdefault(
            "shape", (entry.columns[1] - entry.columns[0],) if entry.columns else (width,)
        )
    if what == "action":
        values.setdefault("scale", 1.0)
    if (whole := getattr(kind, "whole_range", None)) is not None:
        values.setdefault("low", (whole[0],) * 3)
        values.setdefault("high", (whole[1],) * 3)
    if (clip := values.pop("clip", None)) is not None and not (kind.joined or kind.places):
        raise DatasetError(f"{source.path}: {where}: clip is for numbers and points alone.")
    stated = "low" in values and "high" in values
    if not stated or (kind.joined and not clip):
        (low, high), lines = range_of(source, mapping, entry, kind, episodes)
        values.setdefault("low", low)
        values.setdefault("high", high)
        remarks += lines
    return {k: list(v) if isinstance(v, tuple) else v for k, v in values.items()}


def _class(source: Source, entry: Entry) -> type[ObservationField]:
    place = Place(f"mapping of {source.path}", f"observation {entry.name!r}", DatasetError)
    return ObservationField.class_of(entry.values, place)


def _check_depth(source: Source, entry: Entry, mapping: Mapping) -> None:
    key, name = source.keys[entry.key], entry.values["camera"]
    where = f"{source.path}: observation {entry.name!r}"
    if name not in mapping.cameras or not {"low", "high"} <= set(entry.values):
        raise DatasetError(
            f"{where}: points of a depth image need [camera.{name}] and the crop box low, high."
        )
    camera = mapping.cameras[name]
    if (camera.height, camera.width) != key.shape or not key.dtype.startswith(("uint", "int")):
        raise DatasetError(
            f"{where}: expected depth ({camera.height}, {camera.width}) in whole numbers of "
            f"depth_unit_m, got {key.shape} {key.dtype}."
        )
