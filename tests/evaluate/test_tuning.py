"""The rules of `tune`, and that it writes its choice whole or not at all."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("zarr")

from ofp_edge.cli.main import build_app  # noqa: E402
from ofp_edge.errors import OfpError, PolicyError, RigError  # noqa: E402
from ofp_edge.evaluate.choice import Choice  # noqa: E402
from ofp_edge.evaluate.contestant import open_contestant  # noqa: E402
from ofp_edge.evaluate.episode import Episode, Job  # noqa: E402
from ofp_edge.evaluate.tune import tune_policy  # noqa: E402
from ofp_edge.evaluate.tuning import (  # noqa: E402
    WARM_TIMES,
    Measured,
    Setting,
    choose_refine,
    choose_start,
)
from ofp_edge.files import sha256_folder  # noqa: E402
from ofp_edge.policy.folder import load_policy, save_policy  # noqa: E402
from ofp_edge.policy.presets import rows_with  # noqa: E402
from ofp_edge.rig.file import read_rig  # noqa: E402
from ofp_edge.start import Start  # noqa: E402
from tests.runtime.still import RIG  # noqa: E402
from tests.synthetic import tiny_policy, write_synthetic_dataset  # noqa: E402


def at(t: float, cold: float = 1.0, warm: float = 1.0) -> Setting:
    return Setting(t, Start(noise_cold=cold, noise_warm=warm))


def setting(
    t: float, good: int, jump: float, flips: float | None = None, cold: float = 1.0
) -> Measured:
    return Measured(at(t, cold), tuple([1.0] * good + [0.0] * (100 - good)), jump, flips, {})


def test_of_starts_that_the_best_does_not_beat_the_calmest_is_taken() -> None:
    settings = [setting(0.0, 90, 0.4), setting(0.3, 89, 0.2), setting(0.7, 60, 0.1)]
    chosen, rows = choose_start(settings)
    assert chosen.setting.t == 0.3 and [row.difference for row in rows] == pytest.approx(
        [0, -0.01, -0.3]
    )
    assert rows[1].low <= -0.01 <= rows[1].high and rows[2].high < 0


def test_few_episodes_do_not_give_success_away_for_calm() -> None:
    def few(t: float, good: int, jump: float) -> Measured:
        return Measured(at(t), tuple([1.0] * good + [0.0] * (6 - good)), jump, None, {})

    assert choose_start([few(0.1, 4, 0.3), few(0.5, 2, 0.1)])[0].setting.t == 0.1


def test_flips_count_before_jumps() -> None:
    chosen, _ = choose_start([setting(0.1, 90, 0.1, 2.0), setting(0.3, 90, 0.4, 0.5)])
    assert chosen.setting.t == 0.3


@pytest.mark.parametrize(("good", "on"), [(90, True), (82, False), (70, False)])
def test_refinement_is_on_only_where_it_surely_helps(good: int, on: bool) -> None:
    best, refine, _ = choose_refine(setting(0.3, 80, 0.2), [setting(0.5, good, 0.1)])
    assert (best.setting.t, refine) == (0.5, on)


def test_a_handful_of_episodes_proves_no_refinement() -> None:
    once, twice = (Measured(at(t), (s,) * 3, 0.1, None, {}) for t, s in ((0.3, -0.9), (0.5, -0.1)))
    assert not choose_refine(once, [twice])[1]


@pytest.fixture
def trained(tmp_path: Path) -> tuple[Path, Path]:
    """A policy that says it was trained on the dataset beside it."""
    from ofp_edge.data.open import open_dataset

    data = write_synthetic_dataset(tmp_path / "data", obs="state", episodes=20)
    policy = load_policy(tiny_policy(tmp_path / "policy", "state"))
    record = replace(policy.config.training, dataset_sha256=open_dataset(data).sha256)
    policy.config = replace(policy.config, training=record)
    save_policy(policy, tmp_path / "policy")
    return tmp_path / "policy", data


def test_the_choice_is_stored_and_is_what_runs_next(trained: tuple[Path, Path]) -> None:
    path, data = trained
    before = sha256_folder(path)
    dry = tune_policy(path, dataset=data, dry_run=True)
    assert sha256_folder(path) == before
    tuned = tune_policy(path, dataset=data)
    assert tuned == dry and tuned.table["data"] == "held-out episodes"
    written = json.loads((path / "tuning.json").read_text())
    assert written["chosen"] == tuned.table["chosen"] and len(written["warm"]) == len(WARM_TIMES)
    config = load_policy(path).config
    assert config == tuned.config and config.t_w == written["chosen"]["t_w"]
    assert open_contestant(path, Choice()).t_w == config.t_w


@pytest.mark.parametrize("nfe", [1, 2])
def test_a_policy_whose_starts_go_to_the_mean_keeps_that_where_data_cannot_judge_it(
    trained: tuple[Path, Path], nfe: int
) -> None:
    path, data = trained
    policy = load_policy(path)
    policy.config = replace(policy.config, time_rows=rows_with(0.5, 0.5, "mean"))
    save_policy(policy, path)
    tuned = tune_policy(path, dataset=data, nfe=nfe)
    assert tuned.config.warm_step() == load_policy(path).config.warm_step() == "mean"
    assert {x["warm_step"] for x in tuned.table["warm"]} == {"mean" if nfe == 1 else None}


def test_the_error_is_that_of_the_chunks_the_policy_makes(trained: tuple[Path, Path]) -> None:
    """A policy whose normalised answer is 0 whatever it sees errs by the actions themselves."""
    import torch

    from ofp_edge.data.open import open_dataset
    from ofp_edge.evaluate.held_out import measure_held_out

    path, data = trained
    dataset = open_dataset(data)
    measured = measure_held_out(path, dataset, Choice(nfe=1, t_w=0.3), at(0.3))
    assert len(measured.scores) == len(dataset.split().held_out) and measured.jump is not None
    policy = load_policy(path)

    class Still(torch.nn.Module):
        def forward(self, z: torch.Tensor, *_: torch.Tensor) -> torch.Tensor:
            return -z

    policy.network.trunk = Still()
    import ofp_edge.policy.folder as folder

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(folder, "load_policy", lambda _: policy)
        still = measure_held_out(path, dataset, Choice(nfe=1, cold=True), at(0.0))
    episode = dataset.action[dataset.episode(dataset.split().held_out[0])]
    h, n = policy.config.spec.horizon, policy.config.spec.n_action_steps
    chunks = [episode[k : k + h] for k in range(0, len(episode), n)]
    expected = np.sqrt(np.mean(np.concatenate(chunks) ** 2))
    assert still.scores[0] == pytest.approx(-expected, rel=1e-4) and still.jump == 0.0


def test_what_cannot_be_tuned_is_told(trained: tuple[Path, Path], tmp_path: Path) -> None:
    path, data = trained
    with pytest.raises(OfpError, match="give --task, or --dataset"):
        tune_policy(path)
    other = write_synthetic_dataset(tmp_path / "other", obs="state", seed=5)
    with pytest.raises(OfpError, match="is not what the policy was trained on"):
        tune_policy(path, dataset=other)
    (path / "quantization.json").write_text("{}")
    with pytest.raises(PolicyError, match="is quantised"):
        tune_policy(path, dataset=data)


def test_refinement_by_default_is_what_a_policy_runs_with(trained: tuple[Path, Path]) -> None:
    path, _ = trained
    policy = load_policy(path)
    assert open_contestant(path, Choice()).nfe == 1
    policy.config = replace(policy.config, refine=True)
    save_policy(policy, path)
    assert open_contestant(path, Choice()).nfe == 2
    assert open_contestant(path, Choice(nfe=1)).nfe == 1
    config = json.loads((path / "config.json").read_text())
    del config["refine"]  # as folders of before it were written
    (path / "config.json").write_text(json.dumps(config))
    assert load_policy(path).config.refine is False
    (path / "config.json").write_text(json.dumps({**config, "refine": 1}))
    with pytest.raises(PolicyError, match="config.refine: expected true or false"):
        load_policy(path)


def test_the_command_prints_its_document(trained: tuple[Path, Path]) -> None:
    from typer.testing import CliRunner

    path, data = trained
    arguments = ["tune", str(path), "--dataset", str(data), "--dry-run"]
    done = CliRunner().invoke(build_app(), [*arguments, "--json"])
    assert done.exit_code == 0, done.output
    document = json.loads(done.stdout)
    assert document["written"] is False and document["task"] is None
    people = CliRunner().invoke(build_app(), arguments)
    assert "chosen: t_w" in people.stdout and "nothing changed" in people.stdout


def test_starts_are_judged_at_the_robots_own_latency_and_limits(
    trained: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("metaworld")
    from ofp_edge.evaluate import tune

    path, data = trained
    asked: list[Job] = []

    def episodes(jobs: list[Job], seeds: list[int], **_: Any) -> list[list[Episode]]:
        asked.extend(jobs)
        return [[Episode(seed, True, 9, 3, 0.1) for seed in seeds] for _ in jobs]

    monkeypatch.setattr(tune, "run_jobs", episodes)
    (tmp_path / "rig.toml").write_text(RIG.replace("= 4000.0", "= 400.0"))
    rig = read_rig(tmp_path / "rig.toml")
    for given, expected in (
        ({}, (0.0, None)),
        ({"latency_ms": 50.0}, (50.0, None)),
        ({"rig": rig}, (rig.timing.latency_ms, rig)),
        ({"rig": rig, "latency_ms": 100.0}, (100.0, rig)),
    ):
        asked.clear()
        table = tune_policy(
            path, task="metaworld/door-open", episodes=8, dry_run=True, **given
        ).table  # type: ignore[arg-type]
        assert len(asked) > 72 and all((x.latency_ms, x.rig) == expected for x in asked)
        assert table["latency_ms"] == expected[0]
        assert table["rig"] == (str(tmp_path / "rig.toml") if "rig" in given else None)
        assert {x.choice.t_w for x in asked} >= {0.0, 0.3, 0.5, 0.7}
    with pytest.raises(RigError, match=r"L = 5000 ms: latency_ms: expected 0\.\."):
        tune_policy(path, task="metaworld/door-open", latency_ms=5000.0)
    for wrong in (math.inf, math.nan):
        with pytest.raises(OfpError, match="--latency-ms (inf|nan): expected a number"):
            tune_policy(path, task="metaworld/door-open", latency_ms=wrong)
    for judged in ({"latency_ms": 0.0}, {"rig": rig}):
        with pytest.raises(OfpError, match="leave out --latency-ms and --rig"):
            tune_policy(path, dataset=data, **judged)  # type: ignore[arg-type]
