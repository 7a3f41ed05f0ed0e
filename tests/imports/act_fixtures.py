"""The fixtures of LeRobot's ACT (tests/interop/write_act.py): folders, observations, answers."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from ofp_edge.imports.fields import Wanted
from ofp_edge.policy.folder import Policy
from tests.interop.drawn import drawn

FIXTURES = Path(os.environ.get("OFP_INTEROP_FIXTURES", Path(__file__).parent / "fixtures"))
RATE = Wanted(control_hz=30.0)
MOMENTS = 3
SIZES = {"front": (3, 48, 64), "wrist": (3, 40, 72)}


def checkpoint(name: str, folder: Path, *, weights: bool = True) -> Path:
    """A copy of a fixture; weights that are not kept are drawn from their names, or left out."""
    copied = Path(shutil.copytree(FIXTURES / f"act_{name}", folder / name))
    about = json.loads((copied / "shapes.json").read_text())
    if not (copied / "model.safetensors").exists():
        shapes = about["shapes"].items() if weights else ()
        tensors = {key: drawn(key, tuple(shape), about["seed"]) for key, shape in shapes}
        save_file(tensors, copied / "model.safetensors")
    return copied


def wanted(name: str, folder: Path) -> Wanted:
    """What a user gives beside the checkpoint: a spec file where there are cameras."""
    config = json.loads((folder / "config.json").read_text())
    keys = [key.rpartition(".")[2] for key in config["input_features"]]
    if not set(keys) & set(SIZES):
        return RATE
    path = folder.parent / f"{name}.json"
    path.write_text(json.dumps(spec_of(keys, config)))
    return Wanted(spec=path)


def spec_of(keys: list[str], config: dict[str, Any]) -> dict[str, Any]:
    """A spec file with the fields called as the checkpoint's inputs are."""
    from tests.synthetic import CAMERA

    fields = []
    for key in sorted(keys):  # not in the checkpoint's order: names bind
        size = SIZES.get(key)
        shape = list(size or config["input_features"][f"observation.{key}"]["shape"])
        wide = [0.0, 1.0] if size else [-5.0, 5.0]
        about: dict[str, Any] = {"kind": "rgb", "camera": key} if size else {"kind": "state"}
        low, high = ([x] * shape[0] for x in wide)
        fields.append({"name": key, "shape": shape, "unit": "1", "frame": "base", "low": low,
                       "high": high, **about})  # fmt: skip
    size = config["output_features"]["action"]["shape"]
    action = {"name": "joints", "shape": size, "unit": "deg", "frame": "base", "kind": "absolute",
              "scale": 1.0, "low": [-5.0] * size[0], "high": [5.0] * size[0]}  # fmt: skip
    times = {"n_obs_steps": 1, "horizon": config["chunk_size"],
             "n_action_steps": config["n_action_steps"], "control_hz": 30.0}  # fmt: skip
    cameras = {key: CAMERA.to_json() for key in keys if key in SIZES}
    return {"spec": {"observations": fields, "actions": [action], **times}, "cameras": cameras}


def seen(policy: Policy, folder: Path, moments: int = MOMENTS) -> list[Tensor]:
    """What write_act.py let LeRobot see, by field in the policy's order: (moments, 1, ...)."""
    config = json.loads((folder / "config.json").read_text())
    seed = json.loads((folder / "shapes.json").read_text())["seed"]
    frames: dict[str, list[np.ndarray[Any, Any]]] = {}
    for moment in range(moments):
        rng = np.random.default_rng([seed, moment])
        for key, feature in config["input_features"].items():
            if feature["type"] == "VISUAL":
                values = rng.integers(0, 256, feature["shape"]) * np.float32(1 / 255)
            else:
                values = rng.uniform(-1, 1, feature["shape"])
            frames.setdefault(key.rpartition(".")[2], []).append(values.astype(np.float32))
    return [
        torch.from_numpy(np.stack(frames[f.name]))[:, None] for f in policy.config.spec.observations
    ]


def chunks(policy: Policy, folder: Path) -> tuple[Tensor, Tensor]:
    """The policy's chunks of these moments, normalised and raw, (moments, H, A)."""
    network, spec = policy.network, policy.config.spec
    with torch.no_grad():
        features = network.encode(seen(policy, folder))
        flat = network.trunk(features)
        return flat.view(-1, spec.horizon, spec.action_dim), network.denormalize_actions(flat)


def answers(folder: Path) -> dict[str, Tensor]:
    """What LeRobot answered."""
    return load_file(folder / "answers.safetensors")
