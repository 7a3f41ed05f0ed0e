"""The sizes of a vision-language-action network; none stands anywhere else."""

from __future__ import annotations

from dataclasses import dataclass

ACTIVATIONS = ("silu", "gelu_tanh")


@dataclass(frozen=True)
class VisionSizes:
    """The sizes of a SigLIP tower and of what follows it.

    image: height and width of the pictures it takes, pixels. patch: of a patch. side: patches along
    an edge of its table of positions. heads share the width. shuffle: so many patches along each
    edge become one word; 1: each becomes one. bias: whether the projection to words has one.
    """

    image: int
    patch: int
    side: int
    width: int
    layers: int
    heads: int
    hidden: int
    epsilon: float
    shuffle: int
    bias: bool

    @property
    def words(self) -> int:
        """The number of words that one picture becomes."""
        return (self.image // self.patch // self.shuffle) ** 2


@dataclass(frozen=True)
class DecoderSizes:
    """The sizes of a stack of decoder layers with grouped queries.

    hidden: of the gated MLP; activation: of its gate. theta: the base of the rotation's periods.
    """

    width: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    hidden: int
    activation: str
    epsilon: float
    theta: float


@dataclass(frozen=True)
class FlowSizes:
    """The sizes of what is flowed, and of its time. width: numbers of an action as the network has
    it, of which the robot's are the first. Periods: of the time's sines, from the shortest to the
    longest."""

    width: int
    shortest_period: float
    longest_period: float
