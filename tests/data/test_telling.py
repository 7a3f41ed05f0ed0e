"""The words of an episode: a text field's, or the tasks that LeRobot's data keeps."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ofp_edge.data.dataset import Dataset
from ofp_edge.data.open import open_dataset
from ofp_edge.data.telling import require_all_trained, told_as, with_tasks
from ofp_edge.errors import DatasetError, UnknownName
from ofp_edge.fields import Text
from tests.synthetic import write_synthetic_dataset

TASKS = ("open the drawer", "close it", "open the drawer", "wipe")
FIELD = Text("words", choices=("wipe", "fold", "close it", "open the drawer"))


def numbers(data: Dataset, name: str = "words") -> list[int]:
    """One number an episode; all frames of it have the same."""
    parts = [set(data.fields[name][data.episode(e)].tolist()) for e in range(data.episodes)]
    assert all(len(part) == 1 for part in parts)
    assert len(data.fields[name]) == len(data)
    return [part.pop() for part in parts]


@pytest.fixture
def made(tmp_path: Path) -> Dataset:
    return open_dataset(write_synthetic_dataset(tmp_path / "d.zarr", obs="state", episodes=4))


def test_tasks_are_told_by_the_policys_own_numbers(made: Dataset) -> None:
    data = told_as(replace(made, task=None, tasks=TASKS), (FIELD,))
    assert numbers(data) == [3, 2, 3, 0]
    assert data.interface.observations[-1] == FIELD


def test_one_task_is_told_with_every_episode(made: Dataset) -> None:
    assert numbers(told_as(replace(made, task="wipe"), (FIELD,))) == [0] * 4


def test_a_text_field_of_another_name_is_the_policys(made: Dataset) -> None:
    ours = told_as(replace(made, tasks=TASKS), (Text("asked", choices=tuple(set(TASKS))),))
    data = told_as(ours, (FIELD,))
    assert numbers(data) == [3, 2, 3, 0]
    assert [f.name for f in data.interface.observations].count("asked") == 0
    assert "asked" not in data.fields


def test_a_policy_without_words_gets_the_data_as_it_is(made: Dataset) -> None:
    data = replace(made, task=None, tasks=TASKS)
    assert told_as(data, made.interface.observations) is data
    again = told_as(data, (FIELD,))
    assert told_as(again, (FIELD,)) is again


def test_what_was_never_trained_is_one_line(made: Dataset) -> None:
    data = replace(made, tasks=("open the drawr", *TASKS[1:]))
    with pytest.raises(UnknownName, match="Did you mean 'open the drawer'") as caught:
        told_as(data, (FIELD,))
    assert str(made.path) in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("tasks", "words"),
    [((), "what its episodes did"), (("wipe", None, "wipe", "wipe"), "what episode 1 did")],
)
def test_an_episode_of_which_nothing_is_said_is_named(
    made: Dataset, tasks: tuple[str | None, ...], words: str
) -> None:
    with pytest.raises(DatasetError, match=words) as caught:
        told_as(replace(made, task=None, tasks=tasks), (FIELD,))
    assert "\n" not in str(caught.value) and "'wipe'" in str(caught.value)
    if not tasks:
        with pytest.raises(DatasetError, match="what its episodes did"):
            with_tasks([replace(made, task=None)])


def test_sets_that_are_trained_together_share_their_tasks(made: Dataset) -> None:
    one, other = (replace(made, task=None, tasks=x) for x in (TASKS, TASKS[::-1]))
    first, second = with_tasks([one, replace(other, tasks=("fold", *TASKS[:3]))])
    choices = first.interface.observations[-1].choices  # type: ignore[attr-defined]
    assert choices == ("open the drawer", "close it", "wipe", "fold")
    assert second.interface.observations[-1] == first.interface.observations[-1]
    assert numbers(first, "task") == [0, 1, 0, 2] and numbers(second, "task") == [3, 0, 1, 0]
    assert with_tasks([first, second]) == [first, second]


def test_one_task_that_a_mapping_states_is_every_episode_s(made: Dataset) -> None:
    one, other = replace(made, task="follow", tasks=()), replace(made, task="fold", tasks=())
    (alone,) = with_tasks([one])
    assert alone.interface.observations[-1].choices == ("follow",)  # type: ignore[attr-defined]
    several = with_tasks([one, replace(made, task=None, tasks=TASKS), other])
    choices = several[0].interface.observations[-1].choices  # type: ignore[attr-defined]
    assert choices == ("follow", "open the drawer", "close it", "wipe", "fold")
    assert numbers(several[2], "task") == [4, 4, 4, 4]


def test_what_no_episode_was_told_is_in_no_list(made: Dataset) -> None:
    """A text field may declare more than its episodes say."""
    data = told_as(replace(made, task=None, tasks=TASKS), (FIELD,))
    for datasets in ([data], [data, replace(made, task="hang it up")]):
        first = with_tasks(datasets)[0].interface.observations[-1]
        choices = first.choices  # type: ignore[attr-defined]
        assert choices[:3] == ("wipe", "close it", "open the drawer"), "fold is no episode's"
        assert len(choices) == 2 + len(datasets)
    assert numbers(with_tasks([data])[0]) == [2, 1, 2, 0]
    (whole,) = with_tasks([data], reads_words=True)
    assert whole.interface.observations[-1] == FIELD, "a network that reads words knows fold, too"


def test_what_only_held_out_episodes_were_told_is_refused(made: Dataset) -> None:
    (data,) = with_tasks([replace(made, task=None, tasks=TASKS)])
    require_all_trained([(data, [0, 1, 3])])
    require_all_trained([(data, [0, 1]), (data, [3])])
    require_all_trained([(made, [])])  # told nothing
    for trained in ([(data, [0, 1, 2])], [(data, [0]), (data, [1])]):
        with pytest.raises(DatasetError, match="instruction 'wipe': no episode that is trained on"):
            require_all_trained(trained)


@pytest.mark.parametrize(
    ("task", "says"),
    [
        ("x" * 201, "it has 201 characters, expected 1..200"),
        ("wipe ", "expected no space at its ends"),
        ("a\nb", "nothing that can't be printed"),
        ("a\x1b[31m", "nothing that can't be printed"),
        ("Close  IT", "differ by case or spaces alone"),
        ("  ", "no task says what episode 1 did"),
    ],
)
def test_an_instruction_that_could_not_be_told_is_refused(
    made: Dataset, task: str, says: str
) -> None:
    data = replace(made, task=None, tasks=("close it", task, "close it", "wipe it"))
    with pytest.raises(DatasetError) as caught:
        with_tasks([data])
    assert says in str(caught.value) and str(made.path) in str(caught.value)
    assert "\n" not in str(caught.value) and "mapping" in str(caught.value)


def test_converted_data_keeps_its_tasks(made: Dataset, tmp_path: Path) -> None:
    attributes = json.loads((made.path / ".zattrs").read_text())
    attributes["ofp_edge"] |= {"task": None, "tasks": list(TASKS)}
    (made.path / ".zattrs").write_text(json.dumps(attributes))
    data = open_dataset(made.path)
    assert data.tasks == TASKS and numbers(told_as(data, (FIELD,))) == [3, 2, 3, 0]
    np.testing.assert_array_equal(data.fields["state"], made.fields["state"])
