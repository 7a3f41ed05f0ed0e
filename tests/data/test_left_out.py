"""Only what the mapping chooses has to be right: episodes, cameras, frames."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import zarr

from ofp_edge.data.edges import edge_frames
from ofp_edge.data.layouts import open_source
from ofp_edge.data.mapping import mapping_text, read_mapping
from ofp_edge.data.open import open_dataset
from ofp_edge.data.survey import survey
from ofp_edge.errors import DatasetError
from tests.data.foreign import copied, one_line

MAPPING = """\
source = "{source}"
control_hz = {rate}
{more}
[[observation]]
name = "state"
key = "{state}"
kind = "state"
unit = "m"
frame = "base"
[[action]]
name = "move"
key = "{action}"
kind = "absolute"
unit = "m"
frame = "base"
"""
KEYS = {
    "lerobot-v3.0": ("observation.state", "action", 20.0),
    "lerobot-v2.1": ("observation.state", "action", 20.0),
    "robomimic.hdf5": ("obs/robot0_eef_pos", "actions", 20.0),
    "robotwin-raw": ("joint_action/vector", "action/vector", 15.0),
    "robotwin-native": ("state/left_arm_joint_states", "action/left_arm_joint_states", 15.0),
    "dp3.zarr": ("state", "action", 10.0),
}


def mapped(path: Path, more: str = "") -> Path:
    state, action, rate = KEYS[path.name]
    file = path.parent / "m.toml"
    values = {"source": path.name, "rate": rate, "state": state, "action": action, "more": more}
    file.write_text(MAPPING.format(**values))
    return file


def spoil(path: Path) -> None:
    """Episode 1 of a fixture can no longer be read."""
    if path.name == "dp3.zarr":
        root: Any = zarr.open_group(str(path), mode="r+")
        root["meta/episode_ends"][:] = [14, 14, 34]
    elif path.name == "robomimic.hdf5":
        with h5py.File(path, "r+") as file:
            del file["data/demo_1/obs/robot0_eef_pos"]
    elif path.name.startswith("robotwin"):
        sorted(path.rglob("*.hdf5"))[1].write_bytes(b"cut off")
    else:
        sorted((path / "data").rglob("*.parquet"))[1].unlink()


@pytest.mark.parametrize("name", [x for x in KEYS if x != "lerobot-v3.0"])
def test_an_episode_that_is_left_out_needs_nothing(name: str, tmp_path: Path) -> None:
    path = copied(name, tmp_path)
    spoil(path)
    with pytest.raises(DatasetError) as caught:
        open_dataset(mapped(path))
    one_line(caught, "episode", "leave the episode out (`episodes` in a mapping)")
    data = open_dataset(mapped(path, "episodes = [0, 2]"))
    assert data.episodes == 2 and data.seeds == (0, 2)
    source = open_source(path)
    assert any("Leave the episode out" in line for line in survey(source).odd)


def test_the_first_file_may_be_the_one_that_is_left_out(tmp_path: Path) -> None:
    path = copied("robotwin-raw", tmp_path)
    sorted(path.rglob("*.hdf5"))[0].write_bytes(b"")
    assert open_dataset(mapped(path, "episodes = [1, 2]")).episodes == 2


def test_rates_of_episodes_that_are_left_out_do_not_count(tmp_path: Path) -> None:
    path = copied("robotwin-native", tmp_path)
    with h5py.File(path / "data" / "episode_0000001.hdf5", "r+") as file:
        file["additional_info/frequency"][()] = 30
    with pytest.raises(DatasetError, match="15 and 30 Hz"):
        open_dataset(mapped(path))
    assert open_dataset(mapped(path, "episodes = [0, 2]")).control_hz == 15.0


@pytest.mark.parametrize("name", ["lerobot-v3.0", "lerobot-v2.1"])
def test_a_camera_that_no_field_names_needs_no_files(name: str, tmp_path: Path) -> None:
    path = copied(name, tmp_path)
    shutil.rmtree(path / "videos")
    assert open_dataset(mapped(path)).episodes == 3
    with pytest.raises(DatasetError) as caught:
        open_dataset(path)
    one_line(caught, "episode 0", "observation.images.front", "missing")


@pytest.mark.parametrize("name", ["lerobot-v3.0", "robotwin-raw"])
def test_files_of_a_mac_are_no_episodes(name: str, tmp_path: Path) -> None:
    path = copied(name, tmp_path)
    for file in [x for x in path.rglob("*") if x.is_file()]:
        file.with_name(f"._{file.name}").write_bytes(b"\0\5\x16\7Mac OS X")
    assert open_dataset(mapped(path)).episodes == 3


def moved(path: Path, episode: int, to: str) -> None:
    """The rows of an episode of the v3.0 fixture go to a file that meta/ does not state."""
    file = next((path / "data").rglob("*.parquet"))
    table = pq.read_table(file)
    here = pc.equal(table["episode_index"], episode)
    pq.write_table(table.filter(here), file.with_name(to))
    pq.write_table(table.filter(pc.invert(here)), file)


def test_rows_in_another_file_than_stated_are_found_and_said(tmp_path: Path) -> None:
    (tmp_path / "whole").mkdir()
    want = open_dataset(mapped(copied("lerobot-v3.0", tmp_path / "whole")))
    path = copied("lerobot-v3.0", tmp_path)
    moved(path, 1, "file-007.parquet")
    data = open_dataset(mapped(path))
    assert np.array_equal(data.action, want.action)
    (line,) = data.odd
    assert "episode 1" in line and "file-007.parquet" in line and want.odd == ()


def test_a_file_with_another_name_than_stated_is_found(tmp_path: Path) -> None:
    path = copied("lerobot-v3.0", tmp_path)
    file = next((path / "data").rglob("*.parquet"))
    file.rename(file.with_name("file-003.parquet"))
    (line,) = open_dataset(mapped(path)).odd
    assert "3 episodes" in line and "file-003.parquet" in line


def test_rows_in_two_files_are_not_chosen_between(tmp_path: Path) -> None:
    path = copied("lerobot-v3.0", tmp_path)
    moved(path, 1, "file-007.parquet")
    file = next((path / "data").rglob("file-007.parquet"))
    shutil.copy(file, file.with_name("file-008.parquet"))
    with pytest.raises(DatasetError) as caught:
        open_dataset(mapped(path))
    one_line(caught, "rows")


def with_nan(path: Path, frames: list[list[int]]) -> Path:
    """NaN in the actions of a DP3 fixture, at these frames of its episodes."""
    root: Any = zarr.open_group(str(path), mode="r+")
    values, ends = root["data/action"][:], root["meta/episode_ends"][:]
    for start, rows in zip([0, *ends], frames, strict=False):
        values[start + np.array(rows, int)] = np.nan
    root["data/action"][:] = values
    return path


@pytest.mark.parametrize(
    ("frames", "which", "drop"),
    [
        ([[13], [8], [10]], "last frame of all 3", [0, 1]),
        ([[0], [0], [0]], "first frame of all 3", [1, 0]),
        ([[0, 1, 13], [8], []], "first 2 frames and last frame of 2 of 3", [2, 1]),
    ],
)
def test_nan_at_the_ends_of_episodes_is_offered_to_be_dropped(
    frames: list[list[int]], which: str, drop: list[int], tmp_path: Path
) -> None:
    path = with_nan(copied("dp3.zarr", tmp_path), frames)
    with pytest.raises(DatasetError) as caught:
        open_dataset(path)
    one_line(caught, "'action'", which, f"`drop_frames = {drop}` in a mapping")
    assert any(f"drop_frames = {drop}" in line for line in survey(open_source(path)).odd)
    data = open_dataset(mapped(path, f"drop_frames = {drop}"))
    assert np.isfinite(data.action).all()
    lengths = np.diff(data.episode_ends, prepend=0)
    assert lengths.tolist() == [n - sum(drop) for n in open_source(path).lengths]
    values = open_source(path).read("state", 1)
    assert np.array_equal(data.fields["state"][data.episode(1)], values[drop[0] : 9 - drop[1]])


def test_nan_amid_every_episode_is_not_said_to_be_left_out(tmp_path: Path) -> None:
    path = with_nan(copied("dp3.zarr", tmp_path), [[4], [5], [6]])
    with pytest.raises(DatasetError) as caught:
        open_dataset(path)
    one_line(caught, "all 3 episodes", "would leave none")


def test_what_is_dropped_stays_in_the_mapping_and_changes_the_hash(tmp_path: Path) -> None:
    path = copied("dp3.zarr", tmp_path)
    plain = open_dataset(mapped(path)).sha256
    dropped = read_mapping(mapped(path, "drop_frames = [0, 1]"))
    text = mapping_text(dropped, tmp_path / "n.toml")
    (tmp_path / "n.toml").write_text(text)
    assert read_mapping(tmp_path / "n.toml").drop_frames == (0, 1)
    assert open_dataset(tmp_path / "n.toml").sha256 != plain


@pytest.mark.parametrize("drop", ["[1]", "[0, -1]", "[0.5, 1]", '["a", 1]', "[9, 0]"])
def test_frames_to_drop_that_are_none(drop: str, tmp_path: Path) -> None:
    with pytest.raises(DatasetError) as caught:
        open_dataset(mapped(copied("dp3.zarr", tmp_path), f"drop_frames = {drop}"))
    one_line(caught, "drop_frames")


def test_bad_frames_amid_good_ones_are_no_edge() -> None:
    rows = np.array([False, True, False])
    assert edge_frames([rows]) is None and edge_frames([np.ones(3, bool)]) is None
    assert edge_frames([~rows]) == (1, 1)
