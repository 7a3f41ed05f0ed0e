"""The two kinds of VLA network, as config.json describes them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import nn

from ofp_edge.errors import PolicyError
from ofp_edge.fields import State
from ofp_edge.policy.vla.config import AT, REFUSALS, VlaConfig
from ofp_edge.policy.vla.parts import Pictures
from ofp_edge.policy.vla.pi05 import Pi05Encode, Pi05Expert
from ofp_edge.policy.vla.smolvla import SmolVlaEncode, SmolVlaExpert
from ofp_edge.policy.vla.timing import AdaptiveTime, Time
from ofp_edge.spec import PolicySpec


@dataclass(frozen=True)
class SmolVlaConfig(VlaConfig):
    """SmolVLA. state: numbers of the state as the network has it, of which the robot's are the
    first. own_every: each so many layers, from the first, the actions see each other too; 0: never.
    causal: they then see only those before them, as the published network's do, so that no action
    goes by the noise of a later one; otherwise all of the chunk.
    """

    kind: ClassVar[str | None] = "smolvla"
    stated: ClassVar[bool] = True
    centred: ClassVar[bool] = False
    state: int
    own_every: int
    causal: bool = True

    @property
    def refusals(self) -> Mapping[str, str]:
        """The same as for Network, but that it can be quantised."""
        return {what: why for what, why in REFUSALS.items() if what != "quantize"}

    @property
    def crosses(self) -> tuple[bool, ...]:
        """By layer, whether the actions see the prefix alone."""
        return tuple(
            self.own_every == 0 or i % self.own_every != 0 for i in range(self.expert.layers)
        )

    @classmethod
    def from_json(cls, value: Any) -> SmolVlaConfig:
        """Read the entry; see Network."""
        made: SmolVlaConfig = cls.read(value, from_0=("own_every",))
        return made

    def parts(self, pictures: Pictures, spec: PolicySpec, states: nn.ModuleList) -> Any:
        """Build them; see VlaConfig."""
        fields = [f for f in spec.observations if isinstance(f, State)]
        size = sum(f.shape[0] for f in fields)
        if not 0 < size <= self.state:
            raise PolicyError(f"{AT}.state: expected a state of 1..{self.state}, got {size}.")
        cameras = len(pictures.fit)
        length = cameras * self.vision.words + self.words + 1
        module = SmolVlaEncode(
            pictures, cameras, states, self.state, self.language, self.crosses, length
        )
        time = Time(self.expert.width, self.flow)
        expert = SmolVlaExpert(
            self.expert, self.flow, self.crosses, spec.horizon, causal=self.causal
        )
        return module, time, expert


@dataclass(frozen=True)
class Pi05Config(VlaConfig):
    """pi0.5. relative: by action dimension, whether the network's action is a difference to the
    state; None: none is."""

    kind: ClassVar[str | None] = "pi05"
    stated: ClassVar[bool] = False
    centred: ClassVar[bool] = True
    relative: tuple[bool, ...] | None = None

    @property
    def actions_relative(self) -> tuple[bool, ...]:
        """The same as `relative`."""
        return self.relative or ()

    @classmethod
    def from_json(cls, value: Any) -> Pi05Config:
        """Read the entry; see Network."""
        made: Pi05Config = cls.read(value)
        return made

    def parts(self, pictures: Pictures, spec: PolicySpec, states: nn.ModuleList) -> Any:
        """Build them; see VlaConfig."""
        if self.relative and len(self.relative) != spec.action_dim:
            raise PolicyError(f"{AT}.relative: expected {spec.action_dim} entries, or none.")
        module = Pi05Encode(pictures, len(pictures.fit), self.language)
        time = AdaptiveTime(self.expert.width, 2 * self.expert.layers + 1, self.flow)
        return module, time, Pi05Expert(self.expert, self.flow, spec.horizon)
