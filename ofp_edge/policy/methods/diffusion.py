"""`diffusion`: DDPM training and DDIM sampling, the many-step baseline of Diffusion Policy.

Ho et al., NeurIPS 2020; Song et al., ICLR 2021; Chi et al., RSS 2023. The schedulers are
diffusers'; squared-cosine betas, clipped samples. The network is the same as every method's, but it
predicts the chunk without its noise, not a velocity, as in DP3 (Ze et al., RSS 2024):

    z_k = sqrt(abar_k) a + sqrt(1 - abar_k) eps,      L = || a(z_k, t_k, t_k | o) - a ||^2

With predicts_data = 0 it predicts the noise, L = || e(z_k, t_k, t_k | o) - eps ||^2. All the
numbers of z have to pass through the trunk then, and a narrow one fails: see docs/benchmark.md.

Its time is the scheduler's step k = 0 .. T-1 turned round, t_k = 1 - (k + 1) / T: the noisiest step
is at t = 0, and data would be at 1, as everywhere here. r = t always.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import Any, ClassVar

import torch
from torch import Tensor

from ofp_edge.errors import PolicyError
from ofp_edge.extras import require
from ofp_edge.policy import times
from ofp_edge.policy.draws import integers
from ofp_edge.policy.methods.method import Method, encoded
from ofp_edge.policy.network import PolicyNetwork
from ofp_edge.policy.prefix import Prefix, telling


@dataclass(frozen=True)
class Diffusion(Method):
    """T is train_steps, a whole number. p_drop: share of samples without condition, as in OFP.
    predicts_data: 1: the network predicts the chunk, 0: the noise."""

    name: ClassVar[str] = "diffusion"
    summary: ClassVar[str] = "DDPM with DDIM sampling: the many-step baseline, not deployable"
    jumps: ClassVar[bool] = False
    velocity: ClassVar[bool] = False
    deployable: ClassVar[bool] = False
    kept: ClassVar[tuple[str, ...]] = ("predicts_data",)
    train_steps: float = 100
    p_drop: float = 0.1
    predicts_data: float = 1.0

    def __post_init__(self) -> None:
        if self.predicts_data not in (0, 1):
            raise PolicyError(
                f"method {self.name}: predicts_data = {self.predicts_data:g}: expected 1, the "
                "chunk, or 0, the noise."
            )

    @property
    def predicts(self) -> str:
        """What the network answers with; see Method."""
        return "the chunk" if self.predicts_data else "the noise"

    @property
    def own_nfe(self) -> int:
        """The number of steps that training has."""
        return int(self.train_steps)

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
        """Compute the loss; see Method."""
        count, rows = int(self.train_steps), len(actions)
        features = encoded(network, observations, len(actions))
        condition = times.drop_condition(features, network.null, self.p_drop, generator)
        eps = times.noise_like(actions, generator)
        k = integers(count, rows, generator)
        noisy = _scheduler("DDPMScheduler", count, self._predicts).add_noise(actions, eps, k)
        t = self.time_of(k)
        found = telling(network, prefix)(noisy, t, t, condition)
        wanted = actions if self.predicts_data else eps
        name = "chunk" if self.predicts_data else "noise"
        return {name: times.squared_error(found, wanted, prefix, network.counted).mean()}

    @property
    def _predicts(self) -> str:
        return "sample" if self.predicts_data else "epsilon"

    def sample(
        self,
        network: PolicyNetwork,
        features: Tensor,
        noise: Tensor,
        nfe: int,
        prefix: Prefix | None = None,
    ) -> Tensor:
        """Run DDIM without fresh noise, in 1 to T steps (nfe). More is a PolicyError."""
        count = int(self.train_steps)
        if not 1 <= nfe <= count:
            raise PolicyError(
                f"method diffusion: expected 1 to {count} evaluations (--nfe), as many as the "
                f"policy was trained with, got {nfe}."
            )
        # Evenly spaced as diffusers' "trailing"; its own list is one too long for some nfe.
        steps = [round(count * i / nfe) - 1 for i in range(nfe, 0, -1)]
        scheduler = _scheduler("DDIMScheduler", count, self._predicts)
        z, told = noise, telling(network, prefix)
        for k, after in zip(steps, [*steps[1:], -1], strict=True):
            # Its `step` goes back by T // num_inference_steps, which is uneven here: the exact
            # fraction makes that this gap, and leaves the formula to diffusers.
            scheduler.num_inference_steps = Fraction(count, k - after)
            t = self.time_of(torch.full((len(z),), k, device=z.device))
            z = scheduler.step(told(z, t, t, features), k, z).prev_sample
        return z if prefix is None else prefix.put_into(z)

    def time_of(self, k: Tensor) -> Tensor:
        """Return the network's time of scheduler steps k, any shape: 0 for T - 1, to 1 - 1 / T."""
        return 1 - (k + 1) / int(self.train_steps)


@lru_cache(maxsize=8)
def _scheduler(name: str, count: int, predicts: str) -> Any:
    kind = getattr(require("diffusers", "train"), name)
    return kind(
        num_train_timesteps=count,
        beta_schedule="squaredcos_cap_v2",
        clip_sample=True,
        prediction_type=predicts,
    )
