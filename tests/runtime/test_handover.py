from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from ofp_edge.errors import SpecMismatch
from ofp_edge.rotation import blend_rotation, from_quaternion, to_quaternion
from ofp_edge.runtime.chunk import Chunk
from ofp_edge.runtime.control.handover import cross_fade
from ofp_edge.spec import ActionField, PolicySpec
from tests.synthetic import state_field

DT = 50_000_000
H = 8


def field(name: str, kind: Any, size: int = 1, **options: Any) -> ActionField:
    hold = None if kind == "absolute" else 0.0
    return ActionField(
        name, (size,), "rad", "base", kind, options.pop("scale", 1.0), (-9.0,) * size,
        (9.0,) * size, hold, **options,
    )  # fmt: skip


def spec_of(*fields: ActionField) -> PolicySpec:
    return PolicySpec((state_field(4),), fields, 1, H, 3, 20.0)


def chunk(actions: Any, t_obs_ns: int = 0) -> Chunk:
    array = np.asarray(actions, np.float32)
    return Chunk(t_obs_ns, DT, array, array.copy())


def constant(value: float, t_obs_ns: int = 0, size: int = 1) -> Chunk:
    return chunk(np.full((H, size), value), t_obs_ns)


@pytest.mark.parametrize("kind", ["absolute", "velocity"])
def test_values_go_over_in_equal_shares_and_never_jump(kind: Any) -> None:
    faded = cross_fade(spec_of(field("x", kind)), constant(0.0), constant(1.0, 2 * DT), 4 * DT, 3)
    at = [faded.at(k * DT)[0] for k in range(4, 10)]
    np.testing.assert_allclose(at, [0.25, 0.5, 0.75, 1, 1, 1])
    assert faded.normalised[0, 0] == 1.0, "the warm start's source is the new plan"


def test_no_steps_are_a_plain_switch() -> None:
    new = constant(1.0)
    assert cross_fade(spec_of(field("x", "absolute")), constant(0.0), new, 4 * DT, 0) is new


def test_deltas_reach_the_path_that_the_new_plan_meant() -> None:
    """It assumed its own first two deltas; the old plan's were executed in their place."""
    spec = spec_of(field("x", "delta"))
    old, new = constant(0.0), constant(1.0, 2 * DT)
    faded = cross_fade(spec, old, new, 4 * DT, 3)
    executed = 0.0  # by the old plan, from the new one's observation to the take-over
    moved = executed + sum(faded.at(k * DT)[0] for k in range(4, 10))
    assert moved == pytest.approx(8.0), "as if the new plan had been followed from its beginning"
    alike = cross_fade(spec, constant(0.5), constant(0.5, 2 * DT), 4 * DT, 3)
    np.testing.assert_allclose(alike.actions, 0.5, rtol=1e-6)


def test_a_gripper_is_the_new_plans_at_once() -> None:
    grip = field("grip", "absolute", interpolation="nearest")
    faded = cross_fade(spec_of(grip), constant(-1.0), constant(1.0), 2 * DT, 3)
    assert (faded.actions == 1).all()


def test_beyond_the_old_plans_end_the_new_one_is_alone() -> None:
    faded = cross_fade(spec_of(field("x", "absolute")), constant(0.0), constant(1.0, 6 * DT),
                       6 * DT, 5)  # fmt: skip
    np.testing.assert_allclose(faded.actions[:3, 0], [1 / 6, 2 / 6, 1])


def test_a_fade_that_is_not_over_goes_on_from_where_it_was() -> None:
    spec = spec_of(field("x", "absolute"))
    first = cross_fade(spec, constant(0.0), constant(1.0, DT), 2 * DT, 3)
    second = cross_fade(spec, first, constant(1.0, 3 * DT), 4 * DT, 3)
    assert second.at(4 * DT)[0] == pytest.approx(first.at(4 * DT)[0] * 0.75 + 0.25)


@pytest.mark.parametrize("form", ["quaternion", "rotvec", "rot6d"])
def test_rotations_turn_along_the_shorter_arc_at_one_speed(form: Any) -> None:
    def turned(degrees: float) -> np.ndarray:
        half = np.deg2rad(degrees) / 2
        return from_quaternion(form, np.array([0, 0, np.sin(half), np.cos(half)]))

    a, b = turned(170.0), turned(-170.0)
    angles = []
    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        mixed = blend_rotation(form, a.astype(np.float32), b.astype(np.float32), share)
        q = to_quaternion(form, mixed.astype(np.float64))
        angles.append(np.rad2deg(2 * np.arctan2(q[2], q[3])) % 360)
    np.testing.assert_allclose(angles, [170, 175, 180, 185, 190], atol=0.01)


@pytest.mark.parametrize("form", ["quaternion", "rotvec", "rot6d"])
def test_every_form_comes_back_from_a_quaternion(form: Any) -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        q = rng.normal(size=4)
        q /= np.linalg.norm(q)
        back = to_quaternion(form, from_quaternion(form, q))
        assert abs(abs(back @ q) - 1) < 1e-9


def test_a_rotation_field_is_faded_as_one() -> None:
    spec = spec_of(field("turn", "absolute", 4, rotation="quaternion"))
    old, new = chunk([[0, 0, 0, 1.0]] * H), chunk([[0, 0, 1.0, 0]] * H)
    faded = cross_fade(spec, old, new, DT, 3)
    np.testing.assert_allclose(np.linalg.norm(faded.actions, axis=1), 1, rtol=1e-6)
    quarter = faded.at(DT)
    assert 2 * np.rad2deg(np.arctan2(quarter[2], quarter[3])) == pytest.approx(45, abs=0.01)
    with pytest.raises(SpecMismatch, match="quaternion: expected"):
        field("turn", "absolute", 3, rotation="quaternion")
