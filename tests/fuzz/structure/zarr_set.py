"""Zarr sets, by hand: zarr itself starts a thread, and the fuzzer forks."""

from __future__ import annotations

import itertools
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tests.fuzz.damage import Rng
from tests.fuzz.structure.editor import Array, Editor, as_type

_ENDS = "meta/episode_ends"
_LABELS = ("timestamp", "success")


class ZarrSet(Editor):
    """Format 2. Rows that are taken out leave a consistent set: nothing in it counts them."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        names = sorted(x.name for x in (path / "data").iterdir() if x.is_dir())
        shapes = {
            x: json.loads((path / "data" / x / ".zarray").read_text())["shape"] for x in names
        }
        self.cameras = [x for x in names if len(shapes[x]) == 4]
        self.actions = ["action"]
        self.states = [x for x in names if len(shapes[x]) == 2 and x not in ("action", *_LABELS)]
        self._rest = [x for x in names if x not in (*self.cameras, *self.states, "action")]
        self.ends = read_array(path / _ENDS)
        self.lengths = np.diff(self.ends, prepend=0).tolist()

    def _rows(self, episode: int) -> slice:
        return slice(int(self.ends[episode]) - self.lengths[episode], int(self.ends[episode]))

    def get(self, key: str, episode: int) -> Array:
        return read_array(self.path / "data" / key)[self._rows(episode)].copy()

    def put(self, key: str, episode: int, values: Array) -> None:
        whole = read_array(self.path / "data" / key)
        whole[self._rows(episode)] = values
        write_array(self.path / "data" / key, whole)

    def take(self, episode: int, rows: Array) -> None:
        span = self._rows(episode)
        for key in (*self.cameras, *self.numbers, *self._rest):
            whole = read_array(self.path / "data" / key)
            parts = whole[: span.start], whole[span][rows], whole[span.stop :]
            write_array(self.path / "data" / key, np.concatenate(parts))
        self.ends[episode:] += len(rows) - self.lengths[episode]
        write_array(self.path / _ENDS, self.ends)

    def retype(self, key: str, dtype: str) -> None:
        place = self.path / "data" / key
        write_array(place, as_type(read_array(place), dtype))

    def rename(self, key: str, name: str) -> None:
        (self.path / "data" / key).rename(self.path / "data" / name)

    def lose(self, rng: Rng) -> str:
        chunks = sorted(x for x in (self.path / "data").glob("*/*") if not x.name.startswith("."))
        gone = chunks[int(rng.integers(len(chunks)))]
        gone.unlink()
        return f"{gone.parent.name}/{gone.name}"

    def special(self) -> Mapping[str, Any]:
        found: dict[str, Any] = {"ends off by one": self._end, "an array is shorter": self._shorter}
        if "timestamp" in self._rest:
            found["a stamp is shifted"] = self._stamp
        if self._ours():
            found |= {
                "rate": self._rate,
                "the kind of an action is another": self._kind,
                "success is flipped": self._success,
                "a unit is another": self._unit,
                "tasks differ": self._task,
            }
        return found

    def _end(self, rng: Rng) -> str:
        episode, by = int(rng.integers(len(self.ends))), int(rng.choice([-1, 1]))
        self.ends[episode] += by
        write_array(self.path / _ENDS, self.ends)
        return f"{episode} by {by}"

    def _shorter(self, rng: Rng) -> str:
        key = str(rng.choice([*self.cameras, *self.numbers]))
        write_array(self.path / "data" / key, read_array(self.path / "data" / key)[:-1])
        return key

    def _stamp(self, rng: Rng) -> str:
        episode = int(rng.integers(len(self.lengths)))
        stamps = self.get("timestamp", episode)
        at, by = int(rng.integers(len(stamps))), float(rng.choice([-1, 1]) * rng.uniform(0.02, 0.4))
        stamps[at] += by
        self.put("timestamp", episode, stamps)
        return f"episode {episode} frame {at} by {by:.3g} s"

    def _ours(self) -> bool:
        attributes = self.path / ".zattrs"
        return attributes.is_file() and b"ofp_edge" in attributes.read_bytes()

    def _changed(self, change: Any) -> str:
        attributes = self.path / ".zattrs"
        value = json.loads(attributes.read_text())
        said: str = change(value["ofp_edge"])
        attributes.write_text(json.dumps(value))
        return said

    def _rate(self, rng: Rng) -> str:
        def change(ours: dict[str, Any]) -> str:
            ours["control_hz"] *= float(rng.choice([0.5, 1.1, 2]))
            return f"{ours['control_hz']:g}"

        return self._changed(change)

    def _kind(self, rng: Rng) -> str:
        def change(ours: dict[str, Any]) -> str:
            action = ours["actions"][0]
            action["kind"], action["hold"] = ("absolute", None)
            return "delta said to be absolute"

        return self._changed(change)

    def _success(self, rng: Rng) -> str:
        def change(ours: dict[str, Any]) -> str:
            episode = int(rng.integers(len(self.lengths)))
            ours["success"][episode] = not ours["success"][episode]
            return f"episode {episode}"

        return self._changed(change)

    def _unit(self, rng: Rng) -> str:
        def change(ours: dict[str, Any]) -> str:
            ours["actions"][0]["unit"] = "mm"
            return "mm"

        return self._changed(change)

    def _task(self, rng: Rng) -> str:
        def change(ours: dict[str, Any]) -> str:
            ours["tasks"] = ["lift"] * (len(self.lengths) - 1) + ["push"]
            return "of the last episode"

        return self._changed(change)


def read_array(path: Path) -> Array:
    """An array, whichever codec it has."""
    import numcodecs
    from imagecodecs.numcodecs import register_codecs

    register_codecs(verbose=False)
    about = json.loads((path / ".zarray").read_text())
    shape, chunks, dtype = about["shape"], about["chunks"], np.dtype(about["dtype"])
    made = np.full(shape, about["fill_value"] or 0, dtype)
    codec = numcodecs.get_codec(about["compressor"]) if about["compressor"] else None
    filters = [numcodecs.get_codec(x) for x in about["filters"] or ()][::-1]
    separator = about.get("dimension_separator", ".")
    counts = (range(-(-n // c)) for n, c in zip(shape, chunks, strict=True))
    for place in itertools.product(*counts):
        file = path / separator.join(map(str, place))
        if not file.exists():
            continue
        data = file.read_bytes()
        for each in (codec, *filters):
            data = each.decode(data) if each else data
        chunk = np.frombuffer(np.ascontiguousarray(data), dtype).reshape(chunks)
        at = tuple(
            slice(i * c, min((i + 1) * c, n)) for i, c, n in zip(place, chunks, shape, strict=True)
        )
        made[at] = chunk[tuple(slice(0, s.stop - s.start) for s in at)]
    return made


def write_array(path: Path, values: Array, rows: int = 16) -> None:
    """Write it plain, in chunks of some rows."""
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir(parents=True)
    chunks = [min(rows, max(1, len(values))), *values.shape[1:]]
    about = {
        "chunks": chunks, "compressor": None, "dtype": values.dtype.str, "fill_value": 0,
        "filters": None, "order": "C", "shape": list(values.shape), "zarr_format": 2,
    }  # fmt: skip
    (path / ".zarray").write_text(json.dumps(about))
    for number, first in enumerate(range(0, len(values), chunks[0])):
        block = np.zeros(chunks, values.dtype)
        block[: len(values) - first] = values[first : first + chunks[0]]
        name = ".".join(map(str, (number, *(0,) * (values.ndim - 1))))
        (path / name).write_bytes(block.tobytes())
