"""What is counted is said in the right number."""

from __future__ import annotations

from ofp_edge.counted import counted


def test_one_of_a_thing_is_one_thing() -> None:
    said = [counted(count, "held-out episode") for count in (0, 1, 2, 10_000)]
    assert said == [
        "0 held-out episodes", "1 held-out episode", "2 held-out episodes",
        "10,000 held-out episodes",
    ]  # fmt: skip
