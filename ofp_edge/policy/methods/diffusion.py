"""`diffusion`: DDPM training, DDIM sampling: the many-step baseline of Diffusion Policy.

Ho et al., NeurIPS 2020; Song et al., ICLR 2021; Chi et al., RSS 2023. The schedulers are
diffusers'; squared-cosine betas, clipped samples. The network is the same as every method's, and
what it gives is the noise in its input, not a velocity:

    z_k = sqrt(abar_k) a + sqrt(1 - abar_k) eps,      L = || e(z_k, t_k, t_k | o) - eps ||^2

Its time is the scheduler's step k = 0 .. T-1 turned round, t_k = 1 - (k + 1) / T: the noisiest
step is at t = 0, and data would be at 1, as everywhere here. r = t always.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar

import torch
from torch import Tensor

from ofp_edge.errors import PolicyError
from ofp_edge.extras import require
from ofp_edge.policy import times
from ofp_edge.policy.network import PolicyNetwork


@dataclass(frozen=True)
class Diffusion:
    """train_steps: T, a whole number. p_drop: share of samples without condition, as in OFP."""

    name: ClassVar[str] = "diffusion"
    summary: ClassVar[str] = "DDPM with DDIM sampling: the many-step baseline, not deployable"
    jumps: ClassVar[bool] = False
    velocity: ClassVar[bool] = False
    train_steps: float = 100
    p_drop: float = 0.1

    @property
    def teacher_decay(self) -> float | None:
        """No teacher."""
        return None

    @property
    def own_nfe(self) -> int:
        """As many as in training."""
        return int(self.train_steps)

    def losses(
        self,
        network: PolicyNetwork,
        teacher: PolicyNetwork,
        observations: Sequence[Tensor],
        actions: Tensor,
        progress: float,
        generator: torch.Generator,
    ) -> dict[str, Tensor]:
        """See Method."""
        count, rows = int(self.train_steps), len(actions)
        features = network.encode(observations)
        condition = times.drop_condition(features, network.null, self.p_drop, generator)
        eps = times.noise_like(actions, generator)
        k = torch.randint(count, (rows,), generator=generator)
        noisy = _scheduler("DDPMScheduler", count).add_noise(actions, eps, k)
        t = self.time_of(k)
        return {"noise": times.squared_error(network(noisy, t, t, condition), eps).mean()}

    def sample(self, network: PolicyNetwork, features: Tensor, noise: Tensor, nfe: int) -> Tensor:
        """DDIM without fresh noise. nfe divides T, or PolicyError."""
        count = int(self.train_steps)
        if nfe < 1 or count % nfe:
            # diffusers' DDIM steps by T // nfe: in between, noise and time would not match.
            known = [n for n in range(1, count + 1) if count % n == 0]
            raise PolicyError(
                f"method diffusion: {nfe} evaluations do not divide its {count} steps evenly. "
                f"Take one of {known}."
            )
        scheduler = _scheduler("DDIMScheduler", count, timestep_spacing="trailing")
        scheduler.set_timesteps(nfe)
        z = noise
        for k in scheduler.timesteps:
            t = self.time_of(k).expand(len(z))
            z = scheduler.step(network(z, t, t, features), k, z).prev_sample
        return z

    def time_of(self, k: Tensor) -> Tensor:
        """The network's time of scheduler steps k, any shape: 0 for T - 1, up to 1 - 1 / T."""
        return 1 - (k + 1) / int(self.train_steps)


@lru_cache(maxsize=8)
def _scheduler(name: str, count: int, **more: str) -> Any:
    kind = getattr(require("diffusers", "train"), name)
    return kind(
        num_train_timesteps=count, beta_schedule="squaredcos_cap_v2", clip_sample=True,
        prediction_type="epsilon", **more,
    )  # fmt: skip
