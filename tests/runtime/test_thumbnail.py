"""Pictures in the log: once a second and camera, small, as Foxglove's RawImage."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import numpy as np
import pytest
from mcap.reader import make_reader

from ofp_edge.runtime.camera import Frame
from ofp_edge.runtime.log.telemetry import McapLog
from ofp_edge.runtime.log.thumbnail import Thumbnails, raw_image

MS = 10**6
DEPTH = np.arange(120 * 160, dtype=np.uint16).reshape(120, 160)
COLOR = np.random.default_rng(0).integers(0, 256, (480, 640, 3), np.uint8)


def frame(t_ms: int, color: bool = False) -> Frame:
    return Frame(DEPTH, COLOR if color else None, t_ms * MS, t_ms)


def test_one_a_second_and_camera() -> None:
    thumbnails, made = Thumbnails(), []
    for t_ms in range(5, 3000, 33):
        for topic, t_ns, _ in thumbnails.due({"front": frame(t_ms), "side": frame(t_ms + 7)}):
            made.append((topic, t_ns // MS))
    assert made == [
        ("/thumbnail/front", 5), ("/thumbnail/side", 12),
        ("/thumbnail/front", 1028), ("/thumbnail/side", 1035),
        ("/thumbnail/front", 2051), ("/thumbnail/side", 2058),
    ]  # fmt: skip


def test_a_clock_that_jumped_back_does_not_end_them() -> None:
    thumbnails = Thumbnails()
    assert [len(list(thumbnails.due({"a": frame(t)}))) for t in (9000, 2000, 2100)] == [1, 1, 0]


@pytest.mark.parametrize(
    ("color", "encoding", "of"),
    [(False, "16UC1", DEPTH[::2, ::2]), (True, "rgb8", COLOR[::7, ::7])],
)
def test_it_reads_back_as_foxgloves_raw_image(
    tmp_path: Path, color: bool, encoding: str, of: np.ndarray
) -> None:
    log = McapLog(tmp_path / "run.mcap", {})
    log.write("/thumbnail/front", 5 * MS, **raw_image("front", frame(1_002_003, color)))
    log.close()
    with (tmp_path / "run.mcap").open("rb") as file:
        ((schema, channel, message),) = make_reader(file).iter_messages()
    assert schema is not None and schema.name == "foxglove.RawImage"
    assert channel.topic == "/thumbnail/front" and channel.message_encoding == "json"
    row = json.loads(message.data)
    assert row["timestamp"] == {"sec": 1002, "nsec": 3 * MS} and row["frame_id"] == "front"
    assert row["encoding"] == encoding and (row["height"], row["width"]) == of.shape[:2]
    rows = np.frombuffer(base64.b64decode(row["data"]), np.uint8).reshape(row["height"], -1)
    assert row["step"] == rows.shape[1]
    np.testing.assert_array_equal(rows.view(of.dtype).reshape(of.shape), of)
