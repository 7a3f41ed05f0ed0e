"""Make inputs of the deployed functions: from observation windows, or synthetic without any."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ofp_edge.calibration.samples import FILE, read_samples
from ofp_edge.calibration.windows import ObservationWindows
from ofp_edge.functions import ACT, ENCODE, Function, observed
from ofp_edge.image import as_input
from ofp_edge.policy.deployed import Deployed
from ofp_edge.policy.prefix import Prefix
from ofp_edge.spec import PolicySpec

_RUNGS = 8
Inputs = tuple[Tensor, ...]
__all__ = [
    "Inputs",
    "ObservationWindows",
    "act_inputs",
    "calibration_windows",
    "calls",
    "encode_inputs",
    "synthetic_windows",
]


def calibration_windows(folder: Path, spec: PolicySpec, count: int) -> ObservationWindows:
    """Return at most `count` of a quantised policy's calibration samples, evenly spaced. Raises
    PolicyError."""
    windows = read_samples(folder / FILE, spec).samples
    return windows.take(
        np.unique(np.linspace(0, len(windows) - 1, min(count, len(windows))).astype(np.int64))
    )


def synthetic_windows(spec: PolicySpec, count: int, seed: int) -> ObservationWindows:
    """Draw windows uniformly from the fields' ranges (points: the crop box; images: noise)."""
    rng = np.random.default_rng(seed)
    fields = {f.name: f.synthetic(rng, (count, spec.n_obs_steps)) for f in spec.observations}
    return ObservationWindows(fields, np.zeros(count, np.int64), np.arange(count))


def encode_inputs(deployed: Deployed, windows: ObservationWindows) -> list[list[Inputs]]:
    """Return, per window and per frame (oldest first), what `encode` takes."""
    encode = deployed.function(ENCODE)
    return [
        [_given(encode, *frame) for frame in frames] for frames in _frames_of(deployed, windows)
    ]


Named = Mapping[str, Tensor]


def _given(function: Function, fields: Named, roles: Named) -> Inputs:
    """What a function takes: observations by their names, everything else by its role."""
    return tuple(
        fields[x.name] if x.role == "observation" else roles[str(x.role)] for x in function.inputs
    )


def _frames_of(deployed: Deployed, windows: ObservationWindows) -> list[list[tuple[Named, Named]]]:
    """Per window and frame: each field as functions take it, and by role what an instruction
    becomes."""
    observations = deployed.spec.observations
    shapes = {x.name: x.shape for x in observed(deployed.spec)}
    found: list[list[tuple[Named, Named]]] = []
    for k in range(len(windows)):
        frames: list[tuple[Named, Named]] = []
        for step in range(deployed.spec.n_obs_steps):
            fields = {
                name: torch.from_numpy(
                    as_input(np.asarray(windows.fields[name][k, step]))
                ).clone().reshape(x)
                for name, x in shapes.items()
            }  # fmt: skip
            raw = {f.name: fields[f.name].reshape(1, *f.shape) for f in observations}
            frames.append((fields, _said(deployed, raw)))
        found.append(frames)
    return found


def _said(deployed: Deployed, raw: Named) -> Named:
    """By role, what the instruction of these fields becomes: words, or a row."""
    if deployed.prompt is not None:
        return deployed.prompt.inputs(raw)
    if deployed.task_rows is None:
        return {}
    number = next(int(raw[f.name]) for f in deployed.spec.observations if f.told)
    return {"task": torch.from_numpy(deployed.task_rows[number][None].copy())}


def calls(
    deployed: Deployed, windows: ObservationWindows, seed: int
) -> dict[str, list[Inputs]]:  # fmt: skip
    """Return the inputs of every function for these windows, by its name."""
    return {
        ENCODE: [frame for frames in encode_inputs(deployed, windows) for frame in frames],
        ACT: [values for _, values in act_inputs(deployed, windows, seed)],
    }


def act_inputs(
    deployed: Deployed, windows: ObservationWindows, seed: int
) -> list[tuple[str, Inputs]]:
    """Return, per window and time row, the row's name and (features, z, time_row).

    z is as the robot would draw it: noise for the cold row; for every other row, entered at time t,
    (1 - t) noise + t a, where a is the float policy's cold answer for the same observations.
    A deterministic policy takes features alone, once a window.
    A policy that is told a committed prefix takes two more, committed and free, and each row twice:
    with none, and with the first steps of a, of every length in turn, which then stand in z too.
    """
    generator = torch.Generator().manual_seed(seed)
    act = deployed.function(ACT)
    size = next((x.size for x in act.inputs if x.role == "noise"), 0)
    # Sorted by t: the cold answer comes first. Of a ladder's many rows a few stand for all.
    rows = sorted(deployed.time_rows, key=lambda row: row.t)
    if deployed.walks:
        kept = np.linspace(0, len(rows) - 1, min(len(rows), _RUNGS)).round().astype(int)
        rows = [rows[i] for i in np.unique(kept)]
    inputs: list[tuple[str, Inputs]] = []
    with torch.no_grad():
        for k, seen in enumerate(_frames_of(deployed, windows)):
            frames = [_given(deployed.function(ENCODE), *frame) for frame in seen]
            features = torch.cat([deployed.encode(*frame) for frame in frames], 1)
            fields, said = seen[-1]
            told = {"feature": features, "cache": features, **said}
            plan = torch.zeros(1, size)
            if not rows:
                inputs.append(("", _given(act, fields, told)))
            for j, row in enumerate(rows):
                z = (1 - row.t) * torch.randn(1, size, generator=generator) + row.t * plan
                time = torch.tensor([row.row])
                drawn = {**told, "time": time}
                values = _given(act, fields, {**drawn, **_told(deployed, z, plan, 0)})
                if row is rows[0]:
                    plan = deployed.act(*values)[1]
                inputs.append((row.name, values))
                if deployed.committed is not None:
                    count = 1 + (k + j) % deployed.committed.steps
                    more = _told(deployed, z, plan, count)
                    values = _given(act, fields, {**drawn, **more})
                    inputs.append((f"{row.name}, committed", values))
    return inputs


def _told(deployed: Deployed, z: Tensor, plan: Tensor, count: int) -> dict[str, Tensor]:
    """The noise, by role, where `count` steps of a plan are committed, and what tells of them."""
    if deployed.committed is None:
        return {"noise": z}
    spec = deployed.spec
    step = torch.arange(spec.horizon) - spec.start_index
    prefix = Prefix(plan, ((step >= 0) & (step < count)).float()[None])
    return {"noise": prefix.put_into(z), "committed": prefix.told, "free": prefix.free}
