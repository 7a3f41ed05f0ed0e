"""The objectives: zero on the exact field, gradient through the student only, guidance's side."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from ofp_edge.errors import PolicyError, UnknownName
from ofp_edge.policy.folder import Policy
from ofp_edge.policy.methods import METHODS, build_method, options_of
from ofp_edge.policy.methods.ofp import consistency_target, guidance_target

DATA = torch.tensor([0.3, -0.5, 0.8, 0.1])
ROWS = 256


class Recorded(nn.Module):
    """All data is DATA, so the field is known: `u = (DATA - z) / (1 - t)`, straight lines.

    bend: an error added to jumps (r > t) alone. Records every call.
    """

    codes = None

    def __init__(self, bend: float = 0.0, seen: float = 0.0) -> None:
        super().__init__()
        self.null, self.counted, self.encoder = nn.Parameter(torch.zeros(2)), None, nn.Identity()
        self.bend = nn.Parameter(torch.tensor(bend))
        self.seen = seen
        self.calls: list[dict[str, Any]] = []
        self.encoded = 0

    def encode(self, observations: Sequence[Tensor]) -> Tensor:
        self.encoded += 1
        return observations[0]

    def forward(self, z: Tensor, t: Tensor, r: Tensor, features: Tensor) -> Tensor:
        self.calls.append({"t": t, "r": r, "grad": torch.is_grad_enabled(), "rows": len(z)})
        exact = (DATA - z) / (1 - t).clamp(min=1e-6)[:, None]
        # Features of 1 mean "seen", the null embedding's 0 means "dropped".
        return exact + self.bend * (r - t)[:, None] + self.seen * features[:, :1]


def losses(name: str, network: Recorded, progress: float, **options: float) -> dict[str, Tensor]:
    method = build_method(name, options)
    teacher = copy.deepcopy(network)
    return method.losses(
        network, teacher, [torch.ones(ROWS, 2)], DATA.expand(ROWS, 4), progress,  # type: ignore[arg-type]
        torch.Generator().manual_seed(0),
    )  # fmt: skip


@pytest.mark.parametrize("progress", [0.0, 0.3, 0.9])
@pytest.mark.parametrize("name", sorted(set(METHODS) - {"diffusion"}))
def test_exact_field_has_no_loss(name: str, progress: float) -> None:
    for term, value in losses(name, Recorded(), progress).items():
        assert float(value.detach()) < 1e-5, term


@pytest.mark.parametrize("name", ["ofp", "ofp-plus"])
def test_a_wrong_jump_shows_in_consistency_and_not_in_flow(name: str) -> None:
    found = losses(name, Recorded(bend=1.0), 0.3)
    assert float(found["flow"].detach()) < 1e-5
    assert float(found["consistency"].detach()) > 0.01


class Crooked(Recorded):
    """Its own velocity is off by 1 everywhere, so it and the data's lead to different z_m."""

    def forward(self, z: Tensor, t: Tensor, r: Tensor, features: Tensor) -> Tensor:
        self.calls.append({"z": z, "t": t})
        return (DATA - z) / (1 - t).clamp(min=1e-6)[:, None] + 1.0


def test_own_v_follows_the_networks_velocity_only_when_switched_on() -> None:
    for progress, off in ((0.6, 0.0), (0.8, 1.0)):
        network = Crooked()
        losses("ofp-plus", network, progress, own_v_from=0.7, rollout_from=1.0)
        live, stopped = network.calls
        t, z_t = live["t"][:ROWS], live["z"][:ROWS]
        m, z_m = stopped["t"][:ROWS], stopped["z"][:ROWS]
        data = z_t + ((m - t) / (1 - t))[:, None] * (DATA - z_t)
        torch.testing.assert_close(
            z_m - data, off * (m - t)[:, None].expand_as(z_m), atol=1e-5, rtol=0
        )


def test_one_evaluation_serves_the_data_term_and_own_v() -> None:
    network = Recorded()
    losses("ofp-plus", network, 0.3, own_v_from=0.0, guide_every=4)
    guided = ROWS // 4
    assert [call["rows"] for call in network.calls] == [2 * ROWS + guided, ROWS + 2 * guided]
    live = network.calls[0]
    assert torch.equal(live["t"][:ROWS], live["r"][:ROWS])
    assert torch.equal(live["t"][:ROWS], live["t"][ROWS : 2 * ROWS])
    assert torch.equal(live["r"][2 * ROWS :], torch.ones(guided))


def test_jumps_may_be_learned_on_a_share_of_the_rows() -> None:
    few, all_rows = Recorded(bend=1.0), Recorded(bend=1.0)
    found = losses("ofp-plus", few, 0.1, jump_every=4)
    assert [call["rows"] for call in few.calls] == [ROWS + ROWS // 4, ROWS // 4]
    every = losses("ofp-plus", all_rows, 0.1)["consistency"]
    assert 0.7 < float(found["consistency"].detach() / every.detach()) < 1.4  # a mean, not a sum
    late = Recorded()
    losses("ofp-plus", late, 0.9, jump_every=4)
    assert [call["rows"] for call in late.calls] == [ROWS + ROWS // 4]


@pytest.mark.parametrize("value", [0, -1, 1.5, math.nan])
def test_one_row_in_so_many_is_a_whole_number(value: float) -> None:
    with pytest.raises(PolicyError, match="jump_every = .*expected a whole number, 1 or more"):
        build_method("ofp-plus", {"jump_every": value})


def test_guidance_of_ofp_plus_starts_late() -> None:
    assert set(losses("ofp-plus", Recorded(), 0.2)) == {"flow", "consistency"}
    assert set(losses("ofp-plus", Recorded(), 0.25)) == {"flow", "consistency", "guidance"}


@pytest.mark.parametrize("name", sorted(METHODS))
def test_features_are_computed_once_for_all_terms(name: str) -> None:
    network = Recorded()
    losses(name, network, 0.5)
    assert network.encoded == 1


def test_live_teacher_is_asked_without_gradient() -> None:
    network = Recorded(bend=1.0)
    losses("ofp-plus", network, 0.3)
    assert [call["grad"] for call in network.calls] == [True, False]


def test_consistency_gradient_comes_from_the_prediction_alone() -> None:
    """d/d bend of (u - sg[target])^2, by hand: the target's own dependence doesn't count."""
    network = Recorded(bend=1.0)
    found = losses("ofp-plus", network, 0.1, p_drop=0.0)
    (gradient,) = torch.autograd.grad(found["consistency"], network.bend)
    call = network.calls[0]
    t, r = call["t"][ROWS:], call["r"][ROWS:]
    m = network.calls[1]["t"]
    # u is off by (r - t), the target by (r - m)^2 / (r - t).
    step = r - t
    off = step - (r - m) ** 2 / step
    expected = (step / (m - t) * 2 * off * step).mean()
    assert float(gradient) == pytest.approx(float(expected), rel=1e-3)


def test_ema_teacher_gets_no_gradient(policy: Policy) -> None:
    network, teacher = policy.network.train(), copy.deepcopy(policy.network).eval()
    spec = policy.config.spec
    seen = [torch.rand(16, 2, *f.shape) * 0.4 for f in spec.observations]
    found = build_method("ofp").losses(
        network, teacher, seen, torch.randn(16, network.chunk_size), 0.5,
        torch.Generator().manual_seed(0),
    )  # fmt: skip
    torch.stack(list(found.values())).sum().backward()  # type: ignore[no-untyped-call]
    assert all(p.grad is None for p in teacher.parameters())
    without = {name for name, p in network.named_parameters() if p.grad is None}
    assert not without


def test_consistency_target_is_the_exact_average_velocity() -> None:
    """On dz/dt = -k z, with z_m on the flow: u(z_t, t, r) itself."""
    k, generator = 1.3, torch.Generator().manual_seed(0)
    z_t = torch.randn(9, 4, generator=generator, dtype=torch.float64)
    times = torch.rand(3, 9, generator=generator, dtype=torch.float64).sort(0).values
    t, m, r = times[0], times[1], times[2] + 0.01

    def u(z: Tensor, start: Tensor, end: Tensor) -> Tensor:
        return (torch.expm1(-k * (end - start)) / (end - start))[:, None] * z

    z_m = torch.exp(-k * (m - t))[:, None] * z_t
    target = consistency_target(z_t, t, z_m, m, r, u(z_m, m, r))
    torch.testing.assert_close(target, u(z_t, t, r))


def test_consistency_target_at_m_equal_r_is_the_chord() -> None:
    z_t, z_r = torch.randn(3, 4), torch.randn(3, 4)
    t, r = torch.full((3,), 0.2), torch.full((3,), 0.7)
    target = consistency_target(z_t, t, z_r, r, r, torch.full((3, 4), math.nan).nan_to_num())
    torch.testing.assert_close(target, (z_r - z_t) / 0.5)


def test_guidance_moves_from_unconditional_to_conditional() -> None:
    u, null, seen = torch.zeros(1, 2), torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 1.0]])
    assert guidance_target(u, null, seen, 0.5).tolist() == [[-0.5, 0.5]]


@pytest.mark.parametrize("name", ["ofp", "ofp-plus"])
def test_guidance_loss_pulls_the_one_step_answer_towards_the_condition(name: str) -> None:
    network = Recorded(seen=0.4)  # conditional velocity is higher by 0.4 in every element
    found = losses(name, network, 0.3, lambda_g=1.0, alpha=0.5)
    (gradient,) = torch.autograd.grad(found["guidance"], network.bend)
    assert float(gradient) < 0  # descending raises u(z, t, 1)
    assert float(found["guidance"].detach()) == pytest.approx((0.5 * 0.4) ** 2, rel=1e-3)


@pytest.mark.parametrize("name", sorted(METHODS))
@pytest.mark.parametrize("nfe", [1, 4])
def test_every_method_samples_at_any_nfe(policy: Policy, name: str, nfe: int) -> None:
    features = torch.randn(3, policy.network.null.numel())
    noise = torch.randn(3, policy.network.chunk_size)
    chunk = build_method(name).sample(policy.network, features, noise, nfe)
    assert chunk.shape == noise.shape
    assert chunk.isfinite().all()


def test_flow_takes_euler_steps(policy: Policy) -> None:
    features = torch.randn(2, policy.network.null.numel())
    z = torch.randn(2, policy.network.chunk_size)
    expected = z
    for t in (torch.zeros(2), torch.full((2,), 0.5)):
        expected = expected + 0.5 * policy.network(expected, t, t, features)
    got = build_method("flow").sample(policy.network, features, z, 2)
    torch.testing.assert_close(got, expected)


@pytest.mark.parametrize("name", sorted(METHODS))
def test_options_survive_the_round_trip(name: str) -> None:
    method = build_method(name, {"p_drop": 0.2})
    assert build_method(name, options_of(method)) == method
    assert method.name == name


def test_unknown_method_and_option_are_named() -> None:
    with pytest.raises(UnknownName, match="Did you mean 'ofp-plus'"):
        build_method("ofp_plus")
    with pytest.raises(PolicyError, match="'heat'"):
        build_method("ofp", {"heat": 1.0})
