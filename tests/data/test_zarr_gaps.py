"""What Zarr says nothing of: chunks that are gone, metadata that is older than the data."""

from __future__ import annotations

import shutil
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr

from ofp_edge.data.convert import convert
from ofp_edge.data.layouts import open_source
from ofp_edge.data.open import open_dataset
from ofp_edge.data.reading import open_reading
from ofp_edge.data.survey import survey
from ofp_edge.errors import DatasetError
from tests.data.foreign import FIXTURES, LAYOUTS, copied, one_line

ROWS = np.arange(12, dtype=np.float32)[:, None]
MAPPING = """\
source = "d.zarr"
control_hz = 10.0
{more}
[[observation]]
name = "state"
key = "state"
kind = "state"
unit = "m"
frame = "base"
[[action]]
name = "move"
key = "action"
kind = "absolute"
unit = "m"
frame = "base"
"""


def buffer(path: Path, *, zarr_format: Any = 2, **arrays: np.ndarray) -> Path:
    """12 frames in 2 episodes of 6, in chunks of 3; chunks of zeros are left out, as Zarr does."""
    root: Any = zarr.open_group(str(path), mode="w", zarr_format=zarr_format)
    for name, values in {"state": ROWS + 1, "action": ROWS + 1, **arrays}.items():
        at = f"data/{name}"
        made = root.create_array(
            at, shape=values.shape, chunks=(3, *values.shape[1:]), dtype=values.dtype
        )
        made[:] = values
    root.create_array("meta/episode_ends", data=np.array([6, 12]))
    return path


def lose(path: Path, array: str, number: int) -> None:
    """The array's chunk `number` goes."""
    folder = path / "data" / array
    chunks = sorted(
        x for x in folder.rglob("*") if x.is_file() and x.name[0] != "." and x.suffix != ".json"
    )
    chunks[number].unlink()


def mapped(folder: Path, more: str) -> Path:
    (folder / "m.toml").write_text(MAPPING.format(more=more))
    return folder / "m.toml"


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_a_lost_chunk_is_said_with_what_speaks_against_zeros(
    tmp_path: Path, zarr_format: int
) -> None:
    path = buffer(tmp_path / "d.zarr", zarr_format=zarr_format, action=ROWS + 5)
    lose(path, "action", 1)
    (line,) = open_dataset(path).odd
    for words in (
        "data/action",
        "3 of 12 frames",
        "episode 0)",
        "read as 0",
        "between 5 and 16",
        "lost",
    ):
        assert words in line
    assert line in survey(open_source(path)).odd


def test_a_lost_chunk_between_values_of_both_signs_is_seen_by_its_leap(tmp_path: Path) -> None:
    wave = 3 * np.cos(ROWS / 4)
    path = buffer(tmp_path / "d.zarr", action=wave.astype(np.float32))
    lose(path, "action", 2)  # an episode's first: all that is beside it is its last
    (line,) = open_dataset(path).odd
    assert "leaps by" in line and "episode 1)" in line


def test_a_chunk_of_zeros_that_was_left_out_opens_and_is_said(tmp_path: Path) -> None:
    closed = (ROWS % 6 >= 3).astype(np.float32)  # 0 in the first chunk of each episode, then 1
    path = buffer(tmp_path / "d.zarr", action=closed)
    assert not (path / "data/action/0.0").exists() and not (path / "data/action/2.0").exists()
    data = open_dataset(path)
    assert np.array_equal(data.action, closed)
    (line,) = data.odd
    assert "6 of 12 frames" in line and "a lost one looks the same" in line


def test_zeros_amid_zeros_are_called_what_they_may_be(tmp_path: Path) -> None:
    still = np.zeros((12, 1), np.float32)
    still[3:6] = ROWS[:3] / 10
    path = buffer(tmp_path / "d.zarr", action=still)
    (line,) = open_dataset(path).odd
    assert "a lost one looks the same" in line and "lost, it seems" not in line


def test_another_fill_value_is_named(tmp_path: Path) -> None:
    path = buffer(tmp_path / "d.zarr")
    root: Any = zarr.open_group(str(path), mode="r+")
    del root["data/action"]
    root.create_array("data/action", shape=(12, 1), chunks=(3, 1), dtype="f4", fill_value=7.5)
    root["data/action"][3:] = ROWS[3:] / 10
    (line,) = open_dataset(path).odd
    assert "read as 7.5" in line


def test_convert_carries_on_what_was_odd(tmp_path: Path) -> None:
    path = buffer(tmp_path / "d.zarr")
    lose(path, "action", 1)
    done = convert(path, tmp_path / "out.zarr", force=False)
    (line,) = done.reading.odd
    assert open_dataset(tmp_path / "out.zarr").odd == (line,)
    assert line in survey(open_source(tmp_path / "out.zarr")).odd
    assert open_reading(tmp_path / "out.zarr").odd == (line,)


def test_only_what_the_mapping_reads_is_odd(tmp_path: Path) -> None:
    path = buffer(tmp_path / "d.zarr", unread=ROWS + 1)
    lose(path, "action", 1)
    lose(path, "unread", 0)
    assert len(open_dataset(mapped(tmp_path, "")).odd) == 1
    assert open_dataset(mapped(tmp_path, "episodes = [1]")).odd == ()


def test_a_black_chunk_of_an_episode_that_is_left_out_harms_nobody(tmp_path: Path) -> None:
    images = np.full((12, 8, 8, 3), 9, np.uint8)
    path = buffer(tmp_path / "d.zarr", img=images)
    lose(path, "img", 0)
    with pytest.raises(DatasetError) as caught:
        open_dataset(path)
    one_line(caught, "episode 0", "data/img", "1 of its 4 chunks", "leave")
    image = '[[observation]]\nname = "rgb"\nkey = "img"\nkind = "rgb"\nunit = "1"\nframe = "c"\n'
    more = f'episodes = [1]\n{image}camera = "c"\nshape = [3, 8, 8]\n'
    assert open_dataset(mapped(tmp_path, more)).fields["rgb"].shape == (6, 3, 8, 8)


def test_episode_ends_without_their_chunk_are_refused(tmp_path: Path) -> None:
    path = buffer(tmp_path / "d.zarr")
    (path / "meta/episode_ends/0").unlink()
    with pytest.raises(DatasetError) as caught:
        open_dataset(path)
    one_line(caught, "meta/episode_ends", "missing", "Copy")


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_what_was_appended_after_the_metadata_was_consolidated_is_read(
    tmp_path: Path, zarr_format: int
) -> None:
    path = buffer(tmp_path / "d.zarr", zarr_format=zarr_format)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of format 3, that consolidating is no part of it yet
        zarr.consolidate_metadata(str(path))
    root: Any = zarr.open_group(str(path), mode="r+", use_consolidated=False)
    for name in ("data/state", "data/action"):
        root[name].append(np.full((3, 1), 5, np.float32))
    root["meta/episode_ends"].append(np.array([15]))
    root.create_array("data/gripper", data=np.ones((15, 1), np.float32))
    data = open_dataset(path)
    assert data.episodes == 3 and data.action[12:].tolist() == [[5.0]] * 3
    assert "gripper" in data.fields and data.odd == ()


def test_files_of_a_mac_are_no_part_of_a_buffer(tmp_path: Path) -> None:
    path = buffer(tmp_path / "d.zarr")
    want = open_dataset(path).action
    for name in ("._data", "data/._action", "data/action/._0.0", "data/action/._.zarray"):
        (path / name).write_bytes(b"\0\5\x16\7Mac OS X")
    shutil.copy(path / "._data", path / "data" / ".DS_Store")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        data = open_dataset(path)
    assert np.array_equal(data.action, want) and data.odd == ()


@pytest.mark.parametrize("name", [x for x in LAYOUTS if x.endswith(".zarr")])
def test_nothing_is_missing_in_a_healthy_buffer(name: str, tmp_path: Path) -> None:
    assert open_reading(FIXTURES / name).odd == ()
    assert open_reading(copied(name, tmp_path)).odd == ()
