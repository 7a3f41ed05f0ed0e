"""Every layout, read from files that the projects' own code wrote."""

from __future__ import annotations

import importlib.util
import os
import shutil
from pathlib import Path

import cv2
import h5py
import numpy as np
import pytest

from ofp_edge.data.layouts import open_source
from tests.data.foreign import FIXTURES, LAYOUTS

_SPEC = importlib.util.spec_from_file_location(
    "scene", Path(__file__).parents[1] / "interop" / "scene.py"
)
assert _SPEC and _SPEC.loader
scene = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(scene)

# fixture -> state key, its width of scene.state, action key, colour keys
KEYS = {
    "diffusion-policy.zarr": ("state", 5, "action", ["img"]),
    "diffusion-policy-jpeg2k.zarr": (
        "robot0_eef_pos", 3, "action", ["agentview_image", "robot0_eye_in_hand_image"],
    ),
    "dp3.zarr": ("state", 5, "action", ["img"]),
    "lerobot-v3.0": (
        "observation.state", 5, "action",
        ["observation.images.front", "observation.images.wrist"],
    ),
    "lerobot-v2.1": (
        "observation.state", 5, "action",
        ["observation.images.front", "observation.images.wrist"],
    ),
    "robomimic.hdf5": ("obs/robot0_eef_pos", 3, None, ["obs/agentview_image"]),
    "robotwin-raw": (
        "joint_action/left_arm", 3, None,
        ["observation/head_camera/rgb", "observation/left_camera/rgb"],
    ),
    "robotwin-native": (
        "state/left_arm_joint_states", 3, None,
        ["vision/cam_head/colors", "vision/cam_left_wrist/colors"],
    ),
}  # fmt: skip
LOSSLESS = ("diffusion-policy.zarr", "dp3.zarr", "robomimic.hdf5")


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_layout_is_known_by_its_files_and_gives_its_numbers(name: str) -> None:
    source = open_source(FIXTURES / name)
    assert source.layout == LAYOUTS[name]
    shorter = int(name.startswith("robotwin"))  # its action is the next frame's state
    assert source.lengths == tuple(length - shorter for length in scene.LENGTHS)
    state, width, action, _ = KEYS[name]
    for episode, length in enumerate(source.lengths):
        want = scene.all_frames(scene.state)[episode][:length, :width]
        np.testing.assert_array_equal(source.read(state, episode).astype(np.float32), want)
        if action:
            want = scene.all_frames(scene.action)[episode]
            np.testing.assert_array_equal(source.read(action, episode), want)


@pytest.mark.parametrize("name", LAYOUTS)
def test_colours_are_red_green_blue_and_of_their_frame(name: str) -> None:
    source = open_source(FIXTURES / name)
    for camera, key in enumerate(KEYS[name][3]):
        for episode, length in enumerate(source.lengths):
            seen = source.read(key, episode).astype(float)
            want = scene.all_frames(scene.image, camera)[episode][:length].astype(float)
            error = np.abs(seen - want).mean()
            assert error < (1e-9 if name in LOSSLESS else 4), (key, episode)
            # The disc moves 3 pixels a frame: a neighbour would fit less well.
            beside = np.abs(seen[1:] - want[:-1]).mean()
            assert beside > 1.2 * error


def test_blocks_are_the_episode_in_order() -> None:
    for name in LAYOUTS:
        source = open_source(FIXTURES / name)
        for key, about in source.keys.items():
            blocks = list(source.blocks(key, 1))
            assert sum(len(block) for block in blocks) == source.lengths[1]
            assert all(block.shape[1:] == about.shape for block in blocks), (name, key)


def test_rates_are_read_and_not_invented() -> None:
    rates = {name: open_source(FIXTURES / name).rates_hz for name in LAYOUTS}
    assert rates["lerobot-v3.0"] == rates["lerobot-v2.1"] == rates["robomimic.hdf5"] == (20.0,)
    assert rates["robotwin-native"] == (15.0,)
    assert rates["dp3.zarr"] == rates["diffusion-policy.zarr"] == rates["robotwin-raw"] == ()


def test_lerobot_videos_equal_what_lerobot_reads() -> None:
    """Written by LeRobot's own reader when the fixture was made: every third frame."""
    source = open_source(FIXTURES / "lerobot-v3.0")
    with np.load(FIXTURES / "lerobot-v3.0-read.npz") as read:
        for name in ("front", "wrist"):
            ours = np.concatenate([source.read(f"observation.images.{name}", e) for e in range(3)])
            np.testing.assert_array_equal(ours[read["rows"]], read[name])


@pytest.mark.parametrize("name", ["lerobot-v2.1", "lerobot-v3.0", "robotwin-native"])
def test_a_snapshot_in_the_hub_s_cache_reads_like_the_folder(name: str, tmp_path: Path) -> None:
    repository = tmp_path / "datasets--lab--set"
    snapshot = repository / "snapshots" / ("ab12" * 10)
    (repository / "blobs").mkdir(parents=True)
    for number, file in enumerate(sorted(x for x in (FIXTURES / name).rglob("*") if x.is_file())):
        blob = repository / "blobs" / f"{number:064x}"
        link = snapshot / file.relative_to(FIXTURES / name)
        shutil.copy(file, blob)
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(os.path.relpath(blob, link.parent))
    found, folder = open_source(snapshot), open_source(FIXTURES / name)
    for key in folder.keys:
        assert np.array_equal(found.read(key, 1), folder.read(key, 1))
    assert found.sha256() == folder.sha256()


def test_robotwin_colours_equal_what_its_own_scripts_decode() -> None:
    source = open_source(FIXTURES / "robotwin-raw")
    with h5py.File(FIXTURES / "robotwin-raw/data/episode0.hdf5") as file:
        jpegs = file["observation/head_camera/rgb"][:-1]
    wanted = [cv2.imdecode(np.frombuffer(x, np.uint8), cv2.IMREAD_COLOR) for x in jpegs]
    off = np.abs(source.read("observation/head_camera/rgb", 0).astype(int) - np.stack(wanted))
    assert off.max() <= 2  # two builds of libjpeg-turbo


def test_robotwin_actions_are_the_next_frame_s_joints() -> None:
    raw, native = (open_source(FIXTURES / f"robotwin-{x}") for x in ("raw", "native"))
    joints, then = raw.read("joint_action/left_arm", 0), raw.read("action/left_arm", 0)
    np.testing.assert_array_equal(joints[1:], then[:-1])
    np.testing.assert_array_equal(then, native.read("action/left_arm_joint_states", 0))


def test_robomimic_filters_choose_demonstrations() -> None:
    source = open_source(FIXTURES / "robomimic.hdf5", "train")
    assert source.lengths == (scene.LENGTHS[0], scene.LENGTHS[2])
    assert source.delta is True and source.task == "Lift"
