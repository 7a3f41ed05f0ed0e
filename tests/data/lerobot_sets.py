"""LeRobot sets, made to be wrong: frame i of a camera's video is of grey 10 + 6 i, up to 40."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

CAMERA, TICKS, SIZE = "observation.images.cam", 1000, (32, 32, 3)
NUMBERS: dict[str, Any] = {
    "observation.state": {"dtype": "float32", "shape": [2], "names": None},
    "action": {"dtype": "float32", "shape": [2], "names": None},
    "timestamp": {"dtype": "float32", "shape": [1], "names": None},
    "frame_index": {"dtype": "int64", "shape": [1], "names": None},
    "episode_index": {"dtype": "int64", "shape": [1], "names": None},
    "index": {"dtype": "int64", "shape": [1], "names": None},
    "task_index": {"dtype": "int64", "shape": [1], "names": None},
}


def video(path: Path, times_s: Sequence[float], **options: str) -> None:
    """A video that shows its frames at these times."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(
            "h264", rate=Fraction(TICKS), options={"preset": "ultrafast", "threads": "1", **options}
        )
        stream.width, stream.height, stream.pix_fmt = SIZE[1], SIZE[0], "yuv420p"
        stream.codec_context.time_base = Fraction(1, TICKS)
        stream.gop_size = 3
        for number, time in enumerate(times_s):
            grey = np.full(SIZE, 10 + 6 * (number % 40), np.uint8)
            frame = av.VideoFrame.from_ndarray(grey, format="rgb24")
            frame.pts, frame.time_base = round(time * TICKS), Fraction(1, TICKS)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def rows(lengths: Sequence[int], fps: float, first: int = 0) -> list[dict[str, Any]]:
    """What LeRobot writes for these episodes; first: the number of the first row of each."""
    made: list[dict[str, Any]] = []
    for episode, length in enumerate(lengths):
        for frame in range(first, first + length):
            values = np.float32([frame, episode])
            made.append({
                "observation.state": values, "action": np.sin(values), "timestamp": frame / fps,
                "frame_index": frame, "episode_index": episode, "index": len(made),
                "task_index": 0,
            })  # fmt: skip
    return made


def even(count: int, fps: float, first_s: float = 0.0) -> list[float]:
    return [first_s + i / fps for i in range(count)]


def written(
    path: Path,
    version: str,
    table: Sequence[Mapping[str, Any]],
    lengths: Sequence[int],
    videos: Sequence[Sequence[float]],
    intervals: Sequence[tuple[float, float]] = (),
    fps: float = 10,
    options: Mapping[str, str] | None = None,
    info: Mapping[str, Any] | None = None,
    features: Mapping[str, Any] | None = None,
) -> Path:
    """Write a set. videos: when the frames of each are shown; v3.0 has one for all episodes.
    intervals: of v3.0's episodes in it."""
    v3 = version == "v3.0"
    camera = {"dtype": "video", "shape": list(SIZE), "names": ["height", "width", "channels"]}
    about = {
        "codebase_version": version, "fps": fps, "total_episodes": len(lengths),
        "features": {**NUMBERS, CAMERA: camera, **(features or {})},
        "data_path": "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet" if v3
        else "data/chunk-{episode_chunk:03d}/episode_{episode_index:06d}.parquet",
        "video_path": "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4" if v3
        else "videos/chunk-{episode_chunk:03d}/{video_key}/episode_{episode_index:06d}.mp4",
        **(info or {}),
    }  # fmt: skip
    (path / "meta").mkdir(parents=True)
    (path / "meta" / "info.json").write_text(json.dumps(about))
    for number, times in enumerate(videos):
        folder = path / "videos"
        name = f"{CAMERA}/chunk-000/file-{number:03d}" if v3 else (
            f"chunk-000/{CAMERA}/episode_{number:06d}"
        )  # fmt: skip
        video(folder / f"{name}.mp4", times, **(options or {}))
    entries = []
    for episode, length in enumerate(lengths):
        entry: dict[str, Any] = {"episode_index": episode, "length": length}
        if v3:
            where = {"chunk_index": 0, "file_index": 0}
            at = dict(zip(("from_timestamp", "to_timestamp"), intervals[episode], strict=True))
            entry |= {f"data/{k}": v for k, v in where.items()}
            entry |= {f"videos/{CAMERA}/{k}": v for k, v in {**where, **at}.items()}
        entries.append(entry)
    if v3:
        store(path / "data/chunk-000/file-000.parquet", table)
        store(path / "meta/episodes/chunk-000/file-000.parquet", entries)
    else:
        lines = "".join(json.dumps(x) + "\n" for x in entries)
        (path / "meta" / "episodes.jsonl").write_text(lines)
        for episode in range(len(lengths)):
            here = [x for x in table if x["episode_index"] == episode]
            store(path / f"data/chunk-000/episode_{episode:06d}.parquet", here)
    return path


def store(file: Path, table: Sequence[Mapping[str, Any]]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    types = {"timestamp": pa.float32(), "observation.state": pa.list_(pa.float32()),
             "action": pa.list_(pa.float32())}  # fmt: skip
    columns = {
        k: pa.array([x[k] for x in table], types.get(k)) for k in (table[0] if table else {})
    }
    pq.write_table(pa.table(columns), file)


def seen(frames: Any) -> list[int]:
    """The numbers of frames in their video."""
    return [round((float(x.mean()) - 10) / 6) for x in frames]
