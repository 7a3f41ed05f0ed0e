"""`data info`: what is odd is found, what is not is not."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ofp_edge.data.layouts import open_source
from ofp_edge.data.source import Key, Source
from ofp_edge.data.survey import survey
from tests.data.foreign import FIXTURES


class Made(Source):
    """Two episodes of given arrays."""

    layout, path, lengths, rates_hz = "made", Path("made"), (30, 30), (10.0,)

    def __init__(self, **arrays: Any) -> None:
        self.arrays = {k: np.asarray(v, np.float32) for k, v in arrays.items()}
        self.keys = {k: Key(v.shape[1:], "float32") for k, v in self.arrays.items()}

    def blocks(self, key: str, episode: int) -> Iterator[Any]:
        yield self.arrays[key][30 * episode : 30 * (episode + 1)]


STEPS = np.tile(np.arange(30) / 10, 2)[:, None]
TURN = np.stack([0 * STEPS, 0 * STEPS, np.sin(STEPS / 9), np.cos(STEPS / 9)], 1)[..., 0]
MOVING = np.random.default_rng(0).normal(size=(60, 3))


def odd(**arrays: Any) -> str:
    return " | ".join(survey(Made(timestamp=STEPS, **arrays)).odd)


def test_sound_data_have_nothing_odd() -> None:
    assert odd(state=MOVING) == ""


def test_nan_is_placed_and_ranges_leave_it_out() -> None:
    values = MOVING.copy()
    values[34, 1] = np.nan
    found = survey(Made(state=values))
    assert any("NaN" in line and "episode 1 frame 4" in line for line in found.odd)
    (key,) = found.keys
    assert key.low == np.nanmin(values.astype(np.float32))


def test_constant_dimensions_are_listed() -> None:
    assert "constant dimensions 1 (2)" in odd(state=np.insert(MOVING, 1, 2.0, axis=1))


def test_a_quaternion_that_jumps_its_sign_is_found_inside_a_longer_state() -> None:
    turned = TURN.copy()
    turned[40:] *= -1
    line = odd(pose=np.concatenate([MOVING, turned], 1))
    assert "columns 3 to 6" in line and "episode 1 frame 10" in line


def test_a_new_sign_in_a_new_episode_is_no_jump() -> None:
    turned = TURN.copy()
    turned[30:] *= -1
    assert "sign" not in odd(pose=turned)


def test_times_that_leave_the_grid_are_found() -> None:
    late = STEPS.copy()
    late[45:] += 0.03
    (line,) = survey(Made(timestamp=late, state=MOVING)).odd
    assert "1 episodes" in line and "episode 1 frame 15" in line and "30 ms" in line


def test_an_unstated_or_mixed_rate_is_odd() -> None:
    made = Made(state=MOVING)
    made.rates_hz = ()
    assert "no rate" in survey(made).odd[0]
    made.rates_hz = (10.0, 20.0)
    assert "mixed rates" in survey(made).odd[0]


def test_the_fixtures_jump_and_stillness_are_seen_in_the_files() -> None:
    found = survey(open_source(FIXTURES / "robomimic.hdf5"))
    assert any("quat" in line and "episode 1 frame 4" in line for line in found.odd)
    found = survey(open_source(FIXTURES / "lerobot-v3.0"))
    assert found.odd == ["observation.state: constant dimensions 4 (0.25)"]


def test_a_stamp_is_held_against_the_others_where_no_rate_is_stated() -> None:
    stamps = STEPS + np.random.default_rng(1).uniform(-0.01, 0.01, STEPS.shape)

    def lines(values: Any) -> list[str]:
        made = Made(timestamp=values, state=MOVING)
        made.rates_hz = ()
        return [x for x in survey(made).odd if "timestamps" in x]

    assert lines(stamps) == []
    stamps[40] += 0.3
    (line,) = lines(stamps)
    assert "timestamps of 1 episodes do not fit" in line and "episode 1" in line
