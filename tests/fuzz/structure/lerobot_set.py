"""LeRobot sets: tables, meta/ and whole videos."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tests.fuzz.damage import Rng
from tests.fuzz.structure.editor import Array, Editor, as_type


class LeRobotSet(Editor):
    """v3.0 or v2.1. Rows that are taken out leave meta/ as it was."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.info = json.loads((path / "meta" / "info.json").read_text())
        self.v3 = self.info["codebase_version"] == "v3.0"
        self.states, self.actions = ["observation.state"], ["action"]
        self.cameras = [k for k, v in self.info["features"].items() if v["dtype"] == "video"]
        self.files = sorted((path / "data").rglob("*.parquet"))
        self.tables = [pq.read_table(x) for x in self.files]
        numbers = [x for t in self.tables for x in t["episode_index"].to_pylist()]
        self.lengths = np.bincount(numbers).tolist()
        self._changed: set[int] = set()

    def _place(self, episode: int) -> tuple[int, slice]:
        for number, table in enumerate(self.tables):
            rows = np.flatnonzero(np.asarray(table["episode_index"]) == episode)
            if len(rows):
                return number, slice(int(rows[0]), int(rows[-1]) + 1)
        raise KeyError(episode)

    def get(self, key: str, episode: int) -> Array:
        number, rows = self._place(episode)
        return np.array(self.tables[number][key].to_pylist()[rows])

    def put(self, key: str, episode: int, values: Array) -> None:
        number, rows = self._place(episode)
        table = self.tables[number]
        column = table[key].to_pylist()
        column[rows] = values.tolist()
        made = pa.array(column, table.schema.field(key).type)
        self.tables[number] = table.set_column(table.column_names.index(key), key, made)
        self._changed.add(number)

    def take(self, episode: int, rows: Array) -> None:
        number, span = self._place(episode)
        table = self.tables[number]
        order = [*range(span.start), *(span.start + rows), *range(span.stop, len(table))]
        self.tables[number] = table.take(pa.array(order, pa.int64()))
        self._changed.add(number)

    def retype(self, key: str, dtype: str) -> None:
        kind = pa.from_numpy_dtype(np.dtype(dtype).newbyteorder("="))
        for number, table in enumerate(self.tables):
            values = as_type(np.array(table[key].to_pylist()), dtype).tolist()
            column = pa.array(values, pa.list_(kind))
            self.tables[number] = table.set_column(table.column_names.index(key), key, column)
            self._changed.add(number)
        self.info["features"][key]["dtype"] = np.dtype(dtype).newbyteorder("=").name

    def rename(self, key: str, name: str) -> None:
        features = self.info["features"]
        new = f"{key.rpartition('.')[0]}.{name}".lstrip(".")
        self.info["features"] = {new if k == key else k: v for k, v in features.items()}
        if key in self.cameras:
            for folder in [x for x in (self.path / "videos").rglob(key) if x.is_dir()]:
                folder.rename(folder.with_name(new))
            if self.v3:
                self._entries(lambda e: {k.replace(key, new): v for k, v in e.items()})
            return
        for number, table in enumerate(self.tables):
            names = [new if x == key else x for x in table.column_names]
            self.tables[number] = table.rename_columns(names)
            self._changed.add(number)

    def lose(self, rng: Rng) -> str:
        files = [*sorted((self.path / "videos").rglob("*.mp4")), *self.files]
        gone = files[int(rng.integers(len(files)))]
        gone.unlink()
        return str(gone.relative_to(self.path))

    def save(self) -> None:
        (self.path / "meta" / "info.json").write_text(json.dumps(self.info))
        for number in self._changed:
            pq.write_table(self.tables[number], self.files[number])

    def _entries(self, change: Any) -> None:
        """Rewrite the list of episodes; change: of one entry, which returns it."""
        if self.v3:
            (file,) = (self.path / "meta" / "episodes").rglob("*.parquet")
            entries = [change(x) for x in pq.read_table(file).to_pylist()]
            pq.write_table(pa.Table.from_pylist(entries), file)
        else:
            file = self.path / "meta" / "episodes.jsonl"
            entries = [change(json.loads(x)) for x in file.read_text().splitlines()]
            file.write_text("".join(json.dumps(x) + "\n" for x in entries))

    def special(self) -> Mapping[str, Any]:
        found: dict[str, Any] = {
            "a stamp is shifted": self._stamp,
            "stamps count in milliseconds": self._milliseconds,
            "rate": self._rate,
            "ends off by one": self._length,
            "names are not as many": self._names,
            "names are exchanged": self._names_turned,
            "cameras are exchanged": self._cameras_swapped,
            "a video is cut": self._video_cut,
            "tasks differ": self._task,
            "success is flipped": self._success,
            "rows are dropped and numbered anew": self._renumbered,
        }
        if self.v3:
            found |= {
                "an interval is shifted by a frame": self._interval,
                "a camera is a frame early": self._camera_early,
                "intervals overlap": self._overlap,
            }
        else:
            found["a video is another episode's"] = self._video_of_another
        return found

    def _episode(self, rng: Rng) -> int:
        return int(rng.integers(len(self.lengths)))

    def _stamp(self, rng: Rng) -> str:
        episode = self._episode(rng)
        stamps = self.get("timestamp", episode)
        at, by = int(rng.integers(len(stamps))), float(rng.choice([-1, 1]) * rng.uniform(0.01, 0.2))
        stamps[at] += by
        self.put("timestamp", episode, stamps)
        return f"episode {episode} row {at} by {by:.3g} s"

    def _milliseconds(self, rng: Rng) -> str:
        for episode in range(len(self.lengths)):
            self.put("timestamp", episode, self.get("timestamp", episode) * 1000)
        return "all"

    def _rate(self, rng: Rng) -> str:
        self.info["fps"] = int(rng.choice([10, 15, 19, 21, 25, 30, 40]))
        return f"fps {self.info['fps']}"

    def _length(self, rng: Rng) -> str:
        episode, by = self._episode(rng), int(rng.choice([-1, 1]))
        self._entries(lambda e: {**e, "length": e["length"] + by * (e["episode_index"] == episode)})
        return f"{episode} by {by}"

    def _names(self, rng: Rng) -> str:
        key = str(rng.choice(self.numbers))
        names = self.info["features"][key]["names"]
        self.info["features"][key]["names"] = names[:-1] if rng.random() < 0.5 else [*names, "x"]
        return key

    def _names_turned(self, rng: Rng) -> str:
        key = str(rng.choice(self.numbers))
        self.info["features"][key]["names"] = self.info["features"][key]["names"][::-1]
        return key

    def _cameras_swapped(self, rng: Rng) -> str:
        one, other = self.cameras[:2]
        for file in sorted((self.path / "videos").rglob("*.mp4")):
            if one in str(file):
                there = Path(str(file).replace(one, other))
                data = file.read_bytes()
                file.write_bytes(there.read_bytes())
                there.write_bytes(data)
        return "in their files"

    def _video_cut(self, rng: Rng) -> str:
        files = sorted((self.path / "videos").rglob("*.mp4"))
        file = files[int(rng.integers(len(files)))]
        data = file.read_bytes()
        at = int(len(data) * rng.uniform(0.1, 0.99))
        file.write_bytes(data[:at])
        return f"{file.name} at {at} of {len(data)}"

    def _video_of_another(self, rng: Rng) -> str:
        one, other = rng.permutation(len(self.lengths))[:2]
        folder = self.path / "videos/chunk-000" / self.cameras[0]
        data = (folder / f"episode_{other:06d}.mp4").read_bytes()
        (folder / f"episode_{one:06d}.mp4").write_bytes(data)
        return f"{one} has that of {other}"

    def _task(self, rng: Rng) -> str:
        episode = self._episode(rng)
        self._entries(
            lambda e: {**e, "tasks": ["push"] if e["episode_index"] == episode else e["tasks"]}
        )
        return f"of episode {episode}"

    def _success(self, rng: Rng) -> str:
        episode = self._episode(rng)
        self.put("next.success", episode, np.zeros(self.lengths[episode], bool))
        return f"episode {episode}"

    def _renumbered(self, rng: Rng) -> str:
        episode = self._episode(rng)
        length = self.lengths[episode]
        at = int(rng.integers(1, length - 1))
        rows = np.delete(np.arange(length), at)
        kept = {k: self.get(k, episode)[:-1] for k in ("timestamp", "frame_index", "index")}
        self.take(episode, rows)
        for key, values in kept.items():
            self.put(key, episode, values)
        for later in range(episode + 1, len(self.lengths)):
            self.put("index", later, self.get("index", later) - 1)
        self._entries(lambda e: {**e, "length": e["length"] - (e["episode_index"] == episode)})
        return f"row {at} of episode {episode}"

    def _interval(self, rng: Rng) -> str:
        camera, episode, by = str(rng.choice(self.cameras)), self._episode(rng), rng.choice([-1, 1])
        self._shift(camera, [episode], float(by) / self.info["fps"])
        return f"{camera}, episode {episode} by {by}"

    def _camera_early(self, rng: Rng) -> str:
        camera, by = str(rng.choice(self.cameras)), rng.choice([-1, 1])
        self._shift(
            camera, list(range(1 if by < 0 else 0, len(self.lengths))), by / self.info["fps"]
        )
        return f"{camera} by {by}"

    def _shift(self, camera: str, episodes: list[int], by_s: float) -> None:
        begin, end = (f"videos/{camera}/{x}_timestamp" for x in ("from", "to"))

        def change(entry: dict[str, Any]) -> dict[str, Any]:
            if entry["episode_index"] in episodes:
                return {**entry, begin: max(0.0, entry[begin] + by_s), end: entry[end] + by_s}
            return entry

        self._entries(change)

    def _overlap(self, rng: Rng) -> str:
        camera, count = str(rng.choice(self.cameras)), int(rng.integers(2, 6))
        begin = f"videos/{camera}/from_timestamp"
        self._entries(lambda e: {**e, begin: e[begin] - count / 20 * (e["episode_index"] == 1)})
        return f"{camera}, episode 1 begins {count} frames early"
