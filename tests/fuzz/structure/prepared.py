"""The sets that are changed: fixtures of every layout, with the labels that the fixtures lack."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np

from tests.fuzz.structure.editor import Editor
from tests.fuzz.structure.hdf5_sets import Robomimic, RoboTwin
from tests.fuzz.structure.lerobot_set import LeRobotSet
from tests.fuzz.structure.zarr_set import ZarrSet, write_array

_FIXTURES = Path(__file__).parents[2] / "fixtures" / "datasets"
LAYOUTS = {
    "ours": ("points.zarr", "rgb.zarr"),
    "zarr": (
        "diffusion-policy.zarr", "diffusion-policy-timed.zarr", "diffusion-policy-jpeg2k.zarr",
        "dp3.zarr",
    ),
    "lerobot-v3": ("lerobot-v3.0",),
    "lerobot-v2": ("lerobot-v2.1",),
    "robomimic": ("robomimic.hdf5",),
    "robotwin": ("robotwin-raw", "robotwin-native"),
}  # fmt: skip


def opened(path: Path) -> Editor:
    """The editor of a set, by its name."""
    if path.suffix == ".zarr":
        return ZarrSet(path)
    if path.name.startswith("lerobot"):
        return LeRobotSet(path)
    return Robomimic(path) if path.name.startswith("robomimic") else RoboTwin(path)


def prepared(name: str, folder: Path) -> Path:
    """Write a healthy set into a folder."""
    path = folder / name
    if name in LAYOUTS["ours"]:
        from tests.synthetic import write_synthetic_dataset

        return write_synthetic_dataset(path, obs=name.split(".")[0], episodes=3, length=12)
    source = _FIXTURES / name.replace("-timed", "")
    if source.is_file():
        return Path(shutil.copy(source, path))
    shutil.copytree(source, path)
    if name.endswith("-timed.zarr"):
        editor = ZarrSet(path)
        stamps = np.concatenate([np.arange(x) / 10 for x in editor.lengths])
        write_array(path / "data" / "timestamp", stamps)
    elif name.startswith("lerobot"):
        _labelled(LeRobotSet(path))
    return path


def _labelled(editor: LeRobotSet) -> None:
    """With names of dimensions, and a success at each episode's end."""
    import pyarrow as pa

    features = editor.info["features"]
    for key in editor.numbers:
        features[key]["names"] = [f"m{x}.pos" for x in range(features[key]["shape"][0])]
    features["next.success"] = {"dtype": "bool", "shape": [1], "names": None}
    for number, table in enumerate(editor.tables):
        frames = np.asarray(table["frame_index"])
        ends = np.append(frames[1:] == 0, True)
        editor.tables[number] = table.append_column("next.success", pa.array(ends))
        editor._changed.add(number)
    editor.save()
