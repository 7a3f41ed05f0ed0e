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


def test_shift_drops_what_was_executed_and_repeats_the_last_action() -> None:
    chunk = torch.arange(8.0).view(1, 8)  # 4 actions of 2 numbers
    assert sampler.shift(chunk, 1, 2).tolist() == [[2, 3, 4, 5, 6, 7, 6, 7]]
    assert sampler.shift(chunk, 0, 2).tolist() == chunk.tolist()
    assert sampler.shift(chunk, 9, 2).tolist() == [[6, 7] * 4]


def test_warm_start_enters_the_flow_at_t_w(field: Any) -> None:
    prior = torch.randn(5, 8)
    got = sampler.warm_start(field, FEATURES, Z, prior, 0.3)
    torch.testing.assert_close(got, math.exp(-Decay.k * 0.7) * (0.7 * Z + 0.3 * prior))
    assert field.calls == 1


def test_refinement_renoises_the_first_answer(field: Any) -> None:
    first = torch.randn(5, 8)
    got = sampler.refine(field, FEATURES, Z, first, 0.5)
    torch.testing.assert_close(got, math.exp(-Decay.k * 0.5) * (0.5 * Z + 0.5 * first))
