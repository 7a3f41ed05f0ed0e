"""Tasks and successes of episodes: read, carried, chosen by, and never made up."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from numpy.typing import NDArray
from typer.testing import CliRunner

import ofp_edge.data.reading as reading
from ofp_edge.cli.main import build_app
from ofp_edge.data.convert import convert
from ofp_edge.data.layouts import open_source
from ofp_edge.data.open import open_dataset
from ofp_edge.data.source import Key, Source
from ofp_edge.data.success import successes_by_signals
from ofp_edge.errors import DatasetError
from ofp_edge.train.plan import make_plan
from ofp_edge.train.request import Request
from tests.data.foreign import FIXTURES, LAYOUTS, copied, one_line
from tests.synthetic import write_raw, write_synthetic_dataset


class Labelled(Source):
    """A set in no files, whose episodes have labels."""

    layout, rates_hz = "labelled", (10.0,)

    def __init__(
        self, path: Path, tasks: Sequence[str | None], successes: Sequence[bool | None]
    ) -> None:
        self.path, self.tasks, self.successes = path, tuple(tasks), tuple(successes)
        self.lengths = (12,) * max(len(tasks), len(successes))
        self.keys = {"state": Key((3,), "float32"), "action": Key((3,), "float32")}

    def blocks(self, key: str, episode: int) -> Iterator[NDArray[Any]]:
        rng = np.random.default_rng(episode)
        yield rng.uniform(-1, 1, (12, 3)).astype(np.float32)

    def sha256(self) -> str:
        return "0" * 64


Open = Callable[..., Path]


@pytest.fixture
def labelled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Open:
    """Writes a mapping whose source has these labels; words: the mapping's first lines."""

    def write(
        tasks: Sequence[str | None] = (), successes: Sequence[bool | None] = (), words: str = ""
    ) -> Path:
        source = Labelled(tmp_path / "set", tasks, successes)
        monkeypatch.setattr(reading, "open_source", lambda path, filter_key=None: source)
        fields = "".join(
            f'[[{what}]]\nname = "{key}_"\nkey = "{key}"\nkind = "{kind}"\nunit = "m"\n'
            'frame = "base"\n'
            for what, key, kind in (
                ("observation", "state", "state"), ("action", "action", "absolute"),
            )
        )  # fmt: skip
        path = tmp_path / "m.toml"
        path.write_text(f'source = "set"\n{words}\n{fields}')
        return path

    return write


def plan(dataset: Path, output: Path) -> Any:
    return make_plan(Request(dataset, output, preset="tiny", steps=1))


TASKS: list[str | None] = ["open the drawer", "close it", "open the drawer", None]


def test_two_tasks_without_an_instruction_are_refused_by_train(
    labelled: Open, tmp_path: Path
) -> None:
    with pytest.raises(DatasetError) as caught:
        plan(labelled(TASKS), tmp_path / "p")
    one_line(caught, "2 tasks ('open the drawer' 2 episodes, 'close it' 1)", "no instruction")
    one_line(caught, "`episodes = [0, 2]`", '`tasks = ["open the drawer"]`', '`task = "…"`')
    assert not (tmp_path / "p").exists()


@pytest.mark.parametrize(
    ("words", "episodes", "task"),
    [
        ('tasks = ["open the drawer"]', (0, 2), None),
        ('tasks = ["close it", "open the drawer"]\ntask = "tidy up"', (0, 1, 2), "tidy up"),
        ("episodes = [0, 2]", (0, 2), None),
        ('task = "tidy up"', (0, 1, 2, 3), "tidy up"),
    ],
)
def test_what_a_mapping_chooses_or_names_is_trained(
    words: str, episodes: tuple[int, ...], task: str | None, labelled: Open, tmp_path: Path
) -> None:
    path = labelled(TASKS, words=words)
    data = open_dataset(path)
    assert data.seeds == episodes and data.task == task
    made = plan(path, tmp_path / "p")
    assert made.policy.config.task == task


def test_the_numbers_offered_are_those_of_the_source(labelled: Open) -> None:
    data = open_dataset(labelled(TASKS, words="episodes = [2, 1]"))
    assert data.several_tasks is not None and "`episodes = [2]`" in data.several_tasks


def test_a_task_that_nobody_was_asked_for_lists_those_that_were(labelled: Open) -> None:
    with pytest.raises(DatasetError) as caught:
        open_dataset(labelled(TASKS, words='tasks = ["opn"]'))
    one_line(caught, "no episode's is 'opn'", "'open the drawer', 'close it'")
    with pytest.raises(DatasetError) as caught:
        open_dataset(labelled(TASKS, words='tasks = ["close it"]\nepisodes = [0]'))
    one_line(caught, "no episode is left")
    with pytest.raises(DatasetError, match="expected texts"):
        open_dataset(labelled(TASKS, words="tasks = []"))


def test_converted_tasks_are_asked_for_when_they_are_trained(
    labelled: Open, tmp_path: Path
) -> None:
    path = labelled(TASKS)
    words = ["data", "convert", str(path), "-o", str(tmp_path / "o"), "--json"]
    odd = json.loads(CliRunner().invoke(build_app(), words).stdout)["odd"]
    assert any("2 tasks" in line for line in odd)
    assert open_source(tmp_path / "o").tasks == tuple(TASKS)
    with pytest.raises(DatasetError, match="2 tasks"):
        plan(tmp_path / "o", tmp_path / "p")
    convert(labelled(TASKS, words='task = "tidy up"'), tmp_path / "named", force=False)
    assert plan(tmp_path / "named", tmp_path / "p").dataset.task == "tidy up"


def test_a_set_with_instructions_may_have_several_tasks(tmp_path: Path) -> None:
    path = write_synthetic_dataset(tmp_path / "d.zarr", obs="state", episodes=4)
    change(path, tasks=["open", "close", "open", "close"])
    with pytest.raises(DatasetError, match="2 tasks"):
        plan(path, tmp_path / "p")
    text = {"name": "words", "kind": "text", "shape": [], "choices": ["open", "close"]}
    ours = json.loads((path / ".zattrs").read_text())["ofp_edge"]
    change(path, observations=[*ours["observations"], text],
           instructions={"words": ["open", "close", "open", "close"]})  # fmt: skip
    told = [x for x in plan(path, tmp_path / "p").policy.config.spec.observations if x.told]
    assert [x.name for x in told] == ["words"]
    assert open_source(path).tasks == ()


def change(path: Path, **values: Any) -> None:
    attributes = json.loads((path / ".zattrs").read_text())
    attributes["ofp_edge"].update(values)
    (path / ".zattrs").write_text(json.dumps(attributes))


SUCCESSES: list[bool | None] = [True, False, None, True, False, True]


def test_success_is_carried_through_reading_and_conversion(labelled: Open, tmp_path: Path) -> None:
    path = labelled(successes=SUCCESSES)
    data = open_dataset(path)
    assert data.success == tuple(SUCCESSES)
    (line,) = data.odd
    assert line.startswith("2 of 6 episodes are marked as failed (1, 4)")
    assert "`leave_out_failed = true`" in line
    convert(path, tmp_path / "o", force=False)
    attributes = json.loads((tmp_path / "o" / ".zattrs").read_text())["ofp_edge"]
    assert attributes["success"] == [True, False, False, True, False, True]
    assert attributes["success_unknown"] == [2]
    ours = open_dataset(tmp_path / "o")
    assert ours.success == tuple(SUCCESSES) and ours.odd == (line,)
    assert open_source(tmp_path / "o").successes == tuple(SUCCESSES)
    convert(labelled(successes=SUCCESSES, words="leave_out_failed = true"), tmp_path / "good",
            force=False)  # fmt: skip
    good = open_dataset(tmp_path / "good")
    assert good.success == (True, None, True, True) and good.seeds == (0, 2, 3, 5)
    assert not good.odd


def test_leaving_out_what_nothing_says_is_refused(labelled: Open) -> None:
    with pytest.raises(DatasetError) as caught:
        open_dataset(labelled(["a", "a"], words="leave_out_failed = true"))
    one_line(caught, "do not say which episodes failed")


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_set_that_says_nothing_has_no_known_success(name: str, tmp_path: Path) -> None:
    data = open_dataset(FIXTURES / name)
    assert set(data.success) == {None} and data.several_tasks is None
    convert(FIXTURES / name, tmp_path / "o", force=False)
    assert set(open_dataset(tmp_path / "o").success) == {None}


def test_what_was_converted_before_it_was_asked_is_unknown(tmp_path: Path) -> None:
    path = write_synthetic_dataset(tmp_path / "d.zarr", obs="state", episodes=3)
    assert open_dataset(path).success == (True,) * 3  # collected, by a simulator that knows
    change(path, converted_from={"name": "x", "layout": "dp3", "sha256": ""})
    assert open_dataset(path).success == (None,) * 3


@pytest.mark.parametrize(
    "values",
    [{"success_unknown": [7]}, {"success_unknown": [True]}, {"success_unknown": "all"},
     {"tasks": ["a"]}, {"tasks": [1, 2, 3]}, {"tasks": {}}, {"success": [True]}],
)  # fmt: skip
def test_labels_of_another_form_are_one_line(values: dict[str, Any], tmp_path: Path) -> None:
    path = write_synthetic_dataset(tmp_path / "d.zarr", obs="state", episodes=3)
    change(path, **values)
    every = (open_dataset,) if "success" in values else (open_dataset, open_source)
    for opened in every:
        with pytest.raises(DatasetError) as caught:
            opened(path)
        one_line(caught, f"attribute {next(iter(values))}")


def test_robomimics_signals_say_what_failed(tmp_path: Path) -> None:
    path = copied("robomimic.hdf5", tmp_path)
    with h5py.File(path, "r+") as file:
        file["data/demo_0/rewards"][-1] = 1.0
        file["data/demo_2/rewards"][-3] = 1.0
    assert open_source(path).successes == (True, False, True)
    assert any("1 of 3 episodes is marked as failed (1)" in x for x in open_dataset(path).odd)
    with h5py.File(path, "r+") as file:
        file["data/demo_1/success"] = np.array([0, 1, 0], bool)
    assert open_source(path).successes == (None, True, None)


@pytest.mark.parametrize(
    ("rewards", "dones", "known"),
    [
        ([[0, 1], [0, 0]], [[0, 1], [0, 1]], (True, False)),
        ([[0, 0], [0, 0]], [[0, 1], [0, 1]], ()),  # dones at every end: nothing of success
        ([[0, 0], [0, 0]], [[0, 1], [0, 0]], (None, False)),
        ([[0.1, 0.9], [0.2, 0.3]], [[1, 1], [0, 0]], (True, False)),  # a shaped reward
        ([[0, 0], [0, 0]], [[0, 0], [0, 0]], ()),
        ([None, [1]], [None, None], ()),
        ([], [], ()),
    ],
)
def test_signals_that_decide_nothing_leave_success_unknown(
    rewards: list[Any], dones: list[Any], known: tuple[bool | None, ...]
) -> None:
    def arrays(values: list[Any]) -> list[Any]:
        return [None if x is None else np.array(x, float) for x in values]

    assert successes_by_signals(arrays(rewards), arrays(dones)) == known


def test_a_flag_of_a_foreign_zarr_and_of_robotwin_is_read(tmp_path: Path) -> None:
    flags = np.array([0, 0, 0, 1, 0, 0], np.float32)
    arrays = {"state": np.zeros((6, 2), np.float32), "action": np.eye(6, 2, dtype=np.float32)}
    write_raw(tmp_path / "d.zarr", {}, {**arrays, "success": flags}, np.array([2, 4, 6], np.int64))
    assert open_source(tmp_path / "d.zarr").successes == (False, True, False)
    path = copied("robotwin-native", tmp_path)
    first = sorted((path / "data").glob("*.hdf5"))[0]
    with h5py.File(first, "r+") as file:
        file["additional_info/success"] = False
    known = open_source(path).successes
    assert known[0] is False and set(known[1:]) == {None}


def test_data_info_says_both(tmp_path: Path) -> None:
    path = write_synthetic_dataset(tmp_path / "d.zarr", obs="state", episodes=3)
    change(path, tasks=["open", "close", "open"], success=[True, True, False])
    result = CliRunner().invoke(build_app(), ["data", "info", str(path), "--json"])
    odd = json.loads(result.stdout)["odd"]
    assert any(x.startswith("2 tasks ('open' 2 episodes, 'close' 1)") for x in odd)
    assert any(x.startswith("1 of 3 episodes is marked as failed (2)") for x in odd)
