"""Precision, compilation and parts of a batch change what a step costs, not what it learns."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from ofp_edge.data.dataset import Dataset
from ofp_edge.data.open import open_dataset
from ofp_edge.errors import OfpError
from ofp_edge.policy.folder import load_policy
from ofp_edge.policy.methods import METHODS, build_method
from ofp_edge.policy.presets import preset
from ofp_edge.spec import Chunking, PolicySpec
from ofp_edge.train import validation
from ofp_edge.train.batches import Batches
from ofp_edge.train.compute import Compute
from ofp_edge.train.loop import train
from ofp_edge.train.plan import make_plan
from ofp_edge.train.processes import ALONE, Processes
from ofp_edge.train.state import TrainState, new_state
from ofp_edge.train.step import Losses, Step

CPU, GPU = torch.device("cpu"), torch.device("cuda")
SETTINGS = replace(preset("tiny").training, jitter_m=0.01, shift_m=0.05)


@pytest.fixture(scope="module")
def dataset(points_data: Path) -> Dataset:
    return open_dataset(points_data)


def state_of(dataset: Dataset) -> tuple[TrainState, Batches]:
    spec = PolicySpec.of(dataset.interface, Chunking(2, 8, 4, dataset.control_hz))
    torch.manual_seed(0)
    network = preset("tiny").network.build(spec, dataset.statistics([0]))
    with torch.no_grad():  # none of the layers that start as 0 stays so
        for parameter in network.parameters():
            parameter.add_(0.02 * torch.randn_like(parameter))
    return new_state(network, SETTINGS, 3), Batches(dataset, [0, 1], spec)


def gradients(
    dataset: Dataset, compute: Compute, method: str = "ofp-plus", progress: float = 0.5
) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor], torch.Tensor]:
    state, batches = state_of(dataset)
    step = Step(build_method(method), state, ALONE, compute)
    losses = step.gradients(batches, batches.read(torch.arange(32)), SETTINGS, progress)
    found = {n: p.grad.clone() for n, p in state.network.named_parameters() if p.grad is not None}
    return losses, found, state.generator.get_state()


class Pair(Processes):
    """One of two processes that average nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 2


def differs(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> float:
    """The distance of two gradients, as a share of the first one's length."""
    assert one.keys() == other.keys()
    gap = torch.stack([(one[n] - other[n]).square().sum() for n in one]).sum().sqrt()
    return float(gap / torch.stack([x.square().sum() for x in one.values()]).sum().sqrt())


@pytest.mark.parametrize("progress", [0.1, 0.3, 0.9])
@pytest.mark.parametrize("method", sorted(METHODS))
def test_parts_of_a_batch_add_up_to_it(dataset: Dataset, method: str, progress: float) -> None:
    losses, whole, drawn = gradients(dataset, Compute("float32", False), method, progress)
    for count in (2, 4):
        compute = Compute("float32", False, count)
        parts, found, then = gradients(dataset, compute, method, progress)
        assert differs(whole, found) < 1e-4
        assert all(float(parts[n]) == pytest.approx(float(x), rel=1e-4) for n, x in losses.items())
        assert torch.equal(drawn, then)  # the next step draws the same


@pytest.mark.parametrize("method", sorted(METHODS))
def test_bfloat16_points_where_float32_does(dataset: Dataset, method: str) -> None:
    _, exact, _ = gradients(dataset, Compute("float32", False), method)
    _, rounded, _ = gradients(dataset, Compute("bfloat16", False), method)
    assert all(x.dtype == torch.float32 for x in rounded.values())
    assert 1e-6 < differs(exact, rounded) < 0.1


def test_a_compiled_network_is_the_same_one(dataset: Dataset, monkeypatch: Any) -> None:
    calls: list[int] = []

    def backend(graph: Any, inputs: Any) -> Any:
        calls.append(len(inputs))
        return graph.forward

    real = torch.nn.Module.compile
    monkeypatch.setattr(torch.nn.Module, "compile", lambda self: real(self, backend=backend))
    names = set(state_of(dataset)[0].network.state_dict())
    losses, plain, _ = gradients(dataset, Compute("float32", False))
    assert not calls
    seen, compiled, _ = gradients(dataset, Compute("float32", True))
    assert calls and differs(plain, compiled) < 1e-5
    assert set(state_of(dataset)[0].network.state_dict()) == names
    assert all(float(seen[n]) == pytest.approx(float(x), rel=1e-5) for n, x in losses.items())


def test_what_a_device_gains_is_on_there_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: True)
    plus, mean = build_method("ofp-plus"), build_method("meanflow")
    assert Compute().on(CPU, plus) == Compute("float32", False)
    assert Compute().on(GPU, plus) == Compute("bfloat16", True)
    assert Compute().on(GPU, mean) == Compute("bfloat16", False)
    assert Compute("float32", False).on(GPU, plus) == Compute("float32", False)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: False)
    assert Compute().on(GPU, plus).precision == "float32"
    with pytest.raises(OfpError, match="meanflow differentiates forward"):
        Compute(compiled=True).on(CPU, mean)
    with pytest.raises(OfpError, match="--precision float16: expected one of auto"):
        Compute("float16")  # type: ignore[arg-type]
    with pytest.raises(OfpError, match="--accumulate 0"):
        Compute(accumulate=0)


def test_memory_that_is_too_small_says_what_would_fit(
    dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, calls = Losses.forward, list[int]()
    state, batches = state_of(dataset)

    def small(self: Losses, teacher: Any, seen: Any, *rest: Any) -> Any:
        calls.append(len(seen[0]))
        if len(seen[0]) > 8:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return real(self, teacher, seen, *rest)

    monkeypatch.setattr(Losses, "forward", small)
    with pytest.raises(OfpError) as caught:
        gradients(dataset, Compute("float32", False))
    line = str(caught.value)
    assert "32 windows" in line and "8 at once do" in line and "--accumulate 4" in line
    gradients(dataset, Compute("float32", False, 4))
    with pytest.raises(OfpError) as caught:  # the others wait for its gradients: nothing is tried
        step = Step(build_method("ofp-plus"), state, Pair(), Compute("float32", False))
        step.gradients(batches, batches.read(torch.arange(32)), SETTINGS, 0.5)
    assert "--accumulate 2" in str(caught.value) and calls[-1] == 32
    monkeypatch.setattr(Losses, "forward", lambda *_: small(_[0], _[1], [torch.empty(9)]))
    with pytest.raises(OfpError, match="nor does a smaller one"):
        gradients(dataset, Compute("float32", False))


def test_a_cpu_s_allocator_is_understood_and_other_errors_stay(
    dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = ["DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes."]

    def failing(*args: Any) -> Any:
        raise RuntimeError(lines[0])

    monkeypatch.setattr(Losses, "forward", failing)
    with pytest.raises(OfpError, match="nor does a smaller one"):
        gradients(dataset, Compute("float32", False))
    lines[0] = "mat1 and mat2 shapes cannot be multiplied"
    with pytest.raises(RuntimeError, match="mat1"):
        gradients(dataset, Compute("float32", False))


def test_a_run_in_parts_learns_the_same(ask: Any, tmp_path: Path) -> None:
    train(make_plan(ask(output=tmp_path / "a", steps=10)))
    train(make_plan(ask(output=tmp_path / "b", steps=10)), compute=Compute(accumulate=4))
    one = load_policy(tmp_path / "a").network.state_dict()
    other = load_policy(tmp_path / "b").network.state_dict()
    assert all(torch.allclose(one[n], other[n], atol=2e-4) for n in one)
    start = copy.deepcopy(make_plan(ask(output=tmp_path / "c", steps=10)).state.average)
    moved = max(float((one[n] - x).abs().max()) for n, x in start.state_dict().items())
    assert moved > 1e-3


def test_parts_that_do_not_fit_the_batch_are_refused(ask: Any, tmp_path: Path) -> None:
    with pytest.raises(OfpError, match="expected a multiple of 5"):
        train(make_plan(ask(output=tmp_path / "a")), compute=Compute(accumulate=5))


def test_the_policy_says_in_which_precision_it_was_trained(ask: Any, tmp_path: Path) -> None:
    train(make_plan(ask(output=tmp_path / "a", steps=5)), compute=Compute("bfloat16"))
    found = load_policy(tmp_path / "a")
    assert found.config.training.precision == "bfloat16"
    assert all(x.dtype == torch.float32 for x in found.network.parameters())


@pytest.mark.parametrize("method", sorted(METHODS))
def test_validation_in_parts_is_the_whole_one(
    dataset: Dataset, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    state, batches = state_of(dataset)
    built = build_method(method)
    whole = validation.validate(built, state.average, batches)
    sizes: list[int] = []
    real = Batches.take

    def take(self: Batches, rows: torch.Tensor) -> Any:
        sizes.append(len(rows))
        return real(self, rows)

    monkeypatch.setattr(Batches, "take", take)
    monkeypatch.setattr(validation, "_PART_BYTES", 100_000)
    parts = validation.validate(built, state.average, batches)
    assert len(sizes) > 3 and len(set(sizes)) == 1 and sum(sizes) == 4 * min(256, len(batches))
    # Where a method treats a share of the rows apart, a part rounds that share, and draws, by
    # itself.
    assert parts.loss == pytest.approx(whole.loss, rel=2e-2)
    assert parts.chunk_error == pytest.approx(whole.chunk_error, rel=2e-2)
