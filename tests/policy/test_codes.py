"""Codes: which way a jump takes, who is told, what is learned, and that no chunk lies between."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from ofp_edge.errors import PolicyError
from ofp_edge.policy import sampler
from ofp_edge.policy.codes import Codes, choice_loss, chosen, k_means
from ofp_edge.policy.folder import Policy, load_policy
from ofp_edge.policy.methods import build_method
from ofp_edge.policy.methods.rollout import rollout_losses
from ofp_edge.policy.network import PolicyNetwork
from ofp_edge.policy.prefix import Prefix
from ofp_edge.policy.trunks import find_trunks
from tests.synthetic import tiny_policy

KINDS = pytest.mark.parametrize("kind", sorted(find_trunks()))
ROWS, SIDES = 512, torch.tensor([[-0.8, -0.8], [0.8, 0.8], [0.1, -0.9]])


def coded(path: Path, kind: str = "mlp", codes: int = 6, **more: Any) -> PolicyNetwork:
    return load_policy(tiny_policy(path, "state", trunk=kind, codes=codes, **more)).network


def inputs(network: PolicyNetwork, rows: int = 5) -> tuple[Tensor, ...]:
    generator = torch.Generator().manual_seed(1)
    z = torch.randn(rows, network.chunk_size, generator=generator)
    t, r = torch.rand(2, rows, generator=generator).sort(0).values
    return z, t, r, torch.randn(rows, network.null.numel(), generator=generator)


@KINDS
def test_new_codes_change_nothing(tmp_path: Path, kind: str) -> None:
    policy = load_policy(tiny_policy(tmp_path / "p", "state", trunk=kind))
    z, _, _, features = inputs(policy.network)
    before = sampler.sample(policy.network, features, z, (0.0, 0.5, 1.0))
    grown = policy.coding(32, "it")
    assert grown.config.network.codes == 32
    assert torch.equal(sampler.sample(grown.network, features, z, (0.0, 0.5, 1.0)), before)


@KINDS
def test_every_trunk_goes_where_its_code_says(tmp_path: Path, kind: str) -> None:
    network = coded(tmp_path / "p", kind)
    assert network.codes is not None
    given, codes = inputs(network, 6), network.codes.one_hot(torch.arange(6))
    ways = [network(*(x[:1] for x in given), code=codes[i : i + 1]) for i in range(6)]
    ways.append(network(*(x[:1] for x in given)))  # the velocity, which has none
    for i, way in enumerate(ways):
        assert all(not torch.allclose(way, other) for other in ways[:i])
    together = network(*given, code=codes)
    alone = network(*(x[2:3] for x in given), code=codes[2:3])
    torch.testing.assert_close(together[2], alone[0], atol=1e-5, rtol=1e-5)


def test_a_jump_takes_the_code_of_the_largest_logit(tmp_path: Path) -> None:
    network = coded(tmp_path / "p")
    z, _, _, features = inputs(network, 64)
    t, r = torch.zeros(64), torch.ones(64)
    assert network.codes is not None
    logits = network.code_logits(z, t, r, features)
    code = network.codes.one_hot(logits.argmax(1))
    assert len(logits.argmax(1).unique()) > 1
    clear = logits.topk(2).values.diff().abs().squeeze() > 0.1
    want = z + network(z, t, r, features, code=code)
    found = sampler.jump(network, features, z, 0.0, 1.0)
    torch.testing.assert_close(found[clear], want[clear], atol=1e-4, rtol=1e-4)
    assert clear.any()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
@pytest.mark.parametrize("size", [1.0, 30.0, 500.0, 6e4])
def test_the_largest_logit_is_chosen_however_large_they_are(
    dtype: torch.dtype, size: float
) -> None:
    for place in range(32):
        logits = -torch.ones(1, 32) * size
        logits[0, place], logits[0, (place + 7) % 32] = size, 0.9 * size
        found = chosen(logits.to(dtype)).float()
        assert found.argmax(1).tolist() == [place] and float(found.max()) > 0.99


def test_of_two_equal_ones_the_mean_is_chosen() -> None:
    found = chosen(torch.tensor([[2.0, 2.0, -1.0]]))
    torch.testing.assert_close(found, torch.tensor([[0.5, 0.5, 0.0]]))


def test_the_chooser_is_told_what_is_committed_and_no_noise_inside(tmp_path: Path) -> None:
    network = coded(tmp_path / "p", committed_steps=4)
    given = inputs(network)
    actions = torch.randn(5, network.chunk_size, generator=torch.Generator().manual_seed(3))
    prefix = Prefix(actions, (torch.arange(8) < 3).float().expand(5, 8))
    found = network.code_logits(*given, prefix)
    noisy = network.code_logits(given[0] + 9 * (1 - prefix.free), *given[1:], prefix)
    torch.testing.assert_close(found, noisy)
    assert not torch.allclose(found, network.code_logits(*given))
    other = network.code_logits(*given, prefix._replace(actions=-actions))
    assert not torch.allclose(found, other)


def test_centres_are_where_points_gather_and_repeat_where_they_are_few() -> None:
    generator = torch.Generator().manual_seed(0)
    points = SIDES.repeat(300, 1) + 0.01 * torch.randn(900, 2, generator=generator)
    found = k_means(points, 3, generator)
    assert float(torch.cdist(SIDES, found).amin(1).max()) < 0.01
    few = k_means(SIDES[:2].repeat(9, 1), 5, generator)
    assert few.shape == (5, 2) and bool(few.isfinite().all())
    assert float(torch.cdist(SIDES[:2], few).amin(1).max()) < 1e-6


def test_a_choice_trains_the_chooser_alone(tmp_path: Path) -> None:
    network = coded(tmp_path / "p").train()
    z, t, r, features = inputs(network)
    features.requires_grad_()
    choice_loss(network, z, t, r, features, torch.arange(5), None).backward()  # type: ignore[no-untyped-call]
    moved = {name for name, p in network.named_parameters() if p.grad is not None}
    assert moved and all(name.startswith("codes.chooser.") for name in moved)
    assert features.grad is None


class TwoSides(nn.Module):
    """A field that leads to the side where z is, without error; it notes what it is asked."""

    def __init__(self) -> None:
        super().__init__()
        self.null, self.counted, self.encoder = nn.Parameter(torch.zeros(2)), None, nn.Identity()
        self.codes = Codes(3, 8, 1, 2, 2)
        self.codes.centres.copy_(SIDES)
        self.calls: list[dict[str, Any]] = []

    def encode(self, observations: Sequence[Tensor]) -> Tensor:
        return observations[0]

    def forward(
        self, z: Tensor, t: Tensor, r: Tensor, features: Tensor, code: Tensor | None = None
    ) -> Tensor:
        self.calls.append({"z": z, "t": t, "r": r, "code": code})
        side = torch.where(z.sum(1, keepdim=True) < 0, SIDES[:1], SIDES[1:2])
        return (side - z) / (1 - t).clamp(min=1e-6)[:, None]

    def code_logits(self, z: Tensor, *others: Any) -> Tensor:
        self.asked = z
        return z.new_zeros(len(z), 3) + 0 * z.sum()


def test_a_jump_is_told_the_code_of_where_the_velocity_leads_and_the_velocity_none() -> None:
    network, teacher = TwoSides(), TwoSides()
    actions = SIDES[torch.arange(ROWS) % 2]
    terms = rollout_losses(
        network, teacher, [torch.ones(ROWS, 2)], actions, jumping=ROWS, steps=6,  # type: ignore[arg-type]
        weight=1.0, smallest_step=0.01, p_drop=0.0, generator=torch.Generator().manual_seed(0),
    )  # fmt: skip
    (call,) = network.calls
    code, z, t, r = (call[name] for name in ("code", "z", "t", "r"))
    assert not code[:ROWS].any() and torch.equal(t[:ROWS], r[:ROWS])
    leads = (z[ROWS:].sum(1) >= 0).long()
    assert torch.equal(code[ROWS:].argmax(1), leads) and 100 < int(leads.sum()) < ROWS - 100
    # Exact jumps of every length cost nothing, and the chooser is asked about the same z.
    assert float(terms["rollout"]) < 1e-5
    assert torch.equal(network.asked, z[ROWS:])
    assert all(asked["code"] is None for asked in teacher.calls) and len(teacher.calls) == 6
    t, r = t[ROWS:], r[ROWS:]
    assert bool((r > t).all()) and 0.1 < float((r < 1).float().mean()) < 0.3
    assert float(((t > 0) & (r == 1)).float().mean()) > 0.02  # a warm start's


def test_before_roll_outs_the_chooser_learns_the_datas_own_code(tmp_path: Path) -> None:
    network = coded(tmp_path / "p")
    assert network.codes is not None
    seen = [torch.rand(64, 2, 7)]
    actions = network.codes.centres[torch.arange(64) % 2]
    found = terms(network, seen, actions, 0.1)
    assert list(found) == ["flow", "consistency", "codes"]
    assert list(terms(network, seen, actions, 0.9)) == ["flow", "rollout", "codes"]
    # No code reaches the trunk before: other embeddings change none of its losses.
    other = copy.deepcopy(network)
    nn.init.normal_(other.codes.embedding.weight)  # type: ignore[union-attr]
    for name, value in terms(other, seen, actions, 0.1).items():
        assert torch.equal(value, found[name])


def terms(
    network: PolicyNetwork, seen: list[Tensor], actions: Tensor, progress: float
) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    teacher = copy.deepcopy(network)
    return build_method("ofp-plus").losses(network, teacher, seen, actions, progress, generator)


@pytest.mark.parametrize("progress", [0.1, 0.3, 0.9])
def test_every_parameter_is_reached_at_every_progress(tmp_path: Path, progress: float) -> None:
    """Data parallelism waits for each, and a checkpoint holds the moments of each."""
    network = coded(tmp_path / "p").train()
    found = terms(network, [torch.rand(16, 2, 7)], torch.randn(16, network.chunk_size), progress)
    torch.stack(list(found.values())).sum().backward()  # type: ignore[no-untyped-call]
    assert not [name for name, p in network.named_parameters() if p.grad is None]


@pytest.mark.parametrize("value", [-1, 1, 1.5, 1025, math.nan])
def test_how_many_there_may_be(value: float) -> None:
    with pytest.raises(PolicyError, match=r"codes = .*expected a whole number, 2 to 1024, or 0"):
        build_method("ofp-plus", {"codes": value})


def test_the_configuration_says_how_many_there_are(tmp_path: Path, policy: Policy) -> None:
    assert "codes" not in policy.config.to_json()["network"]
    config = load_policy(tiny_policy(tmp_path / "coded", "state", codes=6)).config
    assert config.to_json()["network"]["codes"] == 6
    assert type(config).from_json(config.to_json()) == config


def test_codes_stay_until_another_number_is_wanted(tmp_path: Path) -> None:
    policy = load_policy(tiny_policy(tmp_path / "p", "state", codes=6))
    assert policy.coding(6, "it").network is policy.network
    z, t, r, features = inputs(policy.network)
    for count in (0, 8):
        other = policy.coding(count, "it")
        assert other.config.network.codes == count and policy.network.codes is not None
        found = sampler.jump(other.network, features, z, 0.0, 1.0)
        torch.testing.assert_close(found, z + policy.network(z, 0 * t, 0 * r + 1, features))


def test_a_start_that_goes_to_the_mean_is_told_no_code(tmp_path: Path) -> None:
    """Deployed it is one row among others: z and (1 - t) times the velocity of training."""
    network = coded(tmp_path / "p")
    z, _, _, features = inputs(network, 8)
    method = build_method("ofp-plus", {"codes": 6})
    act, t = method.act(network), torch.full((8,), 0.5)
    velocity = network(z, t, t, features)
    for r, want in (
        (0.5, z + 0.5 * velocity),
        (1.0, sampler.jump(network, features, z, 0.5, 1.0)),
    ):
        row = method.time_row(network, "warm", 0.5, r)
        assert row.row[-1] == 0.5 and (row.t, row.r) == (0.5, r)
        rows = torch.tensor([row.row]).expand(8, -1)
        torch.testing.assert_close(act(features, z, rows)[1], want, atol=1e-5, rtol=1e-5)
    coded_velocity = z + 0.5 * network(z, t, t, features, code=network.codes.one_hot(t.long()))  # type: ignore[union-attr]
    assert not torch.allclose(coded_velocity, z + 0.5 * velocity, atol=1e-3)
