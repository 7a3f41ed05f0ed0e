"""What a robot can be told is known to the layer, so that no driver has to clip behind it."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from ofp_edge.errors import OfpError, RigError, RobotError
from ofp_edge.rig.safety import FieldLimits, SafetyEntry, safety_from_json
from ofp_edge.runtime.robot import RobotState, goal_range_of
from ofp_edge.runtime.safety.layer import SafetyLayer
from ofp_edge.spec import ActionField, ActionKind, PolicySpec
from tests.synthetic import state_field

FAR, ENDS = 180.0, ((-80.0, 0.0), (90.0, 100.0))


def spec_of(kind: ActionKind = "absolute", scale: float = 1.0) -> PolicySpec:
    hold = None if kind == "absolute" else 0.0
    far = (FAR / abs(scale),) * 2
    arm = ActionField("arm", (2,), "deg", "base", kind, scale, tuple(-x for x in far), far, hold)
    return PolicySpec((state_field(4),), (arm,), 1, 8, 4, 20.0)


def layer_of(spec: PolicySpec, **limits: Any) -> SafetyLayer:
    given = {"arm": FieldLimits(**limits)} if limits else {}
    return SafetyLayer(spec, SafetyEntry(limits=given, max_cut_in_a_row=3).told_within(spec, *ENDS))


@pytest.mark.parametrize("scale", [1.0, 0.5, -2.0])
@pytest.mark.parametrize("limits", [{}, {"measured": "state", "max_acceleration": 1e5}])
def test_no_target_is_sent_that_the_robot_would_clip_and_each_cut_is_counted(
    scale: float, limits: dict[str, Any]
) -> None:
    layer = layer_of(spec_of(scale=scale), **limits)
    layer.measured(RobotState(0, {"state": np.zeros(4, np.float32)}))
    inside = layer.check(np.array([60.0, 99.0], np.float32) / np.float32(scale), holding=False)
    assert not inside.cut
    for _ in range(3):
        checked = layer.check(np.array([170, -5], np.float32) / np.float32(scale), holding=False)
        assert checked.cut and not checked.fault
        assert (checked.action * scale >= np.array(ENDS[0]) - 1e-4).all()
        assert (checked.action * scale <= np.array(ENDS[1]) + 1e-4).all()
    last = layer.check(np.array([170, -5], np.float32) / np.float32(scale), holding=False)
    assert "4 commands in a row were cut" in last.fault


def test_an_arm_a_little_outside_begins_at_the_end_of_what_it_can_be_told() -> None:
    layer = layer_of(spec_of(), measured="state", max_velocity=100.0)
    layer.measured(RobotState(0, {"state": np.array([93, -3, 0, 0], np.float32)}))
    stay = layer.check(np.array([93, -3], np.float32), holding=False)
    np.testing.assert_array_equal(stay.action, [90, 0])


@pytest.mark.parametrize("kind", ["delta", "velocity"])
def test_a_step_leads_no_measured_place_out_of_it(kind: ActionKind) -> None:
    layer = layer_of(spec_of(kind), measured="state")
    layer.measured(RobotState(0, {"state": np.array([89, 50, 0, 0], np.float32)}))
    step = 5.0 if kind == "delta" else 100.0
    checked = layer.check(np.array([step, step], np.float32), holding=False)
    np.testing.assert_allclose(checked.action, [step / 5, step], rtol=1e-5)
    assert checked.cut == ("arm: position",)


def test_a_log_keeps_it_and_an_older_log_has_none() -> None:
    entry = SafetyEntry().told_within(spec_of(), *ENDS)
    again = safety_from_json(json.loads(json.dumps(entry.to_json())))
    assert again == entry and again.narrowed(spec_of()) == entry.narrowed(spec_of())
    old = entry.to_json()
    del old["goal_ranges"]
    assert safety_from_json(old) == SafetyEntry()


def test_a_policy_or_a_box_out_of_the_robots_reach_is_refused_at_the_start() -> None:
    with pytest.raises(RobotError, match=r"'arm': it can be told 200\.\.300 .* -180\.\.180"):
        SafetyEntry().told_within(spec_of(), (200.0, 0.0), (300.0, 100.0))
    for kind in ("absolute", "delta"):
        box = FieldLimits("state", position_low=(100.0, 0.0), position_high=(120.0, 1.0))
        with pytest.raises(OfpError, match=r"\[safety\.limits\.arm\] and the robot"):
            SafetyEntry(limits={"arm": box}).told_within(spec_of(kind), *ENDS)


@pytest.mark.parametrize(
    ("name", "low", "high", "said"),
    [("leg", [0, 0], [1, 1], "expected an action of"), ("arm", [0], [1, 1], "2 finite numbers"),
     ("arm", [0, 2], [1, 1], "low < high"), ("arm", [0, -1e300], [1, 1], "2 finite numbers")],
)  # fmt: skip
def test_a_logs_that_could_not_be_is_refused(name: str, low: Any, high: Any, said: str) -> None:
    told = {**SafetyEntry().to_json(), "goal_ranges": {name: {"low": low, "high": high}}}
    with pytest.raises(RigError, match=said):
        safety_from_json(told).require_fits(spec_of(), "the log")


@pytest.mark.parametrize("ends", [5, ("a", "b"), (1, 2, 3), ([0, 0], [1]), ([0, np.nan], [1, 1])])
def test_what_is_no_range_is_one_line(ends: Any) -> None:
    class Odd:
        goal_range = ends

    with pytest.raises(RobotError, match="goal_range: expected"):
        goal_range_of(Odd(), spec_of())  # type: ignore[arg-type]
    assert goal_range_of(object(), spec_of()) is None  # type: ignore[arg-type]
