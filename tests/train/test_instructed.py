"""One network for several tasks: an instruction of each episode's task, and what it changes."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

pytest.importorskip("zarr")

from ofp_edge.cli.main import build_app
from ofp_edge.data.open import open_dataset
from ofp_edge.errors import DatasetError, OfpError, PolicyError, SpecMismatch, UnknownName
from ofp_edge.evaluate.choice import Choice
from ofp_edge.evaluate.closed_loop import run_episodes
from ofp_edge.evaluate.episode import Job
from ofp_edge.evaluate.offline import measure_offline
from ofp_edge.fields.text import instructions_of
from ofp_edge.policy.folder import load_policy
from ofp_edge.sim.berths_task import INSTRUCTIONS
from ofp_edge.sim.collect import collect_demonstrations
from ofp_edge.train.loop import train
from ofp_edge.train.mixed import batches_of
from ofp_edge.train.plan import make_plan
from ofp_edge.train.request import Request
from tests.train.test_loop import stop_at

BERTHS, OBSTACLE = "planar/berths", "planar/obstacle"
LIST = (*INSTRUCTIONS, OBSTACLE)
EPISODES = range(1_000_000, 1_000_012)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """One with a text field of its own, and one whose task has no other words than its name."""
    root = tmp_path_factory.mktemp("tasks")
    for task, count in ((BERTHS, 100), (OBSTACLE, 20)):
        path = root / f"{task.partition('/')[2]}.zarr"
        collect_demonstrations(task, count, path, observe="state")
    return root / "berths.zarr", root / "obstacle.zarr"


Ask = Callable[..., Request]


@pytest.fixture
def ask(data: tuple[Path, Path], tmp_path: Path) -> Ask:
    def build(**changes: object) -> Request:
        base: dict[str, object] = {
            "dataset": data[0], "output": tmp_path / "p", "method": "flow", "steps": 6,
            "batch_size": 16, "mixed": data[1:], "instructed": True,
        }  # fmt: skip
        if not {"init", "resume"} & set(changes):
            base["preset"] = "tiny"
        return Request(**{**base, **changes})  # type: ignore[arg-type]

    return build


@pytest.fixture(scope="module")
def trained(data: tuple[Path, Path]) -> Path:
    """Of both, for long enough to follow what it is told."""
    request = Request(
        data[0], data[0].parent / "trained", "flow", "tiny", 800, 64, mixed=data[1:],
        instructed=True,
    )  # fmt: skip
    return train(make_plan(request)).policy


def test_its_list_is_what_all_were_told_and_a_task_without_words_is_told_by_name(ask: Ask) -> None:
    plan = make_plan(ask())
    spec = plan.policy.config.spec
    assert instructions_of(spec.observations) == LIST
    batches = batches_of(plan.dataset, plan.dataset.split().train, spec)
    (_, told), _ = batches.take(torch.tensor([0, len(batches) - 1]))
    assert told.dtype == torch.int64 and told[0, 0] < 3 and told[1, 0] == 3
    rows = plan.policy.config.network.task_rows(plan.policy.network)
    assert rows is not None and len(rows) == 4 and np.ptp(rows, 0).min() > 0


def test_what_it_does_follows_the_instruction(trained: Path) -> None:
    """Nothing but the words tells the berths apart."""
    good = {}
    for words in ("own", "other"):
        job = Job(trained, BERTHS, Choice(nfe=4), words=words)  # type: ignore[arg-type]
        good[words] = sum(x.success for x in run_episodes(job, EPISODES, workers=1))
    assert good["own"] >= 5 and good["other"] <= 1
    named = Job(trained, OBSTACLE, Choice(nfe=4))
    other = Job(trained, OBSTACLE, Choice(nfe=4), instruction=INSTRUCTIONS[0])
    one, two = (run_episodes(x, EPISODES[:1], workers=1) for x in (named, other))
    assert one[0].jerk != two[0].jerk


def test_an_instruction_of_held_out_episodes_alone_would_have_an_untrained_row(
    ask: Ask, data: tuple[Path, Path], tmp_path: Path
) -> None:
    other = Path(shutil.copytree(data[0], tmp_path / "other.zarr"))
    attributes = json.loads((other / ".zattrs").read_text())
    for of_held_out in INSTRUCTIONS[:2]:
        texts = [INSTRUCTIONS[0]] * 100
        for episode in open_dataset(other).split().held_out:
            texts[episode] = of_held_out
        attributes["ofp_edge"]["instructions"]["instruction"] = texts
        (other / ".zattrs").write_text(json.dumps(attributes))
        request = ask(dataset=other, mixed=(), instructed=False)
        if of_held_out == INSTRUCTIONS[0]:
            known = instructions_of(make_plan(request).policy.config.spec.observations)
            assert known == INSTRUCTIONS[:1], "and what no episode was told is left out"
            continue
        with pytest.raises(DatasetError, match=f"'{of_held_out}': no episode that is trained on"):
            make_plan(request)


def test_recorded_episodes_are_told_their_words(
    trained: Path, data: tuple[Path, Path], tmp_path: Path
) -> None:
    """With the berths' words turned round, the same actions are further off."""
    turned = Path(shutil.copytree(data[0], tmp_path / "turned.zarr"))
    attributes = json.loads((turned / ".zattrs").read_text())
    own = attributes["ofp_edge"]["instructions"]["instruction"]
    others = [INSTRUCTIONS[(INSTRUCTIONS.index(x) + 1) % 3] for x in own]
    attributes["ofp_edge"]["instructions"]["instruction"] = others
    (turned / ".zattrs").write_text(json.dumps(attributes))
    choice = Choice(cold=True, nfe=4)
    found = [
        measure_offline(trained, x, choice, samples=1).document for x in (data[0], turned, data[1])
    ]
    errors = [x["runs"][0]["error"] for x in found]
    assert errors[0] < 0.9 * errors[1] and errors[2] is not None
    # Each set of the mixture is known by its own hash, with the episodes that were held out of it.
    assert [x["unseen"] for x in found] == [True, None, True]
    held_out = [list(open_dataset(x).split().held_out) for x in data]
    assert [found[0]["episodes"], found[2]["episodes"]] == held_out


def test_it_is_resumed_bit_for_bit(ask: Ask, tmp_path: Path) -> None:
    train(make_plan(ask(output=tmp_path / "whole", steps=30)))
    assert train(make_plan(ask(steps=30)), progress=stop_at(10)).interrupted
    train(make_plan(ask(steps=30, resume=True)))
    one, two = (load_policy(tmp_path / x).network.state_dict() for x in ("whole", "p"))
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert any("table" in name for name in one)


def test_trained_on_it_keeps_its_list_and_its_rows(
    ask: Ask, trained: Path, data: tuple[Path, Path]
) -> None:
    plan = make_plan(ask(init=trained, dataset=data[1], mixed=()))
    assert instructions_of(plan.policy.config.spec.observations) == LIST
    before = load_policy(trained)
    rows = before.config.network.task_rows(before.network)
    again = plan.policy.config.network.task_rows(plan.policy.network)
    assert rows is not None and again is not None and np.array_equal(rows, again)


def test_without_it_several_tasks_are_one_that_is_told_nothing(ask: Ask) -> None:
    with pytest.raises(SpecMismatch, match="observation fields: expected state, instruction"):
        make_plan(ask(instructed=False))
    plan = make_plan(ask(dataset=ask().mixed[0], mixed=(), instructed=False))
    assert "task_features" not in plan.policy.config.network.to_json()


def test_what_it_was_never_told_is_refused_in_a_line(
    ask: Ask, trained: Path, data: tuple[Path, Path], tmp_path: Path
) -> None:
    plain = train(make_plan(ask(dataset=data[1], mixed=(), instructed=False, steps=2))).policy
    with pytest.raises(PolicyError, match=r"--instructed: .* takes no instruction"):
        make_plan(ask(init=plain, output=tmp_path / "q", dataset=data[1], mixed=()))
    alone = ask(output=tmp_path / "q", dataset=data[1], mixed=(), steps=2)
    narrow = train(make_plan(alone)).policy
    with pytest.raises(UnknownName, match="dock at the"):
        make_plan(ask(init=narrow, output=tmp_path / "r"))
    with pytest.raises(UnknownName, match=r"'planar/obstacle'\.? ?.*Known: "):
        run_episodes(Job(train(make_plan(ask(mixed=(), steps=2, force=True))).policy, OBSTACLE),
                     EPISODES[:1], workers=1)  # fmt: skip


def test_data_of_another_size_or_another_action_are_refused_by_name(
    ask: Ask, tmp_path: Path
) -> None:
    from tests.synthetic import write_synthetic_dataset

    odd = write_synthetic_dataset(tmp_path / "odd.zarr", obs="state", episodes=4)
    with pytest.raises(DatasetError, match=r'odd\.zarr: no task says .* `task = "…"`'):
        make_plan(ask(mixed=(odd,)))
    attributes = json.loads((odd / ".zattrs").read_text())
    attributes["ofp_edge"]["task"] = "push"
    (odd / ".zattrs").write_text(json.dumps(attributes))
    with pytest.raises(OfpError, match=r"odd\.zarr cannot be mixed with .*expected \(6,\)"):
        make_plan(ask(mixed=(odd,)))


def test_the_command_tells_it_and_says_what_it_told(trained: Path) -> None:
    words = ["eval", str(trained), "--episodes", "1", "--workers", "1", "--json", "--task"]
    said = CliRunner().invoke(build_app(), [*words, BERTHS, "--instruction", INSTRUCTIONS[2]])
    assert said.exit_code == 0 and json.loads(said.stdout)["instruction"] == INSTRUCTIONS[2]
    for given, says in (
        (["dock at the lft"], "Did you mean 'dock at the left berth'"),
        (["dock at the  left berth"], "'dock at the  left berth'. Did you mean 'dock at the left"),
        ([""], "unknown instruction of 'instruction': ''"),
        ([INSTRUCTIONS[0], "--words", "other"], "--words other: leave out --instruction"),
    ):
        said = CliRunner().invoke(build_app(), [*words, BERTHS, "--instruction", *given])
        assert said.exit_code == 1 and says in said.stderr, said.output


def test_the_gate_of_several_tasks_asks_which_one_is_to_be_run(
    trained: Path, data: tuple[Path, Path], tmp_path: Path
) -> None:
    pytest.importorskip("torchao")
    words = ["quantize", trained, "--calibration", data[0], "-o", tmp_path / "int8", "--gate"]
    said = CliRunner().invoke(build_app(), [*map(str, words), "--episodes", "100"])
    assert said.exit_code == 1 and "Give a simulated one with --task." in said.stderr
    assert not (tmp_path / "int8").exists(), "and before anything is quantised"


def test_data_of_several_tasks_say_how_they_can_be_told_apart(
    ask: Ask, data: tuple[Path, Path], tmp_path: Path
) -> None:
    with pytest.raises(SpecMismatch, match="Train with --instructed"):
        make_plan(ask(instructed=False))
    other = Path(shutil.copytree(data[1], tmp_path / "other.zarr"))
    attributes = json.loads((other / ".zattrs").read_text())
    attributes["ofp_edge"]["task"] = "fly"
    (other / ".zattrs").write_text(json.dumps(attributes))
    two = {"dataset": data[1], "mixed": (other,)}
    (line,) = make_plan(ask(**two, instructed=False)).dataset.odd
    assert line.startswith("2 tasks ('planar/obstacle', 'fly')") and "--instructed" in line
    assert not make_plan(ask(**two)).dataset.odd
