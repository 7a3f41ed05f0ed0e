"""Open a replay buffer: check every field, turn frames into points and images, in memory.

    data/state (T, D) · data/action (T, A) · data/depth_<camera> (T, H, W) uint16 ·
    data/rgb_<camera> (T, H, W, 3) uint8 · data/points_<camera> (T, N, 3) float32 where the
    data came with points instead of depth · of other kinds as they say (ofp_edge/fields)
    meta/episode_ends (E,) exclusive · root attribute "ofp_edge": fields, cameras, rates, seeds, and
    "instructions": by text field the text of each episode; by episode "success", true or false, and
    where they are known "tasks", a text or null; "success_unknown": those of which it isn't

Nothing is repaired: a NaN, an empty episode or a shape that does not fit raises DatasetError with
episode and field.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ofp_edge.camera_parameters import CameraParameters
from ofp_edge.data.cache.access import Access, Wanted
from ofp_edge.data.frames import Frames
from ofp_edge.data.glitches import glitches
from ofp_edge.data.known_hashes import known_sha256
from ofp_edge.data.labels import failures, several_tasks
from ofp_edge.data.mapping import Entry
from ofp_edge.data.source import SMALL_FILE_BYTES
from ofp_edge.data.store import camera_parameters, interface_of, labels_of, odd_of, read_store
from ofp_edge.errors import DatasetError, OfpError
from ofp_edge.fields import Text
from ofp_edge.files import put_back
from ofp_edge.normalize import FieldStatistics
from ofp_edge.outside import read_plain, require_memory, said_by
from ofp_edge.spec import ActionField, Interface, ObservationField
from ofp_edge.strict import shown

SPLIT_RULE = "the last tenth of the episodes, at least one, is held out"


@dataclass(frozen=True)
class Split:
    """Episode numbers: training and calibration take `train`, error evaluation `held_out`."""

    train: tuple[int, ...]
    held_out: tuple[int, ...]


@dataclass(frozen=True)
class Dataset:
    """A checked dataset, which has T frames in E episodes, laid end to end.

    fields: per observation field (T, *shape) of its dtype. action: (T, A). episode_ends: (E,)
    exclusive. success and seeds: per episode, success None where it isn't known. guessed: each
    guess made where no mapping file decides, one line each. odd: what to look at before training,
    also where it was converted from. several_tasks: that its episodes are of more than one, and how
    to choose. names: of a field's dimensions, as a foreign layout states them. tasks: what was
    asked for in each episode, () where `task` alone is known or nothing, None where it isn't.
    """

    path: Path
    task: str | None
    control_hz: float
    interface: Interface
    cameras: dict[str, CameraParameters]
    fields: dict[str, NDArray[Any]]
    action: NDArray[np.float32]
    episode_ends: NDArray[np.int64]
    seeds: tuple[int, ...]
    success: tuple[bool | None, ...]
    sha256: str
    guessed: tuple[str, ...] = ()
    odd: tuple[str, ...] = ()
    several_tasks: str | None = None
    names: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    tasks: tuple[str | None, ...] = ()

    def __len__(self) -> int:
        """Return the number of frames."""
        return len(self.action)

    @property
    def episodes(self) -> int:
        """The number of episodes, which is E."""
        return len(self.episode_ends)

    @property
    def parts(self) -> tuple[Dataset, ...]:
        """Itself, where a mixture has several."""
        return (self,)

    @property
    def mapped(self) -> list[str]:
        """The fields that are mapped from a disk, and not in memory."""
        return [name for name, x in self.fields.items() if isinstance(x, np.memmap)]

    def episode(self, index: int) -> slice:
        """Return the frames of one episode."""
        start = int(self.episode_ends[index - 1]) if index else 0
        return slice(start, int(self.episode_ends[index]))

    def require_task(self) -> None:
        """Raise DatasetError where its episodes are of several tasks and no field tells them."""
        told = any(isinstance(f, Text) for f in self.interface.observations)
        if self.several_tasks and not told:
            raise DatasetError(f"{self.path}: {self.several_tasks}.")

    def split(self) -> Split:
        """Split by SPLIT_RULE, the same for every command, so that held-out data stays held out."""
        if self.episodes < 2:
            raise DatasetError(
                f"{self.path}: 1 episode, expected at least 2: one is held out. Collect more."
            )
        count = max(1, self.episodes // 10)
        numbers = tuple(range(self.episodes))
        return Split(numbers[:-count], numbers[-count:])

    def frames(self, episodes: Sequence[int]) -> NDArray[np.int64]:
        """Return the frame numbers of these episodes, in order."""
        parts = [np.arange(self.episode(e).start, self.episode(e).stop) for e in episodes]
        return np.concatenate(parts).astype(np.int64)

    def of_each(self, episodes: Sequence[int]) -> Iterator[tuple[Dataset, list[int]]]:
        """Yield this dataset with these episodes, as a Mixture does each of its own."""
        yield self, list(episodes)

    def statistics(self, episodes: Sequence[int]) -> dict[str, FieldStatistics]:
        """Compute the statistics of every field that has any, over these episodes."""
        rows = self.frames(episodes)
        statistics = {}
        for item in self.interface.observations:
            # What is mapped is not read where the statistics are of no value.
            values = self.fields[item.name]
            measured = values[rows] if item.measures else values[:0]
            if (found := item.statistics(measured)) is not None:
                statistics[item.name] = found
        for name, values in _columns(self.action, self.interface.actions).items():
            statistics[name] = FieldStatistics.of(values[rows])
        return statistics


def is_ours(path: Path) -> bool:
    """Say whether it is a Zarr group with our attributes."""
    put_back(path)
    attributes = path / ".zattrs"
    if not attributes.is_file():
        return False
    return b'"ofp_edge"' in read_plain(attributes, DatasetError, SMALL_FILE_BYTES, inside=path)


def open_ours(path: Path, access: Access) -> Dataset:
    """Read and check a dataset of ours. Raises DatasetError."""
    attrs, arrays, ends = read_store(path)
    interface = interface_of(str(path), attrs)
    observations, actions = interface.observations, interface.actions
    cameras = camera_parameters(path, attrs)
    _check_ends(path, ends, attrs)
    tasks, successes = labels_of(path, attrs, len(ends))
    frames = int(ends[-1])

    def checked(name: str, shape: tuple[int, ...], dtype: str) -> Any:
        if name not in arrays:
            raise DatasetError(f"{path}: array data/{name} is missing.")
        values = arrays[name]
        if values.shape != (frames, *shape):
            raise DatasetError(
                f"{path}: data/{name}: expected shape {(frames, *shape)} (frames by the episode "
                f"ends, then the field's own), got {values.shape}."
            )
        if values.dtype != dtype:
            raise DatasetError(f"{path}: data/{name}: expected {dtype}, got {values.dtype}.")
        return values

    joined = [f for f in observations if f.joined]
    fields: dict[str, NDArray[Any]] = {}
    if joined:
        width = sum(f.shape[0] for f in joined)
        fields.update(_columns(_read(path, "state", checked("state", (width,), "float32")), joined))
    width = sum(f.shape[0] for f in actions)
    action = _read(path, "action", checked("action", (width,), "float32"))
    for name, values in (*fields.items(), *_columns(action, actions).items()):
        _check_finite(path, name, values, ends)
    large = []
    for item in observations:
        if isinstance(item, Text):
            fields[item.name] = _told(path, item, attrs, ends)
        elif not item.joined:
            if item.camera is not None and item.camera not in cameras:
                raise DatasetError(
                    f"{path}: field {item.name!r}: camera {item.camera!r} is not listed."
                )
            camera = cameras.get(item.camera or "")
            array = item.array(arrays, (camera.height, camera.width) if camera else ())
            checked(*array)
            entry = Entry(array[0], {"name": item.name})
            large.append(Frames(path, None, item, entry, camera, stored_as=array[0]))
    sha256 = access.hashed(lambda: known_sha256(path))
    every = range(len(ends))
    wanted = Wanted(path.name, sha256, lambda: known_sha256(path), every, ends.tolist())
    fields |= access.values(wanted, large)
    return Dataset(
        path,
        attrs["task"],
        float(attrs["control_hz"]),
        interface,
        cameras,
        fields,
        action,
        ends,
        tuple(attrs["seeds"]),
        successes,
        sha256,
        odd=(*odd_of(path, attrs), *_remarks(interface, fields, action, ends, successes)),
        several_tasks=several_tasks(tasks) if attrs["task"] is None else None,
        tasks=tasks if attrs["task"] is None else (),
    )


def _read(path: Path, name: str, array: Any) -> NDArray[np.float32]:
    require_memory(array.nbytes, f"{path}: data/{name}", DatasetError)
    with said_by(f"{path}: data/{name} cannot be read", DatasetError):
        return np.asarray(array[:])


def _columns(
    values: NDArray[Any], fields: Sequence[ObservationField] | Sequence[ActionField]
) -> dict[str, NDArray[np.float32]]:
    parts, start = {}, 0
    for item in fields:
        parts[item.name] = values[:, start : start + item.shape[0]]
        start += item.shape[0]
    return parts


def _remarks(
    interface: Interface,
    fields: dict[str, NDArray[Any]],
    action: NDArray[np.float32],
    ends: NDArray[np.int64],
    successes: Sequence[bool | None],
) -> list[str]:
    """Values that alone decide a range, and episodes that are marked as failed."""
    lengths, lines = np.diff(ends, prepend=0).tolist(), []
    seen = {f.name: fields[f.name] for f in interface.observations if f.joined}
    for name, values in (*seen.items(), *_columns(action, interface.actions).items()):
        found = glitches(values, values, lengths)
        lines += [x.said(name, lengths, range(len(lengths)), 0) for x in found]
    failed = failures(successes)
    return [*lines, failed] if failed else lines


def _told(
    path: Path, field: Text, attrs: dict[str, Any], ends: NDArray[np.int64]
) -> NDArray[np.int64]:
    """The instruction of each frame: (T,), its place in the list."""
    texts = attrs.get("instructions", {}).get(field.name)
    where = f"{path}: attribute instructions, {field.name!r}"
    if not isinstance(texts, list) or len(texts) != len(ends):
        got = len(texts) if isinstance(texts, list) else shown(texts)
        raise DatasetError(
            f"{where}: expected one text for each of {len(ends)} episodes, got {got}."
        )
    try:
        numbers = [field.number_of(text) for text in texts]
    except OfpError as cause:
        raise DatasetError(f"{where}: {cause}") from None
    return np.repeat(np.array(numbers, np.int64), np.diff(ends, prepend=0))


def _check_ends(path: Path, ends: NDArray[np.int64], attrs: dict[str, Any]) -> None:
    if len(ends) == 0:
        raise DatasetError(f"{path}: no episodes. Collect some.")
    lengths = np.diff(ends, prepend=0)
    if (bad := np.flatnonzero(lengths <= 0)).size:
        raise DatasetError(
            f"{path}: episode {bad[0]}: meta/episode_ends gives it {lengths[bad[0]]} frames, "
            "expected at least 1."
        )
    if len(attrs["seeds"]) != len(ends):
        raise DatasetError(
            f"{path}: attribute seeds: expected one entry for each of {len(ends)} episodes, "
            f"got {len(attrs['seeds'])}."
        )


def _check_finite(
    path: Path, name: str, values: NDArray[np.float32], ends: NDArray[np.int64]
) -> None:
    bad = np.flatnonzero(~np.isfinite(values).all(axis=1))
    if bad.size:
        row = int(bad[0])
        episode = int(np.searchsorted(ends, row, side="right"))
        start = int(ends[episode - 1]) if episode else 0
        raise DatasetError(
            f"{path}: episode {episode}, field {name!r}: NaN or infinity at its frame "
            f"{row - start}. Leave the episode out or record it again."
        )
