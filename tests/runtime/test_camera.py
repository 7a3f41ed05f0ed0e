"""A rig's camera entry becomes a camera, or one line that says why not."""

import numpy as np
import pytest

from ofp_edge.errors import CameraError
from ofp_edge.rig.file import CameraEntry
from ofp_edge.runtime.cameras.open import open_camera

POSE = {"T_base_camera": np.eye(4).tolist()}


def error_of(entry, start=False):
    with pytest.raises(CameraError) as raised:
        camera = open_camera(entry)
        if start:
            camera.start()
    line = str(raised.value)
    assert "\n" not in line and "front" in line
    return line


def test_names_what_is_wrong_with_the_entry_in_one_line(tmp_path):
    pytest.importorskip("pyrealsense2")
    assert "realsense, recording" in error_of(CameraEntry("front", "webcam"))
    options = {"serial_number": "1"}
    assert "'serial_number'" in error_of(CameraEntry("front", "realsense", 200, options, POSE))
    odd = {**POSE, "fovy": 3}
    assert "unknown parameter 'fovy'" in error_of(CameraEntry("front", "realsense", 200, {}, odd))
    assert "path" in error_of(CameraEntry("front", "recording", 200, {}, POSE))
    gone = {"path": str(tmp_path / "x.db3")}
    assert "does not exist" in error_of(CameraEntry("front", "recording", 200, gone, POSE), True)
    (tmp_path / "y.db3").write_bytes(b"not a recording at all" * 100)
    broken = {"path": str(tmp_path / "y.db3")}
    assert "whole .db3" in error_of(CameraEntry("front", "recording", 200, broken, POSE), True)


def test_a_missing_device_is_named_with_what_is_connected():
    pytest.importorskip("pyrealsense2")
    entry = CameraEntry("front", "realsense", 200, {"serial": "839112060000"}, POSE)
    line = error_of(entry, start=True)
    assert "839112060000" in line and "found" in line


def test_a_pose_that_is_none_is_refused(recording):
    entry = CameraEntry(
        "front", "recording", 200, {"path": str(recording)}, {"T_base_camera": [[1]]}
    )
    assert "T_base_camera" in error_of(entry, start=True)
