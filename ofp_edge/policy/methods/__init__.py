"""Training methods by name: one file each, one interface."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from typing import ClassVar, Protocol

import torch
from torch import Tensor

from ofp_edge.errors import PolicyError, UnknownName
from ofp_edge.policy.methods.diffusion import Diffusion
from ofp_edge.policy.methods.flow import Flow
from ofp_edge.policy.methods.meanflow import MeanFlow
from ofp_edge.policy.methods.ofp import Ofp
from ofp_edge.policy.methods.ofp_plus import OfpPlus
from ofp_edge.policy.network import PolicyNetwork

DEFAULT = "ofp-plus"


class Method(Protocol):
    """A frozen dataclass of numbers: the method's options, stored in the policy.

    teacher_decay: decay of the averaged weights that `losses` uses as a teacher; None when the
    method has none (the preset's decay then serves evaluation alone).
    jumps: the network learns u(z, t, r) for r > t; otherwise it is always asked with r = t.
    velocity: a chunk is a sequence of `z + (r - t) u`; otherwise only `sample` makes one, and the
    policy can't be deployed.
    own_nfe: network evaluations of a chunk where nobody asks for another number.
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    jumps: ClassVar[bool]
    velocity: ClassVar[bool]

    @property
    def own_nfe(self) -> int:
        """See the class."""

    @property
    def teacher_decay(self) -> float | None:
        """See the class."""

    def losses(
        self,
        network: PolicyNetwork,
        teacher: PolicyNetwork,
        observations: Sequence[Tensor],
        actions: Tensor,
        progress: float,
        generator: torch.Generator,
    ) -> dict[str, Tensor]:
        """Weighted scalar terms; their sum is minimised. The first is the method's regression
        on data, comparable over training. observations: as `PolicyNetwork.encode` takes them;
        actions: normalised (B, H*A); progress 0..1."""

    def sample(self, network: PolicyNetwork, features: Tensor, noise: Tensor, nfe: int) -> Tensor:
        """A chunk (B, H*A) from noise in `nfe` network evaluations."""


METHODS: dict[str, type[Diffusion] | type[Flow] | type[MeanFlow] | type[Ofp] | type[OfpPlus]] = {
    method.name: method for method in (Ofp, OfpPlus, Flow, MeanFlow, Diffusion)
}


def build_method(name: str, options: Mapping[str, float] | None = None) -> Method:
    """The method with its defaults, `options` on top. UnknownName, or PolicyError on an option."""
    if name not in METHODS:
        raise UnknownName("method", name, METHODS)
    kind = METHODS[name]
    known = {entry.name for entry in fields(kind)}
    if extra := sorted(set(options or {}) - known):
        raise PolicyError(f"method {name}: unknown option {extra[0]!r}. Known: {sorted(known)}")
    return kind(**(options or {}))


def options_of(method: Method) -> dict[str, float]:
    """Every option by name, for config.json."""
    return {key: float(value) for key, value in asdict(method).items()}  # type: ignore[call-overload]
