"""The verdict on a dataset is what `train` does with it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import zarr

from ofp_edge.data.judge import judge
from ofp_edge.data.page import render
from ofp_edge.data.page.names import text
from ofp_edge.errors import OfpError
from ofp_edge.train.plan import Request, make_plan
from tests.data.foreign import FIXTURES, LAYOUTS, copied
from tests.data.made import joined, path, switch
from tests.data.test_guess_actions import file_of
from tests.data.test_labels import change
from tests.data.test_left_out import KEYS, mapped, spoil
from tests.synthetic import write_raw, write_synthetic_dataset


def trained(dataset: Path, output: Path) -> str | None:
    """Why `train` refuses a dataset before its first step; None if it doesn't."""
    try:
        make_plan(Request(dataset, output, preset="tiny", steps=1))
    except OfpError as cause:
        return " ".join(str(cause).split())
    return None


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_fixture_that_trains_is_not_refused(name: str, tmp_path: Path) -> None:
    assert judge(FIXTURES / name).refused == trained(FIXTURES / name, tmp_path / "p")


def nan_in_the_last_action(folder: Path) -> Path:
    made = copied("dp3.zarr", folder)
    values: Any = zarr.open_group(str(made), mode="r+")["data/action"]
    values[33, 0] = np.nan
    return made


def a_damaged_picture(folder: Path) -> Path:
    made = copied("diffusion-policy.zarr", folder)
    chunk = next(x for x in (made / "data").rglob("0.0.0.0"))
    chunk.write_bytes(b"nothing")
    return made


def disagreeing(folder: Path) -> Path:
    return file_of(folder, joined(path(6, away=1.5), switch(-1, 1)))


def no_action(folder: Path) -> Path:
    arrays = {"state": np.random.default_rng(0).normal(size=(24, 3)).astype(np.float32)}
    write_raw(folder / "d.zarr", {}, arrays, np.array([12, 24], np.int64))
    (folder / "d.zarr" / ".zattrs").unlink()
    return folder / "d.zarr"


def one_episode(folder: Path) -> Path:
    return write_synthetic_dataset(folder / "d.zarr", obs="state", episodes=1)


def ours(folder: Path) -> Path:
    return write_synthetic_dataset(folder / "d.zarr", obs="points", episodes=3, length=8)


def two_tasks(folder: Path) -> Path:
    made = write_synthetic_dataset(folder / "d.zarr", obs="state", episodes=3)
    change(made, tasks=["open", "close", "open"], task=None)
    return made


def nothing_in_the_box(folder: Path) -> Path:
    made = ours(folder)
    group: Any = zarr.open_group(str(made), mode="r+")["data"]
    name = next(x for x in group.array_keys() if x.startswith(("depth_", "points_")))
    group[name][:] = 0
    return made


def no_videos(folder: Path) -> Path:
    made = copied("lerobot-v3.0", folder)
    shutil.rmtree(made / "videos")
    return made


def no_videos_wanted(folder: Path) -> Path:
    return mapped(no_videos(folder))


def spoilt(folder: Path) -> Path:
    made = copied("robotwin-raw", folder)
    spoil(made)
    return mapped(made)


def spoilt_and_left_out(folder: Path) -> Path:
    made = copied("robotwin-raw", folder)
    spoil(made)
    return mapped(made, "episodes = [0, 2]")


def a_wrong_rate(folder: Path) -> Path:
    made = mapped(copied("lerobot-v3.0", folder))
    made.write_text(made.read_text().replace("control_hz = 20.0", "control_hz = 30.0"))
    return made


def a_wrong_key(folder: Path) -> Path:
    made = mapped(copied("dp3.zarr", folder))
    made.write_text(made.read_text().replace('key = "state"', 'key = "stat"'))
    return made


def an_episode_that_is_not_there(folder: Path) -> Path:
    return mapped(copied("dp3.zarr", folder), "episodes = [0, 9]")


def a_link_out(folder: Path) -> Path:
    made = copied("lerobot-v2.1", folder)
    (folder / "elsewhere").write_text("x")
    (made / "meta" / "note").symlink_to(folder / "elsewhere")
    return made


def a_question(folder: Path) -> Path:
    made = mapped(copied("dp3.zarr", folder))
    made.write_text(made.read_text().replace('"absolute"', '"?"'))
    return made


def two_rates(folder: Path) -> Path:
    made = copied("robotwin-native", folder)
    with h5py.File(made / "data" / "episode_0000001.hdf5", "r+") as file:
        file["additional_info/frequency"][()] = 30
    return made


SETS = [
    nan_in_the_last_action, a_damaged_picture, disagreeing, no_action, one_episode, ours, two_tasks,
    nothing_in_the_box, no_videos, no_videos_wanted, spoilt, spoilt_and_left_out, a_wrong_rate,
    a_wrong_key, an_episode_that_is_not_there, a_link_out, a_question, two_rates,
]  # fmt: skip
SOUND = {ours, no_videos_wanted, spoilt_and_left_out}


@pytest.mark.parametrize("make", SETS, ids=lambda x: x.__name__)
def test_a_verdict_is_what_train_says(make: Callable[[Path], Path], tmp_path: Path) -> None:
    dataset = make(tmp_path)
    found = judge(dataset)
    assert found.refused == trained(dataset, tmp_path / "p")
    assert (found.refused is None) is (make in SOUND)
    assert (found.verdict == "refused") is (make not in SOUND)
    page = render(found, tmp_path / "page.html")
    assert f"<p class='verdict {found.verdict}'>{text(found.said)}</p>" in page


def test_an_instruction_is_what_no_network_takes(tmp_path: Path) -> None:
    made = write_synthetic_dataset(tmp_path / "d.zarr", obs="state", episodes=3)
    attributes: Any = zarr.open_group(str(made), mode="r+").attrs
    about = dict(attributes["ofp_edge"])
    told = {"name": "told", "kind": "text", "shape": [], "texts": ["open", "close"]}
    about["observations"] = [*about["observations"], told]
    about["instructions"] = {"told": ["open", "close", "open"]}
    attributes["ofp_edge"] = about
    assert trained(made, tmp_path / "p") is not None
    assert judge(made).verdict == "refused"


def test_a_picture_that_is_damaged_late_is_seen_when_all_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ofp_edge.data.source.BLOCK_BYTES", 1)  # a chunk a block
    rng, made = np.random.default_rng(0), tmp_path / "d.zarr"
    numbers = {x: rng.normal(size=(80, 3)).astype(np.float32) for x in ("state", "action")}
    write_raw(made, {}, numbers, np.array([40, 80], np.int64))
    (made / ".zattrs").unlink()
    images = rng.integers(0, 255, (80, 24, 24, 3), np.uint8)
    group: Any = zarr.open_group(str(made), mode="r+")["data"]
    group.create_array("img", data=images, chunks=(20, 24, 24, 3))
    (made / "data" / "img" / "3.0.0.0").write_bytes(b"nothing")
    assert judge(made).refused is None
    why = trained(made, tmp_path / "p")
    assert why is not None and judge(made, every=True).refused == why


@pytest.mark.parametrize("name", list(KEYS))
def test_what_a_mapping_leaves_out_is_not_odd(name: str, tmp_path: Path) -> None:
    made = copied(name, tmp_path)
    if name == "lerobot-v3.0":
        shutil.rmtree(made / "videos")
        found = judge(mapped(made))
    else:
        spoil(made)
        found = judge(mapped(made, "episodes = [0, 2]"))
        assert found.episodes == (0, 2)
    assert not [x for x in found.odd if "eave the episode out" in x or "control_hz" in x]
    assert found.refused is None and not found.survey.unread


def test_frames_that_a_mapping_drops_are_not_odd(tmp_path: Path) -> None:
    made = copied("dp3.zarr", tmp_path)
    root: Any = zarr.open_group(str(made), mode="r+")
    for end in root["meta/episode_ends"][:]:
        root["data/action"][int(end) - 1] = np.nan
    refused = judge(mapped(made))
    assert refused.refused is not None and any("drop_frames = [0, 1]" in x for x in refused.odd)
    found = judge(mapped(made, "drop_frames = [0, 1]"))
    assert found.refused is None and not [x for x in found.odd if "NaN" in x]


def test_what_speaks_against_a_written_kind_is_odd(tmp_path: Path) -> None:
    made = mapped(copied("dp3.zarr", tmp_path))
    as_delta = made.read_text().replace('kind = "absolute"', 'kind = "delta"\nhold = 0.0')
    made.write_text(as_delta)
    assert any("the mapping says delta" in x for x in judge(made).odd)
