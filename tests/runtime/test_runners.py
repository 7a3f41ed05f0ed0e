"""Every runner keeps the same promises."""

from __future__ import annotations

import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from ofp_edge.errors import BundleError, MissingExtra, UnknownName
from ofp_edge.functions import Tensor
from ofp_edge.origin import install_line
from ofp_edge.policy.torch_runner import TorchRunner
from ofp_edge.runtime.runners import Runner
from ofp_edge.runtime.runners.null import NullRunner
from ofp_edge.runtime.runners.table import ENGINES, load_runner
from ofp_edge.targets.export import Exported, export_executorch, export_onnx
from tests.needs import CPU_ENGINES, needs_engines

INPUTS = (Tensor("a", (1, 6)), Tensor("b", (1, 2)))
OUTPUTS = (Tensor("sum", (1, 4)), Tensor("first", (1, 2)))


class Toy(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layer = nn.Linear(6, 4)

    def forward(self, a: torch.Tensor, b: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        h = torch.nn.functional.silu(self.layer(a))
        return h + torch.cat([b, b], 1), h[:, :2] * b


@dataclass
class Models:
    module: nn.Module
    exported: dict[str, Exported]


@pytest.fixture(scope="module")
def models() -> Models:
    needs_engines()
    module = Toy().eval()
    return Models(
        module,
        {
            "onnxruntime": export_onnx(module, INPUTS, OUTPUTS),
            "executorch": export_executorch(module, INPUTS),
        },
    )


@pytest.fixture(params=["onnxruntime", "executorch", "torch", "null"])
def runner(request: pytest.FixtureRequest, models: Models) -> Iterator[Runner]:
    made: Runner
    if request.param == "torch":
        made = TorchRunner(models.module, INPUTS, OUTPUTS)
    elif request.param == "null":
        made = NullRunner(INPUTS, OUTPUTS, {"sum": [[1, 2, 3, 4]]})
    else:
        model = models.exported[request.param].model
        made = load_runner(request.param, model, INPUTS, OUTPUTS)
    yield made
    made.close()


def expected(models: Models, a: np.ndarray, b: np.ndarray) -> list[np.ndarray]:
    with torch.no_grad():
        return [x.numpy() for x in models.module(torch.from_numpy(a), torch.from_numpy(b))]


def test_buffers_have_the_manifests_names_shapes_and_dtypes(runner: Runner) -> None:
    for buffers, tensors in ((runner.inputs, INPUTS), (runner.outputs, OUTPUTS)):
        assert list(buffers) == [t.name for t in tensors]
        for tensor in tensors:
            array = buffers[tensor.name]
            assert array.shape == tensor.shape and array.dtype == np.float32
            assert array.flags.c_contiguous and array.flags.writeable


def test_answers_what_torch_answers_for_what_was_written_in_place(
    runner: Runner, models: Models
) -> None:
    if isinstance(runner, NullRunner):
        pytest.skip("computes nothing, by design")
    rng = np.random.default_rng(0)
    for _ in range(5):
        a = rng.normal(size=(1, 6)).astype(np.float32)
        b = rng.normal(size=(1, 2)).astype(np.float32)
        np.copyto(runner.inputs["a"], a)
        np.copyto(runner.inputs["b"], b)
        runner.infer()
        for got, want in zip(runner.outputs.values(), expected(models, a, b), strict=True):
            np.testing.assert_allclose(got, want, atol=1e-6)


def test_buffers_stay_the_same_objects_and_the_next_call_overwrites_them(runner: Runner) -> None:
    inputs, outputs = dict(runner.inputs), dict(runner.outputs)
    addresses = [x.ctypes.data for x in (*inputs.values(), *outputs.values())]
    runner.inputs["a"][:] = 1
    runner.infer()
    before = outputs["sum"].copy()
    runner.inputs["a"][:] = -1
    runner.infer()
    assert all(runner.inputs[k] is v for k, v in inputs.items())
    assert all(runner.outputs[k] is v for k, v in outputs.items())
    assert [x.ctypes.data for x in (*inputs.values(), *outputs.values())] == addresses
    assert isinstance(runner, NullRunner) or not np.array_equal(before, outputs["sum"])


def test_infer_does_not_write_to_inputs(runner: Runner) -> None:
    runner.inputs["a"][:], runner.inputs["b"][:] = 0.25, -3
    runner.warm_up(2)
    runner.infer()
    assert (runner.inputs["a"] == 0.25).all() and (runner.inputs["b"] == -3).all()


def test_same_input_gives_the_same_bits(runner: Runner) -> None:
    runner.inputs["a"][:] = 0.3
    runner.infer()
    first = {name: x.copy() for name, x in runner.outputs.items()}
    runner.infer()
    assert all(np.array_equal(first[name], x) for name, x in runner.outputs.items())


def test_two_runners_of_one_model_do_not_share_buffers(models: Models) -> None:
    for engine in CPU_ENGINES:
        model = models.exported[engine].model
        one, two = (load_runner(engine, model, INPUTS, OUTPUTS) for _ in range(2))
        one.inputs["a"][:], two.inputs["a"][:] = 1, 2
        one.infer()
        kept = one.outputs["sum"].copy()
        two.infer()
        assert np.array_equal(one.outputs["sum"], kept)
        assert not np.array_equal(two.outputs["sum"], kept)


def test_runs_in_another_thread_than_it_was_built_in(runner: Runner) -> None:
    thread = threading.Thread(target=runner.infer)
    thread.start()
    thread.join()
    runner.infer()


@pytest.mark.parametrize("engine", CPU_ENGINES)
@pytest.mark.parametrize(
    "damage", [lambda m: b"", lambda m: b"not a model", lambda m: m[: len(m) // 2]]
)
def test_a_model_the_engine_refuses_is_one_line(
    engine: str, damage: Callable[[bytes], bytes], models: Models, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(BundleError, match=f"{engine} .*refuses") as error:
        load_runner(engine, damage(models.exported[engine].model), INPUTS, OUTPUTS)
    assert "\n" not in str(error.value)
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("engine", CPU_ENGINES)
@pytest.mark.parametrize(
    ("inputs", "outputs", "what"),
    [
        (INPUTS[:1], OUTPUTS, "has 2 inputs, the manifest 1"),
        ((Tensor("a", (1, 5)), INPUTS[1]), OUTPUTS, r"input 'a': expected \(1, 5\)"),
        (INPUTS, (OUTPUTS[0],), "has 2 outputs"),
        (INPUTS, (Tensor("sum", (1, 4)), Tensor("first", (2, 1))), "output 'first'"),
        ((Tensor("a", (1, 6), "float64"), INPUTS[1]), OUTPUTS, "float64, got 'a'"),
    ],
)
def test_a_model_that_does_not_fit_the_manifest_is_refused(
    engine: str, inputs: tuple[Tensor, ...], outputs: tuple[Tensor, ...], what: str, models: Models
) -> None:
    with pytest.raises(BundleError, match=what):
        load_runner(engine, models.exported[engine].model, inputs, outputs)


def test_onnx_names_must_be_the_manifests(models: Models) -> None:
    swapped = (Tensor("x", (1, 6)), INPUTS[1])
    with pytest.raises(BundleError, match="input 'x'.*got 'a'"):
        load_runner("onnxruntime", models.exported["onnxruntime"].model, swapped, OUTPUTS)


def test_unknown_engine_lists_the_known() -> None:
    with pytest.raises(UnknownName, match="executorch, onnxruntime, tensorrt"):
        load_runner("openvino", b"", INPUTS, OUTPUTS)


@pytest.mark.parametrize(
    ("engine", "remedy"),
    [
        ("onnxruntime", f"Run: {install_line('onnxruntime')}"),
        ("executorch", f"Run: {install_line('executorch')}"),
    ],
)
def test_a_missing_engine_names_its_pip_line(
    engine: str, remedy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import importlib

    real, module = importlib.import_module, ENGINES[engine].module

    def without(name: str, package: str | None = None) -> object:
        if name.split(".")[0] == module:
            raise ModuleNotFoundError(f"No module named {module!r}", name=module)
        return real(name, package)

    monkeypatch.setattr(importlib, "import_module", without)
    with pytest.raises(MissingExtra, match=re.escape(remedy)):
        load_runner(engine, b"", INPUTS, OUTPUTS)


@pytest.mark.parametrize("engine", CPU_ENGINES)
def test_an_engine_brings_no_torch_says_nothing_and_leaves_nothing_behind(
    engine: str, models: Models, tmp_path: Path
) -> None:
    path = tmp_path / "toy"
    path.write_bytes(models.exported[engine].model)
    code = f"""
import sys, tracemalloc
from ofp_edge.functions import Tensor
from ofp_edge.runtime.runners.table import load_runner
r = load_runner({engine!r}, open({str(path)!r}, "rb").read(),
    (Tensor("a", (1, 6)), Tensor("b", (1, 2))), (Tensor("sum", (1, 4)), Tensor("first", (1, 2))))
r.warm_up(1000)  # the interpreter fills its free lists first
assert "torch" not in sys.modules
tracemalloc.start()
before = tracemalloc.get_traced_memory()[0]
for _ in range(500):
    r.infer()
after, peak = tracemalloc.get_traced_memory()
assert after - before < 2048 and peak - before < 4096, (after - before, peak - before)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_null_runner_counts_calls_and_keeps_its_answer() -> None:
    runner = NullRunner(INPUTS, OUTPUTS, {"sum": 7})
    runner.infer()
    runner.infer()
    assert runner.calls == 2 and (runner.outputs["sum"] == 7).all()
    assert (runner.outputs["first"] == 0).all()
