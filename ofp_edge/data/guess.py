"""Guess a mapping for a source without one, and say what was taken for what."""

from __future__ import annotations

import re
from typing import Any

from ofp_edge.camera_parameters import CameraParameters
from ofp_edge.data.layouts.replay_buffer import ReplaySource
from ofp_edge.data.mapping import Entry, Mapping
from ofp_edge.data.source import Key, Source
from ofp_edge.data.store import camera_parameters, check_attributes, interface_of
from ofp_edge.errors import DatasetError
from ofp_edge.fields import Points, Rgb, State

RATE_HZ = {"robotwin-raw": 15.0}
"""The default rate that a layout's own tools use; 10 Hz, as Diffusion Policy's, elsewhere."""
_USUAL_HZ = 10.0
BOOKKEEPING = re.compile(
    r"(^|/)(timestamps?|frame_index|episode_index|index|task_index|next\..*|reward|rewards|done|dones"
    r"|success|n_contacts|keypoint)$"
)
_ACTIONS = ("action", "actions", "action/vector")
_CLOUD = re.compile("point|pcd|cloud")
_IMAGE_PX, _MOST_POINTS, _WIDEST_STATE = 96, 512, 64


def guess(source: Source) -> Mapping:
    """Map every image, the first cloud, the states, and the array called action.

    DatasetError when there is no action, or nothing to see.
    """
    said: list[str] = []
    if isinstance(source, ReplaySource) and source.attributes:
        return stated(source)
    rate = source.rate_hz
    if rate is None:
        rate = RATE_HZ.get(source.layout, _USUAL_HZ)
        said.append(f"control_hz = {rate:g}: the layout states none, the robot's speed hangs on it")
    actions = _actions(source, said)
    observations = _observations(source, said)
    if not observations:
        raise DatasetError(
            f"{source.path}: no key looks like an observation: {', '.join(source.keys)}. Write a "
            "mapping file."
        )
    task = None if len(set(source.tasks)) > 1 else source.task
    return Mapping(source.path, observations, actions, rate, task, guessed=tuple(said))


def stated(source: ReplaySource) -> Mapping:
    """Return the mapping that an ofp-edge dataset itself states, without a guess. DatasetError."""
    attributes = check_attributes(source.path, source.attributes)
    fields = interface_of(str(source.path), attributes).observations
    observations, actions = [], []
    first = 0
    for field, values in zip(fields, attributes["observations"], strict=True):
        values = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
        if field.frame_axes == -1:
            raise DatasetError(f"{source.path}: field {field.name!r}: {field.frame_form}.")
        key = field.array(source.keys, ())[0]
        columns = (first, first + field.shape[0]) if field.joined else None
        observations.append(Entry(key, values, columns))
        first = columns[1] if columns else first
    first = 0
    for values in attributes["actions"]:
        values = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
        actions.append(Entry("action", values, (first, first + values["shape"][0])))
        first += values["shape"][0]
    cameras = camera_parameters(source.path, attributes)
    return Mapping(
        source.path,
        tuple(observations),
        tuple(actions),
        float(attributes["control_hz"]),
        attributes["task"],
        cameras=cameras,
    )


def unknown_camera(width: int, height: int) -> CameraParameters:
    """Make parameters for a camera of which the data give only the size. No rig has its frame
    "unknown", so `run` refuses it until a mapping states the camera."""
    eye = tuple(tuple(float(i == j) for j in range(4)) for i in range(4))
    middle = (width - 1) / 2, (height - 1) / 2
    return CameraParameters(
        width, height, float(width), float(width), *middle, 1e-3, "unknown", eye
    )


def _actions(source: Source, said: list[str]) -> tuple[Entry, ...]:
    keys = [name for name in _ACTIONS if name in source.keys][:1]
    if not keys:  # RoboTwin's native layout has one an arm and hand
        keys = [
            name
            for name in source.keys
            if name.startswith("action/") and name.endswith("joint_states")
        ]
    if not keys:
        raise DatasetError(
            f"{source.path}: no key looks like an action: {', '.join(source.keys)}. Write a "
            "mapping file."
        )
    if source.delta is None:
        said.append("actions are absolute: the layout does not say so")
    entries = []
    for key in keys:
        size = _size(source.keys[key])
        name = "action" if len(keys) == 1 else _name(key, "action_")
        if source.delta and size % 7 == 0:  # robosuite: a pose of 6 and a gripper, each arm
            for arm in range(size // 7):
                tail, first = f"_{arm}" if size > 7 else "", 7 * arm
                entries += [
                    Entry(key, _action(f"move{tail}", "delta"), (first, first + 6)),
                    Entry(
                        key,
                        {**_action(f"gripper{tail}", "absolute"), "interpolation": "nearest"},
                        (first + 6, first + 7),
                    ),
                ]
        else:
            entries.append(Entry(key, _action(name, "delta" if source.delta else "absolute")))
    said.append(f"actions: {_list(entries)}, their unit unknown")
    return tuple(entries)


def _action(name: str, kind: str) -> dict[str, Any]:
    hold = {} if kind == "absolute" else {"hold": 0.0}
    return {"name": name, "kind": kind, "unit": "1", "frame": "unknown", "scale": 1.0, **hold}


def _observations(source: Source, said: list[str]) -> tuple[Entry, ...]:
    entries: list[Entry] = []
    states = [name for name, key in source.keys.items() if _is_state(name, key)]
    chosen = [name for name in ("joint_action/vector",) if name in states] or states
    for name in chosen:
        plain = {"name": _name(name), "kind": State.kind, "unit": "1", "frame": "unknown"}
        entries.append(Entry(name, plain))
    for name, key in source.keys.items():
        if key.is_image:
            camera = _name(name)
            entries.append(
                Entry(
                    name,
                    {
                        "name": f"rgb_{camera}",
                        "kind": Rgb.kind,
                        "unit": "1",
                        "frame": camera,
                        "camera": camera,
                        "shape": (3, *_shrunk(key.shape[:2])),
                    },
                )
            )
    clouds = [name for name, key in source.keys.items() if _is_cloud(name, key)]
    for name in clouds[:1]:
        count = min(_MOST_POINTS, source.keys[name].shape[0])
        entries.append(
            Entry(
                name,
                {
                    "name": "points",
                    "kind": Points.kind,
                    "unit": "m",
                    "frame": "unknown",
                    "camera": "cloud",
                    "shape": (3, count),
                },
            )
        )
    said.append(f"observations: {_list(entries)}")
    if any("camera" in entry.values for entry in entries):
        said.append("cameras unknown: a robot refuses the policy until [camera.NAME] states them")
    return tuple(entries)


def _is_state(name: str, key: Key) -> bool:
    if BOOKKEEPING.search(name) or name.split("/")[0].startswith("action"):
        return False
    if name.startswith(("joint_action/", "endpose/")) and name != "joint_action/vector":
        return False
    number = key.dtype.startswith(("float", "int"))
    return number and len(key.shape) == 1 and key.shape[0] <= _WIDEST_STATE


def _is_cloud(name: str, key: Key) -> bool:
    return len(key.shape) == 2 and key.shape[1] in (3, 6) and bool(_CLOUD.search(name))


def _size(key: Key) -> int:
    return key.shape[0] if key.shape else 1


def _shrunk(size: tuple[int, ...]) -> tuple[int, int]:
    factor = max(1, round(max(size) / _IMAGE_PX))
    return size[0] // factor, size[1] // factor


def _name(key: str, prefix: str = "") -> str:
    """observation.images.front -> front, obs/robot0_eef_pos -> robot0_eef_pos."""
    short = re.sub(r"^(observation\.images\.|observation[./]|obs/|state/|action/|vision/)", "", key)
    short = re.sub(r"/(rgb|colors)$", "", short)
    return prefix + re.sub(r"\W+", "_", short).strip("_")


def _list(entries: list[Entry]) -> str:
    return ", ".join(f"{x.name} = {x.key}{list(x.columns) if x.columns else ''}" for x in entries)
