"""Jerk on signals whose third derivative is known, and changes of mind between plans."""

from __future__ import annotations

import numpy as np
import pytest

from ofp_edge.evaluate.smoothness import flips, jerk, jerk_unit
from ofp_edge.fields import State
from ofp_edge.spec import ActionField, PolicySpec

HZ, N = 20.0, 40
SEEN = (State("state", (1,), "m", "base", (-1.0,), (1.0,)),)
T = np.arange(N + 1) / HZ


def field(kind: str, scale: float = 0.5, **more: object) -> ActionField:
    values = {"interpolation": "linear", "unit": "m", "name": "move", **more}
    hold = None if kind == "absolute" else 0.0
    return ActionField(
        values["name"], (1,), values["unit"], "base", kind, scale, (-1.0,), (1.0,), hold,  # type: ignore[arg-type]
        values["interpolation"],  # type: ignore[arg-type]
    )  # fmt: skip


def spec(*fields: ActionField) -> PolicySpec:
    return PolicySpec(SEEN, fields, 1, 1, 1, HZ)


def sent(kind: str, x: np.ndarray, scale: float = 0.5) -> np.ndarray:
    """(N, 1) raw actions that imply the positions x (N + 1,)."""
    raw = {"absolute": x[1:], "delta": np.diff(x), "velocity": np.diff(x) * HZ}[kind]
    return (raw / scale)[:, None].astype(np.float32)


@pytest.mark.parametrize("kind", ["absolute", "delta", "velocity"])
def test_a_cubic_has_its_own_third_derivative_whatever_the_kind_of_action(kind: str) -> None:
    actions = sent(kind, 0.7 * T**3 - T**2 + 3 * T)
    assert jerk(actions, spec(field(kind))) == pytest.approx(6 * 0.7, rel=2e-3)


@pytest.mark.parametrize("kind", ["delta", "velocity"])
def test_constant_acceleration_has_no_jerk(kind: str) -> None:
    actions = sent(kind, 0.4 * T**2)
    assert jerk(actions, spec(field(kind))) == pytest.approx(0.0, abs=0.02)


def test_a_sine_has_the_jerk_of_its_amplitude() -> None:
    w = 2.0
    long = np.arange(2001) / HZ
    got = jerk(sent("delta", np.sin(w * long)), spec(field("delta")))
    h = w / HZ / 2
    assert got == pytest.approx(w**3 / np.sqrt(2) * (np.sin(h) / h) ** 3, rel=0.01)


def test_jerk_is_in_physical_units() -> None:
    actions = np.random.default_rng(0).normal(size=(N, 1)).astype(np.float32)
    small, large = (jerk(actions, spec(field("delta", scale))) for scale in (0.1, 0.3))
    assert small is not None and large == pytest.approx(3 * small)


def test_grippers_and_other_units_are_left_out() -> None:
    cubic = sent("delta", 0.7 * T**3)
    jumps = np.random.default_rng(0).choice([-1.0, 1.0], size=(N, 2)).astype(np.float32)
    three = spec(
        field("delta"), field("absolute", name="grip", interpolation="nearest"),
        field("delta", name="turn", unit="rad"),
    )  # fmt: skip
    alone = jerk(cubic, spec(field("delta")))
    assert jerk(np.concatenate([cubic, jumps], axis=1), three) == pytest.approx(alone)
    assert jerk_unit(three) == "m/s^3"


def test_too_few_actions_and_grippers_alone_have_none() -> None:
    assert jerk(np.ones((2, 1), np.float32), spec(field("delta"))) is None
    assert jerk(np.ones((3, 1), np.float32), spec(field("delta"))) is not None
    only = spec(field("absolute", interpolation="nearest"))
    assert jerk(np.ones((9, 1), np.float32), only) is None and jerk_unit(only) is None


@pytest.mark.parametrize(
    ("sides", "expected"),
    [
        ([None, None], None), ([], None), ([0, None], 0), ([-1, -1, 1, 1], 1),
        ([-1, 0, 1], 1), ([-1, 0, -1], 0), ([None, 1, -1, None, 1], 2),
    ],
)  # fmt: skip
def test_flips_count_changes_between_left_and_right(
    sides: list[int | None], expected: int | None
) -> None:
    assert flips(sides) == expected
