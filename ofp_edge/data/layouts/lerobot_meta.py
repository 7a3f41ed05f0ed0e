"""Read meta/ of a LeRobot dataset: each entry has its type, each file lies in the set's folder.

meta/info.json                                   rate, features, where files lie
meta/episodes/*/*.parquet | meta/episodes.jsonl  an entry an episode
"""

from __future__ import annotations

import math
import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ofp_edge.data.layouts.lerobot_files import MOST_EPISODES, Row, episode_lines, episode_table
from ofp_edge.data.source import rate_hz
from ofp_edge.errors import DatasetError
from ofp_edge.outside import require_plain
from ofp_edge.strict import read_as, read_json_file, shown

VERSIONS = ("v3.0", "v2.1")
IMAGES = ("video", "image")
_LEFT_OUT = ("string", "language")
_NUMBERS = (
    "float16",
    "float32",
    "float64",
    "int8",
    "int16",
    "int32",
    "int64",
    "uint8",
    "uint16",
    "uint32",
    "uint64",
    "bool",
)
_FIELD = re.compile(r"\{([a-z_]{1,40})(?::0?([0-9]{0,2})d?)?\}")
_MOST_ROWS, _LARGEST_FRAME = 10**8, 1 << 28


@dataclass(frozen=True)
class Feature:
    """Describes one entry of `features` in info.json."""

    dtype: str
    shape: tuple[int, ...]
    info: dict[str, Any] | None = field(default=None)
    video_info: Any = None
    names: Any = None
    fps: Any = None

    @property
    def is_depth(self) -> bool:
        """Whether it is a depth video, which is left out."""
        inside = self.info or {}
        return bool(inside.get("is_depth_map") or inside.get("video.is_depth_map"))


@dataclass(frozen=True)
class Info:
    """The entries of info.json that are read. left: features that are not, and why."""

    codebase_version: str
    fps: float
    features: dict[str, Feature]
    total_episodes: int
    data_path: str
    video_path: str | None = None
    chunks_size: int = 1000
    left: dict[str, str] = field(default_factory=dict)
    robot_type: Any = None


@dataclass(frozen=True)
class Interval:
    """Says where a camera's images of an episode lie: from which second of a file on, and up to
    which, where that is stated."""

    file: Path
    from_s: float = 0.0
    to_s: float | None = None


@dataclass(frozen=True)
class Episode:
    """Says where an episode lies. videos: by camera. tasks: as the list of episodes has them."""

    length: int
    data: Path
    videos: dict[str, Interval]
    tasks: Any = None


def read_info(path: Path) -> Info:
    """Read info.json. Raises DatasetError. Features that are left out are not in it."""
    file = path / "meta" / "info.json"
    value = read_json_file(file, DatasetError, inside=path)
    version = value.get("codebase_version") if isinstance(value, dict) else None
    if version not in VERSIONS:
        raise DatasetError(
            f"{path}: LeRobot dataset {shown(version)}, expected {' or '.join(VERSIONS)}. "
            "LeRobot's own scripts convert older ones."
        )
    info = read_as(Info, value, str(file), DatasetError, others=True)
    rate_hz(info.fps, f"{file}: fps")
    if info.chunks_size < 1:
        raise DatasetError(f"{file}: chunks_size: expected 1 or more, got {info.chunks_size}.")
    kept, left = {}, {}
    for name, item in info.features.items():
        if item.dtype in _LEFT_OUT or item.is_depth:
            left[name] = "a depth video, which is not read" if item.is_depth else "text"
            continue
        where = f"{file}: features.{shown(name)[1:-1]}"
        if item.dtype not in (*_NUMBERS, *IMAGES):
            raise DatasetError(f"{where}.dtype: {shown(item.dtype)} is not read.")
        bad = any(x < 1 for x in item.shape) or math.prod(item.shape) > _LARGEST_FRAME
        if bad or (item.dtype in IMAGES and len(item.shape) != 3) or len(item.shape) > 4:
            raise DatasetError(f"{where}.shape: {shown(list(item.shape))} is none of its kind.")
        kept[name] = item
    return Info(**{**vars(info), "features": kept, "left": left})


def read_episodes(path: Path, info: Info) -> list[Episode]:
    """Return the episodes in order. DatasetError when info.json counts others."""
    videos = [name for name, x in info.features.items() if x.dtype == "video"]
    rows = episode_table(path) if info.codebase_version == "v3.0" else episode_lines(path)
    for row in rows:
        row.require("episode_index", largest=MOST_EPISODES)
    rows.sort(key=lambda row: row.values["episode_index"])
    numbers = [row.values["episode_index"] for row in rows]
    if numbers != list(range(len(numbers))) or len(numbers) != info.total_episodes:
        raise DatasetError(
            f"{path}: meta/info.json counts {info.total_episodes} episodes from 0 on, "
            f"meta/episodes lists {numbers[:8]}{' …' if len(numbers) > 8 else ''}."
        )
    found = [_episode(path, info, row, videos) for row in rows]
    if sum(x.length for x in found) > _MOST_ROWS:
        raise DatasetError(f"{path}: meta/episodes: more than {_MOST_ROWS} frames.")
    return found


def _episode(path: Path, info: Info, row: Row, videos: list[str]) -> Episode:
    length = row.require("length")
    if info.codebase_version == "v2.1":
        number = row.require("episode_index")
        place = {"episode_chunk": number // info.chunks_size, "episode_index": number}
        data = _file(path, "data_path", info.data_path, place)
        found = {
            name: Interval(_file(path, "video_path", info.video_path, place, name))
            for name in videos
        }
        return Episode(length, data, found, row.values.get("tasks"))
    names = ("chunk_index", "file_index")
    data = _file(path, "data_path", info.data_path, {x: row.require(f"data/{x}") for x in names})
    found = {}
    for name in videos:
        at = {x: row.require(f"videos/{name}/{x}") for x in names}
        file = _file(path, "video_path", info.video_path, at, name)
        begin, end = (f"videos/{name}/{x}_timestamp" for x in ("from", "to"))
        to_s = None if row.values.get(end) is None else row.seconds(end)
        found[name] = Interval(file, row.seconds(begin), to_s)
    return Episode(length, data, found, row.values.get("tasks"))


def _file(
    path: Path, entry: str, pattern: str | None, numbers: dict[str, int], video: str = ""
) -> Path:
    """A file by its pattern: {name} and {name:03d}, and no more of what str.format would do."""
    where = f"{path}: meta/info.json: {entry}"

    def put(found: re.Match[str]) -> str:
        if found[1] == "video_key" and video and not found[2]:
            return video
        if found[1] not in numbers:
            raise DatasetError(f"{where}: {{{found[1]}}} stands for nothing.")
        return f"{numbers[found[1]]:0{int(found[2] or 0)}d}"

    if pattern is None:
        raise DatasetError(f"{where}: missing.")
    text = _FIELD.sub(put, pattern)
    if set("{}") & set(_FIELD.sub("", pattern)):
        raise DatasetError(f"{where}: {shown(pattern)} is no pattern of LeRobot's.")
    if not os.path.exists(path / text):
        return path / text  # the episode need not be among those that are chosen
    return require_plain(path / text, DatasetError, inside=path)
