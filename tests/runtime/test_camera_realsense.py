"""Frames through the real SDK: bit-exact, in order, each one once; from software, file, device."""

import subprocess
import sys
import time

import numpy as np
import pytest

from ofp_edge.errors import CameraError
from ofp_edge.preprocess import PointCloud
from ofp_edge.rig.file import CameraEntry
from ofp_edge.runtime.cameras.open import open_camera
from tests.runtime.conftest import EYE, N_FRAMES, PARAMETERS, random_frames

rs = pytest.importorskip("pyrealsense2")

from ofp_edge.runtime.cameras.realsense import RealSenseCamera, device_camera  # noqa: E402
from ofp_edge.runtime.cameras.software import SERIAL, SoftwareSource  # noqa: E402

POSE = {"T_base_camera": [list(row) for row in EYE]}


@pytest.fixture(params=[False, True], ids=["depth", "depth+color"])
def software(request):
    source = SoftwareSource(PARAMETERS, 20.0, request.param)
    camera = RealSenseCamera("front", source, time.monotonic_ns, POSE)
    camera.start()
    yield source, camera
    camera.close()


def push(source, depth, number, stamp_ns=None):
    color = np.full((48, 64, 3), number % 200, np.uint8)
    stamp_ns = 10**12 + number * 50_000_000 if stamp_ns is None else stamp_ns
    source.push(depth, color, stamp_ns, number)


def test_every_frame_comes_out_bit_exact_with_its_time_and_number(software):
    source, camera = software
    for number, depth in enumerate(random_frames(60), start=1):
        push(source, depth, number)
        frame = camera.read(1000)
        np.testing.assert_array_equal(frame.depth, depth)
        assert frame.t_capture_ns == 10**12 + number * 50_000_000
        assert frame.sequence == number
        if source.color:
            assert frame.color.shape == (48, 64, 3) and (frame.color[5:-5, 5:-5] == number).all()
        else:
            assert frame.color is None


def test_an_old_frame_is_never_returned_as_new(software):
    source, camera = software
    frames = random_frames(3)
    push(source, frames[0], 1)
    assert camera.read(1000).sequence == 1
    assert camera.read(0) is None
    push(source, frames[0], 1)  # the same one again
    assert camera.read(50) is None
    push(source, frames[1], 0)  # one that was overtaken
    assert camera.read(50) is None
    push(source, frames[2], 2)
    assert camera.read(1000).sequence == 2


def test_read_returns_the_newest_of_several(software):
    source, camera = software
    frames = random_frames(6)
    push(source, frames[0], 1)
    assert camera.read(1000).sequence == 1
    for number in range(2, 7):
        push(source, frames[number - 1], number)
        time.sleep(0.02)
    frame = camera.read(1000)
    assert frame.sequence == 6
    np.testing.assert_array_equal(frame.depth, frames[5])
    assert camera.read(0) is None


def test_read_does_not_block_past_its_timeout(software):
    _, camera = software
    for timeout_ms in (0, 30):
        started = time.monotonic()
        assert camera.read(timeout_ms) is None
        assert time.monotonic() - started < timeout_ms / 1000 + 0.1


def test_a_restarted_frame_counter_goes_on(software):
    source, camera = software
    frames = random_frames(2)
    push(source, frames[0], 500)
    assert camera.read(1000).sequence == 500
    push(source, frames[1], 1, stamp_ns=10**12 + 501 * 50_000_000)
    assert camera.read(1000).sequence == 1


def test_frames_outlive_the_next_read(software):
    source, camera = software
    frames = random_frames(2)
    push(source, frames[0], 1)
    first = camera.read(1000)
    push(source, frames[1], 2)
    camera.read(1000)
    np.testing.assert_array_equal(first.depth, frames[0])


def test_parameters_come_from_the_sdk_and_the_pose_from_the_rig(software):
    _, camera = software
    got, scale = camera.parameters, np.float32(PARAMETERS.depth_unit_m)
    assert (got.width, got.height, got.cx, got.cy) == (64, 48, 31.5, 23.25)
    assert (got.fx, got.fy, got.depth_unit_m) == (51.5, 51.25, float(scale))
    camera.close()
    with pytest.raises(CameraError, match="not been started"):
        camera.parameters  # noqa: B018


def test_our_points_are_the_sdks_own_deprojection(software):
    source, camera = software
    push(source, random_frames(1)[0], 1)
    frame = camera.read(1000)
    p = camera.parameters
    points = PointCloud(p, (-9.0, -9.0, 0.0), (9.0, 9.0, 9.0), 48 * 64)(frame.depth)
    pinhole = rs.intrinsics()
    pinhole.width, pinhole.height, pinhole.model = p.width, p.height, rs.distortion.none
    pinhole.fx, pinhole.fy, pinhole.ppx, pinhole.ppy = p.fx, p.fy, p.cx, p.cy
    for index in range(0, 48 * 64, 7):
        v, u = divmod(index, 64)
        want = rs.rs2_deproject_pixel_to_point(pinhole, [u, v], frame.depth[v, u] * p.depth_unit_m)
        np.testing.assert_allclose(points[:, index], want, rtol=1e-6, atol=1e-6)


def read_all(camera):
    frames = []
    while (frame := camera.read(1000)) is not None:
        frames.append(frame)
    return frames


def test_a_recording_plays_back_bit_exact(recording):
    entry = CameraEntry(
        "front", "recording", 200, {"path": str(recording), "real_time": False}, POSE
    )
    camera = open_camera(entry)
    camera.start()
    frames = []
    while (frame := camera.read(1000)) is not None:
        frames.append(frame)
        time.sleep(0.15)  # however slow the reader is
    assert [frame.sequence for frame in frames] == list(range(1, N_FRAMES + 1))
    np.testing.assert_array_equal([frame.depth for frame in frames], random_frames())
    assert camera.parameters.fx == PARAMETERS.fx
    assert all(frame.t_capture_ns <= time.monotonic_ns() for frame in frames)
    camera.close()


def test_a_recording_in_real_time_keeps_its_rate(recording):
    camera = open_camera(CameraEntry("front", "recording", 200, {"path": str(recording)}, POSE))
    started = time.monotonic()
    camera.start()
    frames = read_all(camera)
    camera.close()
    assert time.monotonic() - started > 0.4  # 12 frames at 20 Hz
    gaps_ms = np.diff([frame.t_capture_ns for frame in frames]) / np.diff(
        [frame.sequence for frame in frames]
    )
    np.testing.assert_allclose(gaps_ms / 1e6, 50, atol=25)


def test_a_device_is_opened_by_its_serial_in_an_injected_context(recording):
    context = rs.context()
    device = context.load_device(str(recording))  # plugged in for as long as it is referred to
    camera = device_camera("front", time.monotonic_ns, POSE, serial=SERIAL, context=context)
    camera.start()
    frame = camera.read(2000)
    assert frame is not None
    np.testing.assert_array_equal(frame.depth, random_frames()[frame.sequence - 1])
    camera.close()
    assert device.supports(rs.camera_info.serial_number)
    for number in (int(SERIAL), 0):
        unquoted = device_camera("front", time.monotonic_ns, POSE, serial=number, context=context)
        with pytest.raises(CameraError, match=f"'front': serial: .* serial = \"{number}\""):
            unquoted.start()
    wrong = device_camera("front", time.monotonic_ns, POSE, serial="7", context=context)
    with pytest.raises(CameraError, match=f"serial 7; found .*{SERIAL}"):
        wrong.start()


def test_a_playback_can_be_stopped_at_any_moment(recording):
    """In a process of its own: the SDK crashes in about one stop out of a hundred if not paused."""
    program = (
        "import sys; from pathlib import Path\n"
        "from ofp_edge.runtime.cameras.sources import RecordingSource\n"
        "for _ in range(60):\n"
        "    source = RecordingSource(Path(sys.argv[1]), True, False, False)\n"
        "    source.start('front'); source.close()\n"
    )
    done = subprocess.run([sys.executable, "-c", program, recording], check=False, timeout=60)
    assert done.returncode == 0


@pytest.mark.parametrize("align", [False, True])
def test_colour_is_whole_unless_it_is_aligned_to_depth(align):
    source = SoftwareSource(PARAMETERS, 20.0, True)
    camera = RealSenseCamera("front", source, time.monotonic_ns, POSE, align=align)
    camera.start()
    depth = random_frames(1)[0]
    depth[10:20, 10:20] = 0  # unknown
    color = np.random.default_rng(1).integers(1, 256, (48, 64, 3), dtype=np.uint8)
    source.push(depth, color, 10**12, 1)
    frame = camera.read(1000)
    np.testing.assert_array_equal(frame.depth, depth)
    assert (frame.color == color).all() != align
    assert (frame.color[12:18, 12:18] == 0).all() == align
    assert (camera.parameters.fx, camera.parameters.cx) == (PARAMETERS.fx, PARAMETERS.cx)
    camera.close()


def test_filters_stand_in_the_one_order_and_decimation_changes_the_parameters(recording):
    from ofp_edge.runtime.cameras.filters import FilterChain

    everything = {"hole_filling": {}, "temporal": {"alpha": 0.5}, "spatial": {}, "decimation": 2}
    assert FilterChain("front", everything).names == [
        "decimation", "depth to disparity", "spatial", "temporal", "disparity to depth",
        "hole_filling",
    ]  # fmt: skip
    options = {"path": str(recording), "filters": {"decimation": 2}}
    camera = open_camera(CameraEntry("front", "recording", 200, options, POSE))
    camera.start()
    frame = camera.read(2000)
    p = camera.parameters
    assert frame.depth.shape == (p.height, p.width) == (24, 32)
    assert (p.fx, p.cx) == (PARAMETERS.fx / 2, PARAMETERS.cx / 2)
    camera.close()


@pytest.mark.parametrize(
    "filters, said",
    [({"blur": {}}, "unknown 'blur'"), ({"spatial": {"strength": 2}}, "no option 'strength'"),
     ({"decimation": 99}, "decimation.magnitude = 99"), ({"spatial": True}, "a table or a number")],
)  # fmt: skip
def test_a_wrong_filter_is_one_line(filters, said):
    options = {"filters": filters}
    with pytest.raises(CameraError, match=said):
        open_camera(CameraEntry("front", "realsense", 200, options, POSE))


def test_a_recordings_missing_metadata_is_said_once(recording):
    camera = open_camera(CameraEntry("front", "recording", 200, {"path": str(recording)}, POSE))
    camera.start()
    while camera.read(1000) is not None:
        pass
    camera.close()
    assert camera.remarks.counts["metadata absent"] > 1
    heard = []
    camera.remarks.listen(lambda what, detail: heard.append(what))
    assert heard.count("metadata absent") == 1


def test_a_recording_that_repeats_goes_on(recording):
    options = {"path": str(recording), "repeat": True}
    camera = open_camera(CameraEntry("front", "recording", 200, options, POSE))
    camera.start()
    times = []
    while camera.remarks.counts.get("frame numbers start over", 0) < 1 or len(times) < 16:
        frame = camera.read(3000)
        assert frame is not None
        times.append(frame.t_capture_ns)
    assert (np.diff(times) > 0).all()
    camera.close()


def test_two_cameras_stand_side_by_side():
    made = []
    for number in range(2):
        source = SoftwareSource(PARAMETERS, 20.0, False)
        camera = RealSenseCamera(f"c{number}", source, time.monotonic_ns, POSE)
        camera.start()
        made.append((source, camera))
    frames = random_frames(6)
    for i in range(3):
        for number, (source, _) in enumerate(made):
            push(source, frames[2 * i + number], 1 + i)
        for number, (_, camera) in enumerate(made):
            np.testing.assert_array_equal(camera.read(1000).depth, frames[2 * i + number])
    for _, camera in made:
        camera.close()


def test_a_device_is_started_again_when_it_falls_silent(recording):
    context = rs.context()
    device = context.load_device(str(recording))
    camera = device_camera(
        "front", time.monotonic_ns, POSE, serial=SERIAL, context=context, restart_after_ms=400.0
    )
    camera.start()
    deadline = time.monotonic() + 20
    while "restart" not in camera.remarks.counts:  # the recording's end is a silent camera
        camera.read(50)
        assert time.monotonic() < deadline
    camera.close()
    assert device.supports(rs.camera_info.serial_number)


def test_a_sync_mode_that_is_none_or_that_the_model_lacks_is_refused(recording):
    with pytest.raises(CameraError, match="sync 'both': expected none, master"):
        device_camera("front", time.monotonic_ns, POSE, sync="both")
    context = rs.context()
    device = context.load_device(str(recording))
    camera = device_camera(
        "front", time.monotonic_ns, POSE, serial=SERIAL, sync="master", context=context
    )
    with pytest.raises(CameraError, match="knows no sync"):
        camera.start()
    assert device.supports(rs.camera_info.serial_number)
