"""A suite runs through, and its cells are what they say."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ofp_edge.bench import work
from ofp_edge.bench.cells import units
from ofp_edge.bench.comparisons import compare_all
from ofp_edge.bench.results import gather
from ofp_edge.bench.run import remaining
from ofp_edge.bench.store import open_store
from ofp_edge.errors import CheckFailed
from ofp_edge.evaluate.choice import Choice
from ofp_edge.evaluate.closed_loop import Episode, Job, run_episodes
from ofp_edge.evaluate.tuning import WARM_TIMES
from ofp_edge.train.loop import TrainResult, train
from ofp_edge.train.plan import Plan
from ofp_edge.train.request import Request
from tests.bench.conftest import WORK, Edit, HerePool, cell, run


def test_runs_through_then_only_what_a_change_makes_necessary(
    edited: Edit, here: HerePool, tmp_path: Path
) -> None:
    suite, folder = edited(), tmp_path / "work"
    with open_store(folder, "tiny", any_code=False, write=False) as store:
        todo = remaining(suite, store, units(suite))
    assert todo[:2] == [f"collect {WORK}", f"train {WORK}/ours+cold/0"] and len(todo) == 7
    assert not folder.exists()
    run(suite, folder, here)
    first = f"train_and_evaluate {WORK}/ours+cold/0", f"train_and_evaluate {WORK}/flow/0"
    # Two rounds: the interval of one pair of episodes is not narrow enough, and two are the most.
    assert here.done == [f"collect {WORK}", *first, *first]
    with open_store(folder, "tiny", any_code=False) as store:
        assert remaining(suite, store, units(suite)) == []
        (compared,) = compare_all(suite, store)
        assert (compared.pairs, compared.episodes) == (1, 2)
    trained = {path: path.stat().st_mtime_ns for path in folder.glob("policies/*/*")}

    here.done.clear()
    run(suite, folder, here)
    assert here.done == []

    run(edited(a="nfe = [2, 1] -> nfe = [2, 4]"), folder, here)  # evaluated differently
    assert here.done == [f"train_and_evaluate {WORK}/flow/0"]
    assert {path: path.stat().st_mtime_ns for path in folder.glob("policies/*/*")} == trained

    here.done.clear()
    more = edited(a='name = "flow" -> options = { p_drop = 0 }\nname = "flow"')  # trained so
    run(more, folder, here, "*/flow")
    assert here.done[:1] == [f"train_and_evaluate {WORK}/flow/0"]
    assert len(list(folder.glob("policies/*/*"))) == 3


def test_a_two_sided_task_has_its_modes_measured_too(
    edited: Edit, here: HerePool, tmp_path: Path
) -> None:
    task = "planar/obstacle"
    suite = edited(
        a="metaworld/button-press-topdown-wide -> planar/obstacle",
        b="demonstrations = 2 -> demonstrations = 2\ngroup = 'two-sided'",
        c="half_width = 0.001 -> half_width = 0.001\nchunks = 8",
    )
    run(suite, tmp_path / "work", here, f"{task}/ours", f"{task}/cold")
    with open_store(tmp_path / "work", suite.name, any_code=False) as store:
        (unit,) = (x for x in units(suite) if "ours" in {row.name for row in x.rows})
        values = gather(suite, store, command=["ofp-edge", "bench"], pool="here", workers=1)
        assert remaining(suite, store, [unit]) == []
    measured = {(x["row"], x["nfe"]): x["modes"] for x in values["cells"] if x["modes"]}
    assert set(measured) == {("ours", 1), ("cold", 1)}
    for found in measured.values():
        for shares in (found, found["demonstrations"]):
            parts = [shares[x] for x in ("between", "left", "right")]
            assert min(parts) >= 0 and sum(parts) <= 1 + 1e-9
        assert found["demonstrations"]["between"] == 0


def test_rows_train_as_long_as_the_reference(
    edited: Edit, here: HerePool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ofp_edge.bench import work

    monkeypatch.setattr(work, "TIMING_STEPS", 40)
    timed: list[float | None] = []

    def seconds_a_step(request: Request) -> float:
        timed.append(request.learning_rate)
        return 0.01 if request.method == "flow" else 0.03

    monkeypatch.setattr(work, "seconds_a_step", seconds_a_step)
    suite = edited(
        a="seeds = [0] -> seeds = [0]\nbudget = 'time'\nreference = 'ours'",
        b="steps = 4 -> steps = 4\nlearning_rate = 2e-3",
    )
    run(suite, tmp_path / "work", here)
    assert here.done[1] == f"time_training {WORK}/flow/0"
    configs = [
        json.loads(p.read_text()) for p in (tmp_path / "work").glob("policies/*/*/config.json")
    ]
    steps = {config["method"]: config["training"]["step"] for config in configs}
    assert steps == {"ofp-plus": 4, "flow": 12}
    rates = {config["training"]["settings"]["learning_rate"] for config in configs}
    assert rates == set(timed) == {2e-3}


def test_tasks_of_the_same_sizes_share_a_timing_run(
    edited: Edit, here: HerePool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    took = {"flow": 0.01, "ofp-plus": 0.03}
    monkeypatch.setattr(work, "seconds_a_step", lambda request: took[request.method])
    other = "metaworld/door-open"
    suite = edited(
        a=f"seeds = [0] -> seeds = [0]\nbudget = 'time'\nreference = 'ours'\ntimed_on = '{WORK}'",
        b=f"steps = 4 -> steps = 4\n[[tasks]]\nname = '{other}'\ndemonstrations = 2\nsteps = 5",
    )
    run(suite, tmp_path / "work", here, f"{other}/flow")
    assert here.done == [
        f"collect {other}",
        f"collect {WORK}",
        f"time_training {WORK}/flow/0",
        f"train_and_evaluate {other}/flow/0",
    ]
    assert cell(tmp_path / "work", "training")["steps"] == 15
    here.done.clear()
    run(suite, tmp_path / "work", here, f"{WORK}/flow")
    assert here.done == [f"train_and_evaluate {WORK}/flow/0"]


def test_a_tuned_row_runs_with_the_time_that_its_policy_is_given(
    edited: Edit, here: HerePool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen: list[Choice] = []

    def remembers(job: Job, *arguments: Any, **named: Any) -> list[Episode]:
        chosen.append(job.choice)
        return run_episodes(job, *arguments, **named)

    monkeypatch.setattr(work, "run_episodes", remembers)
    suite = edited(
        a="cold = true -> tuned = true",
        b="most_episodes = 2 -> most_episodes = 1\ntuned_on = 2",
    )
    run(suite, tmp_path / "work", here, "*/cold")
    tuning = cell(tmp_path / "work", "tuning")
    assert tuning["inputs"]["episodes"] == 2
    assert {row["t"] for row in tuning["warm"]} <= set(WARM_TIMES)
    start = {x: tuning["chosen"][x] for x in ("t_w", "warm_step", "noise_cold", "noise_warm")}
    assert chosen == [Choice(nfe=1, **start)]
    here.done.clear()
    run(suite, tmp_path / "work", here, "*/cold")
    assert here.done == [] and len(chosen) == 1
    run(edited(a="episodes = 1 -> episodes = 2"), tmp_path / "work", here, "*/cold")  # untuned
    assert chosen[1:] == [Choice(nfe=1, cold=True)]


def test_a_neighbour_on_the_machine_is_no_reason_to_train_longer(
    edited: Edit, here: HerePool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rounds 2 and 3 are slow as a whole; in round 5 a neighbour came between the two runs."""
    took = iter([1.0, 2.0, 3.0, 6.0, 3.0, 6.6, 1.0, 2.1, 1.0, 9.0])
    monkeypatch.setattr(work, "seconds_a_step", lambda _: next(took))
    suite = edited(a="seeds = [0] -> seeds = [0]\nbudget = 'time'\nreference = 'ours'")
    run(suite, tmp_path / "work", here, "*/flow")
    timing = cell(tmp_path / "work", "timing")
    assert timing["reference_s_per_step"] / timing["s_per_step"] == pytest.approx(2.1)
    assert cell(tmp_path / "work", "training")["steps"] == 8  # 4 of the reference's


def test_a_tuned_row_of_a_method_that_never_starts_warm_has_its_noise(
    edited: Edit, here: HerePool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tuned = {"t_w": None, "noise_cold": 0.5, "noise_warm": 1.0}
    monkeypatch.setattr(
        work, "_tuned", lambda _, store, *x: store.write("tuning", x[-1], {"chosen": tuned})
    )
    suite = edited(a='"flow"\nnfe = [2, 1] -> "diffusion"\nnfe = [2]\ntuned = true')
    run(suite, tmp_path / "work", here, "*/flow")
    episodes = cell(tmp_path / "work", "episodes")
    assert len(episodes["seed"]) == 1 and episodes["inputs"]["tuned"]


def test_a_plan_that_overflows_is_a_result(
    edited: Edit, here: HerePool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def overflows(*arguments: Any, **named: Any) -> list[Episode]:
        return [replace(e, jerk=math.inf) for e in run_episodes(*arguments, **named)]

    monkeypatch.setattr(work, "run_episodes", overflows)
    run(edited(a="nfe = [2, 1] -> nfe = [2]"), tmp_path / "work", here, "*/flow/0")
    assert cell(tmp_path / "work", "episodes")["jerk"] == [1e300]


def test_a_training_that_diverges_is_a_result_if_it_left_a_checkpoint(
    edited: Edit, here: HerePool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    suite = edited(a="nfe = [2, 1] -> nfe = [2]")

    def runs_away(plan: Plan) -> TrainResult:
        train(plan)
        raise CheckFailed("the loss is not finite at step 5")

    monkeypatch.setattr(work, "train", runs_away)
    run(suite, tmp_path / "work", here, "*/flow/0")
    trained = cell(tmp_path / "work", "training")
    assert trained["diverged"] and trained["finished"] and trained["steps"] == 4
    assert len(cell(tmp_path / "work", "episodes")["success"]) == 1

    def at_once(plan: Plan) -> TrainResult:
        raise CheckFailed("the loss is not finite at step 1")

    monkeypatch.setattr(work, "train", at_once)
    (old,) = (tmp_path / "work").glob("cells/training-*")
    old.unlink()  # its policy stays, as one of other code would
    for folder in ("none", "work"):
        with pytest.raises(AssertionError, match="step 1"):  # as HerePool raises it
            run(suite, tmp_path / folder, here, "*/flow/0")
        assert not cell(tmp_path / folder, "training")["finished"]
