from __future__ import annotations

import numpy as np
import pytest

from tests.runtime.standins import DT, make_chunk, make_spec

SPEC = make_spec()


def test_index_zero_acts_at_t_obs_and_index_i_at_i_control_steps_later() -> None:
    chunk = make_chunk(SPEC, 7 * DT)
    for i in range(SPEC.horizon):
        assert chunk.index((7 + i) * DT) == i
        np.testing.assert_array_equal(chunk.at((7 + i) * DT), chunk.actions[i])


def test_interpolates_linearly_and_discrete_dimensions_by_the_nearest() -> None:
    chunk = make_chunk(SPEC, 0)
    nearest = np.array([False, False, False, True])
    early, late = chunk.at(DT + DT // 4, nearest), chunk.at(DT + 3 * DT // 4, nearest)
    np.testing.assert_allclose(early, [0.0125, 0.0125, 0.0125, 0.01], rtol=1e-5)
    np.testing.assert_allclose(late, [0.0175, 0.0175, 0.0175, 0.02], rtol=1e-5)


def test_the_last_action_holds_past_the_end() -> None:
    chunk = make_chunk(SPEC, 0)
    np.testing.assert_array_equal(chunk.at((SPEC.horizon - 1) * DT + DT // 2), chunk.actions[-1])


def test_says_nothing_about_the_time_before_it_begins() -> None:
    with pytest.raises(ValueError, match="earlier"):
        make_chunk(SPEC, DT).at(DT - 1)


def test_answers_are_copies() -> None:
    chunk = make_chunk(SPEC, 0)
    chunk.at(0)[:] = 99
    assert chunk.actions[0, 0] == 0


@pytest.mark.parametrize("steps", range(SPEC.horizon))
def test_shift_drops_the_first_actions_and_repeats_the_last(steps: int) -> None:
    chunk = make_chunk(SPEC, 0)
    shifted = chunk.shifted_normalised(steps)
    expected = [chunk.normalised[min(i + steps, SPEC.horizon - 1)] for i in range(SPEC.horizon)]
    np.testing.assert_array_equal(shifted, expected)


def test_nothing_is_left_after_a_shift_of_a_whole_horizon() -> None:
    with pytest.raises(ValueError, match="0..7"):
        make_chunk(SPEC, 0).shifted_normalised(SPEC.horizon)


def test_steps_between_observations_are_rounded() -> None:
    chunk = make_chunk(SPEC, 0)
    assert [chunk.steps_to(round(x * DT)) for x in (0.4, 0.6, 3.9, -0.6)] == [0, 1, 4, -1]
