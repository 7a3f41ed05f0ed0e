"""A ros2_control robot behind its topics: what is read, what is sent, and what stops it."""

import numpy as np
import pytest

from ofp_edge.errors import RobotError
from ofp_edge.ros2.messages import Header, JointState, JointTrajectory, Time
from ofp_edge.runtime.ros2 import robot as robot_module
from ofp_edge.runtime.ros2.robot import Ros2Joints
from tests.runtime.ros2.fake_wire import JOINTS, FakeClock, FakeWire, arm_spec, joint_state

STATES, OUT = "/joint_states", "/arm/commands"
DT_MS = 50


class Stand:
    """A robot on a fake wire: `say` lets the arm speak."""

    def __init__(self, monkeypatch):
        self.clock, self.wire = FakeClock(), FakeWire()
        self.first = lambda: joint_state(self.clock)
        monkeypatch.setattr(robot_module.time, "sleep", self.slept)
        self.moving = None
        self.robot = None

    def slept(self, seconds):
        self.clock.pass_ms(1000 * seconds)
        if self.moving is not None:
            self.say(self.moving())

    def open(self, spec=None, *, command="position", first=True, **options):
        if first:
            subscribe = self.wire.subscribe

            def and_speak(*arguments, **more):
                end = subscribe(*arguments, **more)
                self.say(self.first())
                return end

            self.wire.subscribe = and_speak
        self.robot = Ros2Joints(
            spec or arm_spec(),
            joints=list(JOINTS),
            command=command,
            command_topic=OUT,
            wire=self.wire,
            now=self.clock,
            ahead=self.clock.ahead,
            **options,
        )
        return self.robot

    def say(self, message, publisher=1):
        self.wire.say(STATES, message, self.clock.now_ns, publisher)

    def tick(self, positions=(0.1, 0.2, 0.3), **more):
        self.clock.pass_ms(DT_MS)
        self.say(joint_state(self.clock, positions, **more))

    @property
    def sent(self):
        return [message for topic, message in self.wire.sent if topic == OUT]


@pytest.fixture
def stand(monkeypatch):
    return Stand(monkeypatch)


def act(*values):
    return np.array(values, np.float32)


def test_joints_are_found_by_name_and_stamps_are_the_readings_moment(stand):
    robot = stand.open(ignore=["wheel"])
    stand.clock.pass_ms(30)
    stamp = stand.clock.now_ns + stand.clock.ahead_ns
    stand.clock.pass_ms(4)
    names = ("gripper", "wheel", "shoulder", "elbow")
    stand.say(joint_state(stand.clock, (-1, 9, 1, 2.0), names, stamp_ns=stamp))
    state = robot.state()
    assert state.values["state"].tolist() == [1, 2, -1]
    assert state.t_ns == stand.clock.now_ns - 4_000_000


def test_state_fields_say_of_what_they_consist_and_degrees_are_the_policys(stand):
    spec = arm_spec(unit="deg")
    fields = {"state": ["elbow.position", "elbow.velocity", "shoulder.effort"]}
    stand.first = lambda: joint_state(
        stand.clock, (0, np.pi / 2, 0), velocity=(0, np.pi, 0), effort=(180 / np.pi, 0, 0)
    )
    robot = stand.open(spec, fields=fields)
    np.testing.assert_allclose(robot.state().values["state"], [90, 180, (180 / np.pi) ** 2], 1e-6)
    robot.send(act(90, 0, 0))
    assert stand.sent[-1].data.tolist() == pytest.approx([np.pi / 2, 0, 0])
    np.testing.assert_allclose(robot.goal_range[1], [2 * 180 / np.pi] * 3)


@pytest.mark.parametrize(
    "names, positions, said",
    [
        (("shoulder", "elbow"), (1, 2), "without gripper"),
        (("shoulder", "elbow", "gripper", "tail"), (1, 2, 1, 1), "also tail.*ignore"),
        (("shoulder", "elbow", "elbow", "gripper"), (1, 2, 1, 1), "elbow is there twice"),
        (JOINTS, (1, np.nan, 1), "elbow: position is no number"),
        (JOINTS, (1, 2, np.inf), "gripper: position is no number"),
        (JOINTS, (57.3, 2, 1), r"shoulder is at 57.3, outside of -2..2: degrees"),
        (JOINTS, (5.0, 2, 1), r"shoulder is at 5, outside of -2..2 \(low, high in its options"),
        (JOINTS, (1, 2), "3 names and 2 of position"),
        (JOINTS, (), "no position, which is needed"),
    ],
)
@pytest.mark.parametrize("when", ["at the start", "in a run"])
def test_joints_that_are_not_the_robots_are_one_line(when, names, positions, said, stand):
    if when == "at the start":
        stand.first = lambda: joint_state(stand.clock, positions, names)
        with pytest.raises(RobotError, match=said) as raised:
            stand.open()
        assert stand.wire.closed
    else:
        robot = stand.open()
        stand.tick(positions, names=names)
        with pytest.raises(RobotError, match=said) as raised:
            robot.state()
        stand.tick()
        with pytest.raises(RobotError, match=said):
            robot.state()  # a good message after it does not take it back
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("unit", ["rad", "deg"])
def test_absolute_actions_become_positions_in_radians_and_out_of_range_nothing_is_sent(unit, stand):
    robot = stand.open(arm_spec(unit=unit))
    most = np.float32(arm_spec(unit=unit).actions[0].high[0])
    robot.send(act(most, 0, -most))
    assert stand.sent[-1].data.tolist() == pytest.approx([2, 0, -2])
    with pytest.raises(RobotError, match="elbow: a goal of .*: nothing was sent"):
        robot.send(act(0, 1.01 * most, 0))
    with pytest.raises(RobotError, match="3 finite numbers"):
        robot.send(act(0, np.nan, 0))
    assert len(stand.sent) == 1


def test_deltas_add_up_from_where_the_robot_was_and_stay_in_the_range(stand):
    robot = stand.open(arm_spec("delta"), low=[-2] * 3, high=[0.35, 2, 2])
    for _ in range(4):
        robot.send(act(0.1, 0, -0.1))
    assert [message.data[0] for message in stand.sent] == pytest.approx([0.2, 0.3, 0.35, 0.35])
    assert stand.sent[-1].data[2] == pytest.approx(-0.1)
    robot.send(act(-0.1, 0, 0))
    assert stand.sent[-1].data[0] == pytest.approx(0.25)  # from the range's end, at once


def test_velocities_are_published_as_they_are_and_stopped_with_none(stand):
    robot = stand.open(arm_spec("velocity"), command="velocity", low=[-2] * 3, high=[2] * 3)
    robot.send(act(0.1, 0, -0.1))
    assert stand.sent[-1].data.tolist() == pytest.approx([0.1, 0, -0.1])
    robot.stop()
    assert stand.sent[-1].data.tolist() == [0, 0, 0]


def test_a_delta_is_a_velocity_over_a_control_step(stand):
    robot = stand.open(arm_spec("delta"), command="velocity", low=[-2] * 3, high=[2] * 3)
    robot.send(act(0.1, 0, 0))
    assert stand.sent[-1].data[0] == pytest.approx(2.0)


def test_a_point_a_tick_is_to_be_reached_one_control_step_later(stand):
    robot = stand.open(command="point")
    robot.send(act(0.5, 0.6, 0.7))
    (message,) = stand.sent
    assert isinstance(message, JointTrajectory) and message.joint_names == list(JOINTS)
    (point,) = message.points
    assert point.time_from_start.ns == 50_000_000 and message.header.stamp.ns == 0
    assert point.positions.tolist() == pytest.approx([0.5, 0.6, 0.7])


def test_a_whole_plan_stands_on_its_own_clock(stand):
    robot = stand.open(command="trajectory")
    tick, seen = stand.clock.now_ns, stand.clock.now_ns - 100_000_000
    coming = np.array([[0.2, 0, 0], [0.3, 0, 0]], np.float32)
    robot.send_ahead(act(0.1, 0, 0), coming, tick, seen)
    robot.send_ahead(act(0.2, 0, 0), None, tick + 50_000_000, seen)  # it has it already
    (message,) = stand.sent
    assert message.header.stamp == Time.of(seen + stand.clock.ahead_ns)
    assert [x.time_from_start.ns for x in message.points] == [100 * 10**6, 150 * 10**6, 200 * 10**6]
    assert [x.positions[0] for x in message.points] == pytest.approx([0.1, 0.2, 0.3])


@pytest.mark.parametrize("stamps", ["other", "arrival"])
def test_where_the_clocks_are_not_in_step_a_plan_begins_when_it_arrives(stamps, stand):
    robot = stand.open(command="trajectory", stamps=stamps)
    robot.send_ahead(act(0.1, 0, 0), np.zeros((1, 3), np.float32), stand.clock.now_ns, 0)
    (message,) = stand.sent
    assert message.header == Header()
    assert [x.time_from_start.ns for x in message.points] == [0, 50_000_000]


def test_deltas_to_come_add_up_from_the_tick_and_change_nothing(stand):
    robot = stand.open(arm_spec("delta"), command="trajectory", low=[-2] * 3, high=[2] * 3)
    step = act(0.1, 0, 0)
    robot.send_ahead(step, np.stack([step, step]), stand.clock.now_ns, None)
    assert [x.positions[0] for x in stand.sent[-1].points] == pytest.approx([0.2, 0.3, 0.4])
    robot.send_ahead(step, np.stack([step]), stand.clock.now_ns, None)
    assert [x.positions[0] for x in stand.sent[-1].points] == pytest.approx([0.3, 0.4])


@pytest.mark.parametrize("command", ["position", "point", "trajectory"])
def test_a_stop_holds_the_place_that_was_read_last_and_nothing_follows_it(command, stand):
    robot = stand.open(command=command)
    stand.tick((0.4, 0.5, 2.05))  # a little outside of its range: where it is, it stays
    robot.stop()
    robot.stop()
    robot.send(act(0, 0, 0))
    robot.send_ahead(act(0, 0, 0), np.zeros((3, 3), np.float32), 0, None)
    (message,) = stand.sent
    if command == "position":
        assert message.data.tolist() == [0.4, 0.5, 2.05]
    else:
        (point,) = message.points
        assert point.positions.tolist() == [0.4, 0.5, 2.05]
        assert point.time_from_start.ns == 100_000_000


def test_a_closed_robot_was_stopped_acknowledged_and_seen_at_rest(stand):
    robot = stand.open()
    robot.send(act(0.5, 0.5, 0.5))
    stand.moving = lambda: joint_state(stand.clock)
    robot.close()
    robot.close()
    assert stand.sent[-1].data.tolist() == pytest.approx([0.1, 0.2, 0.3]) and stand.wire.closed


@pytest.mark.parametrize(
    "what, said",
    [
        ("deaf", "the stop reached no one"),
        ("mute", "was not acknowledged"),
        ("moves", r"it moves at 0.3\d*/s 2 s later"),
        ("gone", "nothing new is read 2 s later"),
    ],
)
def test_a_stop_that_nobody_took_is_said(what, said, stand):
    robot = stand.open()
    robot.send(act(0.5, 0.5, 0.5))
    stand.wire.count_out, stand.wire.acknowledges = int(what != "deaf"), what != "mute"
    if what == "moves":
        place = iter(np.arange(0, 10, 0.03))
        stand.moving = lambda: joint_state(stand.clock, (next(place) - 1, 0, 0))
    with pytest.raises(RobotError, match=said):
        robot.close()
    assert stand.wire.closed


@pytest.mark.parametrize(
    "count, why, said",
    [
        (0, "", "no publisher on /joint_states within 10 s; topics: /joint_states"),
        (0, "its type is std_msgs/msg/String", "no publisher .*: its type is std_msgs/msg/String"),
        (1, "", "a publisher on /joint_states, and no message within 10 s"),
    ],
)
def test_without_a_first_state_it_says_why(count, why, said, stand):
    stand.wire.count_in, stand.wire.why_in = count, why
    with pytest.raises(RobotError, match=said):
        stand.open(first=False)
    assert stand.wire.closed


def test_without_a_controller_it_says_so(stand):
    stand.wire.count_out = 0
    with pytest.raises(RobotError, match="nobody listens to /arm/commands after 10 s: is the"):
        stand.open()


def test_what_ends_in_a_run_is_named(stand):
    robot = stand.open()
    stand.clock.pass_ms(201)
    with pytest.raises(
        RobotError, match=r"nothing new on /joint_states for 201 ms, limit 200 ms\."
    ):
        robot.state()
    stand.wire.count_in = 0
    with pytest.raises(RobotError, match="limit 200 ms; its publisher is gone"):
        robot.state()
    stand.wire.count_in = 2
    with pytest.raises(RobotError, match="2 publishers on /joint_states"):
        robot.state()
    stand.wire.count_in = 1
    stand.tick()
    robot.send(act(0, 0, 0))
    stand.wire.count_out = 0
    with pytest.raises(RobotError, match="nobody listens to /arm/commands any more"):
        robot.state()


def test_bytes_that_are_no_joint_state_are_a_fault(stand):
    robot = stand.open()
    stand.say(b"\x00\x01\x00\x00\xff\xff\xff\xff")
    with pytest.raises(RobotError, match="it ends in the middle of a field"):
        robot.state()


def test_a_controller_that_takes_no_commands_is_a_fault_after_a_second(stand):
    robot = stand.open()
    for i in range(40):
        stand.tick()
        try:
            robot.state()
        except RobotError as cause:
            assert "moved 0: something is in its way, or its controller does not take" in str(cause)
            break
        robot.send(act(0.1 + 0.01 * i, 0.2, 0.3))
    assert 18 <= i <= 26


@pytest.mark.parametrize("case", ["follows late", "is told to stay", "grips and moves elsewhere"])
def test_a_robot_that_follows_or_is_told_nothing_new_goes_on(case, stand):
    robot = stand.open()
    told = np.array([0.1, 0.2, 0.3])
    past = [told.copy()] * 8
    for _ in range(120):
        if case != "is told to stay":
            told = told + [0.005, 0, 0.01 if case.startswith("grips") and told[2] < 1 else 0]
        past.append(told.copy())
        at = past[-8]
        stand.tick((at[0], at[1], min(at[2], 0.4)))
        robot.state()
        robot.send(told.astype(np.float32))


@pytest.mark.parametrize(
    "options, said",
    [
        ({"command": "torque"}, "command: expected one of trajectory, point, position, velocity"),
        ({"command": "velocity"}, "actions are places"),
        ({"low": [0, 0]}, "expected 3 numbers each"),
        ({"low": [1] * 3, "high": [0] * 3}, "low < high for each joint"),
        ({"fields": {"hand": []}}, "no state .'hand'."),
        ({"fields": {"state": ["elbow.position"]}}, "expected .3,. parts, got 1"),
        ({"fields": {"state": ["elbow.x"] * 3}}, "expected a joint of"),
        ({"low": ["a"] * 3, "high": [1] * 3}, "expected 3 numbers each"),
        ({"low": -1, "high": 1}, "expected 3 numbers each"),
        ({"ignore": "wheel"}, "ignore: expected a list of different names"),
        ({"fields": {"state": 5}}, "fields: expected a list of parts for each state"),
        ({"stamps": "ros"}, "stamps: expected one of"),
    ],
)
def test_options_that_do_not_fit_are_one_line(options, said, stand):
    with pytest.raises(RobotError, match=said):
        stand.open(**options)


def test_a_policy_of_other_joints_or_of_deltas_without_a_range_is_refused(stand):
    with pytest.raises(RobotError, match="low, high: the range of each joint is needed"):
        stand.open(arm_spec("delta"))
    with pytest.raises(RobotError, match="joints: expected a list of different names"):
        Ros2Joints(arm_spec(), joints=["a", "a", "b"], command_topic=OUT, wire=stand.wire)
    with pytest.raises(RobotError, match="2 of them .a, b.; the policy commands 3"):
        Ros2Joints(
            arm_spec(), joints=["a", "b"], low=[0, 0], high=[1, 1], command_topic=OUT,
            wire=stand.wire,
        )  # fmt: skip
    with pytest.raises(RobotError, match="command_topic: missing"):
        Ros2Joints(arm_spec(), joints=list(JOINTS), wire=stand.wire)


def test_a_robot_that_is_only_asked_publishes_nothing(stand):
    spec = arm_spec()
    robot = stand.open(spec.interface.__class__(spec.observations, ()))
    robot.stop()
    robot.close()
    assert not stand.sent and isinstance(stand.first(), JointState)
