"""LeRobot datasets, v3.0 and v2.1: numbers in Parquet, cameras in MP4.

    meta/           what lies where (lerobot_meta.py)
    data/…parquet   v3.0: many episodes a file, v2.1: one
    videos/…mp4     the same; v3.0 says from which second on

Depth videos and text are left out.
"""

from __future__ import annotations

import functools
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ofp_edge.data.few_numbers import FewNumbers
from ofp_edge.data.layouts.images import decode_image
from ofp_edge.data.layouts.lerobot_files import flat_numbers, require_rows
from ofp_edge.data.layouts.lerobot_labels import (
    names_of,
    odd_rates,
    read_tasks,
    robot_of,
    task_text,
)
from ofp_edge.data.layouts.lerobot_meta import (
    IMAGES,
    Episode,
    Info,
    read_episodes,
    read_info,
)
from ofp_edge.data.layouts.lerobot_rows import SUCCESS, RowTables
from ofp_edge.data.layouts.lerobot_statistics import stated, unlike
from ofp_edge.data.layouts.lerobot_tables import Tables
from ofp_edge.data.layouts.lerobot_videos import Cameras
from ofp_edge.data.source import Key, Source, spans
from ofp_edge.errors import DatasetError
from ofp_edge.extras import require
from ofp_edge.outside import MEBIBYTE, read_plain, said_by
from ofp_edge.strict import shown

_BATCH_IMAGES, _BLOCK_FRAMES = 16, 16
_LARGEST_IMAGE = 64 * MEBIBYTE


class LeRobotSource(Source):
    """An open dataset in LeRobot's layout."""

    def __init__(self, path: Path, info: Info, episodes: list[Episode]) -> None:
        self.path, self._episodes = path, episodes
        self.layout = f"lerobot-{info.codebase_version}"
        self.lengths = tuple(x.length for x in episodes)
        self.rates_hz = (float(info.fps),)
        self.robot = robot_of(info)
        self.names, odd = names_of(info)
        self.notes = (*odd, *odd_rates(info))
        self._version = info.codebase_version
        self._kinds = {name: x.dtype for name, x in info.features.items()}
        self.keys = {
            name: Key(_rows_first(x.shape), "uint8") if x.dtype in IMAGES else Key(x.shape, x.dtype)
            for name, x in info.features.items()
        }
        self.left = info.left
        self._few = FewNumbers()
        self._tables = Tables(
            path, info.data_path, {e: (x.data, x.length) for e, x in enumerate(episodes)}
        )
        self._rows = RowTables(self._tables, self.lengths, float(info.fps))
        self._cameras = Cameras(path, [x.videos for x in episodes], self._rows, float(info.fps))

    @functools.cached_property
    def tasks(self) -> tuple[str | None, ...]:  # type: ignore[override]
        """As Source.tasks: of the list of episodes, or else of their rows."""
        found = [task_text(x.tasks) for x in self._episodes]
        if None in found and (texts := read_tasks(self.path, self._version)):
            for episode, text in enumerate(found):
                if text is None:
                    numbers = self._rows.of(episode).tasks
                    found[episode] = task_text([texts.get(x) for x in numbers])
        return tuple(found) if any(found) else ()

    @functools.cached_property
    def successes(self) -> tuple[bool | None, ...]:  # type: ignore[override]
        """As Source.successes."""
        if SUCCESS not in self.keys:
            return ()
        return tuple(self._rows.of(x).success for x in range(len(self.lengths)))

    @functools.cached_property
    def _stated(self) -> dict[int, Mapping[str, Any]]:
        """What meta/ states of each episode's numbers."""
        numbers = [name for name, x in self.keys.items() if x.dtype.startswith("float")]
        return stated(self.path, self._version, numbers)

    def unlike(self, key: str, episode: int, values: NDArray[Any]) -> str | None:
        """As Source.unlike: by the statistics in meta/."""
        if values.dtype.kind != "f":
            return None
        return unlike(self._stated.get(episode, {}).get(key), values)

    def times_s(self, episode: int) -> NDArray[np.float64] | None:
        """As Source.times_s."""
        return self._rows.of(episode).times_s if "timestamp" in self.keys else None

    def wrong(self, episode: int, keys: Collection[str]) -> str | None:
        """As Source.wrong: rows that are missing, images that are not where they should be."""
        where = f"{self.path}: episode {episode}"
        if self.lengths[episode] < 1:
            return super().wrong(episode, keys)
        for key in keys:
            if (why := self._rows.of(episode).wrong) is not None:
                return f"{where}, data: {why}."
            if self._kinds[key] == "video":
                if (why := self._cameras.wrong(key, episode)) is not None:
                    return f"{where}, {key}: {why}."
        return super().wrong(episode, keys)

    def odd(self, key: str, episodes: Sequence[int]) -> tuple[str, ...]:
        """Rows that are not where the list of episodes says, or out of order; frames of videos
        that no row has."""
        rows = (*self._tables.moved(episodes), *self._rows.odd(episodes))
        return rows + (self._cameras.odd(key, episodes) if self._kinds[key] == "video" else ())

    def blocks(self, key: str, episode: int) -> Iterator[NDArray[Any]]:
        """Yield blocks; see Source.blocks."""
        kind = self._kinds[key]
        if kind == "video":
            yield from self._video(key, episode)
        elif kind == "image":
            yield from self._images(key, episode)
        else:
            yield from self._few.blocks(
                key,
                self.keys[key],
                episode,
                self.lengths[episode],
                lambda: iter((self._numbers(key, episode),)),
            )

    def _video(self, key: str, episode: int) -> Iterator[NDArray[Any]]:
        block: list[NDArray[Any]] = []
        for frame in self._cameras.frames(key, episode, self.keys[key].shape):
            block.append(frame)
            if len(block) == min(_BLOCK_FRAMES, self.keys[key].block_rows):
                yield np.stack(block)
                block = []
        if block:
            yield np.stack(block)

    def _images(self, key: str, episode: int) -> Iterator[NDArray[Any]]:
        made, size = 0, self.keys[key].shape[:2]
        for items in self._items(key, episode):
            frames: list[NDArray[np.uint8]] = []
            for item in items:
                where = f"{self.path}: episode {episode}, {key}, frame {made + len(frames)}"
                data = self._image_bytes(item, where)
                frames.append(decode_image(data, where, ("PNG", "JPEG"), (size[0], size[1])))
            made += len(frames)
            if frames:
                yield np.stack(frames)
        self._require_rows(made, episode)

    def _items(self, key: str, episode: int) -> Iterator[list[Any]]:
        """Entries of a column, a few at a time unless they lie out of order."""
        found = (x.column(0).to_pylist() for x in self._batches(key, episode, _BATCH_IMAGES))
        if (order := self._rows.of(episode).order) is None:
            yield from found
            return
        items = [x for part in found for x in part]
        self._require_rows(len(items), episode)
        for first, last in spans(len(items), _BATCH_IMAGES):
            yield [items[i] for i in order[first:last]]

    def _image_bytes(self, item: Any, where: str) -> bytes:
        """Return the picture of {"bytes", "path"}: the table's, or that of the dataset's file."""
        data, name = (
            (item.get("bytes"), item.get("path")) if isinstance(item, dict) else (None,) * 2
        )
        if isinstance(data, bytes) and data:
            return data
        if not isinstance(name, str):
            raise DatasetError(f"{where}: expected an image's bytes or path, got {shown(item)}.")
        return read_plain(self.path / name, DatasetError, _LARGEST_IMAGE, inside=self.path)

    def _numbers(self, key: str, episode: int) -> NDArray[Any]:
        """One column of an episode: (n, *shape)."""
        batches = list(self._batches(key, episode, 4096))
        rows = sum(len(x) for x in batches)
        self._require_rows(rows, episode)
        want = self.keys[key]
        with said_by(f"{self._episodes[episode].data}: {key} cannot be read", DatasetError):
            values = np.concatenate([flat_numbers(x.column(0)) for x in batches])
        if values.size != rows * np.prod(want.shape) or values.dtype.kind not in "biuf":
            raise DatasetError(
                f"{self.path}: episode {episode}, {key}: expected shape {(rows, *want.shape)} by "
                f"meta/info.json, got {values.size} values of {values.dtype}."
            )
        order, values = self._rows.of(episode).order, values.reshape(rows, *want.shape)
        return (values if order is None else values[order]).astype(want.dtype)

    def _batches(self, name: str, episode: int, rows: int) -> Iterator[Any]:
        """Record batches of one column's rows of the episode; only its row groups are read."""
        parquet, sets = require("pyarrow.parquet", "data"), require("pyarrow.dataset", "data")
        file = self._tables.file_of(episode)
        with said_by(f"{file} cannot be read", DatasetError):
            metadata = parquet.read_metadata(file)
        require_rows(file, metadata, sum(self.lengths))
        with said_by(f"{file} cannot be read", DatasetError):
            scanner = sets.dataset(str(file), format="parquet").scanner(
                columns=[name],
                filter=sets.field("episode_index") == episode,
                batch_size=rows,
                batch_readahead=1,
                fragment_readahead=1,
                use_threads=False,
            )
            found = iter(scanner.to_batches())
        while True:
            with said_by(f"{file} cannot be read", DatasetError):
                batch = next(found, None)
            if batch is None:
                return
            yield batch

    def _require_rows(self, got: int, episode: int) -> None:
        if got != self.lengths[episode]:
            raise DatasetError(
                f"{self._episodes[episode].data}: episode {episode}: expected "
                f"{self.lengths[episode]} frames by meta/, got {got}."
            )


def open_lerobot(path: Path) -> LeRobotSource:
    """Open a dataset folder. DatasetError when it is damaged or of another version."""
    info = read_info(path)
    return LeRobotSource(path, info, read_episodes(path, info))


def _rows_first(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Some datasets state (3, H, W); decoded frames are (H, W, 3) all the same."""
    return (*shape[1:], shape[0]) if shape[0] == 3 and shape[-1] != 3 else shape
