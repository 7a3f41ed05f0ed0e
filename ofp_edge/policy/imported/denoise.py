"""Denoise makes an imported diffusion policy's chunk, by its own sampler or DDIM's shorter one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from ofp_edge.manifest import TimeRow
from ofp_edge.policy.imported.schedule import CONSTANTS, ScheduleConfig, rungs, stepped
from ofp_edge.policy.methods.method import Sampling
from ofp_edge.policy.network import PolicyNetwork
from ofp_edge.policy.prefix import Prefix, telling


@dataclass(frozen=True)
class Denoise(Sampling):
    """An imported policy's sampling, not trained here: `distill` makes a one-step policy of it."""

    schedule: ScheduleConfig
    name: ClassVar[str] = "diffusion"
    jumps: ClassVar[bool] = False
    velocity: ClassVar[bool] = False

    @property
    def own_nfe(self) -> int:
        """The number that its configuration states."""
        return self.schedule.steps

    def sample(
        self,
        network: PolicyNetwork,
        features: Tensor,
        noise: Tensor,
        nfe: int,
        prefix: Prefix | None = None,
    ) -> Tensor:
        """Sample from noise in `nfe` steps; torch's own generator draws what DDPM adds."""
        z, told = noise, telling(network, prefix)
        for rung in rungs(self.schedule, nfe):
            t = torch.full((len(z),), 1 - (rung.k + 1) / self.schedule.train_steps, device=z.device)
            z = stepped(z, told(z, t, t, features), rung.constants, self.schedule.clip)
            if rung.sigma:
                z = z + rung.sigma * torch.randn_like(z)
        return z if prefix is None else prefix.put_into(z)

    def step(self, z: Tensor, out: Tensor, time_row: Tensor, first: int) -> Tensor:
        """Take one step of the sampler, by the constants of schedule.py; see Sampling."""
        constants = [time_row[:, i : i + 1] for i in range(first, first + CONSTANTS)]
        return stepped(z, out, constants, self.schedule.clip)

    def time_rows(
        self, network: PolicyNetwork, pairs: Sequence[tuple[str, float, float]], nfe: int | None
    ) -> tuple[TimeRow, ...]:
        """Return the ladder of the sampler's steps: time 0 is the noisiest one, 1 the sample."""
        steps = rungs(self.schedule, self.own_nfe if nfe is None else nfe)
        times = [1 - (x.k + 1) / self.schedule.train_steps for x in steps] + [1.0]
        rows, noise = [], 0.0
        for step, t, r in zip(steps, times, times[1:], strict=False):
            with torch.no_grad():
                embedded = network.time(torch.tensor([t]), torch.tensor([t]))[0].tolist()
            rows.append(TimeRow("ladder", t, r, (*embedded, *step.constants, r - t), noise))
            noise = step.sigma
        return tuple(rows)
