"""Sampling makes a policy's chunk, Act and Predict are `act` as it is deployed, Method trains a
policy."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from ofp_edge.manifest import TimeRow
from ofp_edge.policy import sampler
from ofp_edge.policy.network import PolicyNetwork
from ofp_edge.policy.prefix import Prefix
from ofp_edge.start import MEAN, way_of

EULER_STEPS = 10
"""The Euler steps that a policy takes without --nfe if it learned velocities at r = t alone."""


def encoded(network: PolicyNetwork, observations: Sequence[Tensor], rows: int) -> Tensor:
    """Return the features (rows, To*F) of windows (B, To, ...) whose chunks, B at a time, are asked
    for over and over: each window is encoded once."""
    features = network.encode(observations)
    times = -(-rows // len(features))
    return features if times == 1 else features.repeat(times, 1)[:rows]


class Sampling:
    """The way a network is asked for a chunk.

    jumps: the network learns u(z, t, r) for r > t; otherwise it is always asked with r = t.
    velocity: a chunk is a sequence of `z + (r - t) u`; otherwise only `sample` makes one.
    draws: a chunk begins from noise and goes by times; otherwise it follows from features alone.
    deployable: each evaluation is a call of `act`, so that a bundle can make the chunk. own_nfe:
    the default number of network evaluations a chunk.
    """

    name: ClassVar[str]
    jumps: ClassVar[bool]
    velocity: ClassVar[bool] = True
    draws: ClassVar[bool] = True
    deployable: ClassVar[bool] = True

    @property
    def own_nfe(self) -> int:
        """The default number of evaluations: one."""
        return 1

    def sample(
        self,
        network: PolicyNetwork,
        features: Tensor,
        noise: Tensor,
        nfe: int,
        prefix: Prefix | None = None,
    ) -> Tensor:
        """Make a chunk (B, H*A) from noise in `nfe` network evaluations: evenly spaced jumps.
        prefix: what is committed of it, for a network that is told."""
        return sampler.sample(network, features, noise, sampler.ladder(nfe), prefix)

    def step(self, z: Tensor, out: Tensor, time_row: Tensor, first: int) -> Tensor:
        """Compute z (B, H*A) after an evaluation: `z + (r - t) u(z, t, r | o)`. out: the trunk's
        answer. time_row (B, E): from `time_row`, whose numbers for this start at column `first`."""
        return z + time_row[:, first:] * out

    def time_row(self, network: PolicyNetwork, name: str, t: float, r: float) -> TimeRow:
        """Return the constant input of `act` for the pair (t, r). r = t is the velocity, followed
        to the end: it leads to the mean of all chunks that z may have come from.

        A method that learned velocities at r = t alone is asked for that one: an Euler step.
        """
        asked, end = r if self.jumps else t, 1.0 if way_of(t, r) == MEAN else r
        with torch.no_grad():
            embedded = network.time(torch.tensor([t]), torch.tensor([asked]))[0]
        chooses = () if network.codes is None else (float(asked != t),)
        return TimeRow(name, t, r, (*embedded.tolist(), *chooses, end - t))

    def time_rows(
        self, network: PolicyNetwork, pairs: Sequence[tuple[str, float, float]], nfe: int | None
    ) -> tuple[TimeRow, ...]:
        """Return the rows that ship: `pairs`, each (name, t, r), or a ladder of nfe (by default the
        method's own number) where a chunk takes many evaluations."""
        if self.velocity and not self.jumps:
            times = sampler.ladder(EULER_STEPS if nfe is None else nfe)
            pairs = [("ladder", t, r) for t, r in zip(times, times[1:], strict=False)]
        return tuple(self.time_row(network, *pair) for pair in pairs)

    def act(self, network: PolicyNetwork) -> Act | Predict:
        """Return `act` as it is deployed."""
        return Act(network, self)


@dataclass(frozen=True)
class Deterministic(Sampling):
    """A policy whose chunk follows from the observation alone, in one evaluation: no noise, no
    times, no warm start. Its network's trunk maps features (B, To*F) to the chunk (B, H*A)."""

    name: ClassVar[str] = "deterministic"
    jumps: ClassVar[bool] = False
    velocity: ClassVar[bool] = False
    draws: ClassVar[bool] = False

    def sample(
        self,
        network: PolicyNetwork,
        features: Tensor,
        noise: Tensor,
        nfe: int,
        prefix: Prefix | None = None,
    ) -> Tensor:
        """Return the chunk; the noise changes nothing."""
        chunk: Tensor = network.trunk(features)
        return chunk

    def time_rows(
        self, network: PolicyNetwork, pairs: Sequence[tuple[str, float, float]], nfe: int | None
    ) -> tuple[TimeRow, ...]:
        """Return none."""
        return ()

    def act(self, network: PolicyNetwork) -> Act | Predict:
        """Return `act` as it is deployed."""
        return Predict(network)


class Predict(nn.Module):
    """Maps features (1, To*F) to (chunk, chunk_normalised (1, H*A)), as Act does from noise."""

    def __init__(self, network: PolicyNetwork) -> None:
        super().__init__()
        self.trunk, self.actions = network.trunk, network.actions
        self.first = network.spec.start_index * network.spec.action_dim

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Return the chunk in raw units, from the observation on, and as the network gives it."""
        chunk = self.trunk(features)
        raw = self.actions.back(chunk)
        return (raw[:, self.first :] if self.first else raw), chunk


class Act(nn.Module):
    """Maps (features (1, To*F), z (1, H*A), time_row (1, E)) to (chunk, chunk_normalised (1, H*A)).

    A network that is told a committed prefix takes two more, `functions.prefix_of`: committed
    (1, H*(A+1)) and free (1, H*A). z then has what is committed in its place.

    chunk is in raw action units, unclamped, without the leading actions that lie before the
    observation. time_row: the folded time embedding, then, of a network with codes, whether to
    choose one, then what the method's `step` takes.
    """

    def __init__(self, network: PolicyNetwork, method: Sampling) -> None:
        super().__init__()
        self.trunk, self.method, self.codes = network.trunk, method, network.codes
        self.embedding = network.time.size
        self.actions = network.actions
        self.first = network.spec.start_index * network.spec.action_dim

    def forward(
        self,
        features: Tensor,
        z: Tensor,
        time_row: Tensor,
        committed: Tensor | None = None,
        free: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Take one step of the method; return it also in raw units, from the observation on."""
        time, told = time_row[:, : self.embedding], () if committed is None else (committed,)
        first = self.embedding
        if self.codes is not None:
            first += 1
            time = self.codes(z, features, time, time_row[:, first - 1 : first], *told)
        out = self.trunk(z, features, time, *told)
        if free is not None:
            # Where nothing moves, an Euler step leaves the bits of what is committed.
            out = out * free
        chunk = self.method.step(z, out, time_row, first)
        raw = self.actions.back(chunk)
        return (raw[:, self.first :] if self.first else raw), chunk


@dataclass(frozen=True)
class Method(Sampling, ABC):
    """A training method: a frozen dataclass of its options, which are numbers stored in the policy.

    teacher_decay: decay of the averaged weights that `losses` uses as a teacher; None when the
    method has none (the preset's decay then serves evaluation alone). compiles: torch.compile can
    take its networks, because it differentiates backward alone. kept: the options that say what a
    network predicts, which goes on with its weights.
    """

    summary: ClassVar[str]
    compiles: ClassVar[bool] = True
    kept: ClassVar[tuple[str, ...]] = ()

    @property
    def teacher_decay(self) -> float | None:
        """The decay of the teacher's averaged weights; None here. See the class."""
        return None

    @property
    def predicts(self) -> str:
        """What the network answers with: weights that learned one can't go on with another."""
        return "a velocity"

    @property
    def code_count(self) -> int:
        """The codes that a new network's jumps choose among (see codes.py); none here."""
        return 0

    @abstractmethod
    def losses(
        self,
        network: PolicyNetwork,
        teacher: PolicyNetwork,
        observations: Sequence[Tensor],
        actions: Tensor,
        progress: float,
        generator: torch.Generator,
        prefix: Prefix | None = None,
    ) -> dict[str, Tensor]:
        """Return weighted scalar terms, whose sum is minimised. The first is the method's
        regression on data, comparable over training. observations: as `PolicyNetwork.encode` takes
        them; actions: normalised (B, H*A); progress 0..1; prefix: what is committed of them, which
        no term counts, or None."""
