from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from ofp_edge.errors import RigError
from ofp_edge.rig.safety import FieldLimits, SafetyEntry, Workspace, safety_from_json
from ofp_edge.runtime.robot import RobotState
from ofp_edge.runtime.safety.field_limiter import FieldLimiter
from ofp_edge.runtime.safety.layer import SafetyLayer
from ofp_edge.spec import ActionField, ActionKind, PolicySpec
from tests.synthetic import state_field

DT = 0.05
MS = 1_000_000


def joint(kind: ActionKind = "absolute", scale: float = 1.0, unit: str = "rad") -> ActionField:
    hold = None if kind == "absolute" else 0.0
    return ActionField("arm", (2,), unit, "base", kind, scale, (-9.0,) * 2, (9.0,) * 2, hold)


def spec_of(*fields: ActionField) -> PolicySpec:
    return PolicySpec((state_field(4),), fields, 1, 8, 4, 1 / DT)


def walk(limits: FieldLimits, targets: Any, kind: ActionKind = "absolute",
         start: float = 0.0) -> tuple[np.ndarray, list[list[str]]]:  # fmt: skip
    """Positions sent, one row a tick, of a robot that goes where it is told."""
    limiter = FieldLimiter(joint(kind), limits, DT)
    measured, sent, cuts = np.full(2, start), [], []
    for target in targets:
        raw, cut = limiter.limit(np.full(2, target, np.float32), measured, False)
        if kind == "absolute":
            measured = raw.astype(np.float64)
        else:
            measured = measured + raw.astype(np.float64) * (DT if kind == "velocity" else 1.0)
        sent.append(measured.copy())
        cuts.append(cut)
    return np.asarray(sent), cuts


def test_within_the_limits_every_bit_stays() -> None:
    limits = FieldLimits(measured="state", max_velocity=10.0, max_acceleration=500.0,
                         max_jerk=50_000.0, max_lead=1.0, position_low=(-2.0, -2.0),
                         position_high=(2.0, 2.0))  # fmt: skip
    for kind in ("absolute", "delta", "velocity"):
        limiter = FieldLimiter(joint(kind, scale=0.3), limits, DT)
        raw = np.array([0.1234567, -0.0765432], np.float32)
        sent, cut = limiter.limit(raw, np.zeros(2), False)
        assert sent.tobytes() == raw.tobytes() and cut == []


@pytest.mark.parametrize("kind", ["absolute", "delta", "velocity"])
def test_velocity_acceleration_and_jerk_are_never_exceeded(kind: ActionKind) -> None:
    limits = FieldLimits(measured="state", max_velocity=1.0, max_acceleration=4.0, max_jerk=60.0)
    rng = np.random.default_rng(0)
    positions, cuts = walk(limits, np.repeat(rng.uniform(-3, 3, 15), 20), kind)
    path = np.concatenate([np.zeros((4, 2)), positions])
    speed, force, jerk = (np.abs(np.diff(path, n, axis=0)).max() / DT**n for n in (1, 2, 3))
    assert speed <= 1.0 + 1e-4 and force <= 4.0 + 1e-3
    assert 0.9 < speed and 3.0 < force, "the limits are reached, not only kept"
    assert any("velocity" in cut for cut in cuts) and any("jerk" in cut for cut in cuts)
    # Jerk gives way where the velocity's own limit takes the acceleration away.
    assert np.median(np.abs(np.diff(path, 3, axis=0))) / DT**3 <= 60.0 + 1e-2 and jerk < 2 * 80


def test_a_box_is_never_left_and_braked_before() -> None:
    limits = FieldLimits(measured="state", max_acceleration=4.0, max_velocity=2.0,
                         position_low=(-0.5, -0.5), position_high=(0.5, 0.5))  # fmt: skip
    for kind, target in (("absolute", 3.0), ("velocity", 2.0), ("delta", 0.1)):
        positions, cuts = walk(limits, [target] * 60, kind)
        assert positions.max() <= 0.5 + 1e-6 and positions[-1].min() > 0.45
        steps = np.diff(positions[:, 0])
        assert np.abs(np.diff(steps)).max() / DT**2 < 8.5, "no slam into the wall"
        assert "position" in cuts[-1]


def test_outside_the_box_it_may_come_back_and_go_no_further() -> None:
    limits = FieldLimits(measured="state", position_low=(-0.5,) * 2, position_high=(0.5,) * 2)
    limiter = FieldLimiter(joint("velocity"), limits, DT)
    out = np.full(2, 0.8)
    assert (limiter.limit(np.ones(2, np.float32), out, False)[0] == 0).all()
    assert (limiter.limit(-np.ones(2, np.float32), out, False)[0] == -1).all()


def test_a_target_is_tied_to_where_the_robot_is() -> None:
    limiter = FieldLimiter(joint(), FieldLimits(measured="state", max_lead=0.1), DT)
    blocked = np.zeros(2)
    for target in np.linspace(0, 2, 40):  # the arm does not follow: nothing winds up
        sent, cut = limiter.limit(np.full(2, target, np.float32), blocked, False)
        assert np.abs(sent).max() <= 0.1 + 1e-6
    assert cut == ["lead"]


def test_the_length_of_a_cartesian_step_is_limited_not_each_axis() -> None:
    hand = ActionField("hand", (3,), "m", "base", "delta", 0.01, (-9,) * 3, (9,) * 3, 0.0)
    limiter = FieldLimiter(hand, SafetyEntry().limits_of(hand), DT)
    sent, cut = limiter.limit(np.array([3.0, 4.0, 0.0], np.float32), None, False)
    assert np.linalg.norm(sent) * 0.01 / DT == pytest.approx(0.25) and cut == ["velocity"]
    np.testing.assert_allclose(sent[0] / sent[1], 0.75, rtol=1e-5)


def test_a_hold_comes_to_rest_at_the_limits_and_counts_no_cut() -> None:
    entry = SafetyEntry(limits={"arm": FieldLimits(max_acceleration=4.0)}, max_cut_in_a_row=2)
    layer = SafetyLayer(spec_of(joint("velocity")), entry)
    speeds = [layer.check(np.full(2, v, np.float32), holding=False).action[0]
              for v in (0.2, 0.4, 0.6)]  # fmt: skip
    for _ in range(5):
        checked = layer.check(np.zeros(2, np.float32), holding=True)
        assert not checked.cut and not checked.fault
        speeds.append(checked.action[0])
    assert np.abs(np.diff(speeds)).max() <= 4.0 * DT + 1e-6 and speeds[-1] == 0


@pytest.mark.parametrize(
    ("action", "why"), [([np.nan, 0], "not finite"), ([np.inf, 0], "not finite"), ([0.0], "shape")]
)
def test_what_is_no_action_is_refused(action: list[float], why: str) -> None:
    layer = SafetyLayer(spec_of(joint()), SafetyEntry())
    assert why in layer.check(np.asarray(action, np.float32), holding=False).fault


def state(t_ns: int = 0, *values: float) -> RobotState:
    return RobotState(t_ns, {"state": np.asarray(values or (0.0,) * 4, np.float32)})


def test_a_first_command_far_from_the_robot_stops() -> None:
    limits = FieldLimits(measured="state", measured_offset=2, max_first_step=0.1)
    layer = SafetyLayer(spec_of(joint()), SafetyEntry(limits={"arm": limits}))
    layer.measured(state(0, 9, 9, 1.0, 1.0))
    assert "1.5 rad" not in layer.check(np.full(2, 1.05, np.float32), holding=False).fault
    layer.forget()
    layer.measured(state(0, 9, 9, -0.45, 1.0))
    fault = layer.check(np.full(2, 1.05, np.float32), holding=False).fault
    assert "first command for arm is 1.5 rad" in fault and "max_first_step = 0.1" in fault


def test_cut_after_cut_stops_and_one_free_command_forgives() -> None:
    entry = SafetyEntry(limits={"arm": FieldLimits(max_velocity=1.0)}, max_cut_in_a_row=3)
    layer = SafetyLayer(spec_of(joint("velocity")), entry)
    fast, slow = np.full(2, 5, np.float32), np.zeros(2, np.float32)
    for action in (fast, fast, fast, slow, fast, fast, fast):
        assert layer.check(action, holding=False).fault == ""
    assert "4 commands in a row were cut (arm: velocity" in layer.check(fast, holding=False).fault


def test_a_robot_that_says_nothing_new_or_nonsense_or_left_its_workspace_stops() -> None:
    box = Workspace("state", (-1.0,) * 3, (1.0,) * 3)
    layer = SafetyLayer(spec_of(joint()), SafetyEntry(workspace=box))
    layer.measured(state(0))
    assert layer.trouble(200 * MS) == ""
    assert "has not answered for 201 ms" in layer.trouble(201 * MS)
    layer.measured(state(0, 0, 0, 1.2, 0))
    assert "outside the workspace" in layer.trouble(0)
    layer.measured(state(0, 0, np.nan, 0, 0))
    assert "not finite" in layer.trouble(0)


@pytest.mark.parametrize(
    ("limits", "what"),
    [
        ({"leg": FieldLimits()}, "expected an action"),
        ({"arm": FieldLimits(measured="pose")}, "measured: expected one of"),
        ({"arm": FieldLimits(measured="state", measured_offset=3)}, "measured_offset"),
        ({"arm": FieldLimits(max_lead=1.0)}, "max_lead: expected `measured`"),
        ({"arm": FieldLimits(position_low=(0.0, 0.0))}, "together"),
        ({"arm": FieldLimits(position_low=(0.0, 1.0), position_high=(1.0, 1.0))}, "low < high"),
    ],
)
def test_limits_that_do_not_fit_the_policy_are_one_line(
    limits: dict[str, FieldLimits], what: str
) -> None:
    with pytest.raises(RigError, match=what):
        SafetyEntry(limits=limits).require_fits(spec_of(joint()), "rig.toml")


def test_limits_travel_through_a_log() -> None:
    entry = SafetyEntry(
        max_cut_in_a_row=7, limits={"arm": FieldLimits(position_low=(0.0,), position_high=(1.0,))},
        workspace=Workspace("state", (0.0,), (1.0,)),
    )  # fmt: skip
    assert safety_from_json(entry.to_json()) == entry
