"""What the robot says is believed where it can be true: stamps, form, and the way since before."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest

from ofp_edge.fields import State
from ofp_edge.rig.safety import FieldLimits, SafetyEntry, Workspace
from ofp_edge.runtime.control.controller import Controller
from ofp_edge.runtime.control.events import EpisodeStarted, StateRead
from ofp_edge.runtime.robot import RobotState
from ofp_edge.runtime.safety.layer import SafetyLayer
from ofp_edge.spec import ActionField, PolicySpec

DT, MS, S = 50_000_000, 1_000_000, 1_000_000_000
Q = State("q", (3,), "m", "base", (-9.0,) * 3, (9.0,) * 3)
HAND = ActionField("hand", (3,), "m", "base", "absolute", 1.0, (-1.0,) * 3, (1.0,) * 3)
SPEC = PolicySpec((Q,), (HAND,), 1, 8, 4, 20.0)


def said(t_ns: Any, x: float = 0.0, **more: Any) -> RobotState:
    return RobotState(t_ns, {"q": np.array([x, 0, 0], np.float32), **more})


def layer_of(**options: Any) -> SafetyLayer:
    box = options.pop("workspace", None)
    bridged = options.pop("max_bridged_ticks", 2)
    limits = {"hand": FieldLimits("q", **options)}
    entry = SafetyEntry(limits=limits, workspace=box, max_bridged_ticks=bridged)
    entry.require_fits(SPEC, "rig.toml")
    return SafetyLayer(SPEC, entry)


# --- stamps --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("age_ms", "fault"),
    [(0, ""), (200, ""), (201, "has not answered for 201 ms"), (-50, ""),
     (-51, "stamped 51 ms ahead of the clock"), (-30_000, "stamped 30000 ms ahead")],
)  # fmt: skip
def test_a_state_is_at_most_its_limit_old_and_a_control_step_ahead(age_ms: int, fault: str) -> None:
    layer = layer_of()
    layer.measured(said(10 * S))
    why = layer.trouble(10 * S + age_ms * MS)
    assert fault in why if fault else not why


def test_a_robot_that_stamps_by_the_wall_clock_is_stopped_at_the_first_tick() -> None:
    controller = Controller(SPEC, 0, 8 * DT, safety=layer_of())
    now = time.monotonic_ns()
    command = controller.step(now, [EpisodeStarted(now), StateRead(said(time.time_ns()), now)])
    assert command.kind == "stop" and "time.monotonic_ns()" in command.reason


def test_a_state_read_after_a_late_wake_up_is_held_against_the_moment_it_was_read() -> None:
    layer = layer_of()
    layer.measured(said(7 * DT), 7 * DT)  # the tick was meant to be at 0
    assert layer.trouble(0) == ""
    layer.measured(said(7 * DT))
    assert "350 ms ahead" in layer.trouble(0)


@pytest.mark.parametrize("stamp", [float("nan"), float("inf"), 1.5, None, "now", True])
def test_a_stamp_that_is_no_whole_number_is_a_fault(stamp: Any) -> None:
    layer = layer_of()
    layer.measured(said(stamp))
    assert "t_ns: expected whole nanoseconds" in layer.trouble(0)
    numpys = layer_of()
    numpys.measured(said(np.int64(0)))
    assert numpys.trouble(0) == ""


# --- form ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "fault"),
    [({}, "'q': expected 3 values or more for [safety.limits.hand], got none"),
     ({"q": np.zeros(2, np.float32)}, "'q': expected 3 values or more"),
     ({"q": np.zeros((1, 3), np.float32)}, "'q': expected 3 values or more"),
     ({"q": [0.0, 0.0, 0.0]}, "'q': expected an array of numbers"),
     ({"q": np.array(["a", "b", "c"])}, "'q': expected an array of numbers"),
     ({"q": np.array([0, np.nan, 0], np.float32)}, "'q' is not finite"),
     ({"q": np.zeros(3, np.float32), "effort": np.array([np.inf])}, "'effort' is not finite")],
    ids=["none", "short", "another shape", "a list", "no numbers", "NaN", "another field"],
)  # fmt: skip
def test_what_a_limit_needs_and_does_not_get_is_a_fault(values: Any, fault: str) -> None:
    layer = layer_of(max_lead=0.05)
    layer.measured(RobotState(0, values))
    assert fault in layer.trouble(0)
    assert layer.readings.believed is None


def test_a_workspace_that_the_robot_says_nothing_of_is_a_fault() -> None:
    box = Workspace("hand_pose", (-1.0,) * 3, (1.0,) * 3)
    layer = layer_of(workspace=box)
    layer.measured(said(0))
    assert "'hand_pose': expected 3 values or more for [safety.workspace]" in layer.trouble(0)
    layer = layer_of(workspace=box)
    pose = np.array([0, 0, 2, 0, 0, 0, 1], np.float32)
    layer.measured(said(0, hand_pose=pose))
    assert "hand_pose [0.0, 0.0, 2.0] is outside the workspace" in layer.trouble(0)


def test_a_command_that_a_silent_robots_place_would_limit_is_refused() -> None:
    checked = layer_of(max_lead=0.05).check(np.zeros(3, np.float32), holding=False)
    assert "the robot has said nothing, and hand is limited by its 'q'" in checked.fault


# --- the way since the last reading --------------------------------------------------------------


def drive(layer: SafetyLayer, places: list[float], first: int = 0) -> list[str]:
    """One reading a tick; what is wrong after each."""
    faults = []
    for k, x in enumerate(places, first):
        layer.measured(said(k * DT, x))
        faults.append(layer.trouble(k * DT))
    return faults


def place(layer: SafetyLayer) -> float:
    assert layer.readings.believed is not None
    return float(layer.readings.believed.values["q"][0])


def test_a_reading_that_cannot_have_been_is_bridged_by_the_last_that_can() -> None:
    layer = layer_of(physical_speed=1.5)
    assert not any(drive(layer, [0.0, 0.01, 1.0, 1.0]))
    assert place(layer) == pytest.approx(0.01) and layer.readings.bridged == 2
    assert not any(drive(layer, [0.03], first=4)) and place(layer) == pytest.approx(0.03)


def test_one_more_than_may_be_bridged_is_a_fault_though_it_be_reachable_by_then() -> None:
    layer = layer_of(physical_speed=5.0)
    faults = drive(layer, [0.0, 0.0, 0.9, 0.9, 0.9])
    assert not any(faults[:4])
    assert "q moved by 0.9 in 150 ms" in faults[4] and "max_bridged_ticks = 2" in faults[4]
    assert "[safety.limits.hand] physical_speed = 5" in faults[4]
    none = layer_of(physical_speed=5.0, max_bridged_ticks=0)
    assert "(1 in a row" in drive(none, [0.0, 0.0, 0.9])[2]
    twice = layer_of(physical_speed=1.0)  # single ones, over and over, are bridged each time
    assert not any(drive(twice, [0.0, 0.0] + [0.9, 0.0] * 5)) and twice.readings.bridged == 5


def test_a_reading_that_bridges_is_never_older_than_a_state_may_be() -> None:
    layer = layer_of(physical_speed=1.0, max_bridged_ticks=100)
    faults = drive(layer, [0.0, 0.0] + [0.9] * 5)
    assert not any(faults[:6]), "200 ms"
    assert (
        "the last state of the robot that can be true is 250 ms old (max_state_age_ms = 200)"
        in faults[6]
    )


def test_an_arm_as_fast_as_it_can_be_is_believed() -> None:
    layer = layer_of(physical_speed=1.5)
    path = list(np.arange(12) * 1.5 * 0.05)
    assert not any(drive(layer, path)) and place(layer) == pytest.approx(path[-1])
    assert layer.readings.bridged == 0


def test_a_way_is_given_a_control_step_at_least_and_all_the_time_that_has_passed() -> None:
    layer = layer_of(physical_speed=1.0)
    for k, (t_ms, x) in enumerate([(0, 0.0), (1, 0.04), (2, 0.0), (150, 0.14)]):
        layer.measured(said(t_ms * MS, x))
        assert layer.trouble(t_ms * MS) == "", k
    assert layer.readings.bridged == 0
    layer.measured(said(151 * MS, 0.2))
    assert layer.readings.bridged == 1


def test_a_point_moves_by_the_length_of_its_way_and_joints_each_by_its_own() -> None:
    for unit, bridged in (("m", 1), ("rad", 0)):
        hand = ActionField("hand", (3,), unit, "base", "absolute", 1.0, (-1.0,) * 3, (1.0,) * 3)
        spec = PolicySpec((Q,), (hand,), 1, 8, 4, 20.0)
        limits = {"hand": FieldLimits("q", physical_speed=1.0)}
        layer = SafetyLayer(spec, SafetyEntry(limits=limits))
        for k, x in enumerate((0.0, 0.0, 0.04)):
            layer.measured(RobotState(k * DT, {"q": np.full(3, x, np.float32)}))
        assert layer.readings.bridged == bridged


def test_two_first_readings_that_contradict_each_other_are_a_fault() -> None:
    """Nobody knows which of them is wrong."""
    layer = layer_of(physical_speed=1.0)
    assert "q moved by 1 in 50 ms" in drive(layer, [1.0, 0.0])[1]


def test_an_episode_begins_where_the_robot_was_put() -> None:
    layer = layer_of(physical_speed=1.0)
    drive(layer, [0.0, 0.0])
    layer.forget()
    assert not any(drive(layer, [1.0, 1.0], first=2)) and place(layer) == 1.0
    assert layer.readings.bridged == 0


def test_the_workspace_too_knows_how_fast_its_hand_can_be() -> None:
    box = Workspace("q", (-1.0,) * 3, (1.0,) * 3, physical_speed=1.0)
    layer = layer_of(workspace=box)
    assert not any(drive(layer, [0.0, 0.0, 5.0, 0.0])) and layer.readings.bridged == 1
    without = layer_of(workspace=Workspace("q", (-1.0,) * 3, (1.0,) * 3))
    assert "is outside the workspace" in drive(without, [0.0, 0.0, 5.0])[2]


def test_a_bridged_reading_moves_no_limit_and_is_counted() -> None:
    """A velocity, 5 cm before the wall: what it may be does not follow a wrong place."""
    slide = ActionField("hand", (3,), "m/s", "base", "velocity", 1.0, (-1.0,) * 3, (1.0,) * 3, 0.0)
    spec = PolicySpec((Q,), (slide,), 1, 8, 4, 20.0)
    limits = FieldLimits("q", position_low=(-1.0,) * 3, position_high=(1.0,) * 3,
                         max_velocity=5.0, physical_speed=5.0)  # fmt: skip
    layer = SafetyLayer(spec, SafetyEntry(limits={"hand": limits}))
    for k, x in enumerate((0.99, 0.99, -0.5)):
        layer.measured(said(k * DT, x))
        sent = layer.check(np.array([1.0, 0, 0], np.float32), holding=False).action
        assert sent[0] == pytest.approx(0.2, abs=1e-5)
    controller = Controller(spec, 0, 8 * DT, safety=SafetyLayer(spec, SafetyEntry(
        limits={"hand": limits})))  # fmt: skip
    for k, x in enumerate((0.99, 0.99, -0.5)):
        controller.step(k * DT, [StateRead(said(k * DT, x))])
    assert controller.counters.bridged == 1 and controller.state is not None
    assert controller.state.values["q"][0] == np.float32(0.99), "what the policy is to see"
