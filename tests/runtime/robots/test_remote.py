"""A robot in a process of its own: nobody waits for it, and it stops when the loop is gone."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from ofp_edge.errors import CameraError, RobotError
from ofp_edge.rig.file import CameraEntry
from ofp_edge.runtime.cameras.open import open_camera
from ofp_edge.runtime.robots.lerobot import LeRobot
from ofp_edge.runtime.robots.remote import RemoteRobot
from ofp_edge.runtime.robots.wire import encode, pair
from tests.runtime.standins import make_spec

SMALL = "tests.runtime.robots.small_robot:SmallRobot"


@pytest.fixture
def diary(tmp_path):
    return tmp_path / "diary"


@pytest.fixture
def make(diary):
    made = []

    def build(fail="", **options):
        robot = RemoteRobot(
            make_spec(),
            robot=SMALL,
            options={"diary": str(diary), "fail": fail},
            **{"max_age_ms": 10_000, **options},
        )
        made.append(robot)
        return robot

    yield build
    for robot in made:
        with contextlib.suppress(RobotError):  # of those that end in a test of how they end
            robot.close()


def until(condition, seconds=20.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.005)


def lines(diary):
    return diary.read_text().splitlines()


def test_states_come_and_actions_go_bit_exact(make, diary, capfd):
    robot = make()
    action = np.array([0.1, np.nextafter(np.float32(0.2), 1), -3, 1e-30], np.float32)
    robot.send(action)
    until(lambda: robot.state().values["state"].any())
    np.testing.assert_array_equal(robot.state().values["state"], action)
    assert robot.state().values["state"].dtype == np.float32
    assert abs(time.monotonic_ns() - robot.state().t_ns) < 1e9
    robot.stop()
    robot.stop()
    robot.send(action)  # ignored
    robot.close()
    robot.close()
    said = lines(diary)
    assert said[1] == "send 0.1" and said[-1] == "close" and said.count("send 0.1") == 1
    assert "stop" in said
    assert int(said[0].split()[1]) != os.getpid()
    assert capfd.readouterr().out == ""  # its prints must not spoil --json


@pytest.mark.parametrize(
    "fail, said",
    [("state", "the bus is gone. Check the cable."), ("die", "exit code 7|has ended"),
     ("hang", "no state for .* ms, limit 800 ms")],
)  # fmt: skip
def test_what_happens_to_it_is_one_line_here(fail, said, make):
    robot = make(fail, max_age_ms=800 if fail == "hang" else 10_000)
    robot.send(np.ones(4, np.float32))
    with pytest.raises(RobotError, match=said) as raised:
        until(lambda: robot.state() is None)
    assert "\n" not in str(raised.value)
    if fail == "die":
        with pytest.raises(RobotError, match="did not confirm that the robot stopped"):
            robot.close()
    if fail == "state":
        robot.close()  # it has stopped its robot


def test_a_robot_slower_than_it_is_asked_still_hears_actions_and_the_stop(make, diary):
    robot = make("slow", state_hz=1000.0)
    robot.send(np.ones(4, np.float32))
    until(lambda: "send 1" in lines(diary))
    robot.stop()
    until(lambda: "stop" in lines(diary))
    robot.close()


def test_a_stop_that_its_process_cannot_be_told_is_told_by_the_end_of_the_socket(make, diary):
    robot = make(max_age_ms=60_000)
    pid = int(lines(diary)[0].split()[1])
    os.kill(pid, signal.SIGSTOP)
    with pytest.raises(RobotError, match="does not take actions"):
        for _ in range(100_000):
            robot.send(np.ones(4, np.float32))
    robot.stop()
    os.kill(pid, signal.SIGCONT)
    until(lambda: lines(diary)[-2:] == ["stop", "close"])
    robot.close()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGABRT])
def test_a_signal_to_its_process_stops_it_and_says_so(number, make, diary):
    robot = make(max_age_ms=60_000)
    os.kill(int(lines(diary)[0].split()[1]), number)
    with pytest.raises(RobotError, match=f"was asked to end by {signal.Signals(number).name}"):
        until(lambda: robot.state() is None)
    until(lambda: lines(diary)[1:] == ["stop", "close"])
    robot.close()


def test_the_last_words_of_a_process_that_left_an_action_unread_are_heard():
    here, there = pair()
    robot = RemoteRobot.__new__(RemoteRobot)
    robot._name, robot._trouble, robot._rested, robot._socket = "arm", "", False, here
    robot._process = subprocess.Popen(["true"])
    robot._process.wait()
    here.send(encode("action"))
    there.send(encode("error", line="it was asked to end."))
    there.send(encode("stopped"))
    there.close()  # with the action unread: a reset, before what it had said
    robot._receive()
    assert robot._rested and robot._trouble == "it was asked to end."
    here.close()


def test_a_robot_given_up_while_it_opens_leaves_no_process_behind(diary):
    def interrupt():
        until(diary.exists)
        os.kill(os.getpid(), signal.SIGINT)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    threading.Thread(target=interrupt, daemon=True).start()
    try:
        with pytest.raises(KeyboardInterrupt):
            RemoteRobot(make_spec(), robot=SMALL, options={"diary": str(diary), "fail": "mute"})
    finally:
        signal.signal(signal.SIGINT, before)
    until(lambda: lines(diary)[1:] == ["stop", "close"])
    with pytest.raises(ProcessLookupError):
        os.kill(int(lines(diary)[0].split()[1]), 0)


def test_calibration_asks_a_robot_in_a_process_of_its_own_that_has_no_action_to_do():
    from ofp_edge.calibration.record import HAND_POSE, hand_pose

    robot = RemoteRobot(HAND_POSE, robot="examples.my_robot:MyRobot")
    try:
        np.testing.assert_allclose(hand_pose(robot)[:3, 3], [0.0, 0.6, 0.2], atol=1e-6)
    finally:
        robot.close()


def test_a_process_that_ends_before_it_is_told_anything_is_one_line(monkeypatch):
    real = subprocess.Popen

    def ended(*arguments, **options):
        process = real(*arguments, **options)
        process.wait()
        return process

    monkeypatch.setattr(subprocess, "Popen", ended)
    with pytest.raises(RobotError, match="process|ended") as caught:
        RemoteRobot(make_spec(), robot="a:B", python="/bin/false", start_s=5.0)
    assert "\n" not in str(caught.value)


def test_a_robot_that_does_not_open_says_why(make, diary):
    with pytest.raises(RobotError, match="no such arm. Plug it in."):
        make("open")
    with pytest.raises(RobotError, match="Check python in the rig"):
        make(python="/no/such/python")
    with pytest.raises(RobotError, match="has no class 'Nobody'"):
        RemoteRobot(make_spec(), robot=SMALL.replace("SmallRobot", "Nobody"))


def test_the_control_thread_never_waits_for_a_process_that_hangs(make):
    robot = make("hang", max_age_ms=60_000)
    robot.send(np.ones(4, np.float32))
    until(lambda: time.monotonic_ns() - robot.state().t_ns > 0.2e9)
    began = time.monotonic()
    for _ in range(20):
        robot.state()
        robot.send(np.ones(4, np.float32))
    robot.stop()
    assert time.monotonic() - began < 0.5


def test_a_process_that_takes_nothing_any_more_is_an_error_and_no_wait(make, diary):
    robot = make(max_age_ms=60_000)
    pid = int(lines(diary)[0].split()[1])
    os.kill(pid, signal.SIGSTOP)
    try:
        with pytest.raises(RobotError, match="does not take actions"):
            for _ in range(100_000):
                robot.send(np.ones(4, np.float32))
    finally:
        os.kill(pid, signal.SIGCONT)


def test_the_robot_stops_when_the_loop_is_killed(diary):
    program = (
        "import sys, time, os, signal, numpy as np\n"
        "from ofp_edge.runtime.robots.remote import RemoteRobot\n"
        "from tests.runtime.standins import make_spec\n"
        f"robot = RemoteRobot(make_spec(), robot={SMALL!r}, options={{'diary': sys.argv[1]}})\n"
        "robot.send(np.ones(4, np.float32)); time.sleep(0.3)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(diary)], check=False, timeout=60, cwd=os.getcwd(),
        env={**os.environ, "PYTHONPATH": os.pathsep.join([os.getcwd(), *sys.path])},
    )  # fmt: skip
    assert done.returncode == -signal.SIGKILL
    until(lambda: lines(diary)[-1] == "close")
    assert lines(diary)[1:] == ["send 1", "stop", "close"]


def spec_of_positions():
    from dataclasses import replace

    spec = make_spec()
    absolute = replace(spec.actions[1], name="joints", shape=(4,), low=(-9,) * 4, high=(9,) * 4)
    return replace(spec, actions=(absolute,))


def test_lerobots_stop_is_tried_again_until_it_takes_it():
    config = {"robot": "tests.runtime.robots.small_robot:LeRobotLike", "config": {"port": "x"}}
    robot = LeRobot(spec_of_positions(), **config)
    robot.state()
    send, robot._robot.send_action = robot._robot.send_action, None
    with pytest.raises(RobotError):
        robot.stop()
    told = []
    robot._robot.send_action = lambda action: told.append(send(action))
    robot.stop()
    robot.stop()
    assert told == [{f"{joint}.pos": 1.0 for joint in "abcd"}]


def test_lerobots_names_and_order_are_kept():
    config = {"robot": "tests.runtime.robots.small_robot:LeRobotLike", "config": {"port": "x"}}
    robot = LeRobot(spec_of_positions(), **config)
    robot.send(np.array([1, 2, 3, 4], np.float32))
    np.testing.assert_array_equal(robot.state().values["state"], [1, 2, 3, 4])
    robot.stop()
    robot.send(np.zeros(4, np.float32))
    np.testing.assert_array_equal(robot.state().values["state"], [1, 2, 3, 4])
    config["config"]["calibration_dir"] = "/tmp/x"
    other = LeRobot(spec_of_positions(), **config, fields={"state": ["load", "d.pos", "a.pos"]})
    np.testing.assert_array_equal(other.state().values["state"], [7, 1, 1])
    assert other._robot.config.calibration_dir == Path("/tmp/x")
    robot.close()


@pytest.mark.parametrize(
    "options, said",
    [({"config": {"port": "gone"}}, "ConnectionError: could not connect"),
     ({"config": {"prt": "x"}}, "Check config"),
     ({"config": {"port": "x"}, "fields": {"state": ["e.pos"]}}, "no .'e.pos'.")],
)  # fmt: skip
def test_lerobots_errors_are_one_line(options, said):
    with pytest.raises(RobotError, match=said):
        LeRobot(
            spec_of_positions(), robot="tests.runtime.robots.small_robot:LeRobotLike", **options
        )


WITH_BUS = "tests.runtime.robots.small_robot:LeRobotWithBus"


@pytest.mark.parametrize("joint, ticks", [("a", -30), ("b", 3900), ("d", 3070)])
def test_a_joint_of_lerobots_that_reads_outside_of_its_range_is_refused(joint, ticks):
    config = {"port": "x", "ticks": {joint: ticks}}
    with pytest.raises(RobotError, match=rf"{joint} reads [\d.]+ deg outside .* 1000\.\.3000"):
        LeRobot(spec_of_positions(), robot=WITH_BUS, config=config)
    LeRobot(spec_of_positions(), robot=WITH_BUS, config=config, range_tolerance_deg=170.0).close()


def test_what_lerobot_would_cut_is_refused_before_it_is_sent():
    robot = LeRobot(spec_of_positions(), robot=WITH_BUS, config={"port": "x"})
    half = 1000 * 360 / 4095
    np.testing.assert_allclose(robot.goal_range, [[-half, -100, -100, 0], [half, 100, 100, 100]])
    for n, goal in ((0, 90.0), (1, -101.0), (3, -1.0)):
        goals = np.full(4, 5, np.float32)
        goals[n] = goal
        with pytest.raises(RobotError, match=rf"{'abcd'[n]}\.pos: the goal {goal:g} is outside of"):
            robot.send(goals)
    assert robot._robot.now == dict.fromkeys(robot._names, 1.0)
    with pytest.raises(RobotError, match="max_relative_target = 5 cuts behind .* max_lead"):
        config = {"port": "x", "max_relative_target": 5}
        LeRobot(spec_of_positions(), robot=WITH_BUS, config=config)


def test_a_reading_of_lerobots_outside_of_the_range_once_ends_the_run():
    robot = LeRobot(spec_of_positions(), robot=WITH_BUS, config={"port": "x"})
    robot.state()
    robot._robot.now["a.pos"] = 95.0
    for _ in range(2):
        with pytest.raises(RobotError, match=r"a reads 7\.1 deg outside"):
            robot.state()
        robot._robot.now["a.pos"] = 0.0


def test_what_a_robot_can_be_told_is_known_before_its_first_state(diary, make):
    assert make().goal_range is None
    ends = [[-0.5, -1.0, -2.0, -3.0], [0.5, 1.0, 2.0, 3.0]]
    options = {"diary": str(diary), "ends": ends}
    ranged = SMALL.replace("Small", "Ranged")
    robot = RemoteRobot(make_spec(), robot=ranged, options=options, max_age_ms=10_000)
    np.testing.assert_array_equal(robot.goal_range, ends)
    robot.close()
    options["ends"] = [[1.0] * 4, [0.0] * 4]
    with pytest.raises(RobotError, match="goal_range: expected low < high, 4 numbers each"):
        RemoteRobot(make_spec(), robot=ranged, options=options, max_age_ms=10_000)


def test_a_type_of_lerobots_without_lerobot_is_one_line(monkeypatch):
    monkeypatch.setitem(sys.modules, "lerobot", None)
    with pytest.raises(RobotError, match="'my_arm': LeRobot can't be imported here"):
        LeRobot(spec_of_positions(), robot="my_arm")
    lens = {"fx": 1.0, "fy": 1.0, "cx": 1.0, "cy": 1.0, "T_base_camera": []}
    driver = "ofp_edge.runtime.cameras.lerobot:LeRobotCamera"
    with pytest.raises(CameraError, match="'my_eye': LeRobot can't be imported here"):
        open_camera(CameraEntry("x", driver, options={"camera": "my_eye"}, parameters=lens))
    with pytest.raises(CameraError, match="lacks fx, cx"):
        open_camera(CameraEntry("x", driver, options={"camera": "my_eye"}, parameters={"fy": 1.0}))
