"""Jumps learned from rolled-out paths: whose path, which pairs, and a loss that takes sides."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor

from ofp_edge.policy.methods.rollout import rollout_losses, taking_sides
from tests.policy.test_methods import DATA, ROWS, Recorded, losses


class Leaning(Recorded):
    """Its instantaneous velocity is off by `lean`; its jumps by `bend (r - t)` more."""

    def __init__(self, bend: float = 0.0, lean: float = 0.0) -> None:
        super().__init__(bend)
        self.lean = lean

    def forward(self, z: Tensor, t: Tensor, r: Tensor, features: Tensor) -> Tensor:
        return super().forward(z, t, r, features) + self.lean


def found(
    network: Recorded, teacher: Recorded, p_drop: float = 0.0, weight: float = 0.5,
    jumping: int = ROWS,
) -> dict[str, Tensor]:  # fmt: skip
    return rollout_losses(
        network, teacher, [torch.ones(ROWS, 2)], DATA.expand(ROWS, 4),  # type: ignore[arg-type]
        jumping=jumping, steps=8, weight=weight, smallest_step=0.01, p_drop=p_drop,
        generator=torch.Generator().manual_seed(0),
    )  # fmt: skip


def test_between_two_ends_it_chooses_one() -> None:
    """Ends at -1 (40 %) and 1 (60 %): squared error is least at 0.2, this loss at 1."""
    at = torch.linspace(-1.5, 1.5, 301)
    loss = 0.4 * taking_sides((at + 1) ** 2) + 0.6 * taking_sides((at - 1) ** 2)
    assert float(at[loss.argmin()]) == pytest.approx(1.0, abs=0.02)


def test_small_errors_count_as_squared_ones() -> None:
    assert float(taking_sides(torch.tensor(1e-6)) / taking_sides(torch.tensor(1e-8))) == (
        pytest.approx(100, rel=1e-3)
    )


def test_begins_where_it_is_told() -> None:
    assert "rollout" not in losses("ofp-plus", Recorded(), 0.59, rollout_from=0.6)
    assert set(losses("ofp-plus", Recorded(), 0.6, rollout_from=0.6)) == {"flow", "rollout"}
    assert "rollout" not in losses("ofp-plus", Recorded(), 0.99, rollout_from=1.0)


def test_the_path_is_the_teachers_own_velocity() -> None:
    """Its jumps may be wrong: only r = t is asked, eight times, without gradient."""
    network, teacher = Leaning(), Leaning(bend=5.0)
    assert float(found(network, teacher)["rollout"].detach()) < 1e-5
    assert [call["grad"] for call in teacher.calls] == [False] * 8
    assert all(torch.equal(call["t"], call["r"]) for call in teacher.calls)
    assert float(found(Leaning(), Leaning(lean=0.5))["rollout"].detach()) > 0.02


def test_most_rows_learn_the_jump_of_a_cold_start_and_all_stay_in_order() -> None:
    network = Leaning()
    found(network, copy.deepcopy(network))
    (live,) = network.calls
    t, r = live["t"][ROWS:], live["r"][ROWS:]
    assert 0.65 < float(((t == 0) & (r == 1)).float().mean()) < 0.85
    assert bool((r > t).all())
    assert torch.equal(live["t"][:ROWS], live["r"][:ROWS])


def test_jumps_may_be_learned_on_a_share_of_the_rows() -> None:
    network, teacher = Leaning(), Leaning()
    found(network, teacher, jumping=ROWS // 4)
    assert [call["rows"] for call in network.calls] == [ROWS + ROWS // 4]
    assert {call["rows"] for call in teacher.calls} == {ROWS // 4}


def test_a_wrong_jump_shows_in_rollout_and_not_in_flow() -> None:
    terms = found(Leaning(bend=1.0), Leaning())
    assert float(terms["flow"].detach()) < 1e-5
    assert float(terms["rollout"].detach()) > 0.1
    twice = found(Leaning(bend=1.0), Leaning(), weight=1.0)["rollout"]
    torch.testing.assert_close(twice, 2 * terms["rollout"])


def test_the_unconditional_field_is_learned_on() -> None:
    network = Recorded(seen=1.0)
    terms = found(network, copy.deepcopy(network), p_drop=0.5)
    (gradient,) = torch.autograd.grad(terms["flow"], network.null)
    assert float(gradient.abs().sum()) > 0


class Seeing(Leaning):
    """Records the features that it is given."""

    def forward(self, z: Tensor, t: Tensor, r: Tensor, features: Tensor) -> Tensor:
        self.features = features.detach()
        return super().forward(z, t, r, features)


def test_the_condition_is_dropped_from_the_field_and_never_from_a_jump() -> None:
    network = Seeing()
    found(network, Leaning(), p_drop=0.5)
    field, jumps = network.features[:ROWS], network.features[ROWS:]
    assert 0.3 < float((field == 0).all(dim=1).float().mean()) < 0.7
    assert bool((jumps == 1).all())
