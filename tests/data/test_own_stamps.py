"""HDF5 and Zarr: images with stamps of their own are held against rows, labels are read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import zarr

from ofp_edge.data.layouts import open_source
from ofp_edge.data.open import open_dataset
from ofp_edge.data.survey import survey
from ofp_edge.data.times import odd_stamps
from tests.data.foreign import copied


def stamped(path: Path, name: str, late_s: float, clock_s: float = 0.0) -> Path:
    """The robomimic fixture with times, and images that came late from frame 3 of demo_1 on."""
    with h5py.File(path, "r+") as file:
        for demo, group in file["data"].items():
            times = np.arange(len(group["actions"])) / 20
            group["timestamp"] = times
            group[name] = times + clock_s + late_s * (np.arange(len(times)) > 2) * (demo[-1] == "1")
    return path


@pytest.mark.parametrize("name", ["obs/agentview_timestamp", "timestamps/agentview_image"])
@pytest.mark.parametrize("clock_s", [0.0, 1.7e9])
def test_images_half_a_period_from_their_rows_are_said(
    name: str, clock_s: float, tmp_path: Path
) -> None:
    path = stamped(copied("robomimic.hdf5", tmp_path), name, 0.05, clock_s)
    source = open_source(path)
    (line,) = odd_stamps(source, list(source.keys), [0, 1, 2], 20)
    assert name in line and "50 ms" in line and "half a period is 25 ms" in line
    assert "episode 1" in line and line in survey(source).odd and line in open_dataset(path).odd


def test_images_that_are_near_their_rows_are_not(tmp_path: Path) -> None:
    path = stamped(copied("robomimic.hdf5", tmp_path), "obs/agentview_timestamp", 0.02)
    source = open_source(path)
    assert odd_stamps(source, list(source.keys), [0, 1, 2], 20) == ()


def test_zarr_s_images_are_held_the_same_way(tmp_path: Path) -> None:
    path = copied("diffusion-policy.zarr", tmp_path)
    root: Any = zarr.open_group(str(path), mode="r+")
    times = np.arange(34) / 10
    for name, values in (("timestamp", times), ("img_timestamp", times + 0.1)):
        root["data"].create_array(name, data=values.astype(np.float64))
    (line,) = odd_stamps(open_source(path), ["img", "state"], [0, 1, 2], 10)
    assert "img_timestamp" in line and "100 ms" in line


def test_robomimic_s_robot_and_successes_are_read(tmp_path: Path) -> None:
    path = copied("robomimic.hdf5", tmp_path)
    with h5py.File(path, "r+") as file:
        about = json.loads(file["data"].attrs["env_args"])
        about["env_kwargs"]["robots"] = ["Panda", "Sawyer"]
        file["data"].attrs["env_args"] = json.dumps(about)
        file["data/demo_0"].attrs["success"] = True
        file["data/demo_1"].attrs["success"] = np.int64(0)
    source = open_source(path)
    assert source.robot == "Panda, Sawyer" and source.successes == (True, False, None)
    plain = open_source(copied("robomimic.hdf5", tmp_path))
    assert plain.robot is None and plain.successes == ()
