"""Clouds are moved in training only where state and action provably go along."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from ofp_edge.data.dataset import Dataset
from ofp_edge.data.open import open_dataset
from ofp_edge.fields import State
from ofp_edge.policy.presets import preset
from ofp_edge.spec import ActionField, Chunking, PolicySpec
from ofp_edge.train.batches import Batches
from ofp_edge.train.plan import make_plan
from ofp_edge.train.scene_shift import SceneShift, scene_shift
from tests.synthetic import write_raw
from tests.train.conftest import Ask
from tests.train.test_command import app


@pytest.fixture
def dataset(points_data: Path) -> Dataset:
    return open_dataset(points_data)


def found(data: Dataset) -> SceneShift:
    spec = PolicySpec.of(data.interface, Chunking(2, 8, 4, data.control_hz))
    shift = scene_shift(spec, data.fields)
    assert shift is not None
    return shift


def with_action(data: Dataset, **values: Any) -> Dataset:
    move, grip = data.interface.actions
    return replace(data, interface=replace(data.interface, actions=(replace(move, **values), grip)))


def with_state(data: Dataset, *states: State, **values: np.ndarray[Any, Any]) -> Dataset:
    clouds = data.interface.observations[1:]
    fields = {"points": data.fields["points"]}
    for state in states:
        filled = np.zeros((len(data), *state.shape), np.float32)
        fields[state.name] = values.get(state.name, filled)
    return replace(
        data, fields=fields, interface=replace(data.interface, observations=(*states, *clouds))
    )


def state(name: str, size: int, unit: str, frame: str = "base") -> State:
    return State(name, (size,), unit, frame, (-2.0,) * size, (2.0,) * size)


def drawn(data: Dataset, shift_m: float) -> list[torch.Tensor]:
    spec = PolicySpec.of(data.interface, Chunking(2, 8, 4, data.control_hz))
    settings = replace(preset("tiny").training, jitter_m=0.0, shift_m=shift_m)
    batches = Batches(data, [0, 1], spec)
    raw = batches.read(torch.arange(settings.batch_size) % len(batches))
    return batches.augmented(raw, settings, torch.Generator().manual_seed(4))[0]


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"kind": "absolute", "hold": None, "unit": "rad"}, "'move' in rad"),
        ({"kind": "absolute", "hold": None, "unit": "deg"}, "'move' in deg"),
        ({"kind": "absolute", "hold": None, "unit": "1"}, "'move' in 1"),
        ({"kind": "absolute", "hold": None, "unit": "mm"}, "'move' in mm"),
        ({"kind": "absolute", "hold": None, "frame": "world"}, "frame world"),
        ({"kind": "absolute", "hold": None}, "'move' in m (absolute"),
        ({"unit": "rad"}, "'move' in rad (delta"),  # of joints: others at another place
        ({"unit": "1"}, "'move' in 1 (delta"),
        ({"frame": "unknown"}, "frame unknown"),
        ({"kind": "velocity", "unit": "rad/s"}, "rad/s"),
    ],
)
def test_an_action_that_would_have_to_change_keeps_clouds_where_they_are(
    dataset: Dataset, values: dict[str, Any], said: str
) -> None:
    data = with_action(dataset, **values)
    shift = found(data)
    assert shift.columns is None and said in shift.said(0.05), shift
    for one, other in zip(drawn(data, 0.0), drawn(data, 0.1), strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize(
    "states",
    [
        (state("joints", 6, "rad", "joints"),),
        (state("joints", 7, "1"),),  # normalised, as LeRobot's
        (state("hand", 3, "mm"),),
        (state("hand", 3, "m", "world"),),
        (state("hand", 3, "m", "unknown"),),
        (state("hand", 3, "m"), state("joints", 6, "deg", "joints")),
        (state("hand", 6, "m"),),  # another position, which would have to move, or a size
        (state("hand", 9, "m, m, m, 1, 1, 1, 1, 1, 1"),),  # six of 1 may be joints
        (state("hand", 2, "m"),),
        (state("fingers", 1, "1", "hand"),),  # without a hand it may be an axis
    ],
)
def test_a_state_that_might_not_go_along_keeps_clouds_where_they_are(
    dataset: Dataset, states: tuple[State, ...]
) -> None:
    data = with_state(dataset, *states)
    shift = found(data)
    assert shift.columns is None and "would not move along" in shift.reason
    for one, other in zip(drawn(data, 0.0), drawn(data, 0.1), strict=True):
        assert torch.equal(one, other)


def test_a_hand_with_gripper_or_quaternion_goes_along(dataset: Dataset) -> None:
    assert found(dataset).columns == ((0,), ())
    hand, grip = state("hand", 3, "m"), state("fingers", 1, "1", "hand")
    assert found(with_state(dataset, grip, hand)).columns == ((), (0,), ())
    pose = state("pose", 8, "m, m, m, 1, 1, 1, 1, 1")
    values = np.zeros((len(dataset), 8), np.float32)
    assert found(with_state(dataset, pose, pose=values)).columns is None  # might be joints
    values[:, 4] = 1.0
    data = with_state(dataset, pose, pose=values)
    assert found(data).columns == ((0,), ())
    plain, moved = drawn(data, 0.0), drawn(data, 0.1)
    by = moved[0] - plain[0]
    assert float(by[..., :2].abs().max()) > 0.05 and not by[..., 2:].any()
    torch.testing.assert_close((moved[1] - plain[1])[..., 0], by[..., :3], atol=1e-6, rtol=0)


def test_rotations_and_velocities_in_metres_stay_what_they_are(dataset: Dataset) -> None:
    move, grip = dataset.interface.actions
    turn = ActionField(
        "turn", (3,), "rad", "base", "absolute", 1.0, (-3.0,) * 3, (3.0,) * 3, rotation="rotvec"
    )
    speed = replace(move, kind="velocity", unit="m/s")
    for actions in ((move, turn, grip), (speed, grip)):
        data = replace(dataset, interface=replace(dataset.interface, actions=actions))
        assert found(data).columns == ((0,), ())


def test_clouds_of_two_or_unknown_frames_or_in_mm_are_not_moved(dataset: Dataset) -> None:
    hand, cloud = dataset.interface.observations
    for clouds, said in (
        ((cloud, replace(cloud, name="more", frame="world")), "2 frames"),
        ((replace(cloud, frame="unknown"),), "unknown"),
        ((replace(cloud, unit="mm"),), "in mm"),
    ):
        data = replace(dataset, interface=replace(dataset.interface, observations=(hand, *clouds)))
        assert found(data).columns is None and said in found(data).reason


def test_what_is_done_stands_in_the_policy_and_in_what_train_says(
    points_data: Path, tmp_path: Path, ask: Ask
) -> None:
    record = make_plan(ask()).policy.config.training
    assert record.settings.shift_m == preset("tiny").training.shift_m
    assert record.cloud_shift == (
        "clouds are moved sideways by up to 2 cm: state 'state' moves along, the actions are "
        "relative"
    )
    rng = np.random.default_rng(0)
    path, rows = tmp_path / "joints.zarr", 24
    arrays = {
        "point_cloud": rng.uniform(0, 1, (rows, 16, 3)).astype(np.float32),
        "state": rng.uniform(-1, 1, (rows, 6)).astype(np.float32),
        "action": rng.uniform(-1, 1, (rows, 6)).astype(np.float32),
    }
    write_raw(path, {}, arrays, np.array([12, 24], np.int64))
    mapping = tmp_path / "m.toml"
    fields = "".join(
        f'[[{what}]]\nname = "{name}"\nkey = "{key}"\nunit = "{unit}"\nframe = "{frame}"\n{more}\n'
        for what, name, key, unit, frame, more in (
            ("observation", "hand", "state", "rad", "base", 'kind = "state"'),
            ("observation", "points", "point_cloud", "m", "base",
             'kind = "points"\ncamera = "front"\nshape = [3, 16]'),
            ("action", "joints", "action", "rad", "joints", 'kind = "absolute"'),
        )
    )  # fmt: skip
    mapping.write_text(f'source = "joints.zarr"\ncontrol_hz = 10.0\n{fields}')
    result = CliRunner().invoke(
        app(),
        ["train", str(mapping), "-o", str(tmp_path / "p"), "--preset", "tiny", "--steps", "1"],
    )
    line = "clouds are not moved: state 'hand' in rad (frame base) would not move along"
    assert result.exit_code == 0 and line in result.output, result.output
    training = json.loads((tmp_path / "p" / "config.json").read_text())["training"]
    assert training["settings"]["shift_m"] == 0 and training["cloud_shift"] == line
