"""What a stranger brings: LeRobot's usual kit, an SO-101 and two cameras, as files and an emulated
bus.

The set is of LeRobot v3.0: two cameras, six joints in degrees, six episodes. The arm's servos
answer byte by byte on a pseudo-terminal; the cameras are recordings.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from ofp_edge.runtime.robots.emulated_bus import EmulatedBus
from tests.data.lerobot_sets import store
from tests.ros2.bags import write_bag
from tests.runtime.ros2.pictures import image, info

JOINTS = ("shoulder_pan", "shoulder_lift", "elbow_flex", "wrist_flex", "wrist_roll", "gripper")
CAMERAS = ("front", "wrist")
HEIGHT, WIDTH, FPS, EPISODES, LENGTH = 48, 64, 30, 6, 45
_START = 1_700_000_000_000_000_000


def picture(camera: str, number: int) -> NDArray[np.uint8]:
    """A disc that goes round, and noise."""
    rng = np.random.default_rng([CAMERAS.index(camera), number])
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    angle = number / 12 + CAMERAS.index(camera)
    there = (y - 24 - 12 * np.sin(angle)) ** 2 + (x - 32 - 20 * np.cos(angle)) ** 2 < 36
    grey = np.where(there, 220, 90)[..., None] + rng.integers(0, 8, (HEIGHT, WIDTH, 3))
    return grey.astype(np.uint8)


def joints(number: int) -> NDArray[np.float32]:
    """Degrees; the gripper 0..100."""
    angle = number / 12 + np.arange(6)
    return (20 * np.sin(angle) + np.array([0, 0, 0, 0, 0, 50])).astype(np.float32)


def write_set(path: Path) -> None:
    """A set as LeRobot 0.4 and later record it."""
    names = [f"{joint}.pos" for joint in JOINTS]
    vector = {"dtype": "float32", "shape": [6], "names": names}
    single = {"dtype": "float32", "shape": [1], "names": None}
    whole = {**single, "dtype": "int64"}
    views = {f"observation.images.{x}": {
        "dtype": "video", "shape": [HEIGHT, WIDTH, 3], "names": ["height", "width", "channels"],
    } for x in CAMERAS}  # fmt: skip
    about = {
        "codebase_version": "v3.0", "robot_type": "so101_follower", "fps": FPS,
        "total_episodes": EPISODES, "total_frames": EPISODES * LENGTH, "total_tasks": 1,
        "chunks_size": 1000, "splits": {"train": f"0:{EPISODES}"},
        "features": {
            "action": vector, "observation.state": vector, **views, "timestamp": single,
            "frame_index": whole, "episode_index": whole, "index": whole, "task_index": whole,
        },
        "data_path": "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet",
        "video_path": "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4",
    }  # fmt: skip
    (path / "meta").mkdir(parents=True)
    (path / "meta/info.json").write_text(json.dumps(about))
    rows, episodes = [], []
    for episode in range(EPISODES):
        first = episode * LENGTH
        for i in range(LENGTH):
            rows.append({
                "action": joints(first + i + 1), "observation.state": joints(first + i),
                "timestamp": i / FPS, "frame_index": i, "episode_index": episode,
                "index": first + i, "task_index": 0,
            })  # fmt: skip
        entry: dict[str, Any] = {
            "episode_index": episode, "length": LENGTH, "tasks": ["follow the disc"],
            "data/chunk_index": 0, "data/file_index": 0,
        }  # fmt: skip
        for key in views:
            entry |= {f"videos/{key}/chunk_index": 0, f"videos/{key}/file_index": 0,
                      f"videos/{key}/from_timestamp": first / FPS,
                      f"videos/{key}/to_timestamp": (first + LENGTH) / FPS}  # fmt: skip
        episodes.append(entry)
    store(path / "data/chunk-000/file-000.parquet", rows)
    store(path / "meta/episodes/chunk-000/file-000.parquet", episodes)
    tasks = pa.table({"task_index": [0], "__index_level_0__": ["follow the disc"]})
    pq.write_table(tasks, path / "meta/tasks.parquet")
    for camera in CAMERAS:
        _video(path / f"videos/observation.images.{camera}/chunk-000/file-000.mp4", camera)


def _video(file: Path, camera: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(file), "w") as container:
        stream = container.add_stream("h264", rate=FPS, options={"preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        stream.codec_context.time_base = Fraction(1, FPS)
        for number in range(EPISODES * LENGTH):
            frame = av.VideoFrame.from_ndarray(picture(camera, number), format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, FPS)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def write_recordings(folder: Path) -> None:
    """Each camera as a bag of four seconds, FOLDER/CAMERA."""
    for camera in CAMERAS:
        messages = []
        for number in range(4 * FPS):
            t_ns = _START + number * 1_000_000_000 // FPS
            messages.append(("/image", image("rgb8", picture(camera, number), t_ns), t_ns))
            messages.append(("/info", info(width=WIDTH, height=HEIGHT), t_ns))
        write_bag(folder / camera, messages)


def write_calibration(path: Path) -> None:
    """LeRobot's file of the arm."""
    entries = {
        name: {"id": i + 1, "drive_mode": 0, "homing_offset": 0, "range_min": 500,
               "range_max": 3500}
        for i, name in enumerate(JOINTS)
    }  # fmt: skip
    path.write_text(json.dumps(entries))


@contextmanager
def arm(folder: Path) -> Iterator[Path]:
    """The path of a serial port behind which six servos answer, while the context lasts."""
    bus = EmulatedBus()
    port = folder / "ttyACM0"
    port.symlink_to(bus.path)
    try:
        yield port
    finally:
        bus.close()
        port.unlink()
