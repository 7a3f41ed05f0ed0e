"""Read RoboTwin 2.0: a folder of HDF5 files, one an episode, raw or native.

Raw files hold what was measured: the action of a frame is the joint state of the next one, as in
RoboTwin's own training scripts, so an episode is one frame shorter than its file. Its keys are the
file's, and action/<...> for joint_action and endpose one frame on. Native files hold both.
Colours are JPEGs made from RGB pixels as if they were BGR: red and blue are swapped back.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ofp_edge.data.few_numbers import FewNumbers
from ofp_edge.data.layouts.hdf5 import Hdf5, Hdf5Array, opened
from ofp_edge.data.layouts.images import decode_image
from ofp_edge.data.source import Key, Source, rate_hz
from ofp_edge.data.success import success_of
from ofp_edge.errors import DatasetError
from ofp_edge.outside import listed, within
from ofp_edge.strict import shown

_NAME = re.compile(r"episode_?([0-9]{1,9})\.(hdf5|h5)$")
_SHIFTED = {"joint_action": "action/", "endpose": "action/endpose/"}
_BLOCK_JPEGS = 16
_NEAR = 1e-4  # rad or m, between two copies of one number


class RoboTwinSource(Source):
    """Open episodes, which all have one layout."""

    def __init__(self, path: Path, files: Sequence[Path]) -> None:
        self.path, self._files = path, tuple(files)
        self.keys: dict[str, Key] = {}
        self._few = FewNumbers()
        lengths: list[int] = []
        self._rates: dict[int, float] = {}
        successes: list[bool | None] = []
        self._wrong: dict[tuple[int, str | None], str] = {}  # None: the whole of the episode
        for number, file in enumerate(self._files):
            try:
                with opened(file) as data:
                    self._add(data, number)
                    lengths.append(self._length(data, number))
                    successes.append(_success(data))
            except DatasetError as cause:  # it need not be among those that are chosen
                if number + 1 == len(self._files) and not self.keys:
                    raise
                self._wrong[number, None] = str(cause)
                lengths[number:], successes[number:] = [0], [None]
        self.layout = "robotwin-native" if self._native else "robotwin-raw"
        self.successes = tuple(successes)
        self.lengths, self.rates_hz = tuple(lengths), tuple(sorted(set(self._rates.values())))

    def _add(self, data: Hdf5, number: int) -> None:
        """Take an episode's layout and keys, if it is the first, and its rate."""
        file = self._files[number]
        native = _is_native(file, data)
        if not self.keys:
            arrays = _arrays(data, native)
            keys = {name: _key(data, *item) for name, item in arrays.items()}
            self._native, self._arrays, self.keys, self._first = native, arrays, keys, file
            self._jpegs = {x for x, (y, _) in arrays.items() if data.array(y).dtype.kind == "S"}
            read = {name for name, _ in arrays.values()}
            self.left = {x: "not of a frame" for x in data.arrays() if x not in read}
        elif native != self._native:
            raise DatasetError(f"{file} is of another layout than {self._first.name}.")
        if native and "additional_info/frequency" in data:
            rate = data.scalar("additional_info/frequency")
            self._rates[number] = rate_hz(rate, f"{file}: additional_info/frequency")

    def wrong(self, episode: int, keys: Collection[str]) -> str | None:
        """As Source.wrong."""
        why = next((x for key in (None, *keys) if (x := self._wrong.get((episode, key)))), None)
        return why or super().wrong(episode, keys)

    def rate_of(self, episodes: Sequence[int]) -> float | None:
        """As Source.rate_of: each file states its own."""
        found = {rate for episode in episodes if (rate := self._rates.get(episode)) is not None}
        return next(iter(found), None) if len(found) < 2 else self.rate_hz

    def blocks(self, key: str, episode: int) -> Iterator[NDArray[Any]]:
        """Yield blocks, with JPEGs decoded; see Source.blocks."""
        yield from self._few.blocks(
            key, self.keys[key], episode, self.lengths[episode], lambda: self._read(key, episode)
        )

    def _read(self, key: str, episode: int) -> Iterator[NDArray[Any]]:
        name, shift = self._arrays[key]
        with opened(self._files[episode]) as data:
            array = data.array(name)
            if array.dtype.kind != "S":
                yield from array.blocks(shift, self.lengths[episode])
                return
            for first in range(0, self.lengths[episode], _BLOCK_JPEGS):
                last = min(first + _BLOCK_JPEGS, self.lengths[episode])
                where = f"{self._files[episode]}: {name}, frame {first} to {last - 1}"
                frames = [_image(x, where) for x in array.rows(first, last)]
                if sizes := {x.shape for x in frames} - {self.keys[key].shape}:
                    raise DatasetError(
                        f"{where}: expected images of {self.keys[key].shape} as in "
                        f"{self._first.name}, got {min(sizes)}."
                    )
                yield np.stack(frames)

    def unlike(self, key: str, episode: int, values: NDArray[Any]) -> str | None:
        """As Source.unlike: the vector of all joints is made of the arms' own."""
        parts = [f"joint_action/{x}_{y}" for x in ("left", "right") for y in ("arm", "gripper")]
        if key != "joint_action/vector" or not all(x in self.keys for x in parts):
            return None
        if any(self.wrong(episode, (x,)) for x in parts):
            return None
        made = [self.read(x, episode).reshape(len(values), -1) for x in parts]
        whole = np.concatenate(made, axis=1)
        if whole.shape != values.shape:
            return None
        far = np.flatnonzero((np.abs(whole - values) > _NEAR).any(1))
        if not len(far):
            return None
        return f"frame {far[0]} is not what left_arm, left_gripper, right_arm, right_gripper hold"

    def _length(self, data: Hdf5, episode: int) -> int:
        """Its frames; what of its keys does not fit them is written down."""
        length = None
        for key, (name, _) in self._arrays.items():
            if name not in data:
                self._wrong[episode, key] = f"{self._files[episode]}: {name} is missing."
                continue
            array = data.array(name)
            if misfit := self._misfit(key, array):
                self._wrong[episode, key] = f"{self._files[episode]}: {name}: {misfit}."
                continue
            found = len(array) if self._native else len(array) - 1
            if length is None:
                length = found
            elif found != length:
                self._wrong[episode, key] = (
                    f"{self._files[episode]}: {name}: expected {length + (not self._native)} "
                    f"frames as in the rest, got {len(array)}."
                )
        return length or 0

    def _misfit(self, key: str, array: Hdf5Array) -> str | None:
        """What of an array is not as in the first file; pictures tell their size when they are
        read."""
        want, texts = self.keys[key], array.dtype.kind == "S"
        if texts != (key in self._jpegs):
            return f"expected {'JPEGs' if key in self._jpegs else 'numbers'}, got {array.dtype}"
        if texts or array.shape[1:] == want.shape:
            return None
        return f"expected frames of {want.shape} as in {self._first.name}, got {array.shape[1:]}"


def episode_files(path: Path) -> list[Path]:
    """Return the episodes below a folder, in it or in its data/, by number."""
    for folder in (path, path / "data"):
        found = [x for x in listed(path, folder, DatasetError) if _NAME.match(x.name)]
        if found:
            return sorted((within(path, x, DatasetError) for x in found), key=_number)
    return []


def open_robotwin(path: Path, files: Sequence[Path]) -> RoboTwinSource:
    """Open episodes. DatasetError when a file is damaged, or of neither layout."""
    return RoboTwinSource(path, files)


def _success(data: Hdf5) -> bool | None:
    """What the file says of its end; RoboTwin's own tools keep successes only, and say nothing."""
    for name in ("success", "additional_info/success"):
        if name in data:
            return success_of(np.asarray(data.scalar(name)))
    return None


def _number(path: Path) -> int:
    found = _NAME.match(path.name)
    return int(found.group(1)) if found else 0


def _is_native(path: Path, data: Hdf5) -> bool:
    if "data_format_version" in data:
        version = data.scalar("data_format_version")
        if version != "v1.0":
            raise DatasetError(f"{path}: RoboTwin format {shown(version)}, expected v1.0.")
        return True
    if "joint_action" not in data:
        raise DatasetError(
            f"{path}: neither robomimic (data/demo_0) nor RoboTwin (joint_action, or "
            "data_format_version)."
        )
    return False


def _arrays(data: Hdf5, native: bool) -> dict[str, tuple[str, int]]:
    """Key -> (array, rows it is shifted by): what has one row a frame."""
    found = {}
    for name in data.arrays():
        top = name.split("/")[0]
        if name.endswith("/shape") or (native and top not in ("state", "action", "vision")):
            continue
        found[name] = (name, 0)
        if not native and top in _SHIFTED:
            found[_SHIFTED[top] + name.split("/", 1)[-1]] = (name, 1)
    return dict(sorted(found.items()))


def _key(data: Hdf5, name: str, shift: int) -> Key:
    array = data.array(name)
    if array.dtype.kind != "S":
        return array.key
    if not len(array):
        raise DatasetError(f"{data.path}: {name}: no frames.")
    return Key(_image(array.rows(0, 1)[0], f"{data.path}: {name}").shape, "uint8")


def _image(jpeg: bytes, where: str) -> NDArray[np.uint8]:
    return np.ascontiguousarray(decode_image(bytes(jpeg), where, ("JPEG",))[..., ::-1])
