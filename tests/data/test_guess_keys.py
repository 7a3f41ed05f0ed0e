"""Which keys are observations: by the tokens of their names and their form; nothing vanishes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import zarr

from ofp_edge.data.convert import convert
from ofp_edge.data.guess import guess, look, taken_by
from ofp_edge.data.guess.words import label
from ofp_edge.data.layouts import open_source
from ofp_edge.data.mapping import Entry, Mapping, mapping_text, read_mapping
from ofp_edge.data.open import open_dataset
from ofp_edge.data.pictures import Turned, picture
from ofp_edge.data.source import Key, Source
from ofp_edge.data.taken import LEFT
from ofp_edge.errors import DatasetError
from tests.data.foreign import FIXTURES, LAYOUTS, copied, one_line
from tests.data.made import EPISODES, FRAMES, Arrays, noise, path

ANSWERS = [
    "tcp_action", "expert_action", "prev_action", "action_mask", "observation.last_action",
    "obs/commanded_qpos", "gripper_cmd", "joint_action", "expertAction",
]  # fmt: skip
FUTURE = ["next.reward", "next_state", "next_obs/eef_pos", "future_eef", "obs/future_pos"]
MARKS = [
    "discount", "stage_index", "subtask_index", "annotation.human.stage", "reward", "rewards",
    "returns_to_go", "terminal", "is_first", "is_last", "is_fresh", "dones", "success", "truncated",
    "language_instruction", "language_embedding", "lang", "timestamp", "frame_index", "index",
    "task_index", "episode_id", "step", "n_contacts", "pad_mask", "obs/progress",
]  # fmt: skip
HONEST = [
    "state", "observation.state", "observation.environment_state", "obs/robot0_eef_pos",
    "obs/object", "goal_pos", "desired_goal", "index_finger_pos", "obs/right_index_tip",
    "stage_pos", "joint_action/vector", "interaction_force", "base_velocity", "traction",
    "obs/robot0_joint_pos_cos", "agent_pos", "target_pos", "timer_angle", "handedness",
]  # fmt: skip


@pytest.mark.parametrize("name", [*ANSWERS, *FUTURE, *MARKS])
def test_an_answer_or_a_mark_is_no_observation(name: str) -> None:
    assert label(name) is not None
    found = look(Arrays({"action": noise(2), "state": path(2), name: noise(1, 1)}))
    (row,) = (x for x in found.taken if x.key == name)
    assert row.taken == LEFT and row.field is None and row.why


@pytest.mark.parametrize("name", HONEST)
def test_an_honest_state_stays(name: str) -> None:
    assert label(name, 3) is None


def test_a_finger_s_place_is_no_index() -> None:
    assert label("right_index", 3) is None and label("right_index", 1) is not None


def test_a_camera_may_be_called_what_it_likes() -> None:
    assert label("stage_cam", image=True) is None and label("obs/object_mask", image=True)


def test_a_target_that_is_the_action_is_left_and_another_kept() -> None:
    act = path(2)
    arrays = {"action": act, "state": path(2, 5), "target_qpos": act, "target_pos": path(2, 6)}
    found = look(Arrays(arrays))
    assert found.mapping is not None
    assert [x.name for x in found.mapping.observations] == ["state", "target_pos"]
    assert "answer" in next(x.why for x in found.taken if x.key == "target_qpos")


def test_a_state_that_is_the_action_is_kept_and_remarked() -> None:
    act = path(2)
    (row,) = (x for x in look(Arrays({"action": act, "state": act})).taken if x.key == "state")
    assert row.field == "state" and "equals the action in every frame" in row.why


@pytest.mark.parametrize("name", LAYOUTS)
def test_every_key_has_a_row_and_every_field_one(name: str) -> None:
    source = open_source(FIXTURES / name)
    found = look(source)
    assert found.mapping is not None and found.refused is None
    assert list(dict.fromkeys(row.key for row in found.taken)) == [*source.keys, *source.left]
    entries = [*found.mapping.observations, *found.mapping.actions]
    rows = {row.field: (row.key, row.columns) for row in found.taken if row.field is not None}
    assert rows == {x.name: (x.key, x.columns) for x in entries}
    assert all(row.why for row in found.taken)
    said = "\n".join(found.mapping.guessed)
    assert all(row.place in said for row in found.taken)


IMAGES = np.random.default_rng(0).integers(0, 256, (EPISODES, FRAMES, 10, 12, 4), np.uint8)
FORMS = {
    "first": np.moveaxis(IMAGES[..., :3], -1, 2), "rgba": IMAGES, "mono": IMAGES[..., :1],
    "grey": IMAGES[..., 0], "rgba_first": np.moveaxis(IMAGES, -1, 2),
    "mono_first": np.moveaxis(IMAGES[..., :1], -1, 2), "plain": IMAGES[..., :3],
}  # fmt: skip


def want(name: str) -> Any:
    grey = name in ("mono", "grey", "mono_first")
    return np.repeat(IMAGES[..., :1], 3, -1) if grey else IMAGES[..., :3]


def stored(folder: Path, layout: str) -> Path:
    """Every form in one set."""
    arrays = {**FORMS, "state": path(2).astype("f4"), "wide": noise(80).astype("f4")}
    file = folder / f"set.{layout}"
    if layout == "zarr":
        root: Any = zarr.open_group(str(file), mode="w", zarr_format=2)
        for name, values in {**arrays, "action": path(2, 3).astype("f4")}.items():
            flat = values.reshape(-1, *values.shape[2:])
            made = root.create_array(f"data/{name}", shape=flat.shape, dtype=flat.dtype)
            made[...] = flat
        ends = FRAMES * np.arange(1, EPISODES + 1)
        root.create_array("meta/episode_ends", shape=ends.shape, dtype="i8")[...] = ends
        return file
    with h5py.File(file, "w") as made:
        made.create_group("data").attrs["env_args"] = '{"env_kwargs": {"control_freq": 20}}'
        for episode in range(EPISODES):
            made[f"data/demo_{episode}/actions"] = path(2, 3)[episode]
            for name, values in arrays.items():
                made[f"data/demo_{episode}/obs/{name}"] = values[episode]
    return file


@pytest.mark.parametrize("layout", ["zarr", "hdf5"])
def test_images_of_every_form_are_turned_and_converted(layout: str, tmp_path: Path) -> None:
    file = stored(tmp_path, layout)
    data = open_dataset(file)
    for name in FORMS:
        colours = data.fields[f"rgb_{name}"]
        expected = want(name).reshape(-1, 10, 12, 3)
        assert np.array_equal(np.moveaxis(colours, 1, -1), expected), name
    convert(file, tmp_path / "ours.zarr", force=False)
    ours = open_dataset(tmp_path / "ours.zarr")
    assert all(np.array_equal(ours.fields[k], v) for k, v in data.fields.items())


HEAD = """\
source = "{source}"
control_hz = 10.0
[[observation]]
name = "rgb"
key = "first"
kind = "rgb"
unit = "1"
frame = "c"
camera = "c"
shape = [3, 10, 12]
[[observation]]
name = "wide"
key = "wide"
kind = "state"
unit = "1"
frame = "base"
[[action]]
name = "a"
key = "action"
kind = "absolute"
unit = "m"
frame = "base"
"""


def test_a_mapping_reads_what_a_guess_turns_and_what_it_leaves(tmp_path: Path) -> None:
    file = stored(tmp_path, "zarr")
    (tmp_path / "m.toml").write_text(HEAD.format(source=file.name))
    data = open_dataset(tmp_path / "m.toml")
    assert np.array_equal(
        np.moveaxis(data.fields["rgb"], 1, -1), want("first").reshape(-1, 10, 12, 3)
    )
    assert data.fields["wide"].shape == (EPISODES * FRAMES, 80)
    (row,) = (x for x in look(open_source(file)).taken if x.key == "wide")
    assert row.taken == LEFT and "80 numbers" in row.why and "mapping" in row.why


def test_a_turned_source_is_the_source_in_all_else() -> None:
    own = {"blocks", "read", "require_key", "rate_hz"}  # of what the wrapper has itself
    offered = {x for x in vars(Source) if not x.startswith("_") and callable(vars(Source)[x])}
    assert offered - own <= set(vars(Turned))
    source = Arrays({"action": noise(2), "grey": FORMS["grey"]}, task="open", robot="arm")
    turned = Turned(source, ["grey"])
    for name in set(Source.__annotations__) - {"keys"}:
        assert getattr(turned, name) == getattr(source, name)
    assert turned.keys["grey"].is_image and turned.keys["action"] == source.keys["action"]


def test_columns_that_a_mapping_leaves_are_said() -> None:
    source = Arrays({"action": noise(5), "state": path(2)})
    entries = tuple(Entry("action", {"name": f"a{x}"}, x) for x in ((3, 4), (1, 2)))
    mapping = Mapping(source.path, (Entry("state", {"name": "s", "kind": "state"}),), entries)
    rows = [(x.columns, x.field) for x in taken_by(source, mapping) if x.key == "action"]
    assert rows == [
        ((0, 1), None), ((1, 2), "a(1, 2)"), ((2, 3), None), ((3, 4), "a(3, 4)"), ((4, 5), None)
    ]  # fmt: skip


def test_a_segmentation_is_no_picture_and_a_matrix_no_image() -> None:
    segments = np.zeros((EPISODES, FRAMES, 10, 12), np.uint8)
    source = Arrays({"action": noise(2), "state": path(2), "front_segmentation": segments})
    assert [x.name for x in guess(source).observations] == ["state"]
    assert picture(Key((4, 4), "float64")) is None and picture(Key((3, 4, 4), "int64")) is not None
    assert picture(Key((48, 64), "uint16")) is None


def test_one_number_a_frame_is_a_state(tmp_path: Path) -> None:
    source = Arrays({"action": noise(2), "gripper_width": path(1)[..., 0]})
    (entry,) = guess(source).observations
    assert entry.name == "gripper_width"
    root: Any = zarr.open_group(str(tmp_path / "a.zarr"), mode="w", zarr_format=2)
    for name, values in {"action": noise(2), "gripper_width": path(1)[..., 0]}.items():
        flat = values.reshape(-1, *values.shape[2:])
        root.create_array(f"data/{name}", shape=flat.shape, dtype=flat.dtype)[...] = flat
    ends = FRAMES * np.arange(1, EPISODES + 1)
    root.create_array("meta/episode_ends", shape=ends.shape, dtype="i8")[...] = ends
    assert open_dataset(tmp_path / "a.zarr").fields["gripper_width"].shape == (ends[-1], 1)


def test_an_action_by_another_name_is_found_and_two_are_asked_about() -> None:
    assert guess(Arrays({"robot_action": noise(2), "state": path(2)})).actions[0].key == (
        "robot_action"
    )
    both = Arrays({"arm_action": noise(2), "hand_action_delta": noise(2), "state": path(2)})
    with pytest.raises(DatasetError) as caught:
        guess(both)
    one_line(caught, "2 keys", "arm_action, hand_action_delta", 'kind = "delta"', "hold = 0.0")


def test_an_action_and_a_state_of_one_name_are_two_fields() -> None:
    grip = (np.arange(FRAMES) % 2)[None, :, None].repeat(EPISODES, 0)
    action = np.concatenate([path(2), grip], -1)
    found = guess(Arrays({"action": action, "gripper": path(1)}))
    assert [x.name for x in found.actions] == ["action", "gripper_2"]


def test_what_a_layout_never_reads_stands_in_the_table_too(tmp_path: Path) -> None:
    file = stored(tmp_path, "hdf5")
    with h5py.File(file, "r+") as made:
        for episode in range(EPISODES):
            made[f"data/demo_{episode}/next_obs/state"] = path(2)[episode]
            made[f"data/demo_{episode}/dones"] = np.zeros(FRAMES)
    rows = {x.key: x for x in look(open_source(file)).taken}
    assert rows["next_obs/state"].taken == rows["dones"].taken == LEFT
    assert "later frame" in rows["next_obs/state"].why
    group = stored(tmp_path, "zarr")
    zarr.open_group(str(group), mode="r+").create_group("data/camera")
    rows = {x.key: x for x in look(open_source(group)).taken}
    assert rows["camera"].taken == LEFT and "group" in rows["camera"].why


def test_text_and_depth_videos_of_lerobot_stand_in_the_table(tmp_path: Path) -> None:
    folder = copied("lerobot-v3.0", tmp_path)
    info = json.loads((folder / "meta" / "info.json").read_text())
    info["features"]["language_instruction"] = {"dtype": "string", "shape": [1]}
    depth = {"dtype": "video", "shape": [48, 64, 3], "info": {"video.is_depth_map": True}}
    info["features"]["observation.images.depth"] = depth
    (folder / "meta" / "info.json").write_text(json.dumps(info))
    rows = {x.key: x.why for x in look(open_source(folder)).taken}
    assert rows["language_instruction"] == "text"
    assert rows["observation.images.depth"] == "a depth video, which is not read"


def test_hostile_names_and_numbers_are_no_trace(tmp_path: Path) -> None:
    wild = np.full((EPISODES, FRAMES, 3), 1e308)
    wild[:, ::2] = -1e308
    arrays = {"action": wild, "state\n[x]\x1b": wild, "../odd": path(1), "": path(2, 1)}
    found = look(Arrays(arrays))
    assert found.mapping is not None
    (tmp_path / "m.toml").write_text(mapping_text(found.mapping, tmp_path / "m.toml"))
    assert [x.key for x in read_mapping(tmp_path / "m.toml").observations] == [
        x.key for x in found.mapping.observations
    ]
    nothing = look(Arrays({"action": np.zeros((EPISODES, FRAMES, 0)), "state": path(2)}))
    assert nothing.mapping is not None and nothing.mapping.actions == ()
