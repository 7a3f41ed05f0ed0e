"""A VLA checkpoint of the fixtures, whole again: its weights follow from their names."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from ofp_edge.imports.fields import Wanted
from ofp_edge.imports.lerobot import import_lerobot
from ofp_edge.imports.record import Imported
from ofp_edge.imports.vla.fields import Told
from tests.interop.drawn import drawn

# Written by tests/interop/write_vla.py; `make test-interop` gives new ones.
FIXTURES = Path(os.environ.get("OFP_INTEROP_FIXTURES", Path(__file__).parent / "fixtures"))
TASKS = ("open the drawer, then close it", "pick up the red cube", "fold_the towel\n")
IMAGES = {"front": (3, 24, 40), "wrist": (3, 32, 32)}
STATE, ACTION = 5, 4


@cache
def weights(kind: str) -> dict[str, Tensor]:
    """Every tensor that LeRobot saved, as it was drawn there."""
    known = json.loads((FIXTURES / kind / "shapes.json").read_text())
    return {name: drawn(name, tuple(x), known["seed"]) for name, x in known["shapes"].items()}


def checkpoint(
    kind: str, folder: Path, change: Callable[[dict[str, Tensor]], Any] | None = None
) -> Path:
    """A pretrained_model folder. change: what is done to its tensors, by name, in place."""
    shutil.copytree(FIXTURES / kind, folder, dirs_exist_ok=True)
    tensors = dict(weights(kind))
    if change is not None:
        change(tensors)
    save_file(tensors, folder / "model.safetensors")
    spec_file(folder)
    return folder


def spec_file(folder: Path) -> Path:
    """What the robot has: two cameras of the checkpoint's three, a state and an action."""
    camera = {
        "width": 64, "height": 48, "fx": 50.0, "fy": 50.0, "cx": 31.5, "cy": 23.5,
        "depth_unit_m": 0.001, "base_frame": "base", "T_base_camera": torch.eye(4).tolist(),
    }  # fmt: skip
    pictures = [
        {"name": f"rgb_{name}", "kind": "rgb", "shape": shape, "unit": "1", "frame": name,
         "low": [0.0] * 3, "high": [1.0] * 3, "camera": name}
        for name, shape in reversed(IMAGES.items())
    ]  # fmt: skip
    state = {"name": "state", "kind": "state", "shape": [STATE], "unit": "rad", "frame": "base",
             "low": [-3.0] * STATE, "high": [3.0] * STATE}  # fmt: skip
    action = {"name": "move", "shape": [ACTION], "unit": "rad", "frame": "base", "kind": "absolute",
              "scale": 1.0, "low": [-4.0] * ACTION, "high": [4.0] * ACTION}  # fmt: skip
    spec = {
        "observations": [*pictures, state], "actions": [action], "n_obs_steps": 1, "horizon": 6,
        "n_action_steps": 4, "control_hz": 10.0,
    }  # fmt: skip
    path = folder / "spec.json"
    path.write_text(json.dumps({"spec": spec, "cameras": dict.fromkeys(IMAGES, camera)}))
    return path


def imported(folder: Path, **more: Any) -> Imported:
    """The import of such a folder, with all that it needs."""
    vlm = folder / "vlm_config.json"
    told = {
        "instructions": TASKS, "tokenizer": folder / "tokenizer.json",
        "vlm": vlm if vlm.exists() else None, **more,
    }  # fmt: skip
    return import_lerobot(folder, Wanted(spec=folder / "spec.json"), Told(**told))


def answers(kind: str) -> dict[str, Tensor]:
    """What LeRobot answered."""
    return load_file(FIXTURES / kind / "answers.safetensors")


def seen(found: dict[str, Tensor]) -> list[Tensor]:
    """The rows of the answers as `PolicyNetwork.encode` takes them."""
    pictures = [found[f"seen/observation.images.{name}"] for name in IMAGES]
    rows = len(pictures[0])
    images = [(x * torch.tensor(1 / 255, dtype=torch.float32))[:, None] for x in pictures]
    told = torch.arange(rows)[:, None]
    return [*images, found["seen/observation.state"][:, None], told]


def weighted(x: Tensor) -> Tensor:
    """Keys or values (B, G, P, D) as (B, P): the fixture's sum."""
    weights = torch.cos(torch.arange(x.shape[1] * x.shape[3], dtype=torch.float32))
    return torch.einsum("bhpd,hd->bp", x, weights.view(x.shape[1], x.shape[3]))
