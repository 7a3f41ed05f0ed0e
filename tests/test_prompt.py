"""The prompt's table, and the bins of a state."""

from __future__ import annotations

import json

import numpy as np
import pytest

from ofp_edge.errors import PolicyError
from ofp_edge.prompt import Prompt, StateBins

BINS = StateBins(("state",), "quantiles", (-1.0, 0.0, 5.0), (1.0, 10.0, 5.0))
PROMPT = Prompt(
    heads=((1, 2), (1, 3)), numbers=tuple((100 + n,) for n in range(257)), tail=(9,), length=8,
    state=BINS,
)  # fmt: skip


def test_a_state_falls_into_256_bins_and_one_below() -> None:
    def of(*state: float) -> list[int]:
        return BINS.of(np.array(state, np.float32)).tolist()

    assert of(-1, 0, 5) == [0, 0, 0]
    assert of(-1.001, 10, 5) == [-1, 255, 0]
    assert of(1e9, 5, 5) == [255, 128, 0]
    assert of(0.0, -5, 4.9) == [128, -1, -1]  # a dimension that never moved has a span of 1e-8


def test_a_prompt_is_a_head_a_number_a_dimension_and_a_tail() -> None:
    assert PROMPT.ids(1, np.array([-2, 10, 5], np.float32)).tolist() == [1, 3, 100, 356, 101, 9]


def test_what_is_longer_is_cut_at_its_end() -> None:
    long = Prompt(((1, 2, 3, 4, 5, 6, 7),), PROMPT.numbers, (9,), 8, BINS)
    assert long.ids(0, np.zeros(3, np.float32)).tolist() == [1, 2, 3, 4, 5, 6, 7, 229]


def test_json_gives_the_same_prompt_again() -> None:
    assert Prompt.from_json(json.loads(json.dumps(PROMPT.to_json())), "prompt.json") == PROMPT


@pytest.mark.parametrize(
    ("change", "says"),
    [({"numbers": [[1]]}, "expected 257 lists of ids, got 1"), ({"heads": []}, "one head or more"),
     ({"heads": [[-1]]}, "none below 0"), ({"length": 0}, "a length of 1"),
     ({"extra": 1}, "extra"), ({"tail": ["x"]}, "tail")],
)  # fmt: skip
def test_a_damaged_prompt_is_one_line(change: dict[str, object], says: str) -> None:
    value = {**json.loads(json.dumps(PROMPT.to_json())), **change}
    with pytest.raises(PolicyError, match=says):
        Prompt.from_json(value, "prompt.json")
