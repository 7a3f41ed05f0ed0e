"""Train LeRobot's DiffusionPolicy, small, on episodes that ofp-edge collected, in LeRobot's format.

    python tests/interop/train_teacher.py episodes.npz OUTPUT --steps 5000

episodes.npz: state (T, D), action (T, A), episode_ends (E,), control_hz, robot (the state's numbers
that are the robot's; the others are the environment's). Writes OUTPUT/dataset, a LeRobotDataset,
and OUTPUT/pretrained_model. Needs lerobot[diffusion,dataset]; nothing of ofp-edge is imported here.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np
import torch
from lerobot.configs.types import FeatureType, NormalizationMode, PolicyFeature
from lerobot.datasets.lerobot_dataset import LeRobotDataset
from lerobot.policies.diffusion.configuration_diffusion import DiffusionConfig
from lerobot.policies.diffusion.modeling_diffusion import DiffusionPolicy
from lerobot.policies.diffusion.processor_diffusion import make_diffusion_pre_post_processors

STATE, ENV, ACTION = "observation.state", "observation.environment_state", "action"


def write_dataset(data: dict[str, np.ndarray], folder: Path) -> LeRobotDataset:
    """The episodes as LeRobot records them."""
    robot = int(data["robot"])
    columns = {STATE: data["state"][:, :robot], ENV: data["state"][:, robot:],
               ACTION: data["action"]}  # fmt: skip
    features = {
        key: {"dtype": "float32", "shape": (x.shape[1],), "names": None}
        for key, x in columns.items()
    }
    made = LeRobotDataset.create(
        "local/teacher", fps=int(data["control_hz"]), features=features, root=folder,
        use_videos=False,
    )  # fmt: skip
    start = 0
    for end in data["episode_ends"]:
        for row in range(start, int(end)):
            frame = {key: x[row].astype(np.float32) for key, x in columns.items()}
            made.add_frame({**frame, "task": "teacher"})
        made.save_episode()
        start = int(end)
    made.finalize()
    return made


def main() -> None:
    """See the file."""
    parser = argparse.ArgumentParser()
    parser.add_argument("episodes", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--steps", type=int, default=5000)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--channels", type=int, nargs="+", default=[64, 128])
    arguments = parser.parse_args()
    torch.manual_seed(0)
    with np.load(arguments.episodes, allow_pickle=False) as file:
        data = dict(file)
    written = write_dataset(data, arguments.output / "dataset")
    stats, fps = written.meta.stats, written.fps
    inputs = {
        STATE: PolicyFeature(FeatureType.STATE, (int(data["robot"]),)),
        ENV: PolicyFeature(FeatureType.ENV, (data["state"].shape[1] - int(data["robot"]),)),
    }
    ends = NormalizationMode.MIN_MAX
    config = DiffusionConfig(
        n_obs_steps=1, horizon=8, n_action_steps=2, input_features=inputs,
        output_features={ACTION: PolicyFeature(FeatureType.ACTION, (data["action"].shape[1],))},
        normalization_mapping={"STATE": ends, "ENV": ends, "ACTION": ends},
        down_dims=tuple(arguments.channels), kernel_size=3, diffusion_step_embed_dim=64,
        device="cpu",
    )  # fmt: skip
    policy = DiffusionPolicy(config)
    before, after = make_diffusion_pre_post_processors(config, stats)
    offsets = {
        STATE: [i / fps for i in config.observation_delta_indices],
        ENV: [i / fps for i in config.observation_delta_indices],
        ACTION: [i / fps for i in config.action_delta_indices],
    }
    dataset = LeRobotDataset(
        "local/teacher", root=arguments.output / "dataset", delta_timestamps=offsets
    )
    # All windows in memory: they are small, and decoding them each time costs more than a step.
    every = [dataset[i] for i in range(len(dataset))]
    keys = (STATE, ENV, ACTION, "action_is_pad")
    whole = {key: torch.stack([item[key] for item in every]) for key in keys}
    normal = before({key: whole[key] for key in (STATE, ENV, ACTION)})
    normal["action_is_pad"] = whole["action_is_pad"]
    optimizer = torch.optim.AdamW(policy.parameters(), lr=1e-3, weight_decay=1e-6)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, arguments.steps)
    policy.train()
    begun, loss = time.monotonic(), torch.tensor(float("nan"))
    for step in range(arguments.steps):
        rows = torch.randint(0, len(every), (arguments.batch_size,))
        loss, _ = policy({key: x[rows] for key, x in normal.items() if x is not None
                          and isinstance(x, torch.Tensor) and len(x) == len(every)})  # fmt: skip
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        if step % 500 == 0:
            print(f"step {step}: loss {loss.item():.4f}", flush=True)
    folder = arguments.output / "pretrained_model"
    policy.eval().save_pretrained(folder)
    for processor in (before, after):
        processor.save_pretrained(folder)
    seconds = time.monotonic() - begun
    last = round(loss.item(), 5) if arguments.steps else None
    print(json.dumps({"steps": arguments.steps, "loss": last, "seconds": seconds}))


if __name__ == "__main__":
    main()
