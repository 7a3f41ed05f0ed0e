"""What a measured latency asks of the policy, and what to write in `train` where it is too much."""

from __future__ import annotations

from typing import Any

import pytest

from ofp_edge.profile.report import schedule_section
from ofp_edge.profile.schedule import Times, schedule, schedule_lines, schedule_notes
from ofp_edge.spec import Chunking

OURS = Chunking(1, 12, 4, 20.0)


def found(chunking: Chunking = OURS, committed: int | None = None, **changes: float) -> Any:
    times = {"latency": 100.0, "cold": 100.0, "delay": 0.0, "late": 0.0, "busy": 60.0,
             "busy_mean": 50.0, **changes}  # fmt: skip
    return schedule(chunking, committed, Times(**times))


def test_by_hand_where_all_suffices() -> None:
    values = found(committed=2, late=30.0)
    assert values["suffices"] and values["train"] == [] and schedule_notes(values) == []
    assert (values["bridge_steps"], values["left_steps"], values["spare_steps"]) == (2, 10, 5)
    assert values["needed"] == {"horizon": 7, "n_action_steps": 4, "committed_steps": 2}
    assert values["max_plan_age_ms"] == [330.0, 600.0]
    assert values["longest_n_action_steps"] == 9
    assert (values["replan_hz"], values["sustainable_replan_hz"]) == (5.0, 10.0)
    assert values["busy_share"] == pytest.approx(0.25)
    text = "\n".join(schedule_lines(values))
    assert "of a horizon of 12, 2 actions bridge L = 100 ms, 10 are left" in text
    assert "committed prefix: 2 steps needed, 2 trained" in text
    assert "a plan every 4 steps (5 Hz) keeps the planner busy 25 %; at most 10 Hz" in text


@pytest.mark.parametrize(
    ("changes", "needed", "train"),
    [
        ({"latency": 420.0}, (13, 4), ["--horizon 13", "--n-action-steps 3"]),
        ({"latency": 300.0, "delay": 120.0}, (13, 4), ["--horizon 13", "--n-action-steps 3"]),
        ({"latency": 300.0, "late": 120.0}, (13, 4), ["--horizon 13", "--n-action-steps 3"]),
        ({"cold": 420.0}, (13, 4), ["--horizon 13", "--n-action-steps 3"]),
        # Fewer actions of a plan need a planner that can follow.
        ({"latency": 420.0, "busy": 190.0}, (13, 4), ["--horizon 13"]),
        ({"latency": 420.0, "busy": 260.0}, (15, 6), ["--horizon 15 --n-action-steps 6"]),
        ({"latency": 700.0}, (18, 4), ["--horizon 18"]),
    ],
)
def test_what_is_too_short_says_what_to_write(
    changes: dict[str, float], needed: tuple[int, int], train: list[str]
) -> None:
    values = found(**changes)
    assert not values["suffices"] and values["train"] == [f"train {x}" for x in train]
    assert (values["needed"]["horizon"], values["needed"]["n_action_steps"]) == needed
    notes = " ".join(schedule_notes(values))
    assert " or ".join(values["train"]) in notes
    assert f"too short by {-values['spare_steps']}" in notes
    for option in values["train"]:  # what it says is enough is enough
        words = option.split()
        own = {"--horizon": 12, "--n-action-steps": 4}
        own.update({name: int(x) for name, x in zip(words[1::2], words[2::2], strict=True)})
        again = Chunking(1, own["--horizon"], own["--n-action-steps"], 20.0)
        assert found(again, **changes)["suffices"]
        shorter = Chunking(1, own["--horizon"] - 1, own["--n-action-steps"], 20.0)
        assert not found(shorter, **changes)["suffices"]


def test_a_prefix_that_is_too_short_is_told_and_the_robots_delay_counts() -> None:
    values = found(committed=2, latency=100.0, delay=80.0)
    assert not values["suffices"] and values["train"] == ["train --committed-steps 4"]
    assert schedule_notes(values) == [
        "4 steps are committed when a plan takes over, and the policy is told of the first 2: "
        "train --committed-steps 4."
    ]
    both = found(committed=2, latency=420.0)
    assert both["train"] == [
        "train --horizon 13 --committed-steps 9", "train --n-action-steps 3 --committed-steps 9"
    ]  # fmt: skip
    assert found(committed=None, latency=100.0, delay=80.0)["suffices"]


def test_leading_steps_of_an_imported_policy_are_part_of_its_horizon() -> None:
    values = found(Chunking(2, 16, 8, 10.0, start_index=1), latency=700.0, cold=700.0, busy=80.0)
    assert values["needed"]["horizon"] == 16 and values["suffices"]


def test_a_planner_that_can_not_follow_is_told() -> None:
    values = found(Chunking(1, 40, 2, 20.0), busy=260.0, busy_mean=200.0)
    assert values["busy_share"] == 2.0 and values["suffices"]
    assert schedule_notes(values) == [
        "The planner is busy for 260.0 ms with a plan: a plan every 2 steps can't be had, one "
        "every 6 can."
    ]


def test_the_report_shows_it_and_nothing_where_L_is_void() -> None:
    html = schedule_section(found(committed=2, delay=80.0))
    assert "<h2>Horizon</h2>" in html and "and the robot&#x27;s 80 ms" in html
    assert schedule_section(None) == ""
