"""The simulated camera: the world's frames through the real SDK, each once, at the right time."""

import threading
import time

import numpy as np
import pytest

pytest.importorskip("metaworld")
pytest.importorskip("pyrealsense2")

from ofp_edge.errors import CameraError, OfpError, SpecMismatch  # noqa: E402
from ofp_edge.rig.file import CameraEntry  # noqa: E402
from ofp_edge.runtime.camera import Frame  # noqa: E402
from ofp_edge.runtime.cameras.open import open_camera  # noqa: E402
from ofp_edge.sim.open import shared_world  # noqa: E402
from ofp_edge.sim.render import open_renderer  # noqa: E402
from ofp_edge.sim.simulator import ManualClock, open_simulator  # noqa: E402
from ofp_edge.sim.tasks import find_task  # noqa: E402
from tests.task_spec import spec_of  # noqa: E402

TASK = "metaworld/door-open"
DRIVER = "ofp_edge.sim.camera:SimulatedCamera"
STEP_NS = 50_000_000
RIGHT = np.array([1, 0, 0, 0], np.float32)


@pytest.fixture
def simulator():
    opened = open_simulator(TASK, spec_of(find_task(TASK)), ManualClock())
    opened.robot.reset(3)
    yield opened
    opened.close()


def entry(**options):
    parameters = options.pop("parameters", {})
    return CameraEntry("front", DRIVER, 200.0, {"task": TASK, "world": TASK, **options}, parameters)


def test_a_frame_is_what_was_rendered_stamped_when_it_was(simulator):
    s = simulator
    frame = s.cameras["front"].read(0)
    renderer = open_renderer(s.world, s.task.view, s.cameras["front"].depth_by)
    np.testing.assert_array_equal(frame.depth, renderer.render(False)[0])
    renderer.close()
    assert frame.t_capture_ns == s.clock.now_ns and frame.color is None


def test_one_frame_a_control_step_and_none_twice(simulator):
    s = simulator
    numbers = []
    for _ in range(20):
        frame = s.cameras["front"].read(0)
        assert frame.t_capture_ns == s.clock.now_ns
        assert s.cameras["front"].read(0) is None and s.cameras["front"].read(50) is None
        numbers.append(frame.sequence)
        s.robot.send(RIGHT)
        s.clock.advance(STEP_NS)
    assert numbers == list(range(numbers[0], numbers[0] + 20))


def test_a_world_that_stands_still_is_seen_again_a_step_later(simulator):
    first = simulator.cameras["front"].read(0)
    simulator.clock.advance(STEP_NS - 1)
    assert simulator.cameras["front"].read(0) is None
    simulator.clock.advance(1)
    again = simulator.cameras["front"].read(0)
    np.testing.assert_array_equal(again.depth, first.depth)
    assert again.sequence == first.sequence + 1


def test_equal_episodes_give_equal_frames(simulator):
    episodes = []
    for seed in (7, 8, 7):
        simulator.robot.reset(seed)
        frames = []
        for _ in range(6):
            simulator.clock.advance(STEP_NS)
            frames.append(simulator.cameras["front"].read(0).depth)
            simulator.robot.send(simulator.world.expert_action())
        episodes.append(np.stack(frames))
    np.testing.assert_array_equal(episodes[0], episodes[2])
    assert (episodes[0] != episodes[1]).any()


def test_foreign_frames_replace_the_worlds_one_a_control_step_and_the_last_stays(simulator):
    frames = np.random.default_rng(0).integers(0, 65535, (3, 48, 64), dtype=np.uint16)
    camera = simulator.cameras["front"]
    camera.play([Frame(depth, None, 0, 0) for depth in frames])
    for expected in (0, 1, 2, 2, 2):
        np.testing.assert_array_equal(camera.read(0).depth, frames[expected])
        simulator.robot.send(RIGHT)
        simulator.clock.advance(STEP_NS)
    camera.play([Frame(depth, None, 0, 0) for depth in frames])
    for expected in (0, 2):  # nobody looked in between
        np.testing.assert_array_equal(camera.read(0).depth, frames[expected])
        simulator.clock.advance(2 * STEP_NS)
    camera.play(())
    seen = camera.read(0).depth
    assert (seen != frames[2]).mean() > 0.9
    with pytest.raises(CameraError, match=r"\(48, 64\), got \(48, 63\)"):
        camera.play([Frame(frames[0, :, 1:], None, 0, 0)])


def test_in_real_time_frames_keep_coming_and_follow_the_robot(simulator):
    camera = open_camera(entry(), time.monotonic_ns)
    camera.start()
    try:
        still = [camera.read(2000) for _ in range(3)]
        assert [b.sequence > a.sequence for a, b in zip(still, still[1:], strict=False)] == [
            True
        ] * 2
        for _ in range(5):
            sent_ns = time.monotonic_ns()
            simulator.robot.send(RIGHT)
            frame = camera.read(2000)
            while frame.t_capture_ns < sent_ns:  # one that was taken before
                frame = camera.read(2000)
            assert frame.t_capture_ns <= time.monotonic_ns()
        assert (frame.depth != still[0].depth).any()
    finally:
        camera.close()
    assert not [t for t in threading.enumerate() if t.name == "sim-front"]


def test_what_fails_in_the_rendering_thread_reaches_the_reader():
    camera = open_camera(entry(depth_by="rays", color=True), time.monotonic_ns)
    camera.start()
    with pytest.raises(OfpError, match="colour needs OpenGL"):
        for _ in range(100):
            camera.read(50)
    camera.close()


def test_colour_comes_with_depth_where_there_is_gl(gl, simulator):
    camera = open_camera(entry(color=True, depth_by=gl), simulator.clock)
    camera.start()
    for _ in range(4):
        simulator.clock.advance(STEP_NS)
        frame = camera.read(0)
        np.testing.assert_array_equal(frame.depth, simulator.cameras["front"].read(0).depth)
        assert frame.color.shape == (48, 64, 3) and frame.color.std() > 5
    camera.close()


def test_what_it_recorded_plays_back_bit_exact(simulator, tmp_path):
    path = tmp_path / "episode.db3"
    camera = open_camera(entry(record_to=str(path), depth_by="rays"), simulator.clock)
    camera.start()
    seen = []
    for _ in range(5):
        seen.append(camera.read(0).depth)
        simulator.robot.send(RIGHT)
        simulator.clock.advance(STEP_NS)
    parameters = camera.parameters
    camera.close()
    pose = {"T_base_camera": parameters.to_json()["T_base_camera"], "base_frame": "world"}
    options = {"path": str(path), "real_time": False}
    playback = open_camera(CameraEntry("front", "recording", 200, options, pose), time.monotonic_ns)
    playback.start()
    assert playback.parameters == parameters
    np.testing.assert_array_equal([playback.read(1000).depth for _ in seen], seen)
    assert playback.read(100) is None
    playback.close()


def test_the_rigs_pose_replaces_the_tasks(simulator):
    moved = simulator.task.view.parameters().to_json()["T_base_camera"]
    moved[0][3] += 0.1
    camera = open_camera(entry(parameters={"T_base_camera": moved}), simulator.clock)
    camera.start()
    shift = camera.parameters.pose - simulator.cameras["front"].parameters.pose
    camera.close()
    assert shift[0, 3] == pytest.approx(0.1) and np.abs(shift).sum() == pytest.approx(0.1)


def test_wrong_options_are_one_line():
    with pytest.raises(CameraError, match="'focus'"):
        open_camera(entry(focus=3))
    shared_world(TASK, TASK)
    with pytest.raises(SpecMismatch, match="task"):
        open_camera(
            CameraEntry("front", DRIVER, 200.0, {"task": "metaworld/soccer", "world": TASK})
        )
