"""The way an artefact is to be run: what nothing can do is refused before anything is opened."""

from __future__ import annotations

from typing import Any

import pytest

from ofp_edge.errors import OfpError
from ofp_edge.evaluate.choice import Choice


@pytest.mark.parametrize(
    ("given", "what"),
    [
        ({"t_w": 0.3, "cold": True}, "exclude each other"),
        ({"t_w": 1.0}, "0 <= t_w < 1"),
        ({"warm_step": "means"}, "unknown --warm-step 'means'. Did you mean 'mean'?"),
        ({"warm_step": "mean", "cold": True}, "exclude each other"),
        ({"t_refine": -0.1}, "0 <= t_refine < 1"),
    ],
)
def test_what_nothing_can_do_is_no_choice(given: dict[str, Any], what: str) -> None:
    with pytest.raises(OfpError, match=what):
        Choice(**given)
