"""SmolVLA and pi0.5, tiny: trained on, and to one step, with a prefix that nothing changes."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

pytest.importorskip("tokenizers", reason="the prompt's table is made with it: extra vla")

from ofp_edge.errors import OfpError, PolicyError, SpecMismatch, UnknownName
from ofp_edge.evaluate.choice import Choice
from ofp_edge.evaluate.offline import measure_offline
from ofp_edge.imports.record import write_imported
from ofp_edge.policy.deployed import deploy
from ofp_edge.policy.folder import load_policy, read_config
from ofp_edge.train.batches import Raw
from ofp_edge.train.beyond import beyond
from ofp_edge.train.compute import Compute
from ofp_edge.train.loop import train
from ofp_edge.train.mixed import batches_of
from ofp_edge.train.plan import Plan, make_plan
from ofp_edge.train.processes import ALONE
from ofp_edge.train.request import Request
from ofp_edge.train.step import Step
from tests.imports.vla_checkpoint import TASKS, checkpoint, imported
from tests.targets.vla_frames import EPISODES, write_frames
from tests.train.test_loop import stop_at

ROWS = 4


@pytest.fixture(scope="module", params=["smolvla", "pi05"])
def start(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp(request.param)
    write_imported(imported(checkpoint(request.param, root / "it")), root / "policy", force=False)
    return root / "policy"


@pytest.fixture(scope="module")
def data(start: Path) -> Path:
    return write_frames(start.parent / "data.zarr", read_config(start), TASKS[:0:-1])


@pytest.fixture
def ask(start: Path, data: Path, tmp_path: Path) -> Callable[..., Request]:
    def request(**changes: object) -> Request:
        base = Request(data, tmp_path / "out", steps=2, batch_size=ROWS, init=start, distill=True)
        return replace(base, **changes)  # type: ignore[arg-type]

    return request


def stepped(plan: Plan, progress: float = 0.6) -> dict[str, Tensor]:
    """The losses of one batch, whose gradients are left in the network."""
    settings, spec = plan.settings, plan.policy.config.spec
    batches = batches_of(plan.dataset, plan.dataset.split().train, spec)
    raw: Raw = batches.read(torch.arange(ROWS))
    step = Step(plan.method, plan.state, ALONE, Compute().on(torch.device("cpu"), plan.method))
    return step.gradients(batches, raw, settings, progress)


def test_it_starts_as_the_policy_of_many_steps_bit_for_bit(start: Path) -> None:
    network = load_policy(start).widened("it").network
    size = network.encoder.feature_dim
    generator = torch.Generator().manual_seed(0)
    z, features = (torch.randn(5, n, generator=generator) for n in (network.chunk_size, size))
    t, r = torch.tensor([0.0, 0.2, 0.5, 0.7, 0.9]), torch.tensor([1.0, 0.3, 1.0, 0.9, 1.0])
    with torch.no_grad():
        before = network(z, t, t, features)
        assert torch.equal(network(z, t, r, features), before)
        assert network(torch.zeros_like(z), t, r, torch.zeros_like(features)).isfinite().all()
        network.time.step.weight.normal_(generator=generator)
        assert torch.equal(network(z, t, t, features), before)
        assert not torch.allclose(network(z, t, r, features), before, atol=1e-3)


@pytest.mark.parametrize("method", ["ofp-plus", "ofp", "meanflow"])
@pytest.mark.parametrize("progress", [0.3, 0.6])
def test_student_and_teacher_share_one_encoding_of_a_batch(
    ask: Callable[..., Request], method: str, progress: float
) -> None:
    plan = make_plan(ask(method=method))
    assert plan.state.average.encoder is plan.state.network.encoder
    seen: list[int] = []
    encoder = plan.state.network.encoder
    encoder.register_forward_hook(lambda module, inputs, output: seen.append(len(output)))
    losses = stepped(plan, progress)
    assert seen == [ROWS]
    assert all(x.isfinite() for x in losses.values())
    assert all(x.grad is None for x in encoder.parameters())
    learned = [*plan.state.network.trunk.parameters(), *plan.state.network.time.parameters()]
    assert sum(x.grad is not None and bool(x.grad.any()) for x in learned) > len(learned) // 2


def test_an_imported_ones_scale_is_its_own_and_no_state_is_far(
    ask: Callable[..., Request],
) -> None:
    plan = make_plan(ask())
    known = plan.policy.statistics
    for name, item in known.items():
        known[name] = replace(item, low=item.mean, high=tuple(x + 1e-3 for x in item.mean))
    assert beyond(plan) == [] and plan.policy.config.network.state_bound == 0


def test_numbers_behind_the_robots_own_are_no_part_of_a_loss(ask: Callable[..., Request]) -> None:
    """They were never trained, and would drown what was."""
    plans = [make_plan(ask(method="ofp", options={"p_drop": 0.0})) for _ in range(2)]
    network = plans[1].state.network
    size, leave = network.spec.action_dim, network.trunk.expert.leave  # type: ignore[union-attr]
    assert leave.out_features > size  # type: ignore[union-attr]
    with torch.no_grad():
        leave.bias[size:] += 100  # type: ignore[index, union-attr]
    one, other = (stepped(plan)["flow"] for plan in plans)
    assert torch.equal(one, other)
    with torch.no_grad():
        leave.bias[:size] += 1  # type: ignore[index, union-attr]
    assert not torch.allclose(stepped(plans[1])["flow"], one, atol=1e-2)


def test_one_step_is_distilled_deployed_and_held_against_what_was_recorded(
    ask: Callable[..., Request], start: Path, data: Path
) -> None:
    result = train(make_plan(ask()), checkpoint_every=1, validate_every=1)
    before, after = load_policy(start), load_policy(result.policy)
    assert (after.config.method, after.sampling.own_nfe) == ("ofp-plus", 1)
    assert after.config.spec == before.config.spec and after.statistics == before.statistics
    was, now = before.network.state_dict(), after.network.state_dict()
    changed = {name.partition(".")[0] for name in was if not torch.equal(was[name], now[name])}
    assert changed == {"time", "trunk"}
    told = after.config.network.prompting(after.network)
    assert told is not None
    best = load_policy(result.policy / "best").network.state_dict()
    assert all(torch.equal(best[x], was[x]) for x in was if x.startswith("encoder."))
    deployed = deploy(after)
    assert deployed.own_nfe == 1 and not deployed.walks
    found = measure_offline(result.policy, data, Choice(cold=True), samples=1)
    assert found.document["runs"][0]["nfe"] == 1


def test_what_was_interrupted_goes_on_as_if_it_had_not_been(
    ask: Callable[..., Request], tmp_path: Path
) -> None:
    names = tmp_path / "a", tmp_path / "b"
    train(make_plan(ask(output=names[0], steps=12)))
    train(make_plan(ask(output=names[1], steps=12)), progress=stop_at(10))
    plan = make_plan(ask(output=names[1], steps=None, init=None, distill=False, resume=True))
    assert plan.resumed_from == 10 and plan.state.frozen
    train(plan)
    one, other = (load_policy(x).network.state_dict() for x in names)
    assert all(torch.equal(one[x], other[x]) for x in one)


def test_training_on_keeps_the_steps_and_the_prefix(ask: Callable[..., Request]) -> None:
    plan = make_plan(ask(distill=False))
    assert plan.method.name == "flow" and plan.state.frozen
    policy = load_policy(train(plan).policy)
    assert policy.sampling.own_nfe == read_config(ask().init or Path()).network.steps  # type: ignore[attr-defined]


def test_half_precision_trains_where_it_is_asked_for(ask: Callable[..., Request]) -> None:
    plan = make_plan(ask())
    train(plan, compute=Compute("bfloat16"))
    assert plan.precision == "bfloat16"
    assert all(x.isfinite().all() for x in plan.state.average.state_dict().values())


def test_the_tasks_of_lerobots_data_are_its_words(
    ask: Callable[..., Request], data: Path, tmp_path: Path
) -> None:
    plain = tmp_path / "plain.zarr"
    shutil.copytree(data, plain)
    attributes = json.loads((plain / ".zattrs").read_text())
    about = attributes["ofp_edge"]
    (tasks,) = about.pop("instructions").values()
    about["observations"] = [f for f in about["observations"] if f["kind"] != "text"]
    (plain / ".zattrs").write_text(json.dumps({"ofp_edge": {**about, "tasks": tasks}}))
    one, other = (make_plan(ask(dataset=x, output=tmp_path / "o")) for x in (data, plain))
    assert len(set(tasks)) == 2 and len(tasks) == EPISODES
    numbers = [plan.dataset.parts[0].fields["task"].tolist() for plan in (one, other)]
    assert numbers[0] == numbers[1] and set(numbers[0]) == {1, 2}
    losses = [stepped(plan) for plan in (one, other)]
    assert all(torch.equal(losses[0][x], losses[1][x]) for x in losses[0])
    (plain / ".zattrs").write_text(
        json.dumps({"ofp_edge": {**about, "tasks": ["dance", *tasks[1:]]}})
    )
    with pytest.raises(UnknownName, match="instruction of .*plain.zarr: 'dance'"):
        make_plan(ask(dataset=plain, output=tmp_path / "o"))


def test_other_data_may_have_other_measured_ranges_and_more_to_see(
    ask: Callable[..., Request], data: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other.zarr"
    shutil.copytree(data, other)
    attributes = json.loads((other / ".zattrs").read_text())
    for item in (*attributes["ofp_edge"]["observations"], *attributes["ofp_edge"]["actions"]):
        if item.get("kind") != "rgb" and "low" in item:
            item["low"] = [x - 1 for x in item["low"]]
    (other / ".zattrs").write_text(json.dumps(attributes))
    plan = make_plan(ask(dataset=other))
    assert plan.policy.config.spec == read_config(ask().init or Path()).spec


@pytest.mark.parametrize("what", ["camera", "state", "rate"])
def test_data_that_does_not_fit_is_one_line(
    ask: Callable[..., Request], data: Path, tmp_path: Path, what: str
) -> None:
    other = tmp_path / "other.zarr"
    shutil.copytree(data, other)
    attributes = json.loads((other / ".zattrs").read_text())
    about = attributes["ofp_edge"]
    if what == "camera":
        about["observations"] = [f for f in about["observations"] if f["name"] != "rgb_wrist"]
    elif what == "state":
        next(f for f in about["observations"] if f["kind"] == "state")["unit"] = "deg"
    else:
        about["control_hz"] = 20.0
    (other / ".zattrs").write_text(json.dumps(attributes))
    words = {"camera": "rgb_wrist", "state": "unit", "rate": "control_hz"}[what]
    with pytest.raises(SpecMismatch, match=words) as caught:
        make_plan(ask(dataset=other))
    assert "\n" not in str(caught.value)
    assert not ask().output.exists()


def test_what_takes_one_step_already_is_not_distilled_again(
    ask: Callable[..., Request], tmp_path: Path
) -> None:
    train(make_plan(ask()))
    with pytest.raises(PolicyError, match="its method is ofp-plus"):
        make_plan(ask(init=ask().output, output=tmp_path / "again"))
    on = make_plan(ask(init=ask().output, output=tmp_path / "on", distill=False))
    assert on.method.name == "ofp-plus"
    with pytest.raises(OfpError, match="committed"):
        make_plan(ask(output=tmp_path / "c", distill=False, committed_steps=2))
