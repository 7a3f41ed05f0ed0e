"""Diffusion: the schedule, its time, DDIM on a known field, and no deployed form."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from ofp_edge.errors import PolicyError
from ofp_edge.evaluate.torch_inference import SampledAct
from ofp_edge.policy.config import PolicyConfig
from ofp_edge.policy.deployed import deploy, split
from ofp_edge.policy.folder import Policy, load_policy
from ofp_edge.policy.methods import build_method
from ofp_edge.policy.methods.diffusion import Diffusion
from tests.synthetic import tiny_policy

pytest.importorskip("diffusers")

DATA = torch.tensor([0.3, -0.5, 0.8, 0.1])


def kept(t: Tensor) -> Tensor:
    """abar at the network's times, from the formula: cos^2 betas, capped at .999."""
    s = torch.arange(101, dtype=torch.float64) / 100
    shape = torch.cos((s + 0.008) / 1.008 * torch.pi / 2) ** 2
    betas = (1 - shape[1:] / shape[:-1]).clamp(max=0.999)
    k = ((1 - t) * 100 - 1).round().long()
    return (1 - betas).cumprod(0)[k].float()


class Exact(nn.Module):
    """All data is DATA, so the noise in z is known. Records the times it is asked for."""

    def __init__(self, method: Diffusion) -> None:
        super().__init__()
        self.method = method
        self.null, self.counted = nn.Parameter(torch.zeros(2)), None
        self.times: list[Tensor] = []

    def encode(self, observations: Any) -> Tensor:
        found: Tensor = observations[0]
        return found

    def forward(self, z: Tensor, t: Tensor, r: Tensor, features: Tensor) -> Tensor:
        assert torch.equal(t, r)
        self.times.append(t)
        if self.method.predicts_data:
            return DATA.expand_as(z)
        share = kept(t)[:, None]
        return (z - share.sqrt() * DATA) / (1 - share).sqrt()


METHODS = {"chunk": Diffusion(), "noise": Diffusion(predicts_data=0)}


@pytest.mark.parametrize("predicted", METHODS)
def test_an_exact_prediction_has_no_loss(predicted: str) -> None:
    method = METHODS[predicted]
    network: Any = Exact(method)
    found = method.losses(
        network, network, [torch.ones(512, 2)], DATA.expand(512, 4), 0.0,
        torch.Generator().manual_seed(0),
    )  # fmt: skip
    assert set(found) == {predicted}
    assert float(found[predicted].detach()) < 1e-5
    (asked,) = network.times
    assert (float(asked.min()), float(asked.max())) == (0.0, pytest.approx(0.99))


@pytest.mark.parametrize("predicted", METHODS)
@pytest.mark.parametrize("nfe", [1, 2, 3, 7, 10, 29, 64, 97, 100])
def test_ddim_on_an_exact_prediction_ends_at_the_data(nfe: int, predicted: str) -> None:
    method = METHODS[predicted]
    network: Any = Exact(method)
    noise = torch.randn(5, 4, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        chunk = method.sample(network, torch.zeros(5, 2), noise, nfe)
    # At k = 99 almost nothing of the data is left in z.
    tolerance = 0.15 if nfe == 1 and predicted == "noise" else 1e-3
    torch.testing.assert_close(chunk, DATA.expand(5, 4), atol=tolerance, rtol=0)
    asked = torch.stack(network.times)[:, 0]
    assert len(asked) == nfe
    assert float(asked[0]) == 0.0  # from pure noise, however few steps
    # Evenly spaced, to the nearest of the 100 steps.
    torch.testing.assert_close(asked, torch.arange(nfe) / nfe, atol=0.005 + 1e-6, rtol=0)


def test_sampling_twice_gives_the_same(policy: Policy) -> None:
    features = torch.randn(2, policy.network.null.numel())
    noise = torch.randn(2, policy.network.chunk_size)
    first, again = (Diffusion().sample(policy.network, features, noise, 10) for _ in range(2))
    assert torch.equal(first, again)
    assert float(first.detach().abs().max()) <= 1  # clip_sample


@pytest.mark.parametrize(("predicted", "called"), [("chunk", "sample"), ("noise", "epsilon")])
@pytest.mark.parametrize("nfe", [1, 5, 20])
def test_where_diffusers_own_steps_are_right_the_answer_is_theirs(
    policy: Policy, nfe: int, predicted: str, called: str
) -> None:
    from diffusers import DDIMScheduler

    method, features = METHODS[predicted], torch.randn(2, policy.network.null.numel())
    noise = torch.randn(2, policy.network.chunk_size)
    scheduler: Any = DDIMScheduler(
        num_train_timesteps=100, beta_schedule="squaredcos_cap_v2", timestep_spacing="trailing",
        prediction_type=called,
    )  # fmt: skip
    scheduler.set_timesteps(nfe)
    with torch.no_grad():
        z = noise
        for k in scheduler.timesteps:
            t = method.time_of(k).expand(2)
            z = scheduler.step(policy.network(z, t, t, features), k, z).prev_sample
        found = method.sample(policy.network, features, noise, nfe)
    torch.testing.assert_close(found, z, atol=1e-6, rtol=0)


@pytest.mark.parametrize("nfe", [3, 8, 60])
def test_uneven_steps_go_to_the_noise_of_the_next_one(nfe: int) -> None:
    """The network is asked about points that carry exactly the noise of their time."""
    noise = torch.randn(1, 4, generator=torch.Generator().manual_seed(0))
    seen: list[tuple[Tensor, Tensor]] = []

    class Listening(Exact):
        def forward(self, z: Tensor, t: Tensor, r: Tensor, features: Tensor) -> Tensor:
            seen.append((z, t))
            return super().forward(z, t, r, features)

    network: Any = Listening(METHODS["noise"])
    with torch.no_grad():
        METHODS["noise"].sample(network, torch.zeros(1, 2), noise, nfe)
    (first, start), *rest = seen
    share = kept(start)
    eps = (first - share.sqrt() * DATA) / (1 - share).sqrt()
    for z, t in rest:
        share = kept(t)
        expected = share.sqrt() * DATA + (1 - share).sqrt() * eps
        torch.testing.assert_close(z, expected, atol=1e-3, rtol=0)


@pytest.mark.parametrize("nfe", [0, 101])
def test_more_evaluations_than_training_steps_are_refused(policy: Policy, nfe: int) -> None:
    noise = torch.randn(1, policy.network.chunk_size)
    with pytest.raises(PolicyError, match=rf"expected 1 to 100 evaluations.*got {nfe}\."):
        Diffusion().sample(policy.network, torch.zeros(1, 1), noise, nfe)


def as_method(folder: Path, name: str) -> Path:
    """Rewrite a policy folder as if `name` had trained it."""
    config = json.loads((folder / "config.json").read_text())
    config["method"] = name
    config["method_options"] = {"p_drop": 0.1}  # as in folders of before, where it is diffusion
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def test_it_has_no_deployed_form_but_can_be_looked_at(tmp_path: Path) -> None:
    policy = load_policy(as_method(tiny_policy(tmp_path / "p"), "diffusion"))
    line = "method diffusion answers in many steps; evaluate it with `eval --nfe`"
    with pytest.raises(PolicyError, match=line):
        deploy(policy)
    assert split(policy).feature_dim > 0


def test_the_sampled_act_is_the_methods_sample_in_raw_units(tmp_path: Path) -> None:
    policy = load_policy(as_method(tiny_policy(tmp_path / "p"), "diffusion"))
    features = torch.randn(1, policy.network.null.numel())
    z = torch.randn(1, policy.network.chunk_size)
    with torch.no_grad():
        chunk, normalised = SampledAct(policy.network, policy.sampling, 10)(
            features, z, torch.zeros(1, 1)
        )
        method = build_method("diffusion", policy.config.method_options)
        expected = method.sample(policy.network, features, z, 10)
    assert torch.equal(normalised, expected)
    raw = policy.network.denormalize_actions(expected).flatten(1)
    torch.testing.assert_close(chunk, raw)


def test_a_flow_policy_is_asked_for_the_velocity_it_learned(tmp_path: Path) -> None:
    """Its rows are Euler steps: the embedding of (t, t), the step r - t."""
    folder = tiny_policy(tmp_path / "p")
    policy = load_policy(folder)
    jump = policy.sampling.time_row(policy.network, "x", 0.25, 0.75)
    policy = load_policy(as_method(folder, "flow"))
    euler = policy.sampling.time_row(policy.network, "x", 0.25, 0.75)
    with torch.no_grad():
        at = policy.network.time(torch.tensor([0.25]), torch.tensor([0.25]))[0]
    assert euler.row == (*at.tolist(), 0.5)
    assert jump.row[-1] == 0.5 and jump.row[:-1] != euler.row[:-1]


def test_folders_of_before_predict_the_noise(tmp_path: Path) -> None:
    """Their configuration does not say, and a wrong guess is a wrong answer without a word."""
    folder = as_method(tiny_policy(tmp_path / "p"), "diffusion")
    assert "predicts_data" not in json.loads((folder / "config.json").read_text())["method_options"]
    assert load_policy(folder).sampling == METHODS["noise"]
    config = load_policy(folder).config
    again = PolicyConfig.from_json(json.loads(json.dumps(config.to_json())))
    assert again.method_options["predicts_data"] == 0
    said = {**config.to_json(), "method_options": {"predicts_data": 1.0}}
    assert PolicyConfig.from_json(said).method_options == {"predicts_data": 1.0}
    with pytest.raises(PolicyError, match="predicts_data = 2: expected 1, the chunk, or 0"):
        Diffusion(predicts_data=2)
