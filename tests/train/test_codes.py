"""Codes in a training run: asked for, found among the demonstrations, kept, resumed, added."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from ofp_edge.errors import PolicyError
from ofp_edge.policy.folder import Policy, load_policy
from ofp_edge.train.compute import Compute
from ofp_edge.train.loop import train
from ofp_edge.train.mixed import batches_of
from ofp_edge.train.plan import make_plan
from ofp_edge.train.processes import ALONE
from ofp_edge.train.request import Request
from ofp_edge.train.step import Step
from tests.synthetic import write_synthetic_dataset
from tests.train.test_compute import differs
from tests.train.test_distill import denoiser_of, written
from tests.train.test_loop import stop_at

Ask = Callable[..., Request]


def own(policy: Policy) -> dict[str, torch.Tensor]:
    found = policy.network.state_dict()
    return {name: x for name, x in found.items() if name.startswith("codes.")}


def test_a_new_policy_learns_to_choose_among_what_was_demonstrated(ask: Ask) -> None:
    plan = make_plan(ask())
    before = own(plan.policy)["codes.embedding.weight"].clone()
    assert not before.any()
    train(plan)
    policy = load_policy(ask().output)
    assert policy.config.network.codes == policy.config.method_options["codes"] == 32
    found = own(policy)
    assert found["codes.embedding.weight"].any() and found["codes.chooser.outlet.weight"].any()
    batches = batches_of(plan.dataset, plan.dataset.split().train, policy.config.spec)
    chunks = policy.network.normalize_actions(batches.chunks)
    centres = found["codes.centres"]
    spread = (chunks - chunks.mean(0)).square().sum(1).mean()
    near = torch.cdist(chunks, centres).amin(1).square().mean()
    assert float(near) < 0.2 * float(spread)


def test_without_codes_there_is_nothing_of_them(ask: Ask) -> None:
    train(make_plan(ask(options={"codes": 0}, steps=3)))
    policy = load_policy(ask().output)
    assert policy.network.codes is None and not own(policy)
    assert '"codes"' not in str(policy.config.to_json()["network"])


@pytest.mark.parametrize("method", ["flow", "ofp", "meanflow", "diffusion"])
def test_other_methods_have_none(ask: Ask, method: str) -> None:
    assert make_plan(ask(method=method)).policy.network.codes is None


def test_a_run_goes_on_with_the_centres_that_it_began_with(ask: Ask, tmp_path: Path) -> None:
    train(make_plan(ask(output=tmp_path / "whole")))
    train(make_plan(ask()), progress=stop_at(20))
    again = make_plan(ask(resume=True))
    live, averaged = (x.state_dict() for x in (again.state.network, again.state.average))
    assert live["codes.centres"].any()
    assert torch.equal(live["codes.centres"], averaged["codes.centres"])
    train(again)
    name = "model.safetensors"
    assert (ask().output / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


@pytest.mark.parametrize("progress", [0.1, 0.9])  # by the data's chunks, by the roll-outs
def test_the_choice_does_not_depend_on_the_parts_of_a_batch(
    ask: Ask, tmp_path: Path, progress: float
) -> None:
    found = []
    for parts in (1, 2, 4):
        plan = make_plan(ask(output=tmp_path / str(parts)))
        network, spec = plan.state.network, plan.policy.config.spec
        step = Step(plan.method, plan.state, ALONE, Compute("float32", False, parts))
        batches = batches_of(plan.dataset, plan.dataset.split().train, spec)
        settings = plan.policy.config.training.settings
        step.gradients(batches, batches.read(torch.arange(32)), settings, progress)
        of_codes = {n: x.grad for n, x in network.named_parameters() if n.startswith("codes.")}
        found.append({n: x.clone() for n, x in of_codes.items() if x is not None})
    whole, *parted = found
    assert any(x.any() for x in whole.values()), "no code learns anything"
    assert all(differs(whole, x) < 1e-4 for x in parted)


def test_a_policy_goes_on_as_it_is_and_gets_codes_where_they_are_asked_for(
    ask: Ask, tmp_path: Path
) -> None:
    train(make_plan(ask(options={"codes": 0}, steps=5)))
    start = {"init": ask().output, "steps": 4}
    plain = make_plan(ask(output=tmp_path / "plain", **start))
    assert plain.policy.network.codes is None and plain.method.code_count == 0
    plan = make_plan(ask(output=tmp_path / "coded", options={"codes": 8}, **start))
    assert plan.policy.config.network.codes == 8 and own(plan.policy)["codes.centres"].any()
    before = load_policy(ask().output).network.state_dict()
    assert all(torch.equal(plan.policy.network.state_dict()[n], x) for n, x in before.items())
    train(plan)
    # And those are what goes on where nothing is said, whatever the demonstrations are.
    data = write_synthetic_dataset(tmp_path / "other.zarr", episodes=12, seed=5)
    more = make_plan(Request(data, tmp_path / "more", init=tmp_path / "coded", steps=4))
    assert torch.equal(own(more.policy)["codes.centres"], own(plan.policy)["codes.centres"])
    for name, asked, count in (("x", {"options": {"codes": 16}}, 16), ("y", {"method": "ofp"}, 0)):
        other = make_plan(ask(init=tmp_path / "coded", output=tmp_path / name, **asked))
        assert other.policy.config.network.codes == count


def test_what_is_distilled_gets_codes_where_its_network_takes_them(
    ask: Ask, state_data: Path, tmp_path: Path
) -> None:
    train(make_plan(ask(method="flow", steps=5)))
    plan = make_plan(ask(init=ask().output, output=tmp_path / "on", steps=4, distill=True))
    assert plan.policy.config.network.codes == 32 and own(plan.policy)["codes.centres"].any()
    train(plan)
    assert own(load_policy(tmp_path / "on"))["codes.embedding.weight"].any()
    start = written(denoiser_of(state_data), tmp_path / "start")
    request = Request(state_data, tmp_path / "out", steps=4, init=start, distill=True)
    assert make_plan(request).method.code_count == 0
    asked = Request(
        state_data, tmp_path / "o", steps=4, init=start, distill=True, options={"codes": 32}
    )
    with pytest.raises(PolicyError, match="--option codes=32: its network takes no codes"):
        make_plan(asked)
