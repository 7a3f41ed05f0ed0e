"""`eval --dataset`: what it measures is what the plans and the recordings are."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

pytest.importorskip("torch")
pytest.importorskip("zarr")

import torch  # noqa: E402

from ofp_edge.cli.main import build_app  # noqa: E402
from ofp_edge.data.dataset import Dataset  # noqa: E402
from ofp_edge.data.open import open_dataset  # noqa: E402
from ofp_edge.data.windows import windows  # noqa: E402
from ofp_edge.errors import OfpError  # noqa: E402
from ofp_edge.evaluate.choice import Choice  # noqa: E402
from ofp_edge.evaluate.offline import measure_offline  # noqa: E402
from ofp_edge.policy import folder as policy_folder  # noqa: E402
from ofp_edge.policy.folder import Policy, load_policy, save_policy  # noqa: E402
from tests.evaluate.waves import ACTIONS, spec, write_waves  # noqa: E402
from tests.rendering import require_readable
from tests.synthetic import tiny_policy  # noqa: E402

COLD = Choice(cold=True)
Trunk = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


class Answers(torch.nn.Module):
    """A trunk that is a function of z and features."""

    def __init__(self, answer: Trunk) -> None:
        super().__init__()
        self.answer = answer

    def forward(self, z: torch.Tensor, features: torch.Tensor, _: torch.Tensor) -> torch.Tensor:
        return self.answer(z, features)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_waves(tmp_path_factory.mktemp("offline") / "waves.zarr")


@pytest.fixture(scope="module")
def dataset(data: Path) -> Dataset:
    return open_dataset(data)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory, dataset: Dataset) -> Path:
    """An untrained policy that says it was trained on these waves."""
    path = tiny_policy(tmp_path_factory.mktemp("offline") / "policy", spec=spec())
    policy = load_policy(path)
    record = replace(
        policy.config.training, dataset_sha256=dataset.sha256, held_out=dataset.split().held_out
    )
    policy.config = replace(policy.config, training=record)
    save_policy(policy, path)
    return path


@pytest.fixture
def answering(path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Trunk], Policy]:
    """Gives the policy's network another trunk."""

    def build(answer: Trunk) -> Policy:
        policy = load_policy(path)
        policy.network.trunk = Answers(answer)
        monkeypatch.setattr(policy_folder, "load_policy", lambda _: policy)
        return policy

    return build


def fitted(policy: Policy, dataset: Dataset, exchanged: tuple[int, int] = (0, 0)) -> Trunk:
    """A trunk that was fitted to the training episodes by least squares, on its encoder's features;
    two columns of its actions may be exchanged."""
    found = windows(dataset, dataset.split().train, 1, policy.config.spec.horizon)
    chunks = found.chunks.copy()
    a, b = exchanged
    chunks[..., [a, b]] = chunks[..., [b, a]]
    with torch.no_grad():
        seen = torch.from_numpy(dataset.fields["state"][found.past])
        features = policy.network.encode([seen])
        features = torch.cat([features, torch.ones(len(features), 1)], dim=1)
        wanted = policy.network.normalize_actions(torch.from_numpy(chunks))
        weights = torch.linalg.lstsq(features.double(), wanted.double()).solution.float()

    def answer(z: torch.Tensor, features: torch.Tensor) -> torch.Tensor:
        return features @ weights[:-1] + weights[-1] - z

    return answer


def means(document: dict[str, Any], run: int = 0) -> dict[str, float]:
    return {row["name"]: row["mean"] for row in document["runs"][run]["quantities"]}


def blind(document: dict[str, Any]) -> dict[str, float]:
    """The least error of a plan that sees nothing, by quantity."""
    return {
        row["name"]: min(x["quantities"][i]["mean"] for x in document["baselines"])
        for i, row in enumerate(document["quantities"])
    }


def test_a_policy_that_learned_is_nearer_than_who_sees_nothing_and_an_untrained_one_is_not(
    answering: Callable[[Trunk], Policy], path: Path, data: Path, dataset: Dataset
) -> None:
    untrained = measure_offline(path, data, COLD, nfe=[1]).document
    assert untrained["verdict"][0].startswith("No nearer")
    policy = answering(lambda z, _: z)
    policy.network.trunk = Answers(fitted(policy, dataset))
    document = measure_offline(path, data, COLD, nfe=[1]).document
    assert document["episodes"] == list(dataset.split().held_out) and document["unseen"] is True
    assert document["verdict"][0].startswith("Nearer") and "of 2 episodes" in document["verdict"][0]
    assert document["runs"][0]["error"] < 0.5 * min(x["error"] for x in document["baselines"])
    assert all(value < blind(document)[name] for name, value in means(document).items())
    assert "no success rate" in document["verdict"][-1]


def test_exchanged_columns_are_seen_in_those_two_joints(
    answering: Callable[[Trunk], Policy], path: Path, data: Path, dataset: Dataset
) -> None:
    policy = answering(lambda z, _: z)
    right = Answers(fitted(policy, dataset))
    wrong = Answers(fitted(policy, dataset, exchanged=(0, 1)))
    policy.network.trunk = right
    before = means(measure_offline(path, data, COLD, nfe=[1]).document)
    policy.network.trunk = wrong
    document = measure_offline(path, data, COLD, nfe=[1]).document
    after = means(document)
    assert (
        after["joints[0]"] > 3 * before["joints[0]"]
        and after["joints[1]"] > 3 * before["joints[1]"]
    )
    assert after["slide"] == pytest.approx(before["slide"], rel=1e-3)
    assert after["grip"] == pytest.approx(before["grip"], abs=1e-6)
    said = next(line for line in document["verdict"] if line.startswith("A plan that sees"))
    assert "joints[0], joints[1]:" in said


def test_errors_are_those_of_the_chunks_in_each_unit_and_step(
    answering: Callable[[Trunk], Policy], path: Path, data: Path, dataset: Dataset
) -> None:
    """A policy whose normalised answer is 0 always says the middle of each range."""
    answering(lambda z, _: -z)
    found = measure_offline(path, data, COLD, nfe=[1], samples=2)
    document, run = found.document, found.document["runs"][0]
    parts, middle = [], np.array([0, 0, 0, 0.5])
    for episode in dataset.split().held_out:
        action = dataset.action[dataset.episode(episode)]
        parts += [action[k : k + 8] - middle for k in range(0, len(action), 4)]
    every = np.abs(np.concatenate(parts)) * np.array([1, 1, 0.5, 1])
    assert [row["unit"] for row in document["quantities"]] == ["rad", "rad", "m", "1"]
    for i, row in enumerate(run["quantities"][:3]):
        assert row["mean"] == pytest.approx(every[:, i].mean(), rel=1e-4)
        assert row["p95"] == pytest.approx(np.percentile(np.tile(every[:, i], 2), 95), rel=1e-4)
        last = [abs(part[7, i]) * (1, 1, 0.5)[i] for part in parts if len(part) == 8]
        assert row["by_step"][7] == pytest.approx(np.mean(last), rel=1e-4)
        first = np.concatenate([np.abs(part[:4, i]) for part in parts]) * (1, 1, 0.5)[i]
        assert row["executed"] == pytest.approx(first.mean(), rel=1e-4)
    spreads = dataset.action[:, :3].std(0) * np.array([1, 1, 0.5])
    expected = (every[:, :3] / spreads).mean()
    assert run["error"] == pytest.approx(expected, rel=1e-4)
    assert run["error_by_noise"] == pytest.approx([expected] * 2, rel=1e-4)
    assert run["jump"] == run["disagreement"] == 0 and run["best_of"] == pytest.approx(expected)
    closed = np.concatenate(parts)[:, 3] > 0  # 0.5 is as near to open as to closed: open, then
    assert run["quantities"][3]["mean"] == pytest.approx(closed.mean(), abs=1e-6)


def test_plans_that_see_nothing_are_what_they_say(path: Path, data: Path, dataset: Dataset) -> None:
    document = measure_offline(path, data, COLD, nfe=[1], samples=1, episodes=[4]).document
    still, mean = document["baselines"]  # of absolute fields, to stand still is to repeat
    action = dataset.action[dataset.episode(4)]
    away = np.concatenate(
        [np.abs(action[k : k + 8] - action[max(0, k - 1)]) for k in range(0, len(action), 4)]
    )
    assert (still["name"], mean["name"]) == ("still", "mean")
    assert still["quantities"][0]["mean"] == pytest.approx(away[:, 0].mean(), rel=1e-4)
    middle = dataset.action.mean(0)
    away = np.concatenate([np.abs(action[k : k + 8] - middle) for k in range(0, len(action), 4)])
    assert mean["quantities"][2]["mean"] == pytest.approx(0.5 * away[:, 2].mean(), rel=1e-4)
    assert document["unseen"] is False and "trained on 1 of these episodes: 4" in document["why"]


def test_one_evaluation_and_many_start_from_the_same_noise(
    answering: Callable[[Trunk], Policy], path: Path, data: Path
) -> None:
    """What moves every noise by the same gets to the same place in one step and in ten."""
    answering(lambda z, _: torch.full_like(z, 0.3))
    document = measure_offline(path, data, COLD, nfe=[1, 10]).document
    once, often = document["runs"]
    assert (once["nfe"], often["nfe"]) == (1, 10)
    assert document["between"][0]["nfe"] == [1, 10]
    assert document["between"][0]["distance"] < 1e-4 < once["disagreement"]
    assert often["error"] == pytest.approx(once["error"], rel=1e-3)
    assert once["best_of"] < once["error"]
    answering(lambda z, _: -z)
    document = measure_offline(path, data, COLD, nfe=[1, 10]).document
    assert document["between"][0]["distance"] > 0.1
    assert any("10 evaluations in place of 1" in line for line in document["verdict"])


def test_by_default_it_starts_warm_and_cold_with_few_evaluations_and_more(
    path: Path, data: Path
) -> None:
    document = measure_offline(path, data, Choice(), samples=2).document
    kinds = [(run["nfe"], run["start"]) for run in document["runs"]]
    assert kinds == [(1, "warm"), (1, "cold"), (10, "warm"), (10, "cold")]
    warm, cold = document["runs"][:2]
    assert warm["jump"] < cold["jump"], "a warm start is one that goes on"
    assert measure_offline(path, data, Choice(), samples=2).document == document
    other = measure_offline(path, data, Choice(), samples=2, seed=1).document
    assert other["runs"][0]["error"] != warm["error"]


def test_data_it_was_not_trained_on_is_used_whole_and_said(path: Path, tmp_path: Path) -> None:
    other = write_waves(tmp_path / "other.zarr", episodes=3, seed=9)
    document = measure_offline(path, other, COLD, nfe=[1], samples=1).document
    assert document["episodes"] == [0, 1, 2] and document["unseen"] is None
    assert any(line.startswith("These errors may flatter") for line in document["verdict"])


def test_a_field_s_own_range_is_no_difference_and_what_lies_outside_is_counted(
    path: Path, data: Path, tmp_path: Path
) -> None:
    narrow = tiny_policy(
        tmp_path / "narrow",
        spec=replace(spec(), observations=(replace(spec().observations[0], low=(-0.5,) * 6),)),
    )
    document = measure_offline(narrow, data, COLD, nfe=[1], samples=1).document
    seen = open_dataset(data).fields["state"]
    assert {x["name"]: x["frames"] for x in document["outside"]} == {
        f"state[{i}]": int((seen[:, i] < -0.5).sum()) for i in range(6)
    }
    assert any("Seen outside of the range" in line for line in document["verdict"])
    assert measure_offline(path, data, COLD, nfe=[1], samples=1).document["outside"] == []


def test_short_episodes_are_left_out_and_said_or_refused_by_name(
    path: Path, tmp_path: Path
) -> None:
    short = write_waves(tmp_path / "short.zarr", episodes=3, shortest=5)
    document = measure_offline(path, short, COLD, nfe=[1], samples=1).document
    assert (document["episodes"], document["left_out"]) == ([0, 1], [2])
    assert any("shorter than a chunk: episode 2" in line for line in document["verdict"])
    with pytest.raises(OfpError, match="episode 2 has 5 frames, a chunk of this policy 8 actions"):
        measure_offline(path, short, COLD, nfe=[1], episodes=[0, 2])


def renamed(**changes: Any) -> dict[str, Any]:
    return {"actions": (replace(ACTIONS[0], **changes), *ACTIONS[1:])}


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        (renamed(name="joint"), "action fields: expected joints, slide, grip, got joint, slide"),
        (renamed(unit="deg"), "action 'joints', unit: expected rad, got deg"),
        (renamed(frame="tool"), "action 'joints', frame: expected base, got tool"),
        (renamed(kind="delta", hold=0.0), "action 'joints', kind: expected absolute, got delta"),
        (renamed(scale=0.1), "action 'joints', scale: expected 1.0, got 0.1"),
        ({"control_hz": 10.0}, "control_hz: expected 20.0, got 10.0"),
    ],
)
def test_data_of_another_kind_is_refused_with_what_differs(
    path: Path, tmp_path: Path, changes: dict[str, Any], says: str
) -> None:
    other = write_waves(tmp_path / "other.zarr", episodes=2, **changes)
    with pytest.raises(OfpError, match=says.replace("[", r"\[")):
        measure_offline(path, other, COLD, nfe=[1])


def test_columns_are_taken_by_name(
    answering: Callable[[Trunk], Policy], path: Path, data: Path, tmp_path: Path
) -> None:
    """The same numbers under fields in another order are not the same actions."""
    answering(lambda z, _: -z)
    other = write_waves(
        tmp_path / "other.zarr", episodes=2, actions=(ACTIONS[1], ACTIONS[0], ACTIONS[2])
    )
    found = measure_offline(path, other, COLD, nfe=[1], samples=1)
    assert [row.name for row in found.rows] == ["joints[0]", "joints[1]", "slide", "grip"]
    assert np.array_equal(found.recorded.action[:, 2], open_dataset(other).action[:, 0])


def run(*arguments: object) -> Any:
    return CliRunner().invoke(
        build_app(), ["eval", *map(str, arguments)], env={"COLUMNS": "80", "TERM": "dumb"}
    )


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--episodes", "3,99"], "there is no episode 99: it has 0 to 19"),
        (["--episodes", "last"], "--episodes last: expected different whole numbers"),
        (["--episodes", "3,3"], "--episodes 3,3: expected different whole numbers"),
        (["--nfe", "auto"], "--nfe auto: expected different whole numbers"),
        (["--nfe", "0"], "--nfe 0: expected 1 or more"),
        (["--samples", "0"], "--samples 0: expected 1..100"),
        (["--seed", "-1"], "--seed -1: expected 0 or more"),
        (["--task", "planar/obstacle"], "expected one of --task .* and --dataset .*, got both"),
        (["--rig", "r.toml"], "--rig: with --dataset nothing is simulated"),
        (["--latency-ms", "50"], "--latency-ms: with --dataset nothing is simulated"),
        (["--workers", "2"], "--workers: with --dataset nothing is simulated"),
        (["--frames", "other"], "--frames: with --dataset nothing is simulated"),
        (["--video", "a.mp4"], "--video: with --dataset nothing is simulated"),
    ],
)
def test_what_makes_no_sense_is_refused_in_a_line(
    path: Path, data: Path, options: list[str], says: str
) -> None:
    import re

    done = run(path, "--dataset", data, *options, "--json")
    error = json.loads(done.stdout)["error"]
    assert done.exit_code == 1 and re.search(says, error), error


def test_the_simulator_s_evaluation_wants_a_number_of_episodes_and_no_samples(path: Path) -> None:
    assert "got neither" in json.loads(run(path, "--json").stdout)["error"]
    named = run(path, "--task", "planar/obstacle", "--episodes", "3,7", "--json")
    assert "--episodes 3,7: expected how many" in json.loads(named.stdout)["error"]
    sampled = run(path, "--task", "planar/obstacle", "--samples", "2", "--json")
    assert "--samples: with --task" in json.loads(sampled.stdout)["error"]


def test_the_document_the_page_and_the_terminal(
    path: Path, data: Path, tmp_path: Path, chromium: str
) -> None:
    from ofp_edge.cli import eval as command

    arguments = [path, "--dataset", data, "--episodes", "3,19", "--nfe", "1", "--samples", "2"]
    page, out = tmp_path / "page.html", tmp_path / "eval.json"
    done = run(*arguments, "-o", out, "--json")
    assert done.exit_code == 0, done.output
    document = json.loads(done.stdout)
    assert document == json.loads(out.read_text()) and set(document) == set(command.KEYS)
    assert document["success"] is None and document["task"] is None and document["episodes"] == 2
    assert document["recorded"]["episodes"] == [3, 19]
    people = run(*arguments, "-o", page)
    assert people.exit_code == 0, people.output
    assert max(map(len, people.stdout.splitlines())) <= 80
    assert "joints[0]" in people.stdout and "sees nothing" in people.stdout
    html = page.read_text()
    assert html.count("<svg") == 1 + 5 + 2 * 4  # bars, by step, two episodes' curves
    assert "<script" not in html and "http" not in html and "joints[1], °" in html
    assert "nan" not in html
    require_readable(chromium, page, tmp_path)
    again = run(*arguments, "-o", page, "--json")
    assert again.exit_code == 1 and "exists" in json.loads(again.stdout)["error"]


def test_weights_that_answer_nan_are_told(
    answering: Callable[[Trunk], Policy], path: Path, data: Path
) -> None:
    answering(lambda z, _: z * float("nan"))
    with pytest.raises(OfpError, match="the plan of episode 18, frame 0 holds NaN or infinity"):
        measure_offline(path, data, COLD, nfe=[1])
