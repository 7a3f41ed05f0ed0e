"""What is given for demonstrations and is none, or holds no numbers, says so in one line."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import zarr

from ofp_edge.data.layouts import open_source
from ofp_edge.data.open import open_dataset
from ofp_edge.errors import DatasetError
from tests.test_contents import POINTER

FIXTURES = Path(__file__).parents[1] / "fixtures" / "datasets"


def refused(path: Path) -> str:
    with pytest.raises(DatasetError) as caught:
        open_dataset(path)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.fixture
def store(tmp_path: Path) -> Path:
    path = tmp_path / "set.zarr"
    root = zarr.open_group(path, mode="w", zarr_format=2)
    root.create_array("data/state", data=np.random.rand(8, 3).astype(np.float32))
    root.create_array("data/action", data=np.random.rand(8, 2).astype(np.float32))
    root.create_array("meta/episode_ends", data=np.array([4, 8]))
    return path


@pytest.fixture
def hdf5(tmp_path: Path) -> Path:
    path = tmp_path / "low.hdf5"
    with h5py.File(path, "w") as file:
        for demo in ("data/demo_0", "data/demo_1"):
            file[f"{demo}/actions"] = np.random.rand(5, 2).astype(np.float32)
            file[f"{demo}/obs/state"] = np.random.rand(5, 3).astype(np.float32)
    return path


def test_a_packed_set_says_how_to_unpack_it(store: Path, tmp_path: Path) -> None:
    packed = Path(shutil.make_archive(str(tmp_path / "a"), "zip", store))
    for name in ("b.zarr.zip", "b.zip"):
        shutil.copy(packed, tmp_path / name)
        folder = tmp_path / "b.zarr"
        assert f"unzip {tmp_path / name} -d {folder}." in refused(tmp_path / name)
    assert "tar xzf" in refused(Path(shutil.make_archive(str(tmp_path / "a"), "gztar", store)))
    assert "tar xf" in refused(Path(shutil.make_archive(str(tmp_path / "a"), "tar", store)))


@pytest.mark.parametrize("name", ["low.data", "low", "low.he5", "low.tar"])
def test_hdf5_is_told_by_its_bytes_not_by_its_name(name: str, hdf5: Path, tmp_path: Path) -> None:
    shutil.copy(hdf5, tmp_path / name)
    assert open_source(tmp_path / name).layout == "robomimic"


def test_hdf5_behind_bytes_of_its_users_is_still_read(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "low.h5", "w", userblock_size=512) as file:
        file["data/demo_0/actions"] = np.random.rand(5, 2).astype(np.float32)
        file["data/demo_0/obs/state"] = np.random.rand(5, 3).astype(np.float32)
    with (tmp_path / "low.h5").open("r+b") as raw:
        raw.write(b"made by a lab")
    assert open_source(tmp_path / "low.h5").lengths == (5,)


@pytest.mark.parametrize(
    ("name", "data", "says"),
    [("low.hdf5", POINTER, "git lfs pull"), ("low.hdf5", b"<html>", "a web page"),
     ("low.hdf5", b"", "is empty"), ("a.incomplete", b"\x89HDF\r\n\x1a\n", "did not end"),
     ("a.parquet", b"PAR1....", "give the dataset's folder")],
)  # fmt: skip
def test_another_file_says_what_it_is(name: str, data: bytes, says: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(data)
    assert says in refused(tmp_path / name)


@pytest.mark.parametrize("end", [".parquet", ".mp4", "info.json"])
def test_a_pointer_inside_a_lerobot_set_is_named(end: str, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(FIXTURES / "lerobot-v3.0", tmp_path / "set"))
    inside = [x for x in folder.rglob(f"*{end}") if x.is_file() and "episodes" not in str(x)]
    for path in inside:
        path.write_bytes(POINTER)
    says = refused(folder)
    assert "git lfs pull" in says and any(str(x) in says for x in inside)


@pytest.mark.parametrize(
    ("kind", "says"),
    [("|O", "Objects are pickled"), ("<U10", "These are texts"), ("|S5", "These are texts"),
     ([["x", "<f4"], ["y", "<f4"]], "an array for each of its columns"),
     ("<M8[ns]", "as float32 or as integers"), ("<c8", "as float32 or as integers")],
)  # fmt: skip
def test_an_array_of_other_things_than_numbers_says_what_to_do(
    kind: Any, says: str, store: Path
) -> None:
    path = store / "data/state/.zarray"
    path.write_text(json.dumps({**json.loads(path.read_text()), "dtype": kind}))
    line = refused(store)
    assert says in line and f"mv {store}/data/state ELSEWHERE" in line


@pytest.mark.parametrize("kind", ["string", {"name": "structured", "configuration": {}}])
def test_format_3_says_it_as_well(kind: Any, tmp_path: Path) -> None:
    root = zarr.open_group(tmp_path / "s.zarr", mode="w", zarr_format=3)
    root.create_array("data/action", data=np.zeros((4, 2), np.float32))
    root.create_array("meta/episode_ends", data=np.array([4]))
    path = tmp_path / "s.zarr/data/action/zarr.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "data_type": kind}))
    assert "ELSEWHERE" in refused(tmp_path / "s.zarr")


def scalar(file: Any, name: str) -> None:
    file[name] = np.float32(3)


def table(file: Any, name: str) -> None:
    file[name] = np.zeros(5, [("x", "f4"), ("y", "f4")])


def texts(file: Any, name: str) -> None:
    file.create_dataset(name, data=["a"] * 5, dtype=h5py.string_dtype())


def empty(file: Any, name: str) -> None:
    file.create_dataset(name, data=h5py.Empty("f4"))


@pytest.mark.parametrize(
    ("make", "says"),
    [(scalar, "a single value (float32): give it a row a frame"),
     (table, "a table of columns ['x', 'y']"), (texts, "texts, or lists of a length of their own"),
     (empty, "an array without values"), (lambda f, n: f.create_group(n), "a group")],
)  # fmt: skip
def test_an_array_of_hdf5_that_has_no_rows_of_numbers_says_what_it_has(
    make: Callable[[Any, str], None], says: str, hdf5: Path
) -> None:
    with h5py.File(hdf5, "a") as file:
        del file["data/demo_0/actions"]
        make(file, "data/demo_0/actions")
    assert f"demo_0/actions: expected rows of numbers, got {says}" in refused(hdf5)


@pytest.mark.parametrize("make", [scalar, table, texts, empty])
def test_beside_the_fields_such_arrays_are_in_nobodys_way(
    make: Callable[[Any, str], None], hdf5: Path
) -> None:
    with h5py.File(hdf5, "a") as file:
        make(file, "data/demo_0/obs/more")
    assert set(open_source(hdf5).keys) == {"actions", "obs/state"}


def test_an_episode_of_no_frames_is_said_as_one(hdf5: Path, store: Path) -> None:
    with h5py.File(hdf5, "a") as file:
        del file["data/demo_0/actions"]
        file["data/demo_0/actions"] = np.zeros((0, 2), np.float32)
    assert "0 frames, expected at least 1" in refused(hdf5)
    zarr.open_array(store / "meta/episode_ends", mode="r+")[:] = [0, 8]
    assert "episode 0: 0 frames, expected at least 1" in refused(store)


@pytest.mark.parametrize("place", ["data/rate", "meta/episode_ends"])
def test_a_single_number_in_a_store_is_one_line(place: str, store: Path) -> None:
    shutil.rmtree(store / place, ignore_errors=True)
    root = zarr.open_group(store, mode="r+", zarr_format=2)
    root.create_array(place, shape=(), dtype="int64")
    assert place in refused(store)


def test_where_a_group_should_be_an_array_is_one_line(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "x.hdf5", "w") as file:
        file["data"] = np.float32(1)
    assert "data: expected a group, got an array" in refused(tmp_path / "x.hdf5")
