"""The measures of a seam, on commands whose jump and jerk are counted by hand."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from ofp_edge.evaluate.seam import measure_seams
from ofp_edge.fields import State
from ofp_edge.spec import ActionField, PolicySpec

HZ = 10.0
SEEN = (State("state", (1,), "m", "base", (-1.0,), (1.0,)),)


def field(kind: str, name: str = "move", how: str = "linear", unit: str = "m") -> ActionField:
    hold = None if kind == "absolute" else 0.0
    return ActionField(name, (1,), unit, "base", kind, 0.5, (-2.0,), (2.0,), hold, how)  # type: ignore[arg-type]


def spec(*fields: ActionField) -> PolicySpec:
    return PolicySpec(SEEN, fields, 1, 1, 1, HZ)


def column(*values: float) -> NDArray[np.float32]:
    return np.array(values, np.float32)[:, None]


ABSOLUTE, DELTA = spec(field("absolute")), spec(field("delta"))


@pytest.mark.parametrize("k", [3, 4, 5])
@pytest.mark.parametrize(
    "sent",
    [
        [0.1 * i for i in range(9)],  # one pace
        [0.02 * i * i for i in range(9)],  # a pace that rises throughout
        [1 - 0.03 * (8 - i) ** 2 for i in range(9)],  # one that falls
        [0.7] * 9,
    ],
)
def test_a_plan_that_continues_exactly_has_no_jump(sent: list[float], k: int) -> None:
    assert measure_seams(column(*sent), [k], ABSOLUTE).jump == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("kind", ["absolute", "delta", "velocity"])
def test_a_jump_is_what_the_steps_beside_it_do_not_move(kind: str) -> None:
    # Steps .1, .1 | .8 | .1, .2 (raw; the half range is 2): .7 beyond them.
    sent = column(0, 0.1, 0.2, 1.0, 1.1, 1.3)
    assert measure_seams(sent, [3], spec(field(kind))).jump == pytest.approx(0.7 / 2)
    # Steps .1 | -.3 | .2: back where both go on, .4 from the nearer.
    back = column(0, 0.1, -0.2, 0.0, 0.1)
    assert measure_seams(back, [2], spec(field(kind))).jump == pytest.approx(0.4 / 2)


def test_jumps_are_averaged_over_seams_and_rms_over_dimensions() -> None:
    one = column(0, 0, 0, 1, 1, 1, 1, 1, 1, 1)  # .5 half ranges at 3, none at 7
    other = column(0, 0, 0, 0, 0, 0, 0, 2, 2, 2)  # none at 3, 1 at 7
    both = spec(field("absolute"), field("absolute", "turn", unit="rad"))
    sent = np.concatenate([one, other], 1)
    want = (0.5 + 1) / 2 / np.sqrt(2)
    assert measure_seams(sent, [3, 7], both).jump == pytest.approx(want)


def test_jerk_counts_what_lies_on_both_sides_of_the_seam() -> None:
    # Scale .5, dt .1, the seam between c[4] and c[5]: 4 commands that hold both are rows 2, 3, 4.
    # What jerks at the beginning is committed and does not count.
    sent = column(9, -9, 0, 0, 0, 0, 1, 1, 1)
    third = np.diff(sent[:, 0], n=3)
    assert third.tolist() == [-36, 9, 0, 1, -2, 1]
    found = measure_seams(sent, [5], ABSOLUTE)
    assert found.jerk == pytest.approx(np.sqrt((0 + 1 + 4) / 3) * 0.5 * 1e3)
    assert found.jerk_normalised == pytest.approx(np.sqrt(5 / 3) / 2 * 1e3)
    # Of deltas the positions are sums: second differences of 3 commands, rows 3 and 4.
    found = measure_seams(sent, [5], DELTA)
    assert np.diff(sent[:, 0], n=2).tolist() == [27, -9, 0, 0, 1, -1, 0]
    assert found.jerk == pytest.approx(np.sqrt((0 + 1) / 2) * 0.5 * 1e3)
    assert found.jerk_normalised == pytest.approx(np.sqrt(1 / 2) / 2 * 1e3)


def test_a_gripper_may_switch_and_units_are_not_mixed() -> None:
    still, turning = column(*[0.1] * 8), column(0, 0, 0, 0, 1, 1, 1, 1)
    grip = spec(field("absolute"), field("absolute", "grip", "nearest"))
    assert measure_seams(np.concatenate([still, turning], 1), [4], grip) == (0, 0, 0)
    turn = spec(field("absolute"), field("absolute", "turn", unit="rad"))
    found = measure_seams(np.concatenate([still, turning], 1), [4], turn)
    assert found.jerk == 0 and found.jerk_normalised == pytest.approx(np.sqrt(6 / 6) / 2 * 1e3)
    assert measure_seams(turning, [4], spec(field("absolute", "grip", "nearest"))) == (None,) * 3


@pytest.mark.parametrize("seams", [[], [1], [7]])
def test_a_seam_without_two_commands_on_either_side_has_no_jump(seams: list[int]) -> None:
    assert measure_seams(column(*range(8)), seams, ABSOLUTE).jump is None
