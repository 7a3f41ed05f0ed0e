"""docs/safety.md is a table of promises: each names code and tests that are there, and defaults
that are the code's."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from ofp_edge.rig.file import CameraEntry
from ofp_edge.rig.safety import DEFAULT_MAX_VELOCITY_M_S, SafetyEntry
from ofp_edge.rig.timing import Timing
from ofp_edge.runtime.pictures import FROZEN_AFTER

ROOT = Path(__file__).parents[3]
TEXT = (ROOT / "docs/safety.md").read_text(encoding="utf-8")
ROWS = [
    [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
    for line in TEXT.partition("## What is promised")[2].partition("\n## ")[0].splitlines()
    if line.startswith("| ") and not line.startswith("| promise")
]


def place(name: str, folder: str) -> Path:
    return ROOT / name if name.startswith(("ofp_edge/", "tests/")) else ROOT / folder / name


def test_a_promise_names_code_and_tests_that_are_there() -> None:
    path = ROOT
    for promise, code, tests, _ in ROWS:
        files = re.findall(r"`([\w/]+\.py)`", code)
        assert files and all(place(name, "ofp_edge/runtime").is_file() for name in files), promise
        names = re.findall(r"`([^`]+)`", tests)
        assert names, promise
        for name in names:
            file, _, test = name.partition("::")
            if file != "…":  # the file that was named last
                path = place(file, "tests/runtime")
            assert path.is_file(), name
            assert not test or f"def {test}(" in path.read_text(encoding="utf-8"), name


def test_there_are_promises() -> None:
    assert len(ROWS) > 25


@pytest.mark.parametrize(
    ("words", "value"),
    [
        ("`max_velocity` [0.25 m/s", DEFAULT_MAX_VELOCITY_M_S),
        ("`max_cut_in_a_row` [25]", SafetyEntry().max_cut_in_a_row),
        ("`max_bridged_ticks` [2]", SafetyEntry().max_bridged_ticks),
        ("`max_state_age_ms` [200]", SafetyEntry().max_state_age_ms),
        ("`max_age_ms` [200]", CameraEntry("front", "x").max_age_ms),
        ("`max_skew_ms` [100]", Timing(0, 0).max_skew_ms),
        ("`frozen_after`th [5]", FROZEN_AFTER),
    ],
)
def test_a_default_in_brackets_is_the_codes(words: str, value: float) -> None:
    assert any(words in row[0] for row in ROWS)
    number = re.search(r"\[([\d.]+)", words)
    assert number is not None and float(number[1]) == value
