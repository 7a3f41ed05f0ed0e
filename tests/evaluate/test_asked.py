"""A policy that takes instructions is told what each simulated episode asks for, or another one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("pyrealsense2")

from ofp_edge.cli.main import build_app  # noqa: E402
from ofp_edge.evaluate.decisions import gather_decisions  # noqa: E402
from ofp_edge.evaluate.episode import Evaluator, Job  # noqa: E402
from ofp_edge.fields.text import instructions_of  # noqa: E402
from ofp_edge.policy.folder import load_policy  # noqa: E402
from ofp_edge.sim.berths_task import INSTRUCTIONS  # noqa: E402
from ofp_edge.sim.collect import collect_demonstrations  # noqa: E402
from ofp_edge.train.loop import train  # noqa: E402
from ofp_edge.train.plan import make_plan  # noqa: E402
from ofp_edge.train.request import Request  # noqa: E402

TASK = "planar/berths"


@pytest.fixture(scope="module")
def policy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("asked")
    data = root / "d.zarr"
    collect_demonstrations(TASK, 4, data, observe="rgb", image_size=(32, 32))
    train(make_plan(Request(data, root / "p", "flow", "vla", steps=2, batch_size=8, seed=3)))
    return root / "p"


def test_its_words_are_those_of_the_data_and_are_kept_with_it(policy: Path) -> None:
    loaded = load_policy(policy)
    assert instructions_of(loaded.config.spec.observations) == INSTRUCTIONS
    told = loaded.config.network.prompting(loaded.network)
    assert told is not None and len({told.prompt.heads[i] for i in range(3)}) == 3
    assert told.prompt.longest == 5 and told.table.count == 7
    assert loaded.sampling.own_nfe == 10


def test_each_episode_is_told_what_it_asks_for(policy: Path) -> None:
    evaluator = Evaluator(Job(policy, TASK))
    said, asked = [], []
    for seed in range(6):
        evaluator.run(1_000_000 + seed)
        said.append(INSTRUCTIONS[evaluator.observer.instruction_id or 0])
        asked.append(evaluator.simulator.world.instruction)
    evaluator.close()
    assert said == asked and len(set(said)) > 1


def test_as_a_control_it_is_told_another_one_and_does_something_else(policy: Path) -> None:
    sent = {}
    for words in ("own", "other"):
        evaluator = Evaluator(Job(policy, TASK, words=words))  # type: ignore[arg-type]
        evaluator.run(1_000_001)
        number = evaluator.observer.instruction_id or 0
        same = INSTRUCTIONS[number] == evaluator.simulator.world.instruction
        assert same is (words == "own")
        sent[words] = evaluator.sent[0]
        evaluator.close()
    assert np.abs(sent["own"] - sent["other"]).max() > 1e-6


def test_states_at_which_both_sides_are_open_are_told_too(policy: Path) -> None:
    from ofp_edge.evaluate.choice import Choice
    from ofp_edge.evaluate.contestant import open_contestant

    contestant = open_contestant(policy, Choice(cold=True, nfe=1))
    found = gather_decisions(TASK, contestant, 12, range(1_000_000, 1_000_100))
    contestant.close()
    numbers = {int(x.observations["instruction"][-1]) for x in found}
    assert len(numbers) > 1 and numbers <= {0, 1, 2}


def test_the_command_says_so_and_refuses_other_words(policy: Path) -> None:
    from typer.testing import CliRunner

    words = ["eval", str(policy), "--task", TASK, "--episodes", "1", "--workers", "1", "--json"]
    said = CliRunner().invoke(build_app(), [*words, "--nfe", "1", "--words", "other"])
    assert said.exit_code == 0 and '"words": "other"' in said.stdout
    said = CliRunner().invoke(build_app(), [*words, "--words", "others"])
    assert said.exit_code == 1 and "Did you mean 'other'" in said.stdout
