"""The TensorRT runner over a stand-in: what it answers, what it does when something fails, and
that the stand-in rejects a runner that breaks any one of the rules it enforces."""

from __future__ import annotations

import gc
import sys
import threading
import tracemalloc
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import numpy as np
import pytest

from ofp_edge.bundle import Bundle
from ofp_edge.errors import BundleError, EngineError, OfpError
from ofp_edge.runtime.runners.table import load_runner
from ofp_edge.runtime.runners.tensorrt import cuda as cuda_module
from ofp_edge.runtime.runners.tensorrt import cuda_pycuda
from ofp_edge.runtime.runners.tensorrt.api import import_tensorrt, make_log
from ofp_edge.runtime.runners.tensorrt.build import build_engine
from ofp_edge.runtime.runners.tensorrt.cuda import open_cuda
from ofp_edge.runtime.runners.tensorrt.cuda_pycuda import PyCuda
from ofp_edge.runtime.runners.tensorrt.cuda_python import CudaPython
from ofp_edge.runtime.runners.tensorrt.runner import TensorRTRunner
from tests.runtime.tensorrt.orin import orin_bundle
from tests.runtime.tensorrt.standin import BrokenRule, Gpu

BOTH = pytest.mark.parametrize("library", ["cuda-python", "pycuda"])


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return orin_bundle(tmp_path_factory.mktemp("orin") / "b")


@pytest.fixture
def plan(gpu: Gpu, bundle: Bundle) -> bytes:
    trt = import_tensorrt()
    return build_engine(trt, make_log(trt), bundle.read("encode.fp32.onnx")).plan


def runner_of(
    bundle: Bundle, plan: bytes, library: str = "cuda-python",
    kind: type[TensorRTRunner] = TensorRTRunner, mapped_bytes: int = 64,
) -> TensorRTRunner:  # fmt: skip
    """mapped_bytes: so few that the points are copied and the state is not."""
    trt, manifest = import_tensorrt(), bundle.manifest
    return kind(
        trt, make_log(trt), open_cuda(library), plan, manifest.function("encode").inputs,
        manifest.function("encode").outputs, mapped_bytes=mapped_bytes,
    )  # fmt: skip


def right_answers(bundle: Bundle, runner: TensorRTRunner, seed: int = 0) -> None:
    manifest = bundle.manifest
    reference = load_runner(
        "onnxruntime", bundle.read("encode.fp32.onnx"), manifest.function("encode").inputs,
        manifest.function("encode").outputs,
    )  # fmt: skip
    rng = np.random.default_rng(seed)
    for _ in range(3):
        for name, array in runner.inputs.items():
            array[...] = rng.normal(size=array.shape)
            np.copyto(reference.inputs[name], array)
        runner.infer()
        reference.infer()
        np.testing.assert_array_equal(runner.outputs["feature"], reference.outputs["feature"])


@BOTH
def test_answers_right_before_and_after_warm_up(
    gpu: Gpu, bundle: Bundle, plan: bytes, library: str
) -> None:
    runner = runner_of(bundle, plan, library)
    right_answers(bundle, runner)
    runner.warm_up()
    assert (runner.graph is not None) == (library == "cuda-python")
    assert (runner.why_no_graph is None) == (library == "cuda-python")
    right_answers(bundle, runner, 1)
    runner.close()


@BOTH
def test_buffers_are_what_the_manifest_says_and_stay(
    gpu: Gpu, bundle: Bundle, plan: bytes, library: str
) -> None:
    runner = runner_of(bundle, plan, library)
    for tensor in bundle.manifest.function("encode").inputs:
        array = runner.inputs[tensor.name]
        assert array.shape == tensor.shape and array.dtype == tensor.dtype
        assert array.flags.c_contiguous and array.flags.writeable and not array.any()
    kept = [*runner.inputs.values(), *runner.outputs.values()]
    runner.warm_up()
    runner.infer()
    after = [*runner.inputs.values(), *runner.outputs.values()]
    assert all(a is b for a, b in zip(after, kept, strict=True))
    runner.close()
    assert np.isfinite(kept[-1]).all()  # readable until dropped


@BOTH
def test_runs_in_another_thread_than_it_was_built_in(
    gpu: Gpu, bundle: Bundle, plan: bytes, library: str
) -> None:
    runner = runner_of(bundle, plan, library)
    failures: list[Exception] = []

    def run() -> None:
        try:
            runner.warm_up()
            right_answers(bundle, runner)
        except Exception as cause:
            failures.append(cause)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert failures == []


@BOTH
def test_a_step_allocates_nothing(gpu: Gpu, bundle: Bundle, plan: bytes, library: str) -> None:
    runner = runner_of(bundle, plan, library)
    runner.warm_up()
    gpu.steady = True
    runner.infer()
    tracemalloc.start()
    gc.collect()
    before = tracemalloc.take_snapshot()
    for _ in range(50):
        runner.infer()
    gc.collect()
    grown = tracemalloc.take_snapshot().compare_to(before, "filename")
    tracemalloc.stop()
    ours = [s for s in grown if "runners/tensorrt" in s.traceback[0].filename]
    assert sum(s.size_diff for s in ours) < 2048
    gpu.steady = False


def test_small_tensors_are_mapped_and_large_ones_copied(
    gpu: Gpu, bundle: Bundle, plan: bytes
) -> None:
    runner = runner_of(bundle, plan)
    assert [array is runner.inputs["points"] for _, array in runner._copies] == [True]
    assert runner_of(bundle, plan, mapped_bytes=1 << 20)._copies == []


def test_a_failing_capture_falls_back_to_plain_calls_and_says_why(
    gpu: Gpu, bundle: Bundle, plan: bytes
) -> None:
    gpu.faults.add("capture")
    runner = runner_of(bundle, plan)
    runner.warm_up()
    assert runner.graph is None
    assert runner.why_no_graph == "CUDA: cudaErrorStreamCaptureUnsupported"
    right_answers(bundle, runner)


def test_an_enqueue_that_fails_while_recording_ends_the_capture(
    gpu: Gpu, bundle: Bundle, plan: bytes
) -> None:
    runner = runner_of(bundle, plan)
    begin = runner._cuda.begin_capture

    def begin_and_break() -> None:
        begin()
        gpu.faults.add("execute")

    runner._cuda.begin_capture = begin_and_break  # type: ignore[method-assign]
    with pytest.raises(RuntimeError, match="Cask launch failure"):
        runner.warm_up()
    gpu.faults.clear()
    assert "Cask launch failure" in (runner.why_no_graph or "")
    right_answers(bundle, runner)


@pytest.mark.parametrize(
    ("fault", "says"),
    [("deserialize", "10.3.0 refuses the engine: The engine plan file is not compatible"),
     ("context", "gives no context: Error Code 2: OutOfMemory"),
     ("address", "takes no address for 'state': Given invalid tensor name")],
)  # fmt: skip
def test_tensorrts_own_message_is_in_every_error(
    gpu: Gpu, bundle: Bundle, plan: bytes, fault: str, says: str
) -> None:
    gpu.faults.add(fault)
    with pytest.raises(BundleError, match=says):
        runner_of(bundle, plan)


def test_a_failing_step_is_a_runtime_error_with_its_message(
    gpu: Gpu, bundle: Bundle, plan: bytes
) -> None:
    runner = runner_of(bundle, plan)
    gpu.faults.add("execute")
    with pytest.raises(RuntimeError, match="TensorRT: Error Code 1: Cask"):
        runner.infer()


@BOTH
@pytest.mark.parametrize("fault", ["pinned", "allocate"])
def test_out_of_memory_names_cudas_error(
    gpu: Gpu, bundle: Bundle, plan: bytes, library: str, fault: str
) -> None:
    gpu.faults.add(fault)
    with pytest.raises(RuntimeError, match="CUDA: .*([Mm]emory)"):
        runner_of(bundle, plan, library)


def test_an_engine_of_other_shapes_is_refused(gpu: Gpu, bundle: Bundle) -> None:
    trt = import_tensorrt()
    act = build_engine(trt, make_log(trt), bundle.read("act.fp32.onnx")).plan
    with pytest.raises(BundleError, match="tensorrt model has 3 inputs, the manifest 2"):
        runner_of(bundle, act)


def test_an_engine_of_another_version_is_refused_with_both(
    gpu: Gpu, bundle: Bundle, plan: bytes
) -> None:
    gpu.version = "10.16.2"
    with pytest.raises(BundleError, match="expecting library version 10.16.2 got 10.3.0"):
        runner_of(bundle, plan)


def test_neither_library_is_one_line_with_both_reasons(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cuda_module, "_MODULES", {"cuda-python": "no_a", "pycuda": "no_b"})
    with pytest.raises(OfpError, match=r"cuda-python: .*no_a.*; pycuda: .*no_b.*jetson"):
        open_cuda()


# Mutated runners: each breaks one rule, and the stand-in must notice.


class NoAddress(TensorRTRunner):
    def _set_address(self, name: str, address: int) -> None:
        if name != "feature":
            super()._set_address(name, address)


class CopiesTooLate(TensorRTRunner):
    def _enqueue(self) -> None:
        self._context.execute_async_v3(self._cuda.stream)
        for address, array in self._copies:
            self._cuda.to_device(address, array)


class WaitsWhileRecording(TensorRTRunner):
    def _enqueue(self) -> None:
        super()._enqueue()
        self._cuda.synchronize()


class RecordsFirst(TensorRTRunner):
    def warm_up(self, runs: int = 3) -> None:
        self._record()


class AllocatesEachStep(TensorRTRunner):
    def infer(self) -> None:
        self._cuda.allocate(16)
        super().infer()


class AllocatesWhileRecording(TensorRTRunner):
    def _enqueue(self) -> None:
        if self._cuda._stream.captured is not None:  # type: ignore[attr-defined]
            self._cuda.allocate(16)
        super()._enqueue()


class MovesAnAddress(TensorRTRunner):
    def infer(self) -> None:
        if self.graph is not None:
            self._set_address("feature", self._cuda.pinned((1, 8), "float32")[1])
        super().infer()


class DefaultStream(TensorRTRunner):
    def _enqueue(self) -> None:
        self._context.execute_async_v3(0)


class FreesTooEarly(TensorRTRunner):
    def close(self) -> None:
        self._enqueue()
        rt = self._cuda._rt  # type: ignore[attr-defined]
        for address in self._cuda._device:  # type: ignore[attr-defined]
            rt.cudaFree(address)


class CopiesPageable(TensorRTRunner):
    def _enqueue(self) -> None:
        for address, array in self._copies:
            self._cuda.to_device(address, array.copy())
        self._context.execute_async_v3(self._cuda.stream)


def use(bundle: Bundle, runner: TensorRTRunner, gpu: Gpu) -> None:
    """What a control loop does with a runner."""
    runner.warm_up()
    gpu.steady = True
    right_answers(bundle, runner)
    gpu.steady = False
    runner.close()


def test_the_real_runner_breaks_no_rule(gpu: Gpu, bundle: Bundle, plan: bytes) -> None:
    use(bundle, runner_of(bundle, plan), gpu)


@pytest.mark.parametrize(
    ("mutant", "rule"),
    [(NoAddress, "address: none for feature"), (WaitsWhileRecording, "capture: waits"),
     (RecordsFirst, "capture: no enqueue"), (AllocatesEachStep, "steady: allocates"),
     (AllocatesWhileRecording, "capture: allocates"), (MovesAnAddress, "graph: an address|steady"),
     (DefaultStream, "stream: the default"), (FreesTooEarly, "free: work is pending"),
     (CopiesPageable, "copy: from memory that is not page-locked")],
)  # fmt: skip
def test_a_mutated_runner_is_rejected(
    gpu: Gpu, bundle: Bundle, plan: bytes, mutant: type[TensorRTRunner], rule: str
) -> None:
    with pytest.raises(BrokenRule, match=rule):
        use(bundle, runner_of(bundle, plan, kind=mutant), gpu)


def test_an_address_that_moves_after_recording_is_rejected(
    gpu: Gpu, bundle: Bundle, plan: bytes
) -> None:
    runner = runner_of(bundle, plan, kind=MovesAnAddress)
    with pytest.raises(BrokenRule, match="graph: an address changed"):
        runner.warm_up()


@pytest.mark.parametrize("mutant", [CopiesTooLate])
def test_work_in_the_wrong_order_answers_wrong(
    gpu: Gpu, bundle: Bundle, plan: bytes, mutant: type[TensorRTRunner]
) -> None:
    with pytest.raises(AssertionError):
        use(bundle, runner_of(bundle, plan, kind=mutant), gpu)


def mutate(
    monkeypatch: pytest.MonkeyPatch, kind: type, name: str, function: Callable[..., Any]
) -> None:
    monkeypatch.setattr(kind, name, function)


@BOTH
def test_reading_without_waiting_reads_no_answer(
    monkeypatch: pytest.MonkeyPatch, gpu: Gpu, bundle: Bundle, plan: bytes, library: str
) -> None:
    runner = runner_of(bundle, plan, library)
    kind = CudaPython if library == "cuda-python" else PyCuda
    mutate(monkeypatch, kind, "synchronize", lambda self: None)
    runner.infer()
    assert np.isnan(runner.outputs["feature"]).all()


@BOTH
def test_a_host_address_for_the_gpu_is_rejected(
    monkeypatch: pytest.MonkeyPatch, gpu: Gpu, bundle: Bundle, plan: bytes, library: str
) -> None:
    kind = CudaPython if library == "cuda-python" else PyCuda
    real = kind.pinned

    def host_address(self: Any, shape: Any, dtype: str) -> Any:
        array, _ = real(self, shape, dtype)
        return array, array.ctypes.data

    mutate(monkeypatch, kind, "pinned", host_address)
    with pytest.raises(BrokenRule, match="address: not one the GPU knows"):
        runner_of(bundle, plan, library).infer()


@BOTH
def test_too_little_memory_for_a_tensor_is_rejected(
    monkeypatch: pytest.MonkeyPatch, gpu: Gpu, bundle: Bundle, plan: bytes, library: str
) -> None:
    kind = CudaPython if library == "cuda-python" else PyCuda
    real = kind.allocate
    mutate(monkeypatch, kind, "allocate", lambda self, size: real(self, size // 2))
    with pytest.raises(BrokenRule, match="address: fewer bytes"):
        runner_of(bundle, plan, library).infer()


def test_pycuda_in_a_thread_without_its_context_is_rejected(
    monkeypatch: pytest.MonkeyPatch, gpu: Gpu, bundle: Bundle, plan: bytes
) -> None:
    runner = runner_of(bundle, plan, "pycuda")
    mutate(monkeypatch, PyCuda, "current", lambda self: nullcontext())
    failures: list[Exception] = []

    def run() -> None:
        try:
            runner.infer()
        except BrokenRule as cause:
            failures.append(cause)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert [str(x) for x in failures] == ["context: none is current in this thread"]


def test_a_tensorrt_that_does_not_start_says_why(gpu: Gpu, bundle: Bundle, plan: bytes) -> None:
    gpu.faults.add("start")
    why = "TensorRT 10.3.0 does not start: CUDA initialization failure with error: 35."
    trt = import_tensorrt()
    with pytest.raises(BundleError, match=why):
        build_engine(trt, make_log(trt), bundle.read("act.fp32.onnx"))
    with pytest.raises(BundleError, match=why):
        runner_of(bundle, plan)


def test_no_context_stays_with_a_thread(gpu: Gpu, bundle: Bundle, plan: bytes) -> None:
    """pycuda ends the whole process when a thread ends that still has one."""

    def run() -> None:
        runner = runner_of(bundle, plan, "pycuda")
        runner.warm_up()
        gpu.faults.add("execute")
        with pytest.raises(EngineError):
            runner.infer()
        gpu.faults.clear()
        runner.close()
        open_cuda("pycuda").close()
        gpu.faults.add("pinned")
        with pytest.raises(RuntimeError, match="out of memory"):
            runner_of(bundle, plan, "pycuda")
        ended.append(True)

    ended: list[bool] = []
    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert ended
    assert len(gpu.current) == 1 and gpu.current.total() == 0


@pytest.mark.parametrize(
    ("change", "rule"),
    [(lambda config: config.set_flag(7), "TF32 is on"),
     (lambda config: setattr(config, "max_aux_streams", 2), "more streams")],
)  # fmt: skip
def test_a_build_with_other_settings_is_rejected(
    gpu: Gpu, bundle: Bundle, change: Callable[[Any], None], rule: str
) -> None:
    trt = import_tensorrt()
    with pytest.raises(BrokenRule, match=rule):
        build_engine(trt, make_log(trt), bundle.read("act.fp32.onnx"), configure=change)


def test_memory_that_is_not_mapped_is_rejected(
    monkeypatch: pytest.MonkeyPatch, gpu: Gpu, bundle: Bundle, plan: bytes
) -> None:
    cuda = open_cuda("cuda-python")
    real = cuda._rt.cudaHostAlloc  # type: ignore[attr-defined]
    monkeypatch.setattr(cuda._rt, "cudaHostAlloc", lambda n, flags: real(n, 0))  # type: ignore[attr-defined]
    with pytest.raises(BrokenRule, match="pinned: not mapped"):
        cuda.pinned((1, 4), "float32")


@BOTH
def test_a_stream_that_waits_for_the_default_one_is_rejected(
    monkeypatch: pytest.MonkeyPatch, gpu: Gpu, library: str
) -> None:
    monkeypatch.setattr(cuda_pycuda, "_NON_BLOCKING", 0)
    runtime = sys.modules["cuda.bindings.runtime"]
    real = runtime.cudaStreamCreateWithFlags
    monkeypatch.setattr(runtime, "cudaStreamCreateWithFlags", lambda flags: real(0))
    with pytest.raises(BrokenRule, match="stream: waits for the default stream"):
        open_cuda(library)
