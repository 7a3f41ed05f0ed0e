"""robomimic HDF5: /data/demo_i with actions and obs/<key>; /mask/<name> lists demonstrations.

The rate is env_args' control_freq. Actions are relative where its controllers say so.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from ofp_edge.data.layouts.hdf5 import Hdf5, opened
from ofp_edge.data.source import Source, rate_hz
from ofp_edge.errors import DatasetError, UnknownName
from ofp_edge.strict import parse_json, shown

_LEFT_OUT = ("next_obs", "states", "rewards", "dones")  # what no policy reads
_DEMO = re.compile(r"demo_[0-9]{1,9}")


class RobomimicSource(Source):
    """An open file, with keys obs/<name>, actions, actions_abs, action_dict/<name>."""

    layout = "robomimic"

    def __init__(self, path: Path, file: Hdf5, demos: list[str]) -> None:
        self.path, self._demos = path, demos
        if not demos:
            raise DatasetError(f"{path}: no demonstrations.")
        whole = (demo for demo in demos if f"data/{demo}/actions" in file)
        first = f"data/{next(whole, demos[0])}"
        names = [x for x in file.arrays(first) if x.split("/")[0] not in _LEFT_OUT]
        found = {name: file.array(f"{first}/{name}") for name in names}
        self.keys = {name: x.key for name, x in found.items() if x.dtype.kind != "S"}
        self.lengths = tuple(
            len(file.array(f"data/{demo}/actions")) if f"data/{demo}/actions" in file else 0
            for demo in demos
        )
        self._wrong = self._misfits(file)
        environment = _environment(path, file)
        options = environment.get("env_kwargs") or {}
        if not isinstance(options, dict):
            options = {}
        if rate := options.get("control_freq"):
            self.rates_hz = (rate_hz(rate, f"{path}: env_args, control_freq"),)
        task = environment.get("env_name")
        self.task = task if isinstance(task, str) else None
        self.delta = _is_delta(options.get("controller_configs"))

    def blocks(self, key: str, episode: int) -> Iterator[NDArray[Any]]:
        """Yield blocks; see Source.blocks."""
        with opened(self.path) as file:
            array = file.array(f"data/{self._demos[episode]}/{key}")
            yield from array.blocks(0, self.lengths[episode])

    def wrong(self, episode: int, keys: Collection[str]) -> str | None:
        """As Source.wrong."""
        why = next((x for key in keys if (x := self._wrong.get((episode, key)))), None)
        return super().wrong(episode, keys) or why

    def _misfits(self, file: Hdf5) -> dict[tuple[int, str], str]:
        """By episode and key: what is not as in the first demonstration."""
        found = {}
        for episode, demo in enumerate(self._demos):
            for name, key in self.keys.items():
                want, place = (self.lengths[episode], *key.shape), f"data/{demo}/{name}"
                got = file.array(place).shape if place in file else "nothing"
                if got != want:
                    found[episode, name] = (
                        f"{self.path}: episode {episode} (data/{demo}), {name}: expected shape "
                        f"{want}, got {got}."
                    )
        return found


def is_robomimic(path: Path) -> bool:
    """Say whether the file has demonstrations where robomimic puts them. DatasetError: no HDF5."""
    with opened(path) as file:
        return any(name.startswith("demo_") for name in file.names("data"))


def open_robomimic(path: Path, filter_key: str | None = None) -> RobomimicSource:
    """Open a file, or those of its demonstrations that /mask/<filter_key> lists."""
    with opened(path) as file:
        demos = [name for name in file.names("data") if name.startswith("demo_")]
        if wrong := [name for name in demos if not _DEMO.fullmatch(name)]:
            raise DatasetError(f"{path}: data/{shown(wrong[0])}: expected demo_ and a number.")
        demos.sort(key=lambda name: int(name[5:]))
        if filter_key is not None:
            masks = file.names("mask")
            if filter_key not in masks:
                raise UnknownName("filter", filter_key, masks)
            listed = file.array(f"mask/{filter_key}")
            kept = {bytes(x).decode("utf-8", "replace") for x in listed.rows(0, len(listed))}
            if missing := sorted(kept - set(demos)):
                raise DatasetError(
                    f"{path}: mask/{filter_key} lists {missing[0]}, which is not there."
                )
            demos = [name for name in demos if name in kept]
        return RobomimicSource(path, file, demos)


def _environment(path: Path, file: Hdf5) -> dict[str, Any]:
    text = file.attribute("data", "env_args", "{}")
    value = parse_json(text, f"{path}: data, attribute env_args", DatasetError)
    return value if isinstance(value, dict) else {}


def _is_delta(controllers: Any) -> bool | None:
    """robosuite below 1.5 says control_delta, above it input_type, nested by body part."""
    if not isinstance(controllers, dict):
        return None
    if "control_delta" in controllers:
        return bool(controllers["control_delta"])
    if "input_type" in controllers:
        return bool(controllers["input_type"] == "delta")
    inside = [_is_delta(value) for value in controllers.values()]
    said = [value for value in inside if value is not None]
    return said[0] if said else None
