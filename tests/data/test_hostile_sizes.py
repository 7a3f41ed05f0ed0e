"""Datasets whose words ask for more memory than there is, or would steer a terminal."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from ofp_edge.cli.data_info import info
from ofp_edge.cli.output import Output
from ofp_edge.data.layouts import open_source
from ofp_edge.data.open import open_dataset
from ofp_edge.errors import DatasetError, OfpError
from tests.data.foreign import copied
from tests.synthetic import write_synthetic_dataset


@pytest.fixture
def small_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """A computer with 64 MiB left."""
    monkeypatch.setattr("ofp_edge.outside.memory_left", lambda: 64 << 20)


def attributes(path: Path, change: Callable[[Any], Any]) -> Path:
    value = json.loads((path / ".zattrs").read_text())
    change(value["ofp_edge"])
    (path / ".zattrs").write_text(json.dumps(value))
    return path


@pytest.mark.parametrize(("obs", "shape"), [("points", [3, 10**7]), ("rgb", [3, 9000, 9000])])
def test_fields_larger_than_memory_are_refused_before_they_are_made(
    obs: str, shape: list[int], tmp_path: Path, small_memory: None
) -> None:
    path = write_synthetic_dataset(tmp_path / "d.zarr", obs=obs, episodes=3, length=8)

    def grow(ours: Any) -> None:
        next(x for x in ours["observations"] if x["kind"] == obs)["shape"] = shape

    with pytest.raises(DatasetError, match="of memory needed"):
        open_dataset(attributes(path, grow))


@pytest.mark.parametrize(
    ("name", "value"),
    [("seeds", [[], 1, 2]), ("seeds", [True] * 3), ("success", ["yes"] * 3),
     ("success", [None] * 3), ("task", {"x": "y" * 70_000}), ("schema_version", "\x1b[2J" * 9000)],
)  # fmt: skip
def test_attributes_of_other_types_are_one_line(name: str, value: Any, tmp_path: Path) -> None:
    path = write_synthetic_dataset(tmp_path / "d.zarr", obs="state", episodes=3, length=8)
    with pytest.raises(DatasetError) as caught:
        open_dataset(attributes(path, lambda ours: ours.update({name: value})))
    assert len(str(caught.value)) < 400 and str(caught.value).isprintable()


def test_an_array_of_nothing_but_its_shape_is_not_read_into_memory(
    tmp_path: Path, small_memory: None
) -> None:
    """HDF5 gives what was never written as its fill value, without end."""
    path = copied("robomimic.hdf5", tmp_path)
    with h5py.File(path, "r+") as file:
        for demo in file["data"].values():
            rows = len(demo["actions"])
            demo["obs"].create_dataset("more", (rows, 1 << 24), "f4", chunks=(1, 1 << 12))
    source = open_source(path)
    with pytest.raises(DatasetError, match="of memory needed"):
        source.read("obs/more", 0)


def test_names_of_a_dataset_are_no_markup_and_steer_no_terminal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = copied("robomimic.hdf5", tmp_path)
    with h5py.File(path, "r+") as file:
        for demo in file["data"].values():
            demo["obs"]["[/x]\x1b[2J"] = np.zeros((len(demo["actions"]), 2), np.float32)
        settings = json.loads(file["data"].attrs["env_args"])
        file["data"].attrs["env_args"] = json.dumps({**settings, "env_name": "[/bold]\x1b[2J"})
    info(Output(False), path)
    said = "".join(capsys.readouterr())
    assert "\x1b" not in said and "[/x]\ufffd[2J" in said and "[/bold]\ufffd[2J" in said


def test_an_error_is_one_line_that_steers_no_terminal_whatever_stands_in_it() -> None:
    line = str(OfpError("a\x1b[2J\nb\u202e" + "x" * 70_000))
    assert line.startswith("a\ufffd[2J b\ufffdx") and len(line) < 2000 and line.isprintable()
