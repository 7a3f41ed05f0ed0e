"""The deployed function `act`: one evaluation of the network, from noise or a chunk to a chunk."""

from __future__ import annotations

from torch import Tensor, nn

from ofp_edge.policy.methods.method import Sampling
from ofp_edge.policy.network import PolicyNetwork


class Act(nn.Module):
    """(features (1, To*F), z (1, H*A), time_row (1, E)) -> (chunk, chunk_normalised (1, H*A)).

    chunk is in raw action units, unclamped, without the leading actions that lie before the
    observation. time_row: the folded time embedding, then what the method's `step` takes.
    """

    def __init__(self, network: PolicyNetwork, method: Sampling) -> None:
        super().__init__()
        self.trunk, self.method = network.trunk, method
        self.embedding = network.time.size
        self.actions = network.actions
        self.first = network.spec.start_index * network.spec.action_dim

    def forward(self, features: Tensor, z: Tensor, time_row: Tensor) -> tuple[Tensor, Tensor]:
        """One step of the method, and the same in raw units from the observation on."""
        out = self.trunk(z, features, time_row[:, : self.embedding])
        chunk = self.method.step(z, out, time_row, self.embedding)
        raw = self.actions.back(chunk)
        return (raw[:, self.first :] if self.first else raw), chunk
