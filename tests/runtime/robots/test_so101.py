"""The SO-101 driver over the real SDK and serial layer, against servos on a pseudo-terminal."""

import json
import time

import numpy as np
import pytest

from ofp_edge.errors import RobotError
from ofp_edge.fields import State
from ofp_edge.runtime.robots.emulated_bus import EmulatedBus
from ofp_edge.runtime.robots.so101 import JOINTS, So101
from ofp_edge.spec import ActionField, PolicySpec

pytest.importorskip("scservo_sdk")

POSITION, GOAL, VELOCITY, TORQUE, OFFSET = 56, 42, 58, 40, 31
LOW, HIGH = 1000, 3000
DEGREE = 4095 / 360


def spec_of(kind="absolute", scale=1.0, size=12, unit="deg", name="state"):
    wide = 1000.0
    state = State(name, (size,), unit, "base", (-wide,) * size, (wide,) * size)
    hold = None if kind == "absolute" else 0.0
    action = ActionField("joints", (6,), unit, "base", kind, scale, (-wide,) * 6, (wide,) * 6, hold)
    return PolicySpec((state,), (action,), 1, 8, 4, 50.0)


@pytest.fixture
def bus():
    bus = EmulatedBus()
    for servo in range(1, 7):
        bus.put(servo, POSITION, 2000)
    yield bus
    bus.close()


@pytest.fixture
def calibration(tmp_path):
    path = tmp_path / "arm.json"
    joint = {"drive_mode": 0, "homing_offset": 0, "range_min": LOW, "range_max": HIGH}
    path.write_text(json.dumps({n: {"id": i, **joint} for i, n in enumerate(JOINTS, 1)}))
    return path


def test_a_port_that_can_t_be_opened_says_what_opens_it(tmp_path, calibration, make, bus):
    said = {"calibration": str(calibration)}
    with pytest.raises(RobotError, match=r"port \S+nope: it does not exist. Plug the arm in; `of"):
        So101(spec_of(), port=str(tmp_path / "nope"), **said)
    make()
    with pytest.raises(RobotError, match="another program has it open"):
        So101(spec_of(), port=bus.path, **said)


@pytest.fixture
def make(bus, calibration):
    made = []

    def build(spec=None, **options):
        options = {"timeout_ms": 400.0, "max_age_ms": 20_000.0, **options}  # busy test machines
        arm = So101(spec or spec_of(), port=bus.path, calibration=str(calibration), **options)
        made.append(arm)
        return arm

    yield build
    for arm in made:
        arm.close()


def until(condition, seconds=30.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.005)


def test_positions_and_velocities_arrive_in_the_policys_units(bus, make):
    for servo in range(1, 7):
        bus.put(servo, POSITION, 2000 + 100 * servo)
    bus.registers[2][TORQUE] = 0
    arm = make()
    for servo in range(1, 7):
        bus.registers[servo][TORQUE] = 0  # so that the emulator does not move them
        bus.put(servo, VELOCITY, -50 * servo)
    until(lambda: arm.state().values["state"][6:].all())
    state = arm.state()
    servos = np.arange(1, 7)
    degrees = np.append(100 * servos[:5] / DEGREE, (2600 - LOW) / 20)  # the gripper is 0..100
    speeds = np.append(-50 * servos[:5] / DEGREE, -300 / 20)
    np.testing.assert_allclose(state.values["state"], np.append(degrees, speeds), rtol=1e-5)
    assert abs(time.monotonic_ns() - state.t_ns) < 2e9


def test_goals_reach_the_servos_and_never_leave_the_calibrated_range(bus, make):
    arm = make()
    low, high = arm.goal_range
    arm.send(np.array([10, -10, 0, high[3], low[4], 50], np.float32))
    want = [2000 + round(10 * DEGREE), 2000 - round(10 * DEGREE), 2000, HIGH, LOW, 2000]
    until(lambda: [bus.get(servo, GOAL) for servo in range(1, 7)] == want)
    until(lambda: abs(arm.state().values["state"][0] - 10) < 0.1)


@pytest.mark.parametrize("kind, scale", [("delta", 2.0), ("velocity", 100.0)])
def test_deltas_add_up_and_start_again_from_a_limit(kind, scale, bus, make):
    arm = make(spec_of(kind, scale))
    for _ in range(3):  # 2 degrees each: 100 deg/s for a fiftieth of a second is as much
        arm.send(np.ones(6, np.float32))
    until(lambda: bus.get(1, GOAL) == 2000 + round(6 * DEGREE))
    for _ in range(60):
        arm.send(np.ones(6, np.float32))
    until(lambda: bus.get(1, GOAL) == HIGH)
    arm.send(-np.ones(6, np.float32))
    until(lambda: bus.get(1, GOAL) == round(HIGH - 2 * DEGREE))


def test_the_arm_does_not_move_when_it_is_switched_on(bus, make):
    bus.put(1, POSITION, 1234)
    make()
    assert bus.get(1, GOAL) == 1234 and bus.get(1, POSITION) == 1234
    assert bus.registers[1][TORQUE] == 1


def test_stop_holds_the_place_and_ignores_what_is_sent_later(bus, make):
    bus.speed = 200
    arm = make()
    arm.send(np.full(6, 60, np.float32))
    until(lambda: arm.state().values["state"][0] > 2)
    arm.stop()
    arm.stop()
    until(lambda: abs(bus.get(1, GOAL) - bus.get(1, POSITION)) < 60)
    arm.send(np.full(6, -60, np.float32))
    time.sleep(0.05)
    assert bus.get(1, GOAL) > 2000


@pytest.mark.parametrize(
    "fault, said",
    [("silent", "does not answer"), ("cut", "servo 3"), ("damaged", "damaged bytes")],
)
def test_a_servo_that_fails_is_named_once_the_state_is_too_old(fault, said, bus, make):
    arm = make(max_age_ms=1000, timeout_ms=100.0)
    getattr(bus, fault).add(3)
    failed, t_ns = arm.failed_reads, arm.state().t_ns
    until(lambda: arm.failed_reads > failed)
    assert arm.state().t_ns >= t_ns  # one lost answer is none
    until(lambda: time.monotonic_ns() - arm._reading[0] > 1100e6)
    with pytest.raises(RobotError, match=r"SO-101: no state for \d+ ms, limit 1000 ms") as raised:
        arm.state()
    if fault != "cut":
        assert said in str(raised.value) and "elbow_flex" in str(raised.value)
    last = arm._reading[0]
    getattr(bus, fault).clear()
    until(lambda: arm._reading[0] > last)  # and it comes back


def test_a_single_damaged_answer_is_not_taken_for_a_position(bus, make):
    arm = make(timeout_ms=20.0)
    for count in range(1, 6):
        bus.damaged.add(2)
        until(lambda: arm.failed_reads >= count)  # noqa: B023
        bus.damaged.clear()
        np.testing.assert_allclose(arm.state().values["state"][:5], 0, atol=0.01)
    assert arm.failed_reads > 0


def test_late_answers_are_not_taken_for_the_next_ones(bus, make):
    arm = make(timeout_ms=2.0)
    bus.delay_s = 0.01
    until(lambda: arm.failed_reads > 2)
    bus.delay_s = 0.0
    bus.put(4, GOAL, 2500)
    until(lambda: abs(arm.state().values["state"][3] - 500 / DEGREE) < 0.1)
    np.testing.assert_allclose(arm.state().values["state"][:3], 0, atol=0.01)


def test_the_control_thread_never_waits_for_the_bus(bus, make):
    arm = make(timeout_ms=3000.0)
    bus.silent.add(1)
    requests = bus.requests
    until(lambda: bus.requests > requests)  # the bus now waits for three seconds
    began = time.monotonic()
    for _ in range(20):
        arm.state()
        arm.send(np.zeros(6, np.float32))
        arm.stop()
    assert time.monotonic() - began < 1.0
    bus.silent.clear()


def test_an_overheated_servo_stops_the_run(bus, make):
    arm = make(max_age_ms=300)
    bus.errors[5] = 4
    with pytest.raises(RobotError, match=r"servo 5 \(wrist_roll\) reports too hot"):
        until(lambda: arm.state() is None)


def test_a_pulled_cable_is_one_line(bus, make):
    arm = make()
    bus.close()
    until(lambda: arm._dead)
    with pytest.raises(RobotError, match="no state for .* Check the USB cable"):
        arm.state()
    arm.stop()
    with pytest.raises(RobotError, match="the stop could not be written: .* Check the USB cable"):
        arm.close()
    arm.close()


def test_a_stop_is_confirmed_by_the_servos_themselves(bus, make):
    arm = make()
    bus.errors = {3: 32}  # an overload, of which it says so with the answer
    arm.close()
    bus.errors = {}
    arm = make()
    bus.silent.add(4)
    with pytest.raises(RobotError, match=r"servo 4 \(wrist_flex\) does not answer"):
        arm.close()
    bus.silent.clear()
    arm = make()
    bus.deaf.add(5)
    arm.send(np.full(6, 5, np.float32))
    with pytest.raises(RobotError, match=r"servo 5 \(wrist_roll\): its goal is .*, not the"):
        bus.put(5, GOAL, 1500)
        arm.close()


def test_another_arms_calibration_is_refused(bus, make):
    bus.put(6, OFFSET, 1 << 11 | 7)
    with pytest.raises(RobotError, match=r"\(gripper\): homing offset: expected 0 .* got -7"):
        make()


@pytest.mark.parametrize(
    "change, said",
    [
        (lambda bus: bus.put(2, 3, 1284), "expected model 777"),
        (lambda bus: bus.registers[2].__setitem__(33, 1), "position mode"),
        (lambda bus: bus.silent.add(2), "servo 2 (shoulder_lift) does not answer"),
    ],
)
def test_what_is_not_an_so101_is_refused(change, said, bus, make):
    change(bus)
    with pytest.raises(RobotError) as raised:
        make()
    assert said in str(raised.value)


def test_a_policy_for_something_else_is_refused(make):
    with pytest.raises(RobotError, match="in 'm': set unit"):
        make(spec_of(unit="m"))
    with pytest.raises(RobotError, match=r"expected shape \(6,\) or \(12,\), got \(4,\)"):
        make(spec_of(size=4))
    with pytest.raises(RobotError, match="finite"):
        make().send(np.full(6, np.nan, np.float32))


def test_torque_is_left_on_unless_it_is_to_go(bus, make):
    make().close()
    assert bus.registers[1][TORQUE] == 1
    make(torque_off=True).close()
    assert not any(bus.registers[servo][TORQUE] for servo in range(1, 7))


@pytest.mark.parametrize("unit", ["deg", "normalised"])
@pytest.mark.parametrize("servo, ticks", [(5, -30), (2, 3900), (6, 3000 + 60), (1, 4095)])
def test_a_joint_that_reads_outside_of_its_range_is_refused_before_it_has_torque(
    unit, servo, ticks, bus, make
):
    bus.put(servo, POSITION, ticks)
    with pytest.raises(RobotError, match=rf"servo {servo} .* reads {ticks}, .* range 1000\.\.3000"):
        make(spec_of(unit=unit), unit=unit)
    assert not any(bus.registers[each][TORQUE] for each in range(1, 7))
    assert [bus.get(each, GOAL) for each in range(1, 7)] == [2048] * 6  # nothing was written


@pytest.mark.parametrize("unit", ["deg", "normalised"])
def test_told_to_stay_an_arm_within_the_tolerance_moves_no_further_than_that(unit, bus, make):
    bus.put(2, POSITION, HIGH + 50)  # 4.4 degrees
    bus.put(6, POSITION, LOW - 50)
    arm = make(spec_of(unit=unit), unit=unit)
    assert (bus.get(2, GOAL), bus.get(6, GOAL)) == (HIGH + 50, LOW - 50)
    arm.stop()  # where it is, not where a cut reading would be
    until(lambda: arm._goal is not None)
    assert (arm._goal[1], arm._goal[5]) == (HIGH + 50, LOW - 50)
    arm.close()
    assert (bus.get(2, GOAL), bus.get(6, GOAL)) == (HIGH + 50, LOW - 50)
    with pytest.raises(RobotError, match=r"4\.4 deg outside .*range_tolerance_deg = 2\)"):
        make(spec_of(unit=unit), unit=unit, range_tolerance_deg=2.0)
    with pytest.raises(RobotError, match="range_tolerance_deg: expected 0 or more, got -1"):
        make(range_tolerance_deg=-1.0)


@pytest.mark.parametrize("servo, ticks", [(5, -30), (3, HIGH + 100)])
def test_a_joint_that_reads_outside_of_its_range_once_ends_the_run(servo, ticks, bus, make):
    arm = make(spec_of(unit="normalised"), unit="normalised")
    for each in range(1, 7):
        bus.registers[each][TORQUE] = 0  # so that the emulator does not move them
    bus.put(servo, POSITION, ticks)
    until(lambda: arm._fault)
    bus.put(servo, POSITION, 2000)
    last = arm._reading.t_ns
    until(lambda: arm._reading.t_ns > last and arm._reading.ticks[servo - 1] == 2000)
    with pytest.raises(RobotError, match=rf"SO-101: servo {servo} .* reads {ticks}, .* outside of"):
        arm.state()
    arm.close()
    assert bus.get(servo, GOAL) == 2000


@pytest.mark.parametrize("joint, goal", [(3, 170.0), (4, -170.0), (5, 104.0)])
def test_a_goal_outside_of_the_range_is_refused_and_nothing_of_it_is_sent(joint, goal, bus, make):
    arm = make()
    goals = np.zeros(6, np.float32)
    goals[joint] = goal
    with pytest.raises(RobotError, match=rf"{JOINTS[joint]}: the goal {goal:g} is outside .*sent"):
        arm.send(goals)
    assert arm._goal is None
    arm.close()
    assert bus.get(joint + 1, GOAL) == 2000
