"""The deployed functions: `encode` (newest frame -> feature) and `act` (features, z -> chunk).

Normalisation is inside. The time embedding is folded into constant rows, one a shipped (t, r)
pair. Inputs and outputs are flat (points 4-D); an MLP's graph holds no reshape at all.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ofp_edge import bundle
from ofp_edge.policy.encoder import ObservationEncoder
from ofp_edge.policy.folder import Policy
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


@dataclass
class Deployed:
    """What `compile` exports and `quantize` quantises; both modules are in evaluation mode.

    encode takes the observation fields in spec order, state (1, D) raw and points (1, 3, 1, N) in
    metres, and gives (1, feature_dim). The modules share the policy's weights.
    """

    spec: PolicySpec
    encode: ObservationEncoder
    act: Act
    time_rows: tuple[bundle.TimeRow, ...]
    encode_inputs: tuple[bundle.Tensor, ...]
    feature_dim: int


def deploy(policy: Policy) -> Deployed:
    """Split a policy into its deployed functions."""
    network = policy.network.eval()
    fields = policy.config.spec.observations
    inputs = tuple(
        bundle.Tensor(f.name, (1, 3, 1, f.shape[1]) if f.kind == "points" else (1, *f.shape))
        for f in fields
    )
    rows = tuple(time_row(network, *row) for row in policy.config.time_rows)
    encode = network.encoder
    return Deployed(
        policy.config.spec, encode, Act(network).eval(), rows, inputs, encode.feature_dim
    )


def time_row(network: PolicyNetwork, name: str, t: float, r: float) -> bundle.TimeRow:
    """The constant input of `act` for the pair (t, r)."""
    with torch.no_grad():
        embedded = network.time(torch.tensor([t]), torch.tensor([r]))[0]
    return bundle.TimeRow(name, t, r, (*embedded.tolist(), r - t))
