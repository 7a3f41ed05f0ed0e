"""MeanFlow: the identity on a field that is known by hand, its derivative, its weight."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from ofp_edge.policy.folder import Policy
from ofp_edge.policy.methods import build_method
from ofp_edge.policy.methods.meanflow import average_velocity, with_slope

K = 1.3
GENERATOR = torch.Generator().manual_seed(0)


def decay(z: Tensor, t: Tensor, r: Tensor, features: Tensor) -> Tensor:
    """The average velocity of dz/dt = -K z, and of its solution z_r = exp(-K (r - t)) z."""
    return (torch.expm1(-K * (r - t)) / (r - t))[:, None] * z


def draws(rows: int = 9) -> tuple[Tensor, Tensor, Tensor]:
    z = torch.randn(rows, 4, generator=GENERATOR, dtype=torch.float64)
    t, r = torch.rand(2, rows, generator=GENERATOR, dtype=torch.float64).sort(0).values
    return z, t, r + 0.01


def test_the_target_is_the_average_velocity_of_a_linear_field() -> None:
    z, t, r = draws()
    v = -K * z
    u, slope = with_slope(decay, z, t, r, z, v)  # type: ignore[arg-type]
    torch.testing.assert_close(u, decay(z, t, r, z))
    torch.testing.assert_close(average_velocity(v, r - t, slope), u)


def test_a_wrong_average_velocity_is_not_its_own_target() -> None:
    z, t, r = draws()
    v = -K * z

    def instantaneous(z: Tensor, t: Tensor, r: Tensor, features: Tensor) -> Tensor:
        return -K * z

    u, slope = with_slope(instantaneous, z, t, r, z, v)  # type: ignore[arg-type]
    off = average_velocity(v, r - t, slope) - u
    torch.testing.assert_close(off, (r - t)[:, None] * K**2 * z)  # the first term of the series


def test_the_slope_of_the_network_equals_finite_differences(policy: Policy) -> None:
    network = policy.network.double()
    rows, size = 6, network.chunk_size
    z, v = torch.randn(2, rows, size, dtype=torch.float64, generator=GENERATOR)
    t, r = torch.rand(2, rows, dtype=torch.float64, generator=GENERATOR).sort(0).values
    features = torch.randn(rows, network.null.numel(), dtype=torch.float64, generator=GENERATOR)
    _, slope = with_slope(network, z, t, r, features, v)
    h = 1e-5
    with torch.no_grad():
        after = network(z + h * v, t + h, r, features)
        before = network(z - h * v, t - h, r, features)
    torch.testing.assert_close(slope, (after - before) / (2 * h), rtol=1e-6, atol=1e-7)


def losses(policy: Policy, network: Any = None, **options: float) -> dict[str, Tensor]:
    network = network or policy.network.train()
    seen = [torch.rand(16, 2, *f.shape) * 0.4 for f in policy.config.spec.observations]
    actions = torch.randn(16, policy.network.chunk_size)
    method = build_method("meanflow", options)
    return method.losses(network, network, seen, actions, 0.5, torch.Generator().manual_seed(0))


def test_every_weight_learns_and_the_encoder_stays_out_of_the_derivative(policy: Policy) -> None:
    """In training the encoder picks winning points, which has no forward derivative."""
    found = losses(policy, same_share=0.5)
    torch.stack(list(found.values())).sum().backward()  # type: ignore[no-untyped-call]
    assert not [name for name, p in policy.network.named_parameters() if p.grad is None]


def test_the_target_carries_no_gradient(policy: Policy) -> None:
    z = torch.randn(3, policy.network.chunk_size)
    features = torch.randn(3, policy.network.null.numel())
    t, r = torch.full((3,), 0.2), torch.full((3,), 0.9)
    u, slope = with_slope(policy.network, z, t, r, features, torch.randn_like(z))
    assert u.requires_grad
    assert not average_velocity(z, r - t, slope).requires_grad


@pytest.mark.parametrize(("share", "terms"), [(0.75, {"flow", "average"}), (1.0, {"flow"})])
def test_share_of_equal_times(policy: Policy, share: float, terms: set[str]) -> None:
    assert set(losses(policy, same_share=share)) == terms


def test_weighted_gradient_and_plain_value() -> None:
    """One element u = 3 against 0: value 9, gradient 2 u / (u^2 + c) of its half of the rows."""
    method: Any = build_method("meanflow", {"weight_floor": 1.0})
    u = torch.tensor([[3.0]], requires_grad=True)
    loss = method._weighted(u, torch.zeros(1, 1), 0.5)
    (gradient,) = torch.autograd.grad(loss, u)
    assert float(loss.detach()) == pytest.approx(9.0)
    assert float(gradient) == pytest.approx(0.5 * 6 / 10)


def test_without_power_it_is_the_plain_squared_error() -> None:
    method: Any = build_method("meanflow", {"weight_power": 0.0})
    u = torch.tensor([[3.0, 1.0]], requires_grad=True)
    (gradient,) = torch.autograd.grad(method._weighted(u, torch.zeros(1, 2), 1.0), u)
    assert gradient.tolist() == [[6.0, 2.0]]
