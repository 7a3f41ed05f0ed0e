"""Sampling, checked on a field whose average velocity is known exactly."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from ofp_edge.policy import sampler
from ofp_edge.policy.folder import Policy


class Decay:
    """dz/dt = -k z: `u(z, t, r) = (exp(-k (r - t)) - 1) / (r - t) z`, and -k z at t = r."""

    k = 1.7
    calls = 0
    codes = None

    def __call__(self, z: Tensor, t: Tensor, r: Tensor, features: Tensor) -> Tensor:
        self.calls += 1
        step = r - t
        rate = torch.where(step > 0, torch.expm1(-self.k * step) / step.clamp(min=1e-9), -self.k)
        return rate[:, None] * z


@pytest.fixture
def field() -> Any:
    return Decay()


Z = torch.randn(5, 8, generator=torch.Generator().manual_seed(0))
FEATURES = torch.zeros(5, 3)


@pytest.mark.parametrize("nfe", [1, 2, 7])
def test_every_number_of_steps_follows_the_exact_flow(field: Any, nfe: int) -> None:
    end = sampler.sample(field, FEATURES, Z, sampler.ladder(nfe))
    torch.testing.assert_close(end, math.exp(-Decay.k) * Z)
    assert field.calls == nfe


def test_one_step_is_noise_plus_average_velocity(policy: Policy) -> None:
    noise = torch.randn(2, policy.network.chunk_size)
    features = torch.randn(2, policy.network.null.numel())
    zero, one = torch.zeros(2), torch.ones(2)
    expected = noise + policy.network(noise, zero, one, features)
    torch.testing.assert_close(sampler.sample(policy.network, features, noise), expected)


def test_ladder_ends_exactly_at_one() -> None:
    assert sampler.ladder(1) == (0.0, 1.0)
    assert sampler.ladder(4) == (0.0, 0.25, 0.5, 0.75, 1.0)
    assert sampler.ladder(3, 0.4)[0] == 0.4
    assert all(sampler.ladder(n)[-1] == 1.0 and len(sampler.ladder(n)) == n + 1 for n in (3, 7, 49))
