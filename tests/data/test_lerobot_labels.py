"""What LeRobot's meta/ calls dimensions, tasks and the robot is read, in each of its forms."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ofp_edge.data.layouts import open_source
from ofp_edge.data.layouts.lerobot import LeRobotSource
from ofp_edge.errors import DatasetError
from tests.data.foreign import FIXTURES
from tests.data.lerobot_sets import NUMBERS, rows, store, written

LENGTHS = (3, 2, 3)


def made(path: Path, version: str = "v2.1", table: Any = None, **more: Any) -> Any:
    at = [(0.0, 0.3), (0.3, 0.5), (0.5, 0.8)]
    table = rows(LENGTHS, 10) if table is None else table
    return open_source(written(path / "set", version, table, LENGTHS, [], at, **more))


def named(path: Path, names: Any, **info: Any) -> Any:
    features = {"action": {**NUMBERS["action"], "names": names}}
    return made(path, features=features, info=info)


@pytest.mark.parametrize(
    "names",
    [
        ["pan", "lift"],
        [["pan", "lift"]],
        {"motors": ["pan", "lift"]},
        {"motors": [["pan"], ["lift"]]},
        {"axes": ["pan", "lift"]},
        {"left": ["pan"], "right": ["lift"]},
        {"lift": 1, "pan": 0},
        "pan, lift",
    ],
)
def test_names_are_read_in_every_form(names: Any, tmp_path: Path) -> None:
    source = named(tmp_path, names)
    assert source.names == {"action": ("pan", "lift")} and source.notes == ()


@pytest.mark.parametrize("names", [["pan"], ["a", "b", "c"], ["pan", "pan"], {"motors": ["x"]}])
def test_names_that_do_not_fit_are_not_used_and_said(names: Any, tmp_path: Path) -> None:
    source = named(tmp_path, names)
    assert source.names == {}
    (line,) = source.notes
    assert "action: features.names" in line and "not used" in line


@pytest.mark.parametrize("names", [None, {}, [], 7, {"a": None}, [None, 3]])
def test_what_is_no_name_is_passed_over(names: Any, tmp_path: Path) -> None:
    source = named(tmp_path, names)
    assert source.names == {} and source.notes == ()


@pytest.mark.parametrize(
    ("kind", "want"),
    [("so101_follower", "so101_follower"), ("unknown", None), ("none", None), (None, None),
     (["a"], None), (" aloha ", "aloha")],
)  # fmt: skip
def test_the_robot_is_what_the_files_call_it(kind: Any, want: str | None, tmp_path: Path) -> None:
    assert named(tmp_path, None, robot_type=kind).robot == want


@pytest.mark.parametrize("where", ["fps", "info", "video_info"])
def test_a_feature_of_another_rate_is_said(where: str, tmp_path: Path) -> None:
    stated: Any = 25 if where == "fps" else {"video.fps": 25.0}
    source = made(tmp_path, features={"action": {**NUMBERS["action"], where: stated}})
    assert source.notes == ("action: meta/info.json states 25 Hz for it and 10 for the set",)
    stated = 10 if where == "fps" else {"video.fps": 10.0}
    same = {"action": {**NUMBERS["action"], where: stated}}
    assert made(tmp_path / "same", features=same).notes == ()


def with_tasks(table: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{**x, "task_index": x["episode_index"] % 2} for x in table]


def test_tasks_are_those_of_the_list_of_episodes(tmp_path: Path) -> None:
    path = made(tmp_path).path
    file = path / "meta" / "episodes.jsonl"
    entries = [json.loads(x) for x in file.read_text().splitlines()]
    for entry, tasks in zip(entries, (["open"], ["close", "wait"], []), strict=True):
        entry["tasks"] = tasks
    file.write_text("".join(json.dumps(x) + "\n" for x in entries))
    assert open_source(path).tasks == ("open", "close / wait", None)


def test_tasks_are_those_of_the_rows_where_the_list_has_none(tmp_path: Path) -> None:
    old = made(tmp_path, table=with_tasks(rows(LENGTHS, 10)))
    lines = ({"task_index": 0, "task": "open"}, {"task_index": 1, "task": "close"})
    (old.path / "meta" / "tasks.jsonl").write_text("\n".join(map(json.dumps, lines)))
    assert open_source(old.path).tasks == ("open", "close", "open")
    new = made(tmp_path / "new", "v3.0", with_tasks(rows(LENGTHS, 10)))
    for name in ("task", "__index_level_0__"):
        table = pa.table({"task_index": [0, 1], name: ["open", "close"]})
        pq.write_table(table, new.path / "meta" / "tasks.parquet")
        assert open_source(new.path).tasks == ("open", "close", "open")


def test_a_set_without_tasks_states_none(tmp_path: Path) -> None:
    source = made(tmp_path)
    assert source.tasks == () and source.successes == ()
    for name in ("lerobot-v2.1", "lerobot-v3.0"):
        assert open_source(FIXTURES / name).tasks == ("follow the disc",) * 3


def test_a_damaged_list_of_tasks_is_one_line(tmp_path: Path) -> None:
    source = made(tmp_path)
    (source.path / "meta" / "tasks.jsonl").write_text("{}\n[1]\n")
    with pytest.raises(DatasetError, match="tasks.jsonl: line 2"):
        open_source(source.path).tasks  # noqa: B018


def test_successes_are_those_of_the_rows(tmp_path: Path) -> None:
    table = [{**x, "next.success": False} for x in rows(LENGTHS, 10)]
    table[2]["next.success"] = table[6]["next.success"] = True
    feature = {"next.success": {"dtype": "bool", "shape": [1], "names": None}}
    source = made(tmp_path, table=table, features=feature)
    assert isinstance(source, LeRobotSource) and source.successes == (True, False, True)
    store(source.path / "data/chunk-000/episode_000001.parquet", table[:1])
    assert open_source(source.path).successes == (True, None, True)
    assert np.array_equal(source.read("next.success", 2)[:, 0], [False, True, False])
