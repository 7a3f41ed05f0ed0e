"""robomimic HDF5: /data/demo_i with actions and obs/<key>; /mask/<name> lists demonstrations.

The rate is env_args' control_freq. What actions mean its controllers say (controllers.py). A
demonstration may say whether it succeeded (attribute success).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ofp_edge.data.few_numbers import FewNumbers
from ofp_edge.data.layouts.controllers import controls
from ofp_edge.data.layouts.hdf5 import Hdf5, opened
from ofp_edge.data.source import Source, rate_hz
from ofp_edge.data.success import success_of, successes_by_signals
from ofp_edge.errors import DatasetError, UnknownName
from ofp_edge.strict import parse_json, shown

_LEFT_OUT = {
    "next_obs": "of a later frame, which tells what will happen",
    "states": "a simulator's state, not what a robot measures",
    "rewards": "a reward, not what a robot measures",
    "dones": "an episode's end, not what a robot measures",
}
_NEAR = 1e-5  # of the largest value: either may have been stored in another type
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
        arrays = file.arrays(first)
        names = [x for x in arrays if x.split("/")[0] not in _LEFT_OUT]
        self.left = {x: why for x in arrays if (why := _LEFT_OUT.get(x.split("/")[0]))}
        found = {name: file.array(f"{first}/{name}") for name in names}
        self.keys = {name: x.key for name, x in found.items() if x.dtype.kind != "S"}
        self.left |= {name: "text" for name in found if name not in self.keys}
        self.lengths = tuple(
            len(file.array(f"data/{demo}/actions")) if f"data/{demo}/actions" in file else 0
            for demo in demos
        )
        self._few = FewNumbers()
        self._wrong = self._misfits(file)
        self.successes = self._successes(file)
        environment = _environment(path, file)
        options = environment.get("env_kwargs") or {}
        if not isinstance(options, dict):
            options = {}
        if rate := options.get("control_freq"):
            self.rates_hz = (rate_hz(rate, f"{path}: env_args, control_freq"),)
        task = environment.get("env_name")
        self.task = task if isinstance(task, str) else None
        self.controls = controls(options)
        kinds = {x.kind for x in self.controls}
        self.delta = None if len(kinds) != 1 or None in kinds else kinds == {"delta"}
        robots = options.get("robots")
        robots = [robots] if isinstance(robots, str) else robots
        if isinstance(robots, list) and robots and all(isinstance(x, str) for x in robots):
            self.robot = ", ".join(robots)

    def blocks(self, key: str, episode: int) -> Iterator[NDArray[Any]]:
        """Yield blocks; see Source.blocks."""
        yield from self._few.blocks(
            key, self.keys[key], episode, self.lengths[episode], lambda: self._read(key, episode)
        )

    def _read(self, key: str, episode: int) -> Iterator[NDArray[Any]]:
        with opened(self.path) as file:
            array = file.array(f"data/{self._demos[episode]}/{key}")
            yield from array.blocks(0, self.lengths[episode])

    def wrong(self, episode: int, keys: Collection[str]) -> str | None:
        """As Source.wrong."""
        why = next((x for key in keys if (x := self._wrong.get((episode, key)))), None)
        return super().wrong(episode, keys) or why

    def unlike(self, key: str, episode: int, values: NDArray[Any]) -> str | None:
        """As Source.unlike: what next_obs has of the same frames, one row before."""
        name = f"data/{self._demos[episode]}/next_{key}"
        if not key.startswith("obs/") or values.dtype.kind != "f" or len(values) < 2:
            return None
        with opened(self.path) as file:
            if name not in file:
                return None
            later = file.array(name)
            if later.shape != values.shape or later.dtype.kind != "f":
                return None
            off = np.abs(later.rows(0, len(values) - 1) - values[1:]).reshape(len(values) - 1, -1)
        far = np.flatnonzero((off > _NEAR * max(1.0, float(np.abs(values).max()))).any(1))
        if not len(far):
            return None
        return f"frame {far[0] + 1} is not what next_{key} has for it: rows were changed or lost"

    def _successes(self, file: Hdf5) -> tuple[bool | None, ...]:
        """By a demonstration's attribute, else by a flag `success`, else by what the environment
        said."""
        stated = tuple(_success(file, f"data/{demo}") for demo in self._demos)
        if any(x is not None for x in stated):
            return stated

        def signal(name: str) -> list[NDArray[Any] | None]:
            places = [f"data/{demo}/{name}" for demo in self._demos]
            arrays = [file.array(x) if x in file else None for x in places]
            return [None if x is None or x.shape[1:] else x.rows(0, len(x)) for x in arrays]

        try:
            found = tuple(None if x is None else success_of(x) for x in signal("success"))
            if any(x is not None for x in found):
                return found
            return successes_by_signals(signal("rewards"), signal("dones"))
        except DatasetError:  # no policy reads them: nothing is known then
            return ()

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


def _success(file: Hdf5, demo: str) -> bool | None:
    found = (file.flag(demo, name) for name in ("success", "successful"))
    return next((x for x in found if x is not None), None)
