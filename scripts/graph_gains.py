"""What each decision about the deployed graph gains: ratios measured in turns in one run, as JSON.

    python scripts/graph_gains.py POLICY --rounds 30

POLICY: a policy folder (float). Each variant undoes one decision and is exported as the deployed
functions are; "gain" is its time over ours, "whole" as a chunk's. One thread. The programs run on
ExecuTorch with XNNPACK.
"""

from __future__ import annotations

import argparse
import copy
import json
import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ofp_edge.camera_parameters import CameraParameters
from ofp_edge.policy.deployed import deploy
from ofp_edge.policy.folder import load_policy
from ofp_edge.policy.methods.method import Act
from ofp_edge.policy.network import PolicyNetwork
from ofp_edge.policy.trunks.unet import Block
from ofp_edge.preprocess import PointCloud
from ofp_edge.report.fingerprint import fingerprint
from ofp_edge.runtime.runners.table import load_runner
from ofp_edge.targets.export import Exported, export_executorch

_TURN_S = 0.05


class ActWithTimes(nn.Module):
    """Act, but the times go in and their embedding is computed at every call."""

    def __init__(self, act: Act, network: PolicyNetwork) -> None:
        super().__init__()
        self.act, self.time = act, network.time

    def forward(self, features: Tensor, z: Tensor, times: Tensor) -> tuple[Tensor, Tensor]:
        """times: (1, 2), t and r."""
        t, r = times[:, 0], times[:, 1]
        row = torch.cat([self.time(t, r), (r - t)[:, None]], 1)
        out: tuple[Tensor, Tensor] = self.act(features, z, row)
        return out


class PublishedBlock(nn.Module):
    """Block, but with GroupNorm and Mish where Diffusion Policy has them (Chi et al., RSS 2023)."""

    def __init__(self, block: Block) -> None:
        super().__init__()
        self.block = block
        self.one, self.two = (nn.GroupNorm(8, block.outputs) for _ in range(2))

    def forward(self, h: Tensor, condition: Tensor) -> Tensor:
        """As Block's."""
        b = self.block
        film = b.film(condition).view(len(h), -1, 1, 1)
        x = F.mish(self.one(b.first(h)))
        x = x * film[:, : b.outputs] + film[:, b.outputs :]
        out: Tensor = b.skip(h) + F.mish(self.two(b.second(x)))
        return out


def published(act: Act) -> Act | None:
    """The same trunk with the published blocks; None when it has none of ours."""
    act = copy.deepcopy(act)
    found = [
        (parent, name)
        for parent in act.modules()
        for name, child in parent.named_children()
        if isinstance(child, Block)
    ]
    for parent, name in found:
        setattr(parent, name, PublishedBlock(getattr(parent, name)))
    return act.eval() if found else None


def caller(exported: Exported, inputs: Any, outputs: Any) -> Callable[[], object]:
    """`infer` of a runner with random inputs; the runner lives as long as it."""
    runner = load_runner("executorch", exported.model, inputs, outputs)
    random = np.random.default_rng(0)
    for array in runner.inputs.values():
        array[:] = random.uniform(-0.5, 0.5, array.shape)
    runner.warm_up()
    return runner.infer


def points_first(camera: CameraParameters, low: Any, high: Any, n: int) -> Callable[..., Any]:
    """Deproject every pixel, move it into the base frame, then crop, then subsample."""
    v, u = np.mgrid[: camera.height, : camera.width].astype(np.float32)
    turn, origin = camera.pose[:3, :3].astype(np.float32), camera.pose[:3, 3].astype(np.float32)

    def make(depth: Any) -> Any:
        z = depth.astype(np.float32) * np.float32(camera.depth_unit_m)
        x, y = (u - camera.cx) / camera.fx * z, (v - camera.cy) / camera.fy * z
        points = np.stack([x, y, z], -1).reshape(-1, 3) @ turn.T + origin
        inside = ((points >= low) & (points <= high)).all(1) & (depth.reshape(-1) > 0)
        kept = points[inside]
        return kept[np.arange(n) * len(kept) // n].T

    return make


def preprocessing() -> tuple[Callable[[], object], Callable[[], object]]:
    """640 x 480 depth of a table to 512 points: ours, and the other order of the same work."""
    eye = ((1.0, 0, 0, 0), (0, -1.0, 0, 0.5), (0, 0, -1.0, 1.0), (0, 0, 0, 1.0))
    camera = CameraParameters(640, 480, 615.0, 615.0, 319.5, 239.5, 1e-3, "base", eye)
    low, high = (-0.25, 0.25, 0.02), (0.25, 0.75, 0.4)
    v, u = np.mgrid[:480, :640]
    depth = (800 + 100 * np.sin(u / 40) * np.cos(v / 30)).astype(np.uint16)
    cloud, other = PointCloud(camera, low, high, 512), points_first(camera, low, high, 512)
    out = np.empty((3, 512), np.float32)
    if not np.allclose(cloud(depth, out), other(depth), atol=1e-5):
        raise SystemExit("the two orders give other points")
    return lambda: cloud(depth, out), lambda: other(depth)


def in_turns(functions: dict[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Milliseconds by name, one median a round.

    CPU time of this thread, which does all the work: being put aside on a busy machine would count
    against long calls far more than against short ones.
    """
    found: dict[str, list[float]] = {name: [] for name in functions}
    for lap in range(rounds + 1):
        for name, function in functions.items():
            times: list[float] = []
            until = time.perf_counter() + _TURN_S
            while time.perf_counter() < until or len(times) < 3:
                before = time.thread_time()
                function()
                times.append(1e3 * (time.thread_time() - before))
            if lap:
                found[name].append(statistics.median(times))
    return found


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("policy", type=Path)
    parser.add_argument("--rounds", type=int, default=30)
    given = parser.parse_args()
    torch.set_num_threads(1)

    policy = load_policy(given.policy)
    deployed = deploy(policy)
    spec, network = policy.config.spec, policy.network.eval()
    encode, act = deployed.functions
    if not isinstance(deployed.act, Act):
        parser.error(f"{given.policy} is deterministic: it has no times to embed")
    inputs, outputs = act.inputs, act.outputs
    timed = (*inputs[:2], replace(inputs[2], shape=(1, 2)))

    programs: dict[str, tuple[Exported, Any, Any]] = {
        "encode": (export_executorch(deployed.encode, encode.inputs),
                   encode.inputs, encode.outputs),
        "act": (export_executorch(deployed.act, inputs), inputs, outputs),
        "act, times embedded at every call": (
            export_executorch(ActWithTimes(deployed.act, network).eval(), timed), timed, outputs),
    }  # fmt: skip
    if (other := published(deployed.act)) is not None:
        programs["act, GroupNorm and Mish"] = (export_executorch(other, inputs), inputs, outputs)
    calls = {name: caller(*parts) for name, parts in programs.items()}
    ours, naive = preprocessing()
    calls |= {"crop, subsample, deproject": ours, "deproject, crop, subsample": naive}
    found = in_turns(calls, given.rounds)
    ms = {name: statistics.median(values) for name, values in found.items()}

    def ratio(a: str, b: str) -> dict[str, float]:
        """Of the rounds' ratios: the median and the quartiles."""
        low, middle, high = np.percentile(np.divide(found[a], found[b]), (25, 50, 75))
        return {"gain": round(float(middle), 3), "from": round(float(low), 3),
                "to": round(float(high), 3)}  # fmt: skip

    frames, whole = spec.n_obs_steps, ms["encode"] + ms["act"]
    gains = [
        {"what": "time embedding in a constant table", "of": "act",
         **ratio("act, times embedded at every call", "act")},
        {"what": f"only the newest of {frames} frames encoded", "of": "whole",
         "gain": round((frames * ms["encode"] + ms["act"]) / whole, 3)},
        {"what": "depth cropped and subsampled before it is deprojected, 640x480 to 512 points",
         "of": "preprocessing",
         **ratio("deproject, crop, subsample", "crop, subsample, deproject")},
    ]  # fmt: skip
    if other is not None:
        gains.append(
            {"what": "residual branches from 0 and SiLU in place of GroupNorm and Mish",
             "of": "act", **ratio("act, GroupNorm and Mish", "act")}
        )  # fmt: skip
    print(json.dumps({
        "policy": given.policy.name, "preset": policy.config.preset, "rounds": given.rounds,
        "threads": 1, "gains": gains,
        "programs": {
            name: {"ms": round(ms[name], 4), "delegates": x.delegates,
                   "delegated_share": round(x.delegated_share or 0, 4), "left_out": x.left_out}
            for name, (x, *_) in programs.items()
        },
        "preprocessing_ms": {k: round(ms[k], 4) for k in ms if "deproject" in k},
        "fingerprint": fingerprint(1),
    }, indent=1))  # fmt: skip


if __name__ == "__main__":
    main()
