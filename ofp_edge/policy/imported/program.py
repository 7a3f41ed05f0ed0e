"""Put a network that was imported as a program behind the parts of a PolicyNetwork.

    u(z, t, r, observations)    or, where it predicts a velocity, v(z, t, observations)

z (1, horizon, action_dim) normalised, t and r (1,), observations (1, n_obs_steps, features): the
output of `encode` for each frame, oldest first. Without an encoder of its own that is the fields of
the frame in spec order, raw, flattened and laid end to end.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ofp_edge.errors import PolicyError
from ofp_edge.outside import said_by
from ofp_edge.policy.imported.archive import load_program
from ofp_edge.policy.imported.layer_modules import with_layers
from ofp_edge.policy.parts import Embedding, Encoder
from ofp_edge.spec import PolicySpec

Inputs = dict[str, tuple[int, ...]]  # names and shapes


class Identity(Encoder):
    """Lays the raw fields of a frame end to end."""

    one: Tensor

    def __init__(self, spec: PolicySpec) -> None:
        super().__init__()
        self.feature_dim = sum(math.prod(f.shape) for f in spec.observations)
        # An output that is an input itself, untouched, is no output to every engine.
        self.register_buffer("one", torch.ones(1), persistent=False)

    def forward(self, *observations: Tensor) -> Tensor:
        """Flatten and join the fields: (B, ...) each -> (B, F)."""
        parts = [x.flatten(1) for x in observations]
        return (torch.cat(parts, 1) if len(parts) > 1 else parts[0]) * self.one


class _Fixed(nn.Module):
    """Holds an exported program, which knows one mode only."""

    def train(self, mode: bool = True) -> _Fixed:
        """Does nothing."""
        return self


class OwnEncoder(_Fixed, Encoder):
    """A program that takes the fields of a frame in spec order and gives (1, F)."""

    def __init__(self, program: nn.Module, feature_dim: int) -> None:
        super().__init__()
        self.program, self.feature_dim = program, feature_dim

    def forward(self, *observations: Tensor) -> Tensor:
        """Encode the fields; see the class. Points come as (1, 3, N)."""
        fields = [x.squeeze(2) if x.dim() == 4 and x.shape[2] == 1 else x for x in observations]
        return one_by_one(self.program, fields)


class Pair(Embedding):
    """Returns (t, r) unchanged, as the time input."""

    size = 2

    def forward(self, t: Tensor, r: Tensor) -> Tensor:
        """Stack the times as (B, 2)."""
        return torch.stack([t, r], 1)


class ProgramTrunk(_Fixed):
    """Calls the program in its own shapes."""

    def __init__(self, program: nn.Module, spec: PolicySpec, velocity: bool) -> None:
        super().__init__()
        self.program, self.velocity = program, velocity
        self.chunk, self.frames = (spec.horizon, spec.action_dim), spec.n_obs_steps

    def forward(self, z: Tensor, features: Tensor, time: Tensor) -> Tensor:
        """Map z (B, H*A), features (B, To*F), time (B, 2) to (B, H*A)."""
        seen = features.view(len(z), self.frames, -1)
        times = (time[:, 0],) if self.velocity else (time[:, 0], time[:, 1])
        u = one_by_one(self.program, (z.view(-1, *self.chunk), *times, seen))
        return u.reshape(len(z), -1)


def one_by_one(program: nn.Module, inputs: Sequence[Tensor]) -> Tensor:
    """Run a batch row by row, because a program has fixed shapes, of one row."""
    count = len(inputs[0])
    if count == 1:
        alone: Tensor = program(*inputs)
        return alone
    return torch.cat([program(*(x[i : i + 1] for x in inputs)) for i in range(count)])


def as_module(form: str, data: bytes, what: str, inputs: Inputs) -> nn.Module:
    """Return a program as a callable module. Raises PolicyError unless it takes `inputs`."""
    found: nn.Module
    if form == "onnx":
        from ofp_edge.policy.imported.onnx_graph import OnnxModule

        found = OnnxModule(data, what)
        shapes = found.shapes
    else:
        program: Any = load_program(data, what)
        with said_by(f"{what}: no program that can be called", PolicyError):
            taken = program.graph_signature.user_inputs
            nodes = {node.name: node for node in program.graph.nodes}
            shapes = [tuple(nodes[name].meta["val"].shape) for name in taken]
            found = with_layers(program.module(check_guards=False)).requires_grad_(False)
    if len(shapes) != len(inputs):
        raise PolicyError(
            f"{what} takes {len(shapes)} inputs, expected {len(inputs)}: {', '.join(inputs)}."
        )
    for (name, expected), got in zip(inputs.items(), shapes, strict=True):
        if got != expected:
            raise PolicyError(f"{what}, input {name}: expected shape {expected}, got {got}.")
    return found


def network_inputs(predicts: str, spec: PolicySpec, feature_dim: int) -> Inputs:
    """Return the inputs that a network takes."""
    times: Inputs = {"t": (1,)} if predicts == "velocity" else {"t": (1,), "r": (1,)}
    chunk, seen = (1, spec.horizon, spec.action_dim), (1, spec.n_obs_steps, feature_dim)
    return {"z": chunk, **times, "observations": seen}


def encoder_inputs(spec: PolicySpec) -> Inputs:
    """Return the inputs that an encoder takes."""
    return {f.name: (1, *f.shape) for f in spec.observations}
