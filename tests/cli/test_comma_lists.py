"""Options of several numbers are read by one rule; equal ones only where they make sense."""

from __future__ import annotations

import pytest

from ofp_edge.cli.comma_lists import different_numbers, different_whole_numbers, numbers
from ofp_edge.errors import OfpError


def test_numbers_keep_their_order_and_may_have_spaces() -> None:
    assert different_numbers("--latency-ms", "50, 0,1e2", "0,50") == [50.0, 0.0, 100.0]
    assert different_whole_numbers("--episodes", "7, 3", "3,7") == [7, 3]
    assert numbers("--weights", "0.5, 0.5", "1,0.5") == [0.5, 0.5]


@pytest.mark.parametrize("text", ["", "0,", "a", "1;3", "nan", "1,inf"])
def test_what_is_no_number_is_refused_everywhere(text: str) -> None:
    for read in (different_numbers, different_whole_numbers, numbers):
        with pytest.raises(OfpError, match=f"--option {text}: expected .*with commas, as in 1,2"):
            read("--option", text, "1,2")


@pytest.mark.parametrize("text", ["1,1", "3,03", "1.5", "-1", "²"])
def test_whole_numbers_are_different_and_from_zero_on(text: str) -> None:
    with pytest.raises(OfpError, match="expected different whole numbers"):
        different_whole_numbers("--episodes", text, "3,7")


def test_equal_numbers_are_equal_however_they_are_written() -> None:
    with pytest.raises(OfpError, match="expected different numbers"):
        different_numbers("--latency-ms", "50,5e1", "0,50")


def test_a_number_of_more_digits_than_python_reads_is_refused() -> None:
    with pytest.raises(OfpError, match="^--episodes 999"):
        different_whole_numbers("--episodes", "9" * 5000, "3,7")
