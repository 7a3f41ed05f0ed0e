"""The detector of chunks between the modes: what it must see, and the command around it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

pytest.importorskip("onnxruntime")
torch = pytest.importorskip("torch")
pytest.importorskip("zarr")

from ofp_edge.cli import modes as modes_command  # noqa: E402
from ofp_edge.cli.main import build_app  # noqa: E402
from ofp_edge.errors import OfpError  # noqa: E402
from ofp_edge.evaluate import draw, modes  # noqa: E402
from ofp_edge.evaluate.choice import Choice  # noqa: E402
from ofp_edge.evaluate.closed_loop import Job, evaluation_seeds, run_episodes  # noqa: E402
from ofp_edge.evaluate.contestant import open_contestant  # noqa: E402
from ofp_edge.evaluate.decisions import gather_decisions  # noqa: E402
from ofp_edge.evaluate.modes import measure_modes  # noqa: E402
from ofp_edge.policy.folder import load_policy, save_policy  # noqa: E402
from ofp_edge.sim.collect import collect_demonstrations  # noqa: E402
from ofp_edge.sim.fields import action_fields, observation_fields  # noqa: E402
from ofp_edge.sim.tasks import find_task  # noqa: E402
from ofp_edge.spec import PolicySpec  # noqa: E402
from ofp_edge.train.loop import train  # noqa: E402
from ofp_edge.train.plan import make_plan  # noqa: E402
from ofp_edge.train.request import Request  # noqa: E402
from tests.runtime.small_bundle import write_small_bundle  # noqa: E402

NAME = "planar/obstacle"
TASK = find_task(NAME)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    spec = PolicySpec(
        observation_fields(TASK, "state"), action_fields(TASK), 2, 8, 2, TASK.control_hz
    )
    return write_small_bundle(tmp_path_factory.mktemp("modes") / "bundle", spec, {})


@pytest.fixture(scope="module")
def policy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Trained for a moment only, on two past frames; then shaken, so that noise matters."""
    folder = tmp_path_factory.mktemp("modes")
    collect_demonstrations(NAME, 8, folder / "data", observe="state")
    return shaken(folder, "tiny")


@pytest.fixture(scope="module")
def looking(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same of one that sees the disc on two cameras' images alone."""
    folder = tmp_path_factory.mktemp("looking")
    collect_demonstrations("planar/berths", 8, folder / "data", observe="rgb", image_size=(32, 32))
    return shaken(folder, "vla")


def shaken(folder: Path, preset: str) -> Path:
    train(make_plan(Request(folder / "data", folder / "policy", preset=preset, steps=2)))
    loaded = load_policy(folder / "policy")
    torch.manual_seed(0)
    for parameter in loaded.network.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    save_policy(loaded, folder / "policy")
    return folder / "policy"


def decisions(path: Path, count: int) -> Any:
    contestant = open_contestant(path, Choice(cold=True))
    return contestant, gather_decisions(NAME, contestant, count, evaluation_seeds(0, 1000))


def judged(bundle: Path, chunk_of: Any, count: int = 300) -> tuple[modes.Shares, modes.Shares]:
    """Shares of the demonstrations, and of `chunk_of(decision)`."""
    _, found = decisions(bundle, count)
    shown = modes._passes(found, [d.demonstration for d in found])
    means = tuple(float(shown.lateral[np.sign(shown.lateral) == s].mean()) for s in (-1, 1))
    drawn = modes._passes(found, [chunk_of(d) for d in found])
    return modes._shares(shown, means), modes._shares(drawn, means)  # type: ignore[arg-type]


def test_the_demonstrations_themselves_are_not_between(bundle: Path) -> None:
    shown, again = judged(bundle, lambda d: d.demonstration, 600)
    assert shown == again and shown.between <= 0.01 and shown.short == 0
    assert 0.3 < shown.left < 0.6 and shown.left + shown.right + shown.between == pytest.approx(1)


def test_the_mean_of_both_sides_is_between(bundle: Path) -> None:
    def straight(d: Any) -> Any:
        return d.demonstration * np.array([0.0, 1.0], np.float32)

    shares = judged(bundle, straight)[1]
    assert shares.between > 0.95


def test_a_plan_that_passes_close_by_is_between_too_and_one_far_out_is_told(bundle: Path) -> None:
    def scaled(factor: float) -> modes.Shares:
        return judged(bundle, lambda d: d.demonstration * np.float32([factor, 1]), 200)[1]

    assert scaled(0.4).between > 0.8
    assert scaled(0.9).between < 0.05
    assert scaled(1.0).outside == 0 and scaled(1.7).outside > 0.5


def test_a_plan_that_stands_still_does_not_reach_it(bundle: Path) -> None:
    shares = judged(bundle, lambda d: 0 * d.demonstration)[1]
    assert shares.short == 1.0 and shares.left == shares.right == 0


def test_decision_states_come_from_unseen_seeds_and_hold_the_past(bundle: Path) -> None:
    _, found = decisions(bundle, 60)
    first = found[0]
    np.testing.assert_array_equal(first.observations["state"][0], first.observations["state"][1])
    later = next(d for d in found if not np.array_equal(*d.observations["state"]))
    moved = later.observations["state"][1, :2] - later.observations["state"][0, :2]
    assert 0.02 < np.linalg.norm(moved) < 0.04
    np.testing.assert_allclose(later.observations["state"][1, :2], later.place, atol=1e-6)
    assert len({tuple(d.place) for d in found}) == 60


def test_a_batch_sees_what_the_robots_inference_sees(looking: Path) -> None:
    contestant = open_contestant(looking, Choice(cold=True, nfe=1))
    found = gather_decisions("planar/berths", contestant, 20, evaluation_seeds(0, 100))
    assert found[0].observations["rgb_front"].dtype == np.uint8
    batched = draw.drawn_in_batches(looking, contestant, found, 1, 9, lambda *_: None)
    singly = draw.drawn_one_by_one(contestant, found, 9, lambda *_: None)
    np.testing.assert_allclose(np.stack(batched), np.stack(singly), atol=1e-4)
    with pytest.raises(TypeError, match="not as uint8"):
        load_policy(looking).network.encode([torch.zeros(1, 1, 3, 8, 8, dtype=torch.uint8)])


@pytest.mark.parametrize("guard", [1, 5])
def test_a_batch_draws_what_the_robots_inference_draws(policy: Path, guard: int) -> None:
    contestant = open_contestant(policy, Choice(cold=True, guard=guard))
    found = gather_decisions(NAME, contestant, 40, evaluation_seeds(0, 1000))
    batched = draw.drawn_in_batches(policy, contestant, found, guard, 9, lambda *_: None)
    singly = draw.drawn_one_by_one(contestant, found, 9, lambda *_: None)
    np.testing.assert_allclose(np.stack(batched), np.stack(singly), atol=1e-4)
    assert len({chunk.tobytes() for chunk in batched}) == 40


def test_a_bundle_and_a_policy_are_measured_and_replay(bundle: Path, policy: Path) -> None:
    for path, task in ((bundle, NAME), (policy, None)):
        report = measure_modes(path, task, chunks=80, guard=3)
        assert report.task == NAME and report.chunks == 80
        shares = report.shares
        assert shares.left + shares.right + shares.between + shares.short == pytest.approx(1)
        assert report.interval[0] <= shares.between <= report.interval[1]
        assert report.keeps_left == shares.left / report.demonstrations.left
        assert measure_modes(path, task, chunks=80, guard=3).shares == shares


@pytest.mark.parametrize("name", ["metaworld/door-open", "metaworld/button-press-topdown-told"])
def test_a_task_without_sides_to_choose_from_is_refused(bundle: Path, name: str) -> None:
    pytest.importorskip("metaworld")
    task = find_task(name)
    spec = PolicySpec(
        observation_fields(task, "state")[:1], action_fields(task), 1, 8, 2, task.control_hz
    )
    other = write_small_bundle(bundle.parent / task.env_name, spec, {})
    with pytest.raises(OfpError, match=f"{name} has no two sides"):
        measure_modes(other, name, chunks=5)
    with pytest.raises(OfpError, match="does not say on which task"):
        measure_modes(other, chunks=5)


def test_impossible_counts_are_refused(bundle: Path) -> None:
    with pytest.raises(OfpError, match="--chunks 0"):
        measure_modes(bundle, NAME, chunks=0)
    with pytest.raises(OfpError, match="--guard 2"):
        measure_modes(bundle, NAME, guard=2)


def test_the_planar_task_runs_in_closed_loop_and_guarded(bundle: Path) -> None:
    seeds = evaluation_seeds(0, 3)
    plain = run_episodes(Job(bundle, NAME), seeds, workers=1)
    guarded = run_episodes(Job(bundle, NAME, Choice(guard=8)), seeds, workers=1)
    assert [e.seed for e in plain] == list(seeds) and plain != guarded


def test_the_command_prints_one_document_and_a_narrow_table(bundle: Path) -> None:
    arguments = ["modes", str(bundle), "--task", NAME, "--chunks", "40"]
    done = CliRunner().invoke(build_app(), [*arguments, "--json"])
    assert done.exit_code == 0, done.output
    document = json.loads(done.stdout)
    assert set(document) == set(modes_command.KEYS) and document["chunks"] == 40
    assert document["demonstrations"]["between"] == 0
    shown = CliRunner().invoke(build_app(), arguments, env={"COLUMNS": "80"})
    assert "between" in shown.stdout
    assert max(map(len, shown.stdout.splitlines())) <= 80
