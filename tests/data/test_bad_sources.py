"""Foreign data that are damaged: one line that names what, nothing half-written."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import h5py
import imagecodecs
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zarr

from ofp_edge.data.convert import convert
from ofp_edge.data.layouts import open_source
from ofp_edge.data.open import open_dataset
from ofp_edge.data.survey import survey
from ofp_edge.errors import DatasetError, UnknownName
from tests.data.foreign import FIXTURES, copied, one_line


def refused(path: Path, folder: Path, *words: str) -> None:
    with pytest.raises(DatasetError) as caught:
        convert(path, folder / "out.zarr", force=False)
    one_line(caught, *words)
    assert not (folder / "out.zarr").exists() and not list(folder.glob(".*partial"))


def changed(path: Path, **values: Any) -> None:
    file = path / "meta" / "info.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **values}))


@pytest.mark.parametrize("name", ["lerobot-v3.0", "lerobot-v2.1"])
def test_a_missing_video(name: str, tmp_path: Path) -> None:
    path = copied(name, tmp_path)
    video = sorted(path.rglob("*wrist*/**/*.mp4"))[0]
    video.unlink()
    refused(path, tmp_path, "observation.images.wrist", video.name, "missing")


@pytest.mark.parametrize("keep", [0, 300, 0.7])
def test_a_truncated_video(keep: float, tmp_path: Path) -> None:
    path = copied("lerobot-v2.1", tmp_path)
    video = sorted(path.rglob("*front*/**/*.mp4"))[1]
    data = video.read_bytes()
    video.write_bytes(data[: int(keep if keep > 1 else keep * len(data))])
    refused(path, tmp_path, "episode 1", "observation.images.front")


def test_a_video_with_too_few_frames(tmp_path: Path) -> None:
    path = copied("lerobot-v2.1", tmp_path)
    videos = sorted(path.rglob("*front*/**/*.mp4"))
    videos[0].write_bytes(videos[1].read_bytes())  # 9 frames where 14 belong
    refused(path, tmp_path, "episode 0", "9 of 14")


@pytest.mark.parametrize("name", ["lerobot-v3.0", "lerobot-v2.1"])
@pytest.mark.parametrize("keep", [0, 100, 0.6])
def test_a_truncated_parquet(name: str, keep: float, tmp_path: Path) -> None:
    path = copied(name, tmp_path)
    file = sorted((path / "data").rglob("*.parquet"))[0]
    data = file.read_bytes()
    file.write_bytes(data[: int(keep if keep > 1 else keep * len(data))])
    refused(path, tmp_path, file.name, "cannot be read")


def test_a_truncated_list_of_episodes(tmp_path: Path) -> None:
    path = copied("lerobot-v3.0", tmp_path)
    file = next((path / "meta" / "episodes").rglob("*.parquet"))
    file.write_bytes(file.read_bytes()[:-20])
    refused(path, tmp_path, file.name)


def test_an_episode_index_out_of_range(tmp_path: Path) -> None:
    path = copied("lerobot-v3.0", tmp_path)
    changed(path, total_episodes=5)
    refused(path, tmp_path, "5 episodes", "[0, 1, 2]")


def test_frames_of_an_episode_that_are_not_there(tmp_path: Path) -> None:
    path = copied("lerobot-v3.0", tmp_path)
    file = next((path / "data").rglob("*.parquet"))
    table = pq.read_table(file)
    index = table.column_names.index("episode_index")
    numbers = pa.array(np.where(table["episode_index"].to_numpy() == 2, 7, 0))
    pq.write_table(table.set_column(index, "episode_index", numbers), file)
    refused(path, tmp_path, "episode 0", "14", "23")


def test_another_version_of_lerobot(tmp_path: Path) -> None:
    path = copied("lerobot-v2.1", tmp_path)
    changed(path, codebase_version="v1.6")
    refused(path, tmp_path, "v1.6", "v3.0")


def test_timestamps_of_another_rate(tmp_path: Path) -> None:
    path = copied("lerobot-v3.0", tmp_path)
    changed(path, fps=50)
    refused(path, tmp_path, "episode 0", "20 Hz", "50 Hz")


def test_mixed_rates(tmp_path: Path) -> None:
    path = copied("robotwin-native", tmp_path)
    with h5py.File(path / "data" / "episode_0000001.hdf5", "r+") as file:
        file["additional_info/frequency"][()] = 30
    refused(path, tmp_path, "15 and 30 Hz")


@pytest.mark.parametrize(
    ("name", "inside"),
    [
        ("lerobot-v3.0", "meta/info.json"),
        ("lerobot-v2.1", "meta/episodes.jsonl"),
        ("dp3.zarr", ".zattrs"),
    ],
)
def test_a_large_file_where_a_small_one_belongs(name: str, inside: str, tmp_path: Path) -> None:
    path = copied(name, tmp_path)
    with (path / inside).open("ab") as file:
        file.truncate(4 << 30)  # sparse: no byte of it is on the disk
    with pytest.raises(DatasetError) as caught:
        open_dataset(path)
    one_line(caught, Path(inside).name, "4.3 GB")


def test_an_unknown_codec(tmp_path: Path) -> None:
    path = copied("diffusion-policy-jpeg2k.zarr", tmp_path)
    file = path / "data" / "agentview_image" / ".zarray"
    about = json.loads(file.read_text())
    about["compressor"]["id"] = "imagecodecs_of_tomorrow"
    file.write_text(json.dumps(about))
    refused(path, tmp_path, "agentview_image", "imagecodecs_of_tomorrow")


def test_a_damaged_jpeg2000(tmp_path: Path) -> None:
    path = copied("diffusion-policy-jpeg2k.zarr", tmp_path)
    file = path / "data" / "agentview_image" / "16.0.0.0"
    file.write_bytes(file.read_bytes()[:40])
    refused(path, tmp_path, "episode 1", "agentview_image")


def test_a_missing_chunk_is_not_read_as_black(tmp_path: Path) -> None:
    path = copied("diffusion-policy-jpeg2k.zarr", tmp_path)
    (path / "data" / "agentview_image" / "16.0.0.0").unlink()
    refused(path, tmp_path, "agentview_image", "1 of its 34 chunks")


def test_nan_names_episode_field_and_frame(tmp_path: Path) -> None:
    path = copied("diffusion-policy.zarr", tmp_path)
    root: Any = zarr.open_group(str(path), mode="r+")
    values = root["data/state"][:]
    values[17, 2] = np.nan
    root["data/state"][:] = values
    refused(path, tmp_path, "episode 1", "'state'", "frame 3")


def test_episode_ends_that_do_not_fit(tmp_path: Path) -> None:
    path = copied("dp3.zarr", tmp_path)
    root: Any = zarr.open_group(str(path), mode="r+")
    root["meta/episode_ends"][:] = [14, 23, 40]
    refused(path, tmp_path, "expected 40 frames", "34")
    root["meta/episode_ends"][:] = [14, 14, 34]
    refused(path, tmp_path, "episode 1", "0 frames")


def test_hdf5_that_is_cut_off_or_none(tmp_path: Path) -> None:
    path = copied("robomimic.hdf5", tmp_path)
    path.write_bytes(path.read_bytes()[:5000])
    refused(path, tmp_path, "robomimic.hdf5", "cannot be read")
    path.write_bytes(b"no hdf5")
    refused(path, tmp_path, "cannot be read")


def test_demonstrations_of_different_keys(tmp_path: Path) -> None:
    path = copied("robomimic.hdf5", tmp_path)
    with h5py.File(path, "r+") as file:
        del file["data/demo_1/obs/robot0_eef_quat"]
    refused(path, tmp_path, "demo_1", "robot0_eef_quat")


def test_an_unknown_filter() -> None:
    with pytest.raises(UnknownName, match="valid"):
        open_source(FIXTURES / "robomimic.hdf5", "tests")


def test_robotwin_of_another_version_or_without_jpegs(tmp_path: Path) -> None:
    path = copied("robotwin-native", tmp_path)
    with h5py.File(path / "data" / "episode_0000000.hdf5", "r+") as file:
        del file["data_format_version"]
        file["data_format_version"] = "v9"
    refused(path, tmp_path, "v9", "v1.0")
    raw = copied("robotwin-raw", tmp_path)
    with h5py.File(raw / "data" / "episode1.hdf5", "r+") as file:
        jpegs = file["observation/head_camera/rgb"]
        jpegs[2] = b"nothing"
    refused(raw, tmp_path, "episode1", "rgb", "JPEG")


def test_frames_of_another_size_in_a_later_episode(tmp_path: Path) -> None:
    path = copied("robotwin-raw", tmp_path)
    with h5py.File(path / "data" / "episode1.hdf5", "r+") as file:
        jpegs = file["observation/head_camera/rgb"]
        small = imagecodecs.jpeg_encode(np.zeros((8, 8, 3), np.uint8))
        jpegs[:] = np.array([small] * len(jpegs), jpegs.dtype)
    refused(path, tmp_path, "episode1.hdf5", "got (8, 8, 3)", "as in episode0.hdf5")
    assert any("got (8, 8, 3)" in line for line in survey(open_source(path)).odd)


@pytest.mark.parametrize(
    "name, array",
    [
        ("robotwin-native", "action/left_arm_joint_states"),
        ("robotwin-raw", "joint_action/vector"),
        ("robotwin-raw", "observation/head_camera/rgb"),
    ],
)
@pytest.mark.parametrize("wrong", [(4,), (1 << 22,), (3, 2), ()], ids=str)
def test_rows_of_another_shape_in_a_later_file(
    name: str, array: str, wrong: tuple[int, ...], tmp_path: Path
) -> None:
    path = copied(name, tmp_path)
    file = sorted(path.rglob("*.hdf5"))[1]
    with h5py.File(file, "r+") as data:
        rows = len(data[array])
        del data[array]
        data.create_dataset(array, (rows, *wrong), "u1", chunks=(1, *wrong), compression="gzip")
    refused(path, tmp_path, file.name, array, "got", "eave the episode out")
    assert any("eave the episode out" in line for line in survey(open_source(path)).odd)


def test_pictures_where_the_first_file_has_numbers(tmp_path: Path) -> None:
    path = copied("robotwin-native", tmp_path)
    with h5py.File(sorted(path.rglob("*.hdf5"))[2], "r+") as data:
        rows = len(data["state/left_arm_joint_states"])
        del data["state/left_arm_joint_states"]
        data["state/left_arm_joint_states"] = np.full(rows, b"text", "S4")
    refused(path, tmp_path, "left_arm_joint_states: expected numbers, got |S4")


def test_a_dataset_of_ours_with_a_field_that_is_none(tmp_path: Path) -> None:
    path = copied("dp3.zarr", tmp_path)
    about = {"schema_version": 1, "task": None, "control_hz": 10.0, "observations": [{}],
             "actions": [], "cameras": {}, "seeds": [], "success": []}  # fmt: skip
    (path / ".zattrs").write_text(json.dumps({"ofp_edge": about}))
    refused(path, tmp_path, "observation")


def test_a_folder_or_file_of_no_layout(tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    refused(tmp_path / "x", tmp_path, "LeRobot", "robomimic", "RoboTwin")
    refused(tmp_path / "absent", tmp_path, "does not exist")
    (tmp_path / "t.hdf5").write_bytes(b"")
    refused(tmp_path / "t.hdf5", tmp_path, "cannot be read")
