"""Distilling: the start is the policy of many steps, whatever step is asked for."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from ofp_edge.data.open import open_dataset
from ofp_edge.errors import PolicyError
from ofp_edge.files import new_folder
from ofp_edge.imports.record import config_of
from ofp_edge.policy.folder import Policy, load_policy, save_policy
from ofp_edge.policy.imported.denoiser import DenoiserConfig
from ofp_edge.policy.imported.schedule import ScheduleConfig, scheduler
from ofp_edge.spec import Chunking, PolicySpec
from ofp_edge.train.loop import train
from ofp_edge.train.plan import make_plan
from ofp_edge.train.request import Request

SCHEDULE = ScheduleConfig("DDPM", 100, "squaredcos_cap_v2", 1e-4, 0.02, "epsilon", 1.0, 100)


def denoiser_of(data: Path, predicts: str = "epsilon") -> Policy:
    """A diffusion policy with random weights for a dataset's fields, as an import gives it."""
    dataset = open_dataset(data)
    spec = PolicySpec.of(dataset.interface, Chunking(2, 8, 4, dataset.control_hz, 1))
    names = [f.name for f in spec.observations] + [f.name for f in spec.actions]
    network_config = DenoiserConfig(
        (16, 32), 3, 4, 16, True, None, replace(SCHEDULE, predicts=predicts),
        {name: "min_max" for name in names},
    )  # fmt: skip
    statistics = dataset.statistics(dataset.split().train)
    torch.manual_seed(0)
    network = network_config.build(spec, statistics).eval()
    config = config_of(network_config, spec, {}, "diffusion", None, "a test", "0" * 64)
    return Policy(config, network, statistics)


def written(policy: Policy, folder: Path) -> Path:
    with new_folder(folder, force=False, marker="config.json") as new:
        save_policy(policy, new)
    return folder


@pytest.mark.parametrize("predicts", ["epsilon", "sample"])
def test_a_widened_denoiser_tells_the_same_velocity(state_data: Path, predicts: str) -> None:
    policy = denoiser_of(state_data, predicts)
    wide = policy.widened("it").network
    bars = scheduler(SCHEDULE).alphas_cumprod
    k = torch.tensor([30, 45, 60])  # where no gain is held
    s, sigma = bars[k].sqrt(), (1 - bars[k]).sqrt()
    t = s / (s + sigma)  # the same share of data and noise on the straight path
    a, eps = torch.randn(3, 32), torch.randn(3, 32)
    features = torch.randn(3, len(wide.null))
    with torch.no_grad():
        out = policy.network(s[:, None] * a + sigma[:, None] * eps, 1 - (k + 1) / 100,
                             1 - (k + 1) / 100, features)  # fmt: skip
        z = (1 - t)[:, None] * eps + t[:, None] * a
        expected = (z - out) / t[:, None] if predicts == "epsilon" else (out - z) / (1 - t)[:, None]
        for r in (t, torch.ones(3)):  # untrained, a jump goes straight on
            assert torch.allclose(wide(z, t, r, features), expected, atol=2e-4)


def test_the_gain_is_finite_at_both_ends(state_data: Path) -> None:
    for predicts in ("epsilon", "sample"):
        wide = denoiser_of(state_data, predicts).widened("it").network
        ends = torch.tensor([0.0, 1.0])
        with torch.no_grad():
            u = wide(torch.randn(2, 32), ends, ends, torch.zeros(2, len(wide.null)))
        assert u.isfinite().all() and u.abs().max() < 100


def test_a_widened_flow_policy_goes_the_same_way(ask: Any) -> None:
    policy = _flow(ask)
    with torch.no_grad():
        for parameter in policy.network.parameters():
            parameter += 0.2 * torch.randn_like(parameter)
    wide = policy.widened("it").network
    z, features = torch.randn(4, wide.chunk_size), torch.randn(4, len(wide.null))
    t, r = torch.tensor([0.0, 0.3, 0.5, 0.9]), torch.tensor([1.0, 0.4, 1.0, 0.95])
    with torch.no_grad():
        expected = policy.network(z, t, t, features)
        assert torch.allclose(wide(z, t, r, features), expected, atol=1e-5)
        assert not torch.allclose(policy.network(z, t, r, features), expected, atol=1e-3)


def _flow(ask: Any) -> Policy:
    train(make_plan(ask(method="flow", steps=5)))
    return load_policy(ask().output)


def test_distilling_a_denoiser_gives_a_policy_of_one_step(state_data: Path, tmp_path: Path) -> None:
    start = written(denoiser_of(state_data), tmp_path / "start")
    request = Request(state_data, tmp_path / "out", steps=4, batch_size=8, init=start, distill=True)
    result = train(make_plan(request))
    assert result.step == 4
    policy = load_policy(tmp_path / "out")
    assert policy.config.network.average and policy.sampling.jumps
    assert policy.config.spec.start_index == 1
    assert policy.statistics == load_policy(start).statistics
    assert policy.config.training.init_sha256 is not None
    before = load_policy(start).widened("it").network.state_dict()
    assert any(not torch.equal(before[n], x) for n, x in policy.network.state_dict().items())


def test_distilling_a_flow_policy(ask: Any, tmp_path: Path) -> None:
    _flow(ask)
    plan = make_plan(ask(init=ask().output, output=tmp_path / "on", steps=4, distill=True))
    assert plan.method.name == "ofp-plus"
    assert train(plan).step == 4


def test_what_can_t_be_distilled_is_told(ask: Any, state_data: Path, tmp_path: Path) -> None:
    start = written(denoiser_of(state_data), tmp_path / "start")
    wrong = Request(state_data, tmp_path / "o", method="flow", init=start, distill=True)
    with pytest.raises(PolicyError, match="expected one that jumps"):
        make_plan(wrong)
    with pytest.raises(PolicyError, match="it is distilled"):
        make_plan(Request(state_data, tmp_path / "o", init=start))
    train(make_plan(ask(steps=2)))
    with pytest.raises(PolicyError, match=r"its method is ofp-plus"):
        make_plan(ask(init=ask().output, output=tmp_path / "o", distill=True))
