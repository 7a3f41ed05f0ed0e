"""Opening a dataset: what is read, and that everything wrong names episode and field."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr

from ofp_edge.data.open import open_dataset
from ofp_edge.errors import DatasetError
from ofp_edge.image import ColorImage
from ofp_edge.preprocess import PointCloud
from tests.synthetic import CAMERA, N_POINTS, points_field, write_synthetic_dataset


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_synthetic_dataset(tmp_path_factory.mktemp("data") / "d.zarr", length=12)


@pytest.fixture
def path(whole: Path, tmp_path: Path) -> Path:
    shutil.copytree(whole, tmp_path / "d.zarr")
    return tmp_path / "d.zarr"


def change(path: Path, name: str, values: Any) -> None:
    root = zarr.open_group(str(path), mode="r+")
    del root[name]
    if values is not None:
        root.create_array(name, data=values, config={"write_empty_chunks": True})


def attributes_of(path: Path) -> dict[str, Any]:
    root: Any = zarr.open_group(str(path), mode="r")
    return dict(root.attrs["ofp_edge"])


def attribute(path: Path, **changes: Any) -> None:
    root = zarr.open_group(str(path), mode="r+")
    attrs = {**attributes_of(path), **changes}
    root.attrs["ofp_edge"] = {name: x for name, x in attrs.items() if x is not ...}


def array(path: Path, name: str) -> Any:
    root: Any = zarr.open_group(str(path), mode="r")
    return np.array(root[name][:])


def refused(path: Path, *words: str) -> None:
    with pytest.raises(DatasetError) as caught:
        open_dataset(path)
    line = str(caught.value)
    assert "\n" not in line
    for word in words:
        assert word in line


def test_reads_fields_and_episodes(path: Path) -> None:
    dataset = open_dataset(path)
    assert dataset.episodes == 6
    assert [dataset.episode(i).stop - dataset.episode(i).start for i in range(3)] == [12, 11, 10]
    assert len(dataset) == dataset.episode(5).stop == 66
    assert dataset.fields["state"].shape == (66, 4)
    assert dataset.fields["points"].shape == (66, 3, N_POINTS)
    assert dataset.action.shape == (66, 4)
    assert (dataset.task, dataset.control_hz, dataset.cameras["front"]) == (None, 20.0, CAMERA)


def test_points_are_those_of_the_runtime(path: Path) -> None:
    field = points_field()
    cloud = PointCloud(CAMERA, field.low, field.high, N_POINTS)
    depth = array(path, "data/depth_front")
    points = open_dataset(path).fields["points"]
    for frame in (0, 20, 65):
        np.testing.assert_array_equal(points[frame], cloud(depth[frame]))


def test_several_state_fields_share_one_array(path: Path) -> None:
    base, points = attributes_of(path)["observations"]
    hand = {**base, "name": "hand", "shape": [3], "low": [-1] * 3, "high": [2] * 3}
    opening = {**base, "name": "opening", "shape": [1], "low": [-1], "high": [2]}
    attribute(path, observations=[hand, points, opening])
    fields = open_dataset(path).fields
    np.testing.assert_array_equal(fields["hand"], array(path, "data/state")[:, :3])
    np.testing.assert_array_equal(fields["opening"], array(path, "data/state")[:, 3:])


def test_nan_names_episode_field_and_frame(path: Path) -> None:
    values = array(path, "data/state")
    values[12 + 11 + 4, 2] = np.nan
    change(path, "data/state", values)
    refused(path, "episode 2", "'state'", "frame 4")


def test_infinite_action_names_its_field(path: Path) -> None:
    values = array(path, "data/action")
    values[0, 3] = np.inf
    change(path, "data/action", values)
    refused(path, "episode 0", "'grip'")


def test_empty_episode_is_named(path: Path) -> None:
    ends = array(path, "meta/episode_ends")
    ends[3] = ends[2]
    change(path, "meta/episode_ends", ends)
    refused(path, "episode 3", "0 frames")


def test_episodes_that_run_backwards_are_named(path: Path) -> None:
    ends = array(path, "meta/episode_ends")
    ends[4] = ends[3] - 2
    change(path, "meta/episode_ends", ends)
    refused(path, "episode 4")


def test_no_episodes(path: Path) -> None:
    change(path, "meta/episode_ends", np.zeros(0, np.int64))
    refused(path, "no episodes")


@pytest.mark.parametrize("name", ["data/action", "data/state", "data/depth_front"])
def test_another_number_of_frames_names_the_array(path: Path, name: str) -> None:
    change(path, name, array(path, name)[:-1])
    refused(path, name, "66", "65")


@pytest.mark.parametrize("name", ["data/action", "data/state", "data/depth_front"])
def test_missing_array_is_named(path: Path, name: str) -> None:
    change(path, name, None)
    refused(path, name, "missing")


def test_missing_episode_ends(path: Path) -> None:
    change(path, "meta/episode_ends", None)
    refused(path, "episode_ends", "missing")


def test_another_width_than_the_fields(path: Path) -> None:
    change(path, "data/action", array(path, "data/action")[:, :3])
    refused(path, "data/action", "(66, 4)", "(66, 3)")


def test_depth_of_another_type(path: Path) -> None:
    change(path, "data/depth_front", array(path, "data/depth_front").astype(np.float32))
    refused(path, "depth_front", "uint16", "float32")


@pytest.mark.parametrize("value_mm", [0, 65535])
def test_depth_that_never_shows_a_point_is_refused(path: Path, value_mm: int) -> None:
    depth = array(path, "data/depth_front")
    change(path, "data/depth_front", np.full_like(depth, value_mm))
    refused(path, "'points'", "no frame of camera 'front'", "box")


def test_frames_without_points_among_others_are_fine(path: Path) -> None:
    depth = array(path, "data/depth_front")
    depth[1:] = 0
    change(path, "data/depth_front", depth)
    assert len(open_dataset(path)) == 66


def test_another_schema_version_says_which(path: Path) -> None:
    attribute(path, schema_version=7)
    refused(path, "version 7", "reads 1")


@pytest.mark.parametrize("name", ["control_hz", "observations", "cameras", "seeds"])
def test_missing_attribute_is_named(path: Path, name: str) -> None:
    attribute(path, **{name: ...})
    refused(path, name, "missing")


def test_seeds_of_another_number(path: Path) -> None:
    attribute(path, seeds=[1, 2])
    refused(path, "seeds", "6", "2")


def test_field_without_its_camera(path: Path) -> None:
    attribute(path, cameras={})
    refused(path, "'points'", "'front'")


def test_malformed_field(path: Path) -> None:
    attribute(path, actions=[{"name": "move"}])
    refused(path, "actions[0]")


def test_malformed_camera(path: Path) -> None:
    attribute(path, cameras={"front": {"width": 3}})
    refused(path, "front")


def test_folder_that_is_no_dataset(tmp_path: Path) -> None:
    refused(tmp_path / "absent", "does not exist")
    refused(tmp_path, "layout", "Zarr")
    zarr.open_group(str(tmp_path / "other"), mode="w", zarr_format=2)
    refused(tmp_path / "other", "episode_ends")


def test_damaged_chunk_is_an_error_of_the_dataset(path: Path) -> None:
    chunk = next(file for file in (path / "data" / "action").iterdir() if file.name[0] != ".")
    chunk.write_bytes(chunk.read_bytes()[:40])
    refused(path, "read")


def test_split_keeps_the_last_tenth_apart(tmp_path: Path, path: Path) -> None:
    split = open_dataset(path).split()
    assert split.held_out == (5,)
    assert split.train == (0, 1, 2, 3, 4)
    many = write_synthetic_dataset(tmp_path / "many.zarr", obs="state", episodes=35, length=4)
    assert open_dataset(many).split().held_out == (32, 33, 34)


def test_one_episode_cannot_be_split(tmp_path: Path) -> None:
    one = write_synthetic_dataset(tmp_path / "one.zarr", obs="state", episodes=1, length=4)
    with pytest.raises(DatasetError, match="at least 2"):
        open_dataset(one).split()


def test_statistics_see_only_the_episodes_asked_for(path: Path) -> None:
    values = array(path, "data/state")
    values[-1] = 99.0
    change(path, "data/state", values)
    dataset = open_dataset(path)
    assert max(dataset.statistics(dataset.split().train)["state"].high) < 2
    assert max(dataset.statistics([5])["state"].high) == 99
    box = dataset.statistics([0])["points"]
    assert (box.low, box.high) == (points_field().low, points_field().high)


def test_same_bytes_same_hash(path: Path, whole: Path) -> None:
    assert open_dataset(path).sha256 == open_dataset(whole).sha256
    change(path, "data/state", array(path, "data/state") + 1)
    assert open_dataset(path).sha256 != open_dataset(whole).sha256


def test_camera_that_contradicts_itself(path: Path) -> None:
    attribute(path, cameras={"front": {**CAMERA.to_json(), "width": 31}})
    refused(path, "depth_front", "31")
    attribute(path, cameras={"front": {**CAMERA.to_json(), "fx": -1.0}})
    refused(path, "front", "positive")


def test_a_missing_chunk_is_not_read_as_zeros(path: Path) -> None:
    sorted((path / "data" / "state").glob("[0-9]*"))[0].unlink()
    refused(path, "data/state", "chunks are missing")


@pytest.fixture
def images(tmp_path: Path) -> Path:
    return write_synthetic_dataset(tmp_path / "rgb.zarr", obs="rgb", length=6)


def test_images_are_made_by_the_robots_preprocessing_and_stay_bytes(images: Path) -> None:
    dataset = open_dataset(images)
    shrink = ColorImage(CAMERA.width, CAMERA.height, (3, 12, 16))
    for name in ("front", "side"):
        got = dataset.fields[f"rgb_{name}"]
        assert got.dtype == np.uint8 and got.shape == (len(dataset), 3, 12, 16)
        frames = array(images, f"data/rgb_{name}")
        np.testing.assert_array_equal(got, [shrink(frame) for frame in frames])
    assert sorted(dataset.cameras) == ["front", "side"]
    statistics = dataset.statistics([0])["rgb_side"]
    assert (statistics.low, statistics.high) == ((0.0,) * 3, (1.0,) * 3)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (None, "data/rgb_side is missing"),
        (np.ones((31, 24, 32), np.uint8), "data/rgb_side: expected shape"),
        (np.ones((31, 24, 32, 3), np.float32), "data/rgb_side: expected uint8"),
    ],
)
def test_wrong_images_are_named(images: Path, values: Any, words: str) -> None:
    if values is not None:
        values = values[:1].repeat(len(array(images, "data/action")), 0)
    change(images, "data/rgb_side", values)
    refused(images, words)


def test_colour_that_no_field_reads_stays_on_disk(path: Path) -> None:
    change_root = zarr.open_group(str(path), mode="r+")
    change_root.create_array("data/rgb_front", data=np.zeros((1, 2), np.uint8))  # of no use at all
    assert "points" in open_dataset(path).fields
