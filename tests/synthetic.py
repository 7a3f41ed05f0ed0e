"""A small learnable dataset and an untrained policy, written in a moment: for tests everywhere.

A hand moves in steps of at most 5 cm to a blob that a camera above the table sees. The gripper
(absolute) closes near the blob; the move (delta) points to it.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ofp_edge.camera_parameters import CameraParameters
from ofp_edge.fields import Points, Rgb, State
from ofp_edge.spec import ActionField, ObservationField, PolicySpec

if TYPE_CHECKING:
    from ofp_edge.policy.trunks.trunk import TrunkConfig

N_POINTS = 64
STEP_M = 0.05
CONTROL_HZ = 20.0
CAMERA = CameraParameters(
    width=32, height=24, fx=32.0, fy=32.0, cx=15.5, cy=11.5, depth_unit_m=1e-3, base_frame="base",
    T_base_camera=(
        (1.0, 0.0, 0.0, 0.0), (0.0, -1.0, 0.0, 0.5), (0.0, 0.0, -1.0, 1.0), (0.0, 0.0, 0.0, 1.0),
    ),
)  # fmt: skip
_BLOB_TOP_M, _BLOB_RADIUS_M = 0.1, 0.08


def state_field(size: int) -> ObservationField:
    """Hand x, y, z and gripper opening; with size 7 also the blob's x, y, z."""
    units = ", ".join(["m", "m", "m", "1", "m", "m", "m"][:size])
    return State("state", (size,), units, "base", (-1.0,) * size, (2.0,) * size)


def points_field() -> ObservationField:
    """The cloud of camera "front", cropped above the table."""
    low, high = (-0.45, 0.15, 0.02), (0.45, 0.85, 0.4)
    return Points("points", (3, N_POINTS), "m", "base", low, high, "front")


def rgb_fields() -> tuple[ObservationField, ...]:
    """What cameras "front" and "side" see, at half their size."""
    size, low, high = (3, CAMERA.height // 2, CAMERA.width // 2), (0.0,) * 3, (1.0,) * 3
    return tuple(Rgb(f"rgb_{name}", size, "1", name, low, high, name) for name in ("front", "side"))


def action_fields() -> tuple[ActionField, ...]:
    """One delta and one absolute field: their paddings differ."""
    return (
        ActionField("move", (3,), "m", "base", "delta", STEP_M, (-1.0,) * 3, (1.0,) * 3, 0.0),
        ActionField("grip", (1,), "1", "hand", "absolute", 1.0, (-1.0,), (1.0,), None, "nearest"),
    )


def depth_of(blob: NDArray[np.float64]) -> NDArray[np.uint16]:
    """(24, 32) raw depth of a disc above the table, seen from above."""
    v, u = np.mgrid[: CAMERA.height, : CAMERA.width]
    distance = CAMERA.pose[2, 3] - _BLOB_TOP_M
    x = (u - CAMERA.cx) / CAMERA.fx * distance + CAMERA.pose[0, 3]
    y = CAMERA.pose[1, 3] - (v - CAMERA.cy) / CAMERA.fy * distance
    on_blob = (x - blob[0]) ** 2 + (y - blob[1]) ** 2 < _BLOB_RADIUS_M**2
    depth_m = np.where(on_blob, distance, CAMERA.pose[2, 3])
    depth: NDArray[np.uint16] = (depth_m / CAMERA.depth_unit_m).round().astype(np.uint16)
    return depth


def color_of(depth: NDArray[np.uint16]) -> NDArray[np.uint8]:
    """(24, 32, 3): what is near is red, the table green."""
    near = depth < depth.max()
    color: NDArray[np.uint8] = np.where(near[..., None], (200, 30, 20), (40, 120, 60)).astype(
        np.uint8
    )
    return color


def write_synthetic_dataset(
    path: Path, *, obs: str = "points", episodes: int = 6, length: int = 30, seed: int = 0
) -> Path:
    """Write a valid replay buffer; episode i has `length - i % 3` steps; obs: points, rgb or
    state."""
    rng = np.random.default_rng(seed)
    states, actions, depths, ends = [], [], [], []
    for episode in range(episodes):
        blob = np.array([rng.uniform(-0.3, 0.3), rng.uniform(0.3, 0.7), _BLOB_TOP_M])
        hand = np.array([rng.uniform(-0.3, 0.3), rng.uniform(0.3, 0.7), rng.uniform(0.2, 0.4)])
        depth, gripper = depth_of(blob), -1.0
        for _ in range(length - episode % 3):
            move = np.clip((blob - hand) / STEP_M, -1, 1)
            grip = 1.0 if np.linalg.norm(blob - hand) < STEP_M else -1.0
            extra = blob.tolist() if obs == "state" else []
            states.append([*hand, gripper, *extra])
            actions.append([*move, grip])
            depths.append(depth)
            hand, gripper = hand + STEP_M * move, grip
        ends.append(len(states))
    arrays: dict[str, NDArray[Any]] = {
        "state": np.asarray(states, np.float32), "action": np.asarray(actions, np.float32),
    }  # fmt: skip
    fields = [state_field(7 if obs == "state" else 4)]
    if obs == "points":
        arrays["depth_front"] = np.stack(depths)
        fields.append(points_field())
    if obs == "rgb":
        colors = np.stack([color_of(depth) for depth in depths])
        arrays["rgb_front"], arrays["rgb_side"] = colors, colors[:, :, ::-1]
        fields.extend(rgb_fields())
    write_raw(path, attributes(fields, episodes), arrays, np.asarray(ends, np.int64))
    return path


def attributes(fields: list[ObservationField], episodes: int) -> dict[str, Any]:
    """The root attributes of a dataset in the current schema."""
    cameras = {f.camera: CAMERA.to_json() for f in fields if f.camera}
    return {
        "schema_version": 1, "task": None, "control_hz": CONTROL_HZ,
        "observations": [asdict(field) for field in fields],
        "actions": [asdict(field) for field in action_fields()],
        "cameras": cameras, "seeds": list(range(episodes)), "success": [True] * episodes,
        "collector": {"noise": 0.0, "depth_by": "synthetic"},
    }  # fmt: skip


def write_raw(
    path: Path, attrs: dict[str, Any], arrays: dict[str, NDArray[Any]], ends: NDArray[np.int64]
) -> None:
    """Write whatever is given, right or wrong: tests of validation need broken datasets."""
    import zarr

    root = zarr.open_group(str(path), mode="w", zarr_format=2)
    root.attrs["ofp_edge"] = json.loads(json.dumps(attrs))
    data, meta = root.create_group("data"), root.create_group("meta")
    for name, values in arrays.items():
        data.create_array(name, data=values, chunks=(min(len(values), 256), *values.shape[1:]))
    meta.create_array("episode_ends", data=ends)


def tiny_trunk(kind: str) -> TrunkConfig:
    """A trunk of each kind, a few thousand parameters."""
    from ofp_edge.policy.trunks.mlp import MlpConfig
    from ofp_edge.policy.trunks.transformer import TransformerConfig
    from ofp_edge.policy.trunks.unet import UnetConfig

    kinds: dict[str, TrunkConfig] = {
        "mlp": MlpConfig(width=32, blocks=1),
        "unet": UnetConfig((8, 16), blocks=1, kernel=3),
        "transformer": TransformerConfig(width=16, blocks=1, heads=2, expand=2),
    }
    return kinds[kind]


def tiny_policy(
    path: Path, obs: str = "points", *, seed: int = 0, trunk: str = "mlp", horizon: int = 8,
    spec: PolicySpec | None = None, task: str | None = None, committed_steps: int = 0,
    codes: int = 0,
) -> Path:  # fmt: skip
    """Save an untrained policy of preset "tiny" whose answers depend on every input.

    trunk: a kind that `tiny_trunk` knows, in place of the preset's. spec, task: of a simulated
    task without a camera, in place of the synthetic one. committed_steps, codes: see NetworkSizes.
    """
    from dataclasses import replace

    import torch

    from ofp_edge.camera_parameters import CameraTolerance
    from ofp_edge.normalize import STATE_BOUND, FieldStatistics
    from ofp_edge.policy.config import PolicyConfig, TrainingRecord
    from ofp_edge.policy.folder import Policy, save_policy
    from ofp_edge.policy.presets import preset

    chosen = preset("tiny")
    observations = {
        "points": (state_field(4), points_field()), "rgb": (state_field(4), *rgb_fields()),
        "state": (state_field(7),),
    }[obs]  # fmt: skip
    sizes = replace(
        chosen.network, trunk=tiny_trunk(trunk), committed_steps=committed_steps, codes=codes,
        state_bound=STATE_BOUND,
    )  # fmt: skip
    spec = spec or PolicySpec(
        observations, action_fields(), chosen.n_obs_steps, horizon, chosen.n_action_steps,
        CONTROL_HZ,
    )  # fmt: skip
    ranges = [(f.name, f.low, f.high) for f in spec.observations]
    ranges += [(f.name, f.low, f.high) for f in spec.actions]
    statistics = {name: FieldStatistics.of_range(low, high) for name, low, high in ranges}
    torch.manual_seed(seed)
    network = sizes.build(spec, statistics).eval()
    for parameter in network.parameters():  # what starts at zero would hide its inputs
        if not parameter.any():
            torch.nn.init.normal_(parameter, std=0.1)
    if network.codes is not None:
        torch.nn.init.normal_(network.codes.centres)
    record = TrainingRecord(chosen.training, seed, 0, "synthetic", "0" * 64, "none", ())
    config = PolicyConfig(
        method="ofp-plus", method_options={}, preset="tiny", network=sizes, spec=spec,
        task=task, cameras={f.camera: CAMERA for f in spec.observations if f.camera},
        camera_tolerance=CameraTolerance(), time_rows=chosen.time_rows, training=record,
    )  # fmt: skip
    path.mkdir(parents=True)
    save_policy(Policy(config, network, statistics), path)
    return path
