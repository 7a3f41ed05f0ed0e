"""The deployed functions: `encode` (newest frame -> feature) and `act` (features, z -> chunk).

Normalisation is inside. The time embedding is folded into constant rows, one a shipped (t, r)
pair. Inputs and outputs are flat (points 4-D); an MLP's graph holds no reshape at all.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ofp_edge import manifest
from ofp_edge.errors import PolicyError
from ofp_edge.policy.encoder import ObservationEncoder
from ofp_edge.policy.folder import Policy
from ofp_edge.policy.methods import build_method
from ofp_edge.policy.methods.method import Method
from ofp_edge.policy.network import PolicyNetwork
from ofp_edge.policy.trunks.trunk import Trunk
from ofp_edge.spec import PolicySpec


class Act(nn.Module):
    """(features (1, To*F), z (1, H*A), time_row (1, E)) -> (chunk, chunk_normalised), (1, H*A).

    chunk is in raw action units, unclamped. time_row: the folded time embedding, then r - t.
    """

    action_scale: Tensor
    action_offset: Tensor

    def __init__(self, network: PolicyNetwork) -> None:
        super().__init__()
        self.trunk: Trunk = network.trunk
        self.embedding = network.time.size
        self.register_buffer("action_scale", network.action_scale, persistent=False)
        self.register_buffer("action_offset", network.action_offset, persistent=False)

    def forward(self, features: Tensor, z: Tensor, time_row: Tensor) -> tuple[Tensor, Tensor]:
        """`z + (r - t) u(z, t, r | o)`, and the same in raw units."""
        u = self.trunk(z, features, time_row[:, : self.embedding])
        chunk = z + time_row[:, self.embedding :] * u
        return chunk * self.action_scale + self.action_offset, chunk


class LadderAct(nn.Module):
    """Act's first two inputs and its outputs, but several evaluations of `act` as one call.

    ladders: (L, nfe, E) time rows. In place of a time row comes the number of the ladder to walk,
    (B, 1): each row of a batch walks its own.
    """

    ladders: Tensor

    def __init__(self, act: nn.Module, ladders: Tensor) -> None:
        super().__init__()
        self.act = act
        self.register_buffer("ladders", ladders, persistent=False)

    def forward(self, features: Tensor, z: Tensor, ladder: Tensor) -> tuple[Tensor, Tensor]:
        """(chunk, chunk_normalised) at the end of the ladder."""
        rows = self.ladders[ladder[:, 0].long()]  # (B, nfe, E)
        chunk, z = self.act(features, z, rows[:, 0])
        for k in range(1, rows.shape[1]):
            chunk, z = self.act(features, z, rows[:, k])
        return chunk, z


class SampledAct(nn.Module):
    """Act's inputs and outputs, but the whole chunk comes from `Method.sample`.

    For evaluating in torch what has no deployed form; the time row is not looked at.
    """

    def __init__(self, network: PolicyNetwork, method: Method, nfe: int) -> None:
        super().__init__()
        self.network, self.method, self.nfe = network, method, nfe

    def forward(self, features: Tensor, z: Tensor, time_row: Tensor) -> tuple[Tensor, Tensor]:
        """(chunk, chunk_normalised) after `nfe` evaluations from noise z."""
        chunk = self.method.sample(self.network, features, z, self.nfe)
        return chunk * self.network.action_scale + self.network.action_offset, chunk


@dataclass
class Deployed:
    """What `compile` exports and `quantize` quantises; both modules are in evaluation mode.

    encode takes the observation fields in spec order, state (1, D) raw, points (1, 3, 1, N) in
    metres and images (1, 3, H, W) in 0..1, and gives (1, feature_dim). The
    modules share the policy's weights.
    """

    spec: PolicySpec
    encode: ObservationEncoder
    act: Act
    time_rows: tuple[manifest.TimeRow, ...]
    encode_inputs: tuple[manifest.Tensor, ...]
    feature_dim: int


def method_of(policy: Policy) -> Method:
    """The method that a policy was trained with, with its options."""
    return build_method(policy.config.method, policy.config.method_options)


def deploy(policy: Policy) -> Deployed:
    """Split a policy into its deployed functions. PolicyError when its method has no such form."""
    if not method_of(policy).velocity:
        raise PolicyError(
            f"method {policy.config.method} answers in many steps; evaluate it with `eval --nfe`."
        )
    return split(policy)


def split(policy: Policy) -> Deployed:
    """`deploy` for looking at any policy: its functions' shapes and costs, a call."""
    network = policy.network.eval()
    fields = policy.config.spec.observations
    inputs = tuple(
        manifest.Tensor(f.name, (1, 3, 1, f.shape[1]) if f.kind == "points" else (1, *f.shape))
        for f in fields
    )
    rows = tuple(time_row(policy, *row) for row in policy.config.time_rows)
    encode = network.encoder
    return Deployed(
        policy.config.spec, encode, Act(network).eval(), rows, inputs, encode.feature_dim
    )


def time_row(policy: Policy, name: str, t: float, r: float) -> manifest.TimeRow:
    """The constant input of `act` for the pair (t, r).

    A method that learned velocities at r = t alone is asked for that one: an Euler step.
    """
    asked = r if method_of(policy).jumps else t
    with torch.no_grad():
        embedded = policy.network.time(torch.tensor([t]), torch.tensor([asked]))[0]
    return manifest.TimeRow(name, t, r, (*embedded.tolist(), r - t))
