"""Episodes for calibration are neither evaluated nor validated on."""

from __future__ import annotations

import pytest

from ofp_edge.errors import OfpError
from ofp_edge.evaluate.seeds import FIRST_SEED, SEEDS_A_RUN, VALIDATION, check_for_calibration


def test_recording_in_evaluation_episodes_is_refused() -> None:
    check_for_calibration(0)
    check_for_calibration(FIRST_SEED - SEEDS_A_RUN)
    for seed in (FIRST_SEED - SEEDS_A_RUN + 1, FIRST_SEED, VALIDATION):
        with pytest.raises(OfpError, match="are for evaluation"):
            check_for_calibration(seed)
