"""robomimic's file and RoboTwin's files."""

from __future__ import annotations

import json
from abc import abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from tests.fuzz.damage import Rng
from tests.fuzz.structure.editor import Array, Editor, as_type


class _Hdf5Set(Editor):
    """Episodes are groups, in one file or in many. Counts that are written down stay."""

    @abstractmethod
    def _groups(self) -> list[tuple[Path, str]]:
        """The file of each episode and the group in it that holds its rows, "" for the root."""

    def _open(self, episode: int) -> Any:
        return h5py.File(self._groups()[episode][0], "r+")

    def _name(self, episode: int, key: str) -> str:
        return f"{self._groups()[episode][1]}/{key}".lstrip("/")

    def get(self, key: str, episode: int) -> Array:
        with self._open(episode) as file:
            return np.asarray(file[self._name(episode, key)][()])

    def put(self, key: str, episode: int, values: Array) -> None:
        with self._open(episode) as file:
            _replace(file, self._name(episode, key), values)

    def take(self, episode: int, rows: Array) -> None:
        for key in self._rowwise(episode):
            self.put(key, episode, self.get(key, episode)[rows])

    def retype(self, key: str, dtype: str) -> None:
        for episode in range(len(self.lengths)):
            self.put(key, episode, as_type(self.get(key, episode), dtype))

    def rename(self, key: str, name: str) -> None:
        for episode in range(len(self.lengths)):
            with self._open(episode) as file:
                old = self._name(episode, key)
                file.move(old, f"{old.rpartition('/')[0]}/{name}".lstrip("/"))

    def lose(self, rng: Rng) -> str:
        episode = int(rng.integers(len(self.lengths)))
        key = str(rng.choice([*self.cameras, *self.numbers]))
        with self._open(episode) as file:
            del file[self._name(episode, key)]
        return f"{key} of episode {episode}"

    def _shorter(self, rng: Rng) -> str:
        episode = int(rng.integers(len(self.lengths)))
        key = str(rng.choice([*self.cameras, *self.numbers]))
        self.put(key, episode, self.get(key, episode)[:-1])
        return f"{key} of episode {episode}"

    def _rowwise(self, episode: int) -> list[str]:
        found: list[str] = []
        count, group = self._rows_stored(episode), self._groups()[episode][1]
        with self._open(episode) as file:
            start = file[group] if group else file
            start.visititems(
                lambda name, x: (
                    found.append(name)
                    if isinstance(x, h5py.Dataset) and x.shape and x.shape[0] == count
                    else None
                )
            )
        return found

    def _rows_stored(self, episode: int) -> int:
        return self.lengths[episode]


class Robomimic(_Hdf5Set):
    """One file."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.states = ["obs/robot0_eef_pos", "obs/robot0_eef_quat"]
        self.actions, self.cameras = ["actions"], ["obs/agentview_image"]
        with h5py.File(path) as file:
            self._demos = sorted(file["data"])
            self.lengths = [len(file[f"data/{x}/actions"]) for x in self._demos]

    def _groups(self) -> list[tuple[Path, str]]:
        return [(self.path, f"data/{x}") for x in self._demos]

    def special(self) -> Mapping[str, Any]:
        return {
            "an array is shorter": self._shorter, "ends off by one": self._samples,
            "rate": self._rate, "the kind of an action is another": self._kind,
            "success is flipped": self._success,
        }  # fmt: skip

    def _samples(self, rng: Rng) -> str:
        episode, by = int(rng.integers(len(self.lengths))), int(rng.choice([-1, 1]))
        with self._open(episode) as file:
            file[self._groups()[episode][1]].attrs["num_samples"] = self.lengths[episode] + by
        return f"{episode} by {by}"

    def _environment(self, change: Any) -> None:
        with self._open(0) as file:
            value = json.loads(file["data"].attrs["env_args"])
            change(value["env_kwargs"])
            file["data"].attrs["env_args"] = json.dumps(value)

    def _rate(self, rng: Rng) -> str:
        rate = int(rng.choice([10, 15, 30, 40]))
        self._environment(lambda x: x.update(control_freq=rate))
        return f"{rate}"

    def _kind(self, rng: Rng) -> str:
        self._environment(lambda x: x["controller_configs"].update(control_delta=False))
        return "delta said to be absolute"

    def _success(self, rng: Rng) -> str:
        episode = int(rng.integers(len(self.lengths)))
        self.put("rewards", episode, np.zeros(self.lengths[episode]))
        return f"episode {episode}"


class RoboTwin(_Hdf5Set):
    """A folder of files, raw or native."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.files = sorted((path / "data").glob("*.hdf5"))
        with h5py.File(self.files[0]) as file:
            self.native = "data_format_version" in file
            base = ["vision/cam_head/colors", "vision/cam_left_wrist/colors"]
            raw = ["observation/head_camera/rgb", "observation/left_camera/rgb"]
            self.cameras = base if self.native else raw
            top = "state" if self.native else "joint_action"
            self.states = [f"{top}/{x}" for x in file[top] if file[f"{top}/{x}"].ndim == 2]
            self.actions = [f"action/{x}" for x in file["action"]] if self.native else []
        self.lengths = []
        for name in self.files:
            with h5py.File(name) as file:
                self.lengths.append(len(file[self.states[0]]))

    def _groups(self) -> list[tuple[Path, str]]:
        return [(x, "") for x in self.files]

    def special(self) -> Mapping[str, Any]:
        found: dict[str, Any] = {"an array is shorter": self._shorter, "a file is lost": self._file}
        if self.native:
            found["rate"] = self._rate
        return found

    def _file(self, rng: Rng) -> str:
        gone = self.files[int(rng.integers(len(self.files)))]
        gone.unlink()
        return gone.name

    def _rate(self, rng: Rng) -> str:
        rate, chosen = (
            int(rng.choice([10, 30])),
            self.files if rng.random() < 0.5 else self.files[:1],
        )
        for name in chosen:
            with h5py.File(name, "r+") as file:
                _replace(file, "additional_info/frequency", np.int32(rate))
        return f"{rate} in {len(chosen)} files"


def _replace(file: Any, name: str, values: Any) -> None:
    kept = dict(file[name].attrs)
    del file[name]
    file[name] = values
    file[name].attrs.update(kept)
