"""Instructions: one of a closed list, told once a run, stored once an episode."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ofp_edge.data.convert import convert
from ofp_edge.data.open import open_dataset
from ofp_edge.errors import DatasetError, PolicyError, SpecMismatch, UnknownName
from ofp_edge.fields import Text
from ofp_edge.imports.program import import_program
from ofp_edge.policy.presets import preset
from ofp_edge.rig.file import read_rig
from ofp_edge.runtime.run_files import Request, read_run
from ofp_edge.spec import PolicySpec
from ofp_edge.train.batches import Batches
from tests.fields.carrying import logged, observe, spec_with, write_dataset
from tests.rig_text import GOOD
from tests.runtime.small_bundle import write_small_bundle
from tests.synthetic import action_fields, state_field

TASK = Text("task", choices=("open the door", "close the door", "press the bell"))


def test_a_dataset_stores_one_text_an_episode_and_training_gets_its_number(tmp_path: Path) -> None:
    texts = ["close the door", "open the door", "close the door"]
    found = open_dataset(write_dataset(tmp_path / "d", TASK, instructions={"task": texts}))
    want = np.repeat([1, 0, 1], [6, 5, 9])
    np.testing.assert_array_equal(found.fields["task"], want)
    assert found.fields["task"].dtype == np.int64 and "task" not in found.statistics((0, 1))
    batches = Batches(found, (0, 1), spec_with(TASK))
    observations, _ = batches.take(torch.tensor([0, 7]))
    assert observations[1].dtype == torch.int64
    np.testing.assert_array_equal(observations[1], [[1, 1], [0, 0]])


@pytest.mark.parametrize(
    ("attrs", "message"),
    [
        ({}, "attribute instructions, 'task': expected one text for each of 3 episodes, got None"),
        ({"instructions": []}, "attribute instructions: expected texts by field"),
        ({"instructions": {"task": ["open the door"]}}, "each of 3 episodes, got 1"),
        ({"instructions": {"task": ["open the dor"] * 3}}, "Did you mean 'open the door'"),
        ({"instructions": {"task": [0, 1, 2]}}, "instruction of 'task': '0'"),
        ({"instructions": {"task": [["open the door"]] * 3}}, "unknown instruction"),
    ],
)
def test_a_dataset_with_other_texts_is_refused_in_one_line(
    tmp_path: Path, attrs: dict[str, Any], message: str
) -> None:
    with pytest.raises(DatasetError, match=message) as raised:
        open_dataset(write_dataset(tmp_path / "d", TASK, **attrs))
    assert "\n" not in str(raised.value)


def test_the_robot_is_told_it_and_the_log_gives_back_its_number(tmp_path: Path) -> None:
    spec = spec_with(TASK)
    seen = observe(spec, {}, "press the bell")
    assert seen.arrays["task"].dtype == np.int64 and seen.arrays["task"] == 2
    assert logged(tmp_path / "run.mcap", spec, seen)["task"] == 2
    assert TASK not in spec.states


def test_what_is_not_in_the_list_or_not_asked_for_is_refused() -> None:
    with pytest.raises(UnknownName, match="unknown instruction .* Did you mean 'press the bell'"):
        observe(spec_with(TASK), {}, "press the bel")
    with pytest.raises(
        SpecMismatch, match="one of 3 instructions: .* got none. State instruction in"
    ):
        observe(spec_with(TASK), {}, None)
    plain = PolicySpec((state_field(4),), action_fields(), 1, 8, 4, 20.0)
    with pytest.raises(SpecMismatch, match="the policy takes none, got 'press the bell'"):
        observe(plain, {}, "press the bell")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"choices": ()}, "choices: expected 1..1000, got 0"),
        ({"choices": ("a", "a")}, "each once"),
        ({"choices": ("a", " ")}, "texts of 1..200 characters"),
        ({"choices": ("a" * 201,)}, "texts of 1..200 characters"),
        ({"shape": (1,)}, r"shape: expected \(\), got \(1,\)"),
        ({"kind": "state"}, "kind: expected state, points, rgb, text"),
    ],
)
def test_a_list_that_makes_no_sense_is_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecMismatch, match=message):
        replace(TASK, **change)


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"choices": [1, 2]}, "choices: expected a list of texts, got 1 at"),
        ({"choices": "open"}, "choices: expected a list of texts"),
        ({"unit": "m"}, "also .'unit'"),
    ],
)
def test_json_that_is_no_text_field_is_refused(entry: dict[str, Any], message: str) -> None:
    document = spec_with(TASK).to_json()
    document["observations"][1].update(entry)
    with pytest.raises(SpecMismatch, match=message):
        PolicySpec.from_json(document)
    del document["observations"][1]["choices"]
    with pytest.raises(SpecMismatch):
        PolicySpec.from_json(document)


def test_a_network_without_words_says_so() -> None:
    with pytest.raises(PolicyError, match="observation 'task' is of kind text, and this network"):
        preset("tiny").network.build(spec_with(TASK), {})


def test_a_program_from_elsewhere_is_not_told_it_either(tmp_path: Path) -> None:
    (tmp_path / "spec.json").write_text(json.dumps({"spec": spec_with(TASK).to_json()}))
    with pytest.raises(PolicyError, match="observation 'task' is of kind text"):
        import_program("exported", tmp_path / "none.pt2", tmp_path / "spec.json")


def test_a_rig_may_state_it(tmp_path: Path) -> None:
    (tmp_path / "rig.toml").write_text(f'instruction = "open the door"\n{GOOD}')
    assert read_rig(tmp_path / "rig.toml").instruction == "open the door"


def test_a_run_that_tells_what_its_policy_takes_none_of_opens_nothing(tmp_path: Path) -> None:
    plain = PolicySpec((state_field(4),), action_fields(), 1, 8, 4, 20.0)
    bundle = write_small_bundle(tmp_path / "bundle", plain, {})
    (tmp_path / "rig.toml").write_text(f'instruction = "open the door"\n{GOOD}')
    with pytest.raises(SpecMismatch, match="the policy takes none, got 'ring the bell'"):
        read_run(Request(bundle, tmp_path / "rig.toml", instruction="ring the bell"))
    with pytest.raises(SpecMismatch, match="the policy takes none, got 'open the door'"):
        read_run(Request(bundle, tmp_path / "rig.toml"))


def test_it_is_not_read_through_a_mapping(tmp_path: Path) -> None:
    texts = ["open the door"] * 3
    path = write_dataset(tmp_path / "d", TASK, instructions={"task": texts})
    with pytest.raises(DatasetError, match="field 'task': an attribute of the episodes"):
        convert(path, tmp_path / "out", force=False)


def test_made_up_ones_are_all_there() -> None:
    made = TASK.synthetic(np.random.default_rng(0), (200, 2))
    assert set(made.ravel()) == {0, 1, 2} and made.shape == (200, 2)
    TASK.require_form(made[0, 0].reshape(()), "made up")
    with pytest.raises(SpecMismatch):
        TASK.require_form(made[0], "made up")
