"""What errors are measured in: units, angles, and whether a gripper does the same."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("zarr")

from ofp_edge.evaluate.offline_errors import Moments, baselines, held_against  # noqa: E402
from ofp_edge.evaluate.quantities import mean_action, quantities_of  # noqa: E402
from ofp_edge.fields import State  # noqa: E402
from ofp_edge.rotation import angles_between, from_quaternion, to_quaternion  # noqa: E402
from ofp_edge.spec import ActionField, PolicySpec  # noqa: E402

SEEN = (State("state", (1,), "1", "base", (0.0,), (1.0,)),)


def field(name: str, size: int, unit: str = "1", **more: Any) -> ActionField:
    kind = more.pop("kind", "absolute")
    scale = more.pop("scale", 1.0)
    return ActionField(
        name, (size,), unit, "base", kind, scale, (-9.0,) * size, (9.0,) * size, **more
    )


def rows_of(action: np.ndarray, *fields: ActionField, names: dict[str, Any] | None = None) -> Any:
    known: Any = SimpleNamespace(names=names or {})
    spec = PolicySpec(SEEN, fields, 1, 4, 2, 10.0)
    return quantities_of(spec, known, action.astype(np.float32))


def test_a_quaternion_and_its_negative_are_one_rotation() -> None:
    rng = np.random.default_rng(0)
    action = rng.normal(size=(50, 4)).astype(np.float32)
    (row,) = rows_of(action, field("turn", 4, rotation="quaternion"))
    assert (row.name, row.unit, row.measure) == ("turn", "rad", "angle")
    assert row.errors(-3 * action, action) == pytest.approx(np.zeros(50), abs=1e-6)


@pytest.mark.parametrize("form", ["quaternion", "rotvec", "rot6d"])
def test_the_angle_is_that_of_the_turn_between_them(form: Any) -> None:
    rng = np.random.default_rng(1)
    for angle in (0.0, 1e-5, 0.3, 3.0, np.pi):
        axis = rng.normal(size=3)
        half = axis / np.linalg.norm(axis) * np.sin(angle / 2)
        turn = np.array([*half, np.cos(angle / 2)])
        start = to_quaternion("quaternion", rng.normal(size=4))
        x1, y1, z1, w1 = start
        x2, y2, z2, w2 = turn
        end = np.array(
            [
                w1 * x2 + x1 * w2 + y1 * z2 - z1 * y2,
                w1 * y2 - x1 * z2 + y1 * w2 + z1 * x2,
                w1 * z2 + x1 * y2 - y1 * x2 + z1 * w2,
                w1 * w2 - x1 * x2 - y1 * y2 - z1 * z2,
            ]
        )
        a, b = (from_quaternion(form, q)[None] for q in (start, end))
        assert angles_between(form, a, b)[0] == pytest.approx(angle, abs=2e-7)


def test_the_mean_of_quaternions_of_either_sign_is_no_zero() -> None:
    action = np.tile([0.0, 0.0, 0.6, 0.8], (10, 1)) * np.where(np.arange(10) % 2, 1, -1)[:, None]
    rows = rows_of(action, field("turn", 4, rotation="quaternion"))
    mean = mean_action(rows, action.astype(np.float32))
    assert rows[0].errors(mean, action[0].astype(np.float32)) == pytest.approx(0, abs=1e-3)
    assert rows[0].spread is None, "nothing turned"


def test_grippers_are_counted_and_what_moves_is_measured() -> None:
    steps = np.linspace(0, 1, 40)
    action = np.stack([steps, steps > 0.5, np.round(3 * steps), steps, 0 * steps], axis=1)
    rows = rows_of(
        action,
        field("slide", 1, "m", scale=0.1),
        field("valve", 1),  # two values, though nobody said "nearest"
        field("tool", 1, interpolation="nearest"),
        field("wide", 1, interpolation="nearest"),  # a gripper's width, which is a number
        field("fixed", 1),
    )
    assert [row.measure for row in rows] == [
        "difference", "agreement", "agreement", "difference", "difference",
    ]  # fmt: skip
    assert rows[2].levels == (0, 1, 2, 3)
    said = np.array([0.5, 0.6, 1.4, 0.5, 0.0], np.float32)
    did = np.array([0.7, 1.0, 2.0, 0.7, 0.0], np.float32)
    errors = [float(row.errors(said, did)) for row in rows]
    assert errors == pytest.approx([0.02, 0, 1, 0.2, 0], abs=1e-6)
    assert rows[0].spread == pytest.approx(0.1 * steps.std(), rel=1e-5)
    assert [row.spread for row in rows[1:3]] == [None, None] and rows[4].spread is None


def test_names_and_units_are_each_dimension_s_where_they_are_stated() -> None:
    action = np.random.default_rng(0).normal(size=(20, 2))
    rows = rows_of(action, field("arm", 2, "rad, m"), names={"arm": ("shoulder", "slide")})
    assert [(row.name, row.unit) for row in rows] == [("shoulder", "rad"), ("slide", "m")]
    rows = rows_of(action, field("arm", 2, "rad"))
    assert [(row.name, row.unit) for row in rows] == [("arm[0]", "rad"), ("arm[1]", "rad")]


def test_standing_still_is_the_hold_of_a_delta_and_the_last_of_an_absolute_field() -> None:
    action = np.random.default_rng(0).normal(size=(20, 2)).astype(np.float32)
    fields = (field("move", 1, kind="delta", hold=0.0), field("joint", 1))
    rows = rows_of(action, *fields)
    spec = PolicySpec(SEEN, fields, 1, 4, 2, 10.0)
    before = action[[3, 7]]
    recorded = np.zeros((2, 4, 2), np.float32)
    inside = np.ones((2, 4), bool)
    moments = Moments(recorded, inside, np.zeros(2, np.int64), np.array([4, 8]), before)
    plans = baselines(moments, rows, spec, action)
    assert list(plans) == ["still", "repeat", "mean"]
    assert (plans["still"][0, 1] == [0.0, before[1, 1]]).all()
    assert (plans["repeat"][0, 1] == before[1]).all()


def test_the_jump_is_from_one_plan_to_the_next_of_the_same_episode_at_the_hand_over() -> None:
    action = np.random.default_rng(0).normal(size=(20, 1)).astype(np.float32)
    rows = rows_of(action, field("joint", 1))
    plans = np.zeros((1, 4, 4, 1), np.float32)  # 4 plans of 4 steps, the next after 2
    plans[0, :, 2] = [[1.0], [3.0], [100.0], [7.0]]
    plans[0, :, 0] = [[50.0], [1.5], [60.0], [101.0]]
    episode, frame = np.array([0, 0, 1, 1]), np.array([0, 2, 0, 2])
    inside = np.ones((4, 4), bool)
    moments = Moments(np.zeros((4, 4, 1), np.float32), inside, episode, frame, action[:4])
    found = held_against(plans, moments, rows, 2)
    assert found["quantities"][0]["jump"] == pytest.approx((0.5 + 1.0) / 2)
    assert found["jump"] == pytest.approx(0.75 / rows[0].spread, rel=1e-5)
    assert found["disagreement"] is None, "one noise has none"
    alone = Moments(moments.recorded, inside, np.arange(4), frame, action[:4])
    assert held_against(plans, alone, rows, 2)["jump"] is None
