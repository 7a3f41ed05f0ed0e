"""Whatever is wanted and whatever is measured: what is sent keeps the range and the limits."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from ofp_edge.fields import State
from ofp_edge.rig.safety import FieldLimits, SafetyEntry
from ofp_edge.runtime.chunk import Chunk
from ofp_edge.runtime.control.controller import Controller
from ofp_edge.runtime.control.events import (
    ChunkReady,
    EpisodeStarted,
    Event,
    PlanStarted,
    StateRead,
)
from ofp_edge.runtime.robot import RobotState
from ofp_edge.runtime.safety.field_limiter import FieldLimiter
from ofp_edge.runtime.safety.layer import SafetyLayer
from ofp_edge.spec import ActionField, ActionKind, PolicySpec

DT = 0.05
FLOAT32 = 1e-3  # relative: what rounding a command to float32 does to its second difference


def field(
    kind: ActionKind = "absolute", size: int = 3, unit: str = "m", scale: float = 1.0,
    ends: tuple[float, float] = (-1.0, 1.0),
) -> ActionField:  # fmt: skip
    hold = None if kind == "absolute" else 0.0
    low, high = ((end,) * size for end in ends)
    return ActionField("hand", (size,), unit, "base", kind, scale, low, high, hold)


def spec_of(*fields: ActionField) -> PolicySpec:
    size = fields[0].shape[0]
    state = State("q", (size,), "m", "base", (-9.0,) * size, (9.0,) * size)
    return PolicySpec((state,), fields, 1, 64, 4, 1 / DT)


def layer_of(hand: ActionField, **limits: Any) -> SafetyLayer:
    entry = SafetyEntry(limits={"hand": FieldLimits(**limits)}, max_cut_in_a_row=10**6)
    entry.require_fits(spec_of(hand), "rig.toml")
    return SafetyLayer(spec_of(hand), entry)


def told(layer: SafetyLayer, action: Any, measured: Any = None, **options: Any) -> np.ndarray:
    if measured is not None:
        layer.measured(RobotState(0, {"q": np.asarray(measured, np.float32)}))
    checked = layer.check(np.asarray(action, np.float32), holding=options.get("holding", False))
    assert not checked.fault, checked.fault
    return checked.action


# --- the range -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "limits",
    [{"max_acceleration": 2.0}, {"max_acceleration": 2.0, "max_jerk": 10.0}, {"max_jerk": 10.0},
     {"max_acceleration": 0.3, "max_velocity": 5.0}],
    ids=str,
)  # fmt: skip
def test_a_plan_to_the_ranges_edge_is_braked_before_it(limits: dict[str, float]) -> None:
    """Through the whole state machine: the plan asks for the edge at every tick, never for more."""
    joint = field(size=1, unit="rad")
    spec = spec_of(joint)
    limits = {"max_velocity": 1.0, **limits}
    entry = SafetyEntry(limits={"hand": FieldLimits("q", **limits)}, max_cut_in_a_row=1000)  # type: ignore[arg-type]
    controller = Controller(spec, 0, 60 * spec.dt_ns, safety=SafetyLayer(spec, entry))
    chunk = Chunk(0, spec.dt_ns, np.ones((64, 1), np.float32), np.zeros((64, 1), np.float32))
    q, sent = np.zeros(1, np.float32), [0.0, 0.0]
    for k in range(60):
        events: list[Event] = [StateRead(RobotState(k * spec.dt_ns, {"q": q.copy()}))]
        if k == 0:
            events += [EpisodeStarted(0), PlanStarted(0, 0), ChunkReady(chunk)]
        command = controller.step(k * spec.dt_ns, events)
        assert command.action is not None, controller.fault
        q = command.action.copy()
        sent.append(float(q[0]))
    assert max(sent) <= 1.0
    if "max_acceleration" in limits:
        assert np.abs(np.diff(sent, 2)).max() <= limits["max_acceleration"] * DT**2 * (1 + FLOAT32)
        assert sent[-1] > 0.99 or limits["max_acceleration"] < 1


@pytest.mark.parametrize("kind", ["absolute", "delta", "velocity"])
@pytest.mark.parametrize("size", [2, 3], ids=["each number", "a vector"])
def test_range_box_velocity_and_acceleration_all_hold(kind: ActionKind, size: int) -> None:
    """Of a robot that goes where it is told; targets jump and wander, in each unit and scale."""
    reached = dict.fromkeys(("velocity", "acceleration", "range", "box"), 0.0)
    for seed in range(30):
        rng = np.random.default_rng(seed)
        most_v, most_a = rng.uniform(0.1, 2.0), rng.uniform(0.3, 8.0)
        jerk = float(rng.uniform(5, 200)) if rng.random() < 0.3 else None
        scale, top = float(rng.choice([1.0, 0.5, -0.7, 2.0])), float(rng.uniform(0.3, 1.2))
        top *= DT if kind == "delta" else 1.0
        hand = field(kind, size, "m" if size == 3 else "rad", scale, (-top, 0.8 * top))
        box = {"position_low": (-0.6,) * size, "position_high": (0.6,) * size}
        layer = layer_of(hand, measured="q", max_velocity=float(most_v), max_jerk=jerk,
                         max_acceleration=float(most_a), **(box if seed % 2 else {}))  # fmt: skip
        x, v, target = np.zeros(size), np.zeros(size), np.zeros(size)
        for k in range(60):
            if k % 12 == 0:
                target = rng.uniform(-2 * top, 2 * top, size)
            raw = told(layer, target + top * rng.normal(0, 0.02, size), x)
            assert raw.min() >= np.float32(-top) and raw.max() <= np.float32(0.8 * top)
            step = raw.astype(np.float64) * scale
            new = step if kind == "absolute" else x + step * (DT if kind == "velocity" else 1.0)
            speed = (new - x) / DT
            length = np.linalg.norm if size == 3 else lambda a: np.abs(a).max()
            shares = {"velocity": length(speed) / most_v,
                      "acceleration": length(speed - v) / DT / most_a,
                      "range": max(raw.max() / (0.8 * top), -raw.min() / top),
                      "box": np.abs(new).max() / 0.6 if seed % 2 else 0.0}  # fmt: skip
            for name, share in shares.items():
                assert share <= 1 + FLOAT32, (name, seed, k)
                reached[name] = max(reached[name], float(share))
            x, v = new, speed
    assert min(reached.values()) > 0.99, f"each limit is reached, not only kept: {reached}"


def test_the_range_is_the_last_word_also_without_any_limit_and_is_counted() -> None:
    joint = field(size=2, unit="rad")
    layer = SafetyLayer(spec_of(joint), SafetyEntry(max_cut_in_a_row=2))
    over = np.array([1.5, -0.5], np.float32)
    for _ in range(2):
        checked = layer.check(over, holding=False)
        np.testing.assert_array_equal(checked.action, np.array([1.0, -0.5], np.float32))
        assert checked.cut == ("hand: range",)
    assert "3 commands in a row were cut (hand: range" in layer.check(over, holding=False).fault


def test_the_ranges_end_itself_is_no_cut_though_float32_has_no_such_number() -> None:
    joint = field(size=1, unit="rad", ends=(-0.1, 0.1))
    for measured in (None, "q"):
        layer = layer_of(joint, measured=measured, max_velocity=9.0)
        layer.measured(RobotState(0, {"q": np.full(1, 0.1, np.float32)}))
        for _ in range(3):
            checked = layer.check(np.full(1, 0.1, np.float32), holding=False)
            assert checked.action == np.float32(0.1) and not checked.cut and not checked.fault


def test_staying_is_possible_where_the_range_does_not_hold_it() -> None:
    always_on = ActionField("hand", (1,), "rad/s", "base", "velocity", 1.0, (0.1,), (1.0,), 0.0)
    for limits in ({}, {"max_acceleration": 1.0}):
        layer = layer_of(always_on, **limits)
        told(layer, [0.5])
        for _ in range(20):
            sent = told(layer, [0.0], holding=True)
        assert sent == 0.0


def test_commands_begin_at_the_ranges_edge_where_the_robot_is_a_little_outside_of_it() -> None:
    layer = layer_of(field(size=1, unit="rad"), measured="q", max_velocity=1.0)
    layer.measured(RobotState(0, {"q": np.array([1.04], np.float32)}))
    checked = layer.check(np.array([0.9], np.float32), holding=False)
    assert checked.action == np.float32(0.95)
    assert checked.cut == ("hand: range", "hand: velocity")


def test_a_robot_further_outside_of_the_range_than_a_step_goes_is_not_commanded() -> None:
    layer = layer_of(field(size=1, unit="rad"), measured="q", max_velocity=1.0)
    layer.measured(RobotState(0, {"q": np.array([1.2], np.float32)}))
    fault = layer.check(np.array([0.9], np.float32), holding=False).fault
    assert (
        "hand is 0.2 rad outside the range of its commands" in fault and "max_velocity = 1" in fault
    )


def test_of_several_joints_the_one_outside_is_named_and_a_unit_that_nobody_stated_is_not() -> None:
    layer = layer_of(field(size=3, unit="1"), measured="q", max_velocity=1.0)
    layer.measured(RobotState(0, {"q": np.array([0.0, 0.0, -1.2], np.float32)}))
    fault = layer.check(np.zeros(3, np.float32), holding=False).fault
    assert "hand[2] is 0.2 outside the range of its commands" in fault


# --- the lead ------------------------------------------------------------------------------------


def test_one_wrong_reading_never_becomes_a_jump() -> None:
    """An encoder off by 1 m for one tick: the policy stays at 0, and so does what is sent."""
    layer = layer_of(field(), measured="q", max_velocity=0.25, max_acceleration=2.0, max_lead=0.05)
    for k in range(8):
        at = np.array([1.0 if k == 4 else 0.0, 0.0, 0.0])
        np.testing.assert_array_equal(told(layer, np.zeros(3), at), 0.0)


@pytest.mark.parametrize("size", [2, 3], ids=["each number", "a vector"])
def test_a_lead_only_shortens_a_step_whatever_is_measured(size: int) -> None:
    most_v, lead, shortened = 0.25, 0.05, 0
    hand = field(size=size, unit="m" if size == 3 else "rad")
    for seed in range(40):
        rng = np.random.default_rng(seed)
        layer = layer_of(hand, measured="q", max_velocity=most_v, max_lead=lead)
        x, place = np.zeros(size), np.zeros(size)
        told(layer, x, place)
        for _ in range(40):
            target = rng.uniform(-1, 1, size)
            place = x + rng.normal(0, 0.04, size)
            if rng.random() < 0.2:
                place = rng.uniform(-2, 2, size)  # nonsense
            new = told(layer, target, place).astype(np.float64)
            full, step = target.astype(np.float32) - x, new - x
            if size == 3:
                full = full * min(1.0, most_v * DT / np.linalg.norm(full))
                share = step @ full / (full @ full)
                np.testing.assert_allclose(step, share * full, atol=1e-6)
                away, before = np.linalg.norm(new - place), np.linalg.norm(x - place)
            else:
                full = np.clip(full, -most_v * DT, most_v * DT)
                share = float((step / full).min())
                assert (step / full).max() <= 1 + 1e-4
                away, before = np.abs(new - place).max(), np.abs(x - place).max()
            assert -1e-4 <= share <= 1 + 1e-4
            assert away <= max(lead, before) + 1e-6, "never further ahead than it may or was"
            shortened += share < 0.99
            x = new
    assert shortened > 100


def test_a_target_that_is_too_far_ahead_may_still_come_back() -> None:
    layer = layer_of(field(size=3), measured="q", max_velocity=0.25, max_lead=0.05)
    told(layer, [0, 0, 0], [0, 0, 0])
    pushed = [0.2, 0.0, 0.0]  # the arm was pushed away from its target
    np.testing.assert_array_equal(told(layer, [-1, 0, 0], pushed), 0.0)
    assert told(layer, [1, 0, 0], pushed)[0] == pytest.approx(0.0125)


# --- the first step, and the hold ----------------------------------------------------------------


@pytest.mark.parametrize(("kind", "raw"), [("absolute", 0.2), ("delta", 0.2), ("velocity", 4.0)])
def test_a_first_step_is_a_way_also_of_a_velocity_and_after_a_hold(
    kind: ActionKind, raw: float
) -> None:
    """4 rad/s for a step of 50 ms are 0.2 rad."""
    joint = field(kind, 1, "rad", ends=(-9.0, 9.0))
    for most, refused in ((0.19, True), (0.21, False)):
        layer = layer_of(joint, measured="q", max_first_step=most)
        if kind != "absolute":
            told(layer, [0.0], [0.0], holding=True)
        layer.measured(RobotState(0, {"q": np.zeros(1, np.float32)}))
        fault = layer.check(np.array([raw], np.float32), holding=False).fault
        assert ("the first command for hand is 0.2 rad" in fault) == refused
        if not refused:
            told(layer, [9 * raw], [0.0])


@pytest.mark.parametrize("kind", ["absolute", "velocity"])
@pytest.mark.parametrize(
    ("most_a", "most_jerk"), [(2.0, 40.0), (2.0, 2.0), (None, 5.0), (4.0, 10.0)]
)
def test_a_hold_comes_to_rest_and_never_turns_back(
    kind: ActionKind, most_a: float | None, most_jerk: float
) -> None:
    """A limited jerk carries an acceleration on: it must not carry it past rest."""
    joint = field(kind, 1, "rad", ends=(-9.0, 9.0))
    limits = FieldLimits(max_velocity=1.0, max_acceleration=most_a, max_jerk=most_jerk)
    limiter = FieldLimiter(joint, limits, DT)
    x = np.zeros(1, np.float32)
    for k in range(40):
        raw = 0.03 * (k + 1) if kind == "absolute" else 1.0
        before, x = x, limiter.limit(np.full(1, raw, np.float32), None, False)[0]
    speeds = [float(x[0]) if kind == "velocity" else float(x[0] - before[0]) / DT]
    for _ in range(120):
        before, x = (
            x,
            limiter.limit(x if kind == "absolute" else np.zeros(1, np.float32), None, True)[0],
        )
        speeds.append(float(x[0]) if kind == "velocity" else float(x[0] - before[0]) / DT)
    assert abs(speeds[0]) > 0.1 and abs(speeds[-1]) < 1e-5, "it moved, and it rests"
    turned = np.asarray(speeds) * np.sign(speeds[0])
    assert turned.min() > -1e-4 and np.diff(turned).max() < 1e-4, "ever slower, never back"


def test_a_wall_that_stopped_it_does_not_throw_it_back() -> None:
    """The wall's own braking is no acceleration that a jerk limit would carry on."""
    limits = FieldLimits("q", max_velocity=1.0, max_acceleration=2.0, max_jerk=10.0, max_lead=0.05)
    limiter = FieldLimiter(field(size=1, unit="rad", ends=(-2.0, 2.0)), limits, DT)
    blocked, sent = np.zeros(1), [0.0]
    for target in np.linspace(0.01, 1, 40):
        sent.append(float(limiter.limit(np.full(1, target, np.float32), blocked, False)[0][0]))
    assert np.diff(sent).min() > -1e-6 and sent[-1] == pytest.approx(0.05)


def test_a_wall_of_one_joint_makes_no_other_one_jerk() -> None:
    """The first is held by its lead at every step; the second's acceleration goes on."""
    limits = FieldLimits("q", max_jerk=10.0, max_lead=0.05)
    limiter = FieldLimiter(field(size=2, unit="rad", ends=(-2.0, 2.0)), limits, DT)
    path = [np.zeros(2)] * 3
    for k in range(13):
        measured = np.array([0.0, path[-1][1]])
        target = np.array([1.0, 0.02 if k < 6 else 0.0], np.float32)
        path.append(limiter.limit(target, measured, False)[0].astype(np.float64))
    assert path[-1][0] == pytest.approx(0.05), "its lead"
    jerk = np.abs(np.diff([x[1] for x in path], 3)) / DT**3
    assert 9.9 < jerk.max() < 10.0 * (1 + FLOAT32)


@pytest.mark.parametrize("kind", ["velocity", "delta"])
def test_what_the_range_took_away_is_not_carried_on(kind: ActionKind) -> None:
    """A limited jerk carries a speed beyond the range; the next step begins at the range's end."""
    end = 1.0 if kind == "velocity" else DT
    hand = field(kind, 1, "rad/s" if kind == "velocity" else "rad", ends=(-end, end))
    layer = layer_of(hand, max_jerk=90.0)
    speeds = [float(told(layer, [end if k < 3 else -end])[0]) / end for k in range(8)]
    top = int(np.argmax(speeds))
    assert speeds[top] == pytest.approx(1.0), "beyond the range's end, but for it"
    a = np.diff(speeds[top : top + 4], prepend=[1.0]) / DT
    assert a[-1] < -5 and np.abs(np.diff(a)).max() / DT <= 90.0 * (1 + FLOAT32)


def test_a_hold_that_ended_at_rest_does_not_throw_it_back() -> None:
    limits = FieldLimits(max_velocity=1.0, max_jerk=10.0)
    limiter = FieldLimiter(field("velocity", 1, "rad/s"), limits, DT)

    def told(target: float, holding: bool = False) -> float:
        raw = np.full(1, target, np.float32)
        return float(limiter.limit(raw, None, holding)[0][0])

    for _ in range(40):
        told(1.0)
    while told(-1.0) > 0.12:
        pass
    assert told(0.0, holding=True) == 0.0, "faster than a jerk limit would let it"
    assert told(1.0) > 0
