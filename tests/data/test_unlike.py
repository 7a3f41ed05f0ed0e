"""Numbers that are not what the same files say of them elsewhere are odd; healthy ones are not."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ofp_edge.data.layouts import open_source
from ofp_edge.data.survey import survey
from ofp_edge.errors import DatasetError
from tests.data.foreign import FIXTURES, LAYOUTS, copied, one_line

_WORDS = ("meta/ states", "next_obs", "is not what")


def unlike(path: Path) -> list[str]:
    return [x for x in survey(open_source(path)).odd if any(w in x for w in _WORDS)]


def rewritten(path: Path, column: str, change: object) -> None:
    """Change a column of the table that holds episode 0."""
    file = sorted((path / "data").rglob("*.parquet"))[0]
    table = pq.read_table(file)
    values = np.array(table[column].to_pylist())
    made = pa.array(change(values).tolist(), table.schema.field(column).type)  # type: ignore[operator]
    pq.write_table(table.set_column(table.column_names.index(column), column, made), file)


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_healthy_set_agrees_with_itself(name: str) -> None:
    assert unlike(FIXTURES / name) == []


@pytest.mark.parametrize("name", ["lerobot-v3.0", "lerobot-v2.1"])
def test_rows_that_were_scaled_are_not_those_that_meta_describes(name: str, tmp_path: Path) -> None:
    path = copied(name, tmp_path)
    rewritten(path, "action", lambda x: x * [1, 1000, 1, 1])
    (line,) = unlike(path)
    assert line.startswith("action, episode 0: the min of dimension 1 is ") or "max" in line
    assert "the rows were changed" in line


@pytest.mark.parametrize("name", ["lerobot-v3.0", "lerobot-v2.1"])
def test_actions_that_are_a_frame_early_are_not_those_that_meta_describes(
    name: str, tmp_path: Path
) -> None:
    path = copied(name, tmp_path)
    rewritten(path, "action", lambda x: np.concatenate([x[1:], x[-1:]]))
    assert unlike(path)


def test_statistics_that_cannot_be_read_say_nothing(tmp_path: Path) -> None:
    path = copied("lerobot-v2.1", tmp_path)
    file = path / "meta" / "episodes_stats.jsonl"
    for lines in (
        '{"episode_index": 0, "stats": {"action": {"min": ["x"], "max": {}}}}',
        '{"a": 1}',
    ):
        file.write_text(lines + "\n")
        assert unlike(path) == []
    file.write_text("version https://git-lfs.github.com/spec/v1\n")
    assert unlike(path) == []
    file.unlink()
    assert unlike(path) == []


def test_a_row_that_next_obs_does_not_know_is_said(tmp_path: Path) -> None:
    path = copied("robomimic.hdf5", tmp_path)
    with h5py.File(path, "r+") as file:
        file["data/demo_1/obs/robot0_eef_pos"][4, 0] += 0.5
    (line,) = unlike(path)
    assert line.startswith("obs/robot0_eef_pos, episode 1: frame 4 is not what next_obs/")


def test_a_vector_that_is_not_made_of_its_arms_is_said(tmp_path: Path) -> None:
    path = copied("robotwin-raw", tmp_path)
    with h5py.File(path / "data" / "episode2.hdf5", "r+") as file:
        file["joint_action/vector"][3, 1] *= 1000
    (line,) = unlike(path)
    assert line.startswith("joint_action/vector, episode 2: frame 3 is not what left_arm")


@pytest.mark.parametrize("name", ["lerobot-v3.0", "lerobot-v2.1"])
def test_episodes_that_are_named_and_not_numbered_are_refused(name: str, tmp_path: Path) -> None:
    path = copied(name, tmp_path)
    file = sorted((path / "data").rglob("*.parquet"))[0]
    table = pq.read_table(file)
    names = pa.array([f"episode {x}" for x in table["episode_index"].to_pylist()])
    at = table.column_names.index("episode_index")
    pq.write_table(table.set_column(at, "episode_index", names), file)
    source = open_source(path)
    why = source.wrong(0, ("action",))
    assert why is not None and "episode_index: expected whole numbers, got string" in why
    with pytest.raises(DatasetError) as caught:
        raise source.refusal(why, 0, (0,), ("action",))
    one_line(caught, "episode_index")
