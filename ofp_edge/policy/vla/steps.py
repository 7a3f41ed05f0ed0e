"""The sampling of an imported VLA: even Euler steps, as many as its checkpoint asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ofp_edge.manifest import TimeRow
from ofp_edge.policy.methods.flow import Flow
from ofp_edge.policy.network import PolicyNetwork


@dataclass(frozen=True)
class Steps(Flow):
    """Flow matching whose chunk takes `steps` evaluations unless told otherwise."""

    steps: int = 10

    @property
    def own_nfe(self) -> int:
        """The checkpoint's own number."""
        return self.steps

    def time_rows(
        self, network: PolicyNetwork, pairs: Sequence[tuple[str, float, float]], nfe: int | None
    ) -> tuple[TimeRow, ...]:
        """Return the rows that ship; see Sampling."""
        return super().time_rows(network, pairs, self.steps if nfe is None else nfe)
