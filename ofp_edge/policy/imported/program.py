"""Put a network that was imported as a program behind the parts of a PolicyNetwork.

    u(z, t, r, observations)    or, where it predicts a velocity, v(z, t, observations)
    chunk(observations)         where it is deterministic

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

from ofp_edge.policy.imported.archive import load_program
from ofp_edge.policy.imported.binding import Named, Names, Signature, bind, by_place
from ofp_edge.policy.parts import Embedding, Encoder
from ofp_edge.spec import PolicySpec


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


class ChunkTrunk(_Fixed):
    """Calls a program that gives the chunk itself, in its own shapes."""

    def __init__(self, program: nn.Module, spec: PolicySpec) -> None:
        super().__init__()
        self.program, self.frames = program, spec.n_obs_steps
        self.chunk = spec.horizon, spec.action_dim

    def forward(self, features: Tensor) -> Tensor:
        """Map features (B, To*F) to (B, H*A)."""
        chunk = one_by_one(self.program, (features.view(len(features), self.frames, -1),))
        return chunk.reshape(len(features), -1)


def one_by_one(program: nn.Module, inputs: Sequence[Tensor]) -> Tensor:
    """Run a batch row by row, because a program has fixed shapes, of one row."""
    count = len(inputs[0])
    if count == 1:
        alone: Tensor = program(*inputs)
        return alone
    return torch.cat([program(*(x[i : i + 1] for x in inputs)) for i in range(count)])


def as_module(
    form: str, data: bytes, what: str, wanted: Signature, names: Names | None
) -> tuple[nn.Module, Names]:
    """Return a program as a module that takes `wanted`'s inputs in their order, and its own names.

    names: what is known of them; None binds by place, as folders of before do. Raises PolicyError.
    """
    inputs: Named
    outputs: Named
    found: Any
    if form == "onnx":
        from ofp_edge.policy.imported.onnx_graph import OnnxModule

        found = OnnxModule(data, what)
        inputs, outputs = found.inputs, found.outputs
    else:
        from ofp_edge.policy.imported.called import Called

        found = Called(load_program(data, what), what)
        inputs, outputs = found.inputs, found.outputs
    given = by_place(inputs, outputs, wanted) if names is None else names
    bound = bind(what, wanted, inputs, outputs, given)
    return found.bound(bound), bound


def network_signature(predicts: str, spec: PolicySpec, feature_dim: int) -> Signature:
    """Return how a network is called."""
    chunk, seen = (1, spec.horizon, spec.action_dim), (1, spec.n_obs_steps, feature_dim)
    if predicts == "chunk":
        return Signature({"observations": seen}, "chunk", chunk)
    velocity = predicts == "velocity"
    times = {"t": (1,)} if velocity else {"t": (1,), "r": (1,)}
    inputs = {"z": chunk, **times, "observations": seen}
    return Signature(inputs, "v" if velocity else "u", chunk)


def encoder_signature(spec: PolicySpec) -> Signature:
    """Return how an encoder is called: an image's input may have its camera's name."""
    return Signature(
        {f.name: (1, *f.shape) for f in spec.observations},
        "feature",
        None,
        "encode_inputs",
        {
            f.name: (f.name.removeprefix("rgb_"), *filter(None, [f.camera]))
            for f in spec.observations
        },
    )
