"""Factory calibration through the SDK: two sensors apart, recorded, read back; another camera."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from ofp_edge.cli.main import build_app
from ofp_edge.errors import CameraError
from ofp_edge.pose import make_pose
from ofp_edge.rig.file import CameraEntry, read_rig
from ofp_edge.runtime.cameras.open import open_camera
from tests.calibration.rendered import rotation
from tests.runtime.conftest import EYE

rs = pytest.importorskip("pyrealsense2")

T_COLOR_DEPTH = make_pose(rotation((0.01, -0.02, 0.005)), (0.015, 0.0002, -0.0003))
POSE = {"T_base_camera": [list(row) for row in EYE]}
RIG = """\
schema_version = 1
[robot]
driver = "nobody:Nobody"
[cameras.front]
driver = "recording"
[cameras.front.options]
path = "{path}"   # a bench of ours
{options}
[timing]
latency_ms = 50.0
max_plan_age_ms = 500.0
"""


def stream(kind: Any, form: Any, size: int, width: int, height: int, focal: float) -> Any:
    video = rs.video_stream()
    video.type, video.fmt, video.index, video.uid = kind, form, 0, size
    video.width, video.height, video.bpp, video.fps = width, height, size, 20
    pinhole = rs.intrinsics()
    pinhole.width, pinhole.height, pinhole.fx, pinhole.fy = width, height, focal, focal + 1
    pinhole.ppx, pinhole.ppy = width / 2 - 1, height / 2 + 1
    pinhole.model = rs.distortion.inverse_brown_conrady if size == 3 else rs.distortion.none
    pinhole.coeffs = [0.1, 0, 0, 0, 0] if size == 3 else [0.0] * 5
    video.intrinsics = pinhole
    return video


@pytest.fixture(scope="module")
def two_eyes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A .db3 file of a device whose colour sensor has its own place, size and bent lens."""
    path = tmp_path_factory.mktemp("two") / "two.db3"
    device = rs.software_device()
    device.register_info(rs.camera_info.serial_number, "42")
    depth, color = device.add_sensor("Depth"), device.add_sensor("Color")
    depth.add_read_only_option(rs.option.depth_units, 1e-4)
    profiles = [
        depth.add_video_stream(stream(rs.stream.depth, rs.format.z16, 2, 64, 48, 50.0)),
        color.add_video_stream(stream(rs.stream.color, rs.format.rgb8, 3, 96, 72, 90.0)),
    ]
    for ends, T in ((profiles, T_COLOR_DEPTH), (profiles[::-1], np.linalg.inv(T_COLOR_DEPTH))):
        between = rs.extrinsics()
        between.rotation = T[:3, :3].T.reshape(-1).tolist()
        between.translation = T[:3, 3].tolist()
        ends[0].register_extrinsics_to(ends[1], between)
    recorder = rs.recorder(str(path), device)
    queue = rs.frame_queue(50)
    sensors = list(recorder.query_sensors())
    for sensor, profile in zip(sensors, profiles, strict=True):
        sensor.open(profile)
        sensor.start(queue)
    for number in range(1, 6):
        for sensor, profile, shape in (
            (depth, profiles[0], (48, 64)), (color, profiles[1], (72, 96, 3))
        ):  # fmt: skip
            frame = rs.software_video_frame()
            frame.pixels = np.full(shape, number, np.uint16 if len(shape) == 2 else np.uint8)
            frame.bpp = 2 if len(shape) == 2 else 3
            frame.stride = frame.bpp * shape[1]
            frame.timestamp, frame.domain = 1e6 + 50 * number, rs.timestamp_domain.system_time
            frame.frame_number = number
            frame.profile = profile.as_video_stream_profile()
            if frame.bpp == 2:
                frame.depth_units = 1e-4
            sensor.on_video_frame(frame)
        time.sleep(0.05)
    for sensor in sensors:
        sensor.stop()
        sensor.close()
    del recorder
    return path


def invoke(*arguments: object) -> tuple[int, dict[str, Any]]:
    words = ["calibrate", "camera", *map(str, arguments), "--json"]
    result = CliRunner().invoke(build_app(), words)
    document: dict[str, Any] = json.loads(result.stdout)
    return result.exit_code, document


@pytest.mark.parametrize("options", ["", "color = true", "color = true\nalign = false"])
def test_calibrate_camera_reads_both_sensors_and_writes_the_policy_s(
    two_eyes: Path, tmp_path: Path, options: str
) -> None:
    rig = tmp_path / "rig.toml"
    rig.write_text(RIG.format(path=two_eyes, options=options))
    code, got = invoke("--rig", rig, "--camera", "front", "--write")
    assert code == 0, got
    device = got["device"]
    assert device["serial"] == "42" and device["depth_unit_m"] == pytest.approx(1e-4)
    assert (device["depth"]["fx"], device["depth"]["width"]) == (50.0, 64)
    assert (device["color"]["fx"], device["color"]["model"]) == (90.0, "inverse_brown_conrady")
    np.testing.assert_allclose(device["T_color_depth"], T_COLOR_DEPTH, atol=1e-6)
    fx, cx = (90.0, 47.0) if "align" in options else (50.0, 31.0)
    written = read_rig(rig).cameras["front"].parameters
    assert (written["fx"], written["fy"], written["cx"]) == (fx, fx + 1, cx)
    assert "# a bench of ours" in rig.read_text()
    # What was written is what the camera reports when it is opened as `run` does.
    entry = read_rig(rig).cameras["front"]
    camera = open_camera(
        CameraEntry("front", entry.driver, 200, entry.options, {**POSE, **written})
    )
    camera.start()
    assert camera.parameters.fx == fx
    camera.close()


def test_a_device_that_is_not_the_rig_s_is_refused_with_both_numbers(two_eyes: Path) -> None:
    options = {"path": str(two_eyes)}
    camera = open_camera(CameraEntry("front", "recording", 200, options, {**POSE, "fx": 52.0}))
    with pytest.raises(CameraError, match=r"fx, px: expected 52 within 1.04, got 50.* the rig's"):
        camera.start()
    near = open_camera(CameraEntry("front", "recording", 200, options, {**POSE, "fx": 50.5}))
    near.start()
    assert near.parameters.fx == 50.5  # the rig's own, as it is finer
    near.close()


def test_a_recording_without_colour_is_read_all_the_same(recording: Path, tmp_path: Path) -> None:
    rig = tmp_path / "rig.toml"
    rig.write_text(RIG.format(path=recording, options=""))
    code, got = invoke("--rig", rig, "--camera", "front")
    assert code == 0 and got["device"]["color"] is None
    assert got["device"]["depth"]["fx"] == 51.5 and not got["written"]


def test_the_pose_for_the_rig_is_that_of_the_sensor_the_policy_sees_by() -> None:
    pytest.importorskip("cv2")
    from ofp_edge.calibration.record import pose_for_rig
    from ofp_edge.calibration.views import DepthSensor
    from ofp_edge.lens import Lens

    X = make_pose(rotation((1.0, 0.2, 0.3)), (0.4, 0.5, 0.6))
    depth = DepthSensor(Lens(64, 48, 50.0, 51.0, 31.0, 25.0), 1e-4, T_COLOR_DEPTH)
    image = CameraEntry("front", "realsense", 200, {"color": True, "align": False})
    for entry, want in (
        (image, X), (CameraEntry("front", "realsense"), X @ T_COLOR_DEPTH),
        (CameraEntry("front", "realsense", 200, {"color": True}), X @ T_COLOR_DEPTH),
    ):  # fmt: skip
        np.testing.assert_array_equal(pose_for_rig(entry, X, depth), want)
    np.testing.assert_array_equal(pose_for_rig(image, X, None), X)
