"""A bundle of --target jetson-orin on an NVIDIA GPU of a PC, which is passed off as an Orin's.

    python scripts/gpu_engines.py BUNDLE [--tensorrt MODULE] -o docs/results/gpu-….json

Cache, gate, runner and both CUDA libraries are the project's own and run on the real GPU; the
board's files are the tests' constructed ones. Nothing of this says how fast an Orin is. MODULE:
`tensorrt`, of which an Orin has 10.3 or 10.16; `rtx`: TensorRT-RTX from build/tensorrt; or another
module's name. TensorRT 8 knows no strongly typed networks: there this script builds, not ofp-edge.
"""

from __future__ import annotations

import argparse
import importlib
import json
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import numpy as np

from ofp_edge.bundle import Bundle, open_bundle
from ofp_edge.doctor.certify import certify
from ofp_edge.errors import BundleError, OfpError, ParityError
from ofp_edge.functions import Function
from ofp_edge.manifest import Artefact
from ofp_edge.progress import silent
from ofp_edge.runtime.jetson import machine as machines
from ofp_edge.runtime.runners.check import Golden, GoldenRun, per_dimension
from ofp_edge.runtime.runners.tensorrt import build, device, engine
from ofp_edge.runtime.runners.tensorrt.api import make_log
from ofp_edge.runtime.runners.tensorrt.cache import EngineCache
from ofp_edge.runtime.runners.tensorrt.cuda import NAMES, open_cuda
from ofp_edge.runtime.runners.tensorrt.runner import MAPPED_BYTES, TensorRTRunner
from tests.runtime.jetson.constructed import construct

TENSORRT = engine.TensorRT()
CALLS = 1000
SOAK_S = 3.0


def main() -> None:
    """See the module. Each part is in the file as soon as it is done."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--tensorrt", default="tensorrt")
    parser.add_argument("-o", "--output", type=Path, required=True)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        become_orin(Path(folder) / "root", given.tensorrt)
        bundle = open_bundle(Path(shutil.copytree(given.bundle, Path(folder) / given.bundle.name)))
        precisions = [p for name, p in bundle.engines() if name == TENSORRT.name]
        found: dict[str, Any] = {"bundle": given.bundle.name, "engines": []}
        for precision in precisions:
            for row in built_and_measured(bundle, precision):
                found["engines"].append(row)
                given.output.write_text(json.dumps(found, indent=1) + "\n")
        told = certify(bundle, SOAK_S)  # not the board, which is none
        found |= {key: told[key] for key in ("tensorrt", "gpu", "python", "precisions", "failures")}
        passed = [p for p in precisions if told["precisions"][p]["passed"]]
        found["cache"] = dict(check_cache(bundle, passed))
    given.output.write_text(json.dumps(found, indent=1) + "\n")


def become_orin(root: Path, module: str) -> None:
    """From here on this process takes the machine for an Orin, and the GPU for its own."""
    if module == "rtx":
        from tests.tensorrt.wheels import load_rtx

        trt = load_rtx()
    else:
        trt = importlib.import_module(module)
    machine = construct(root, "orin-nano-super", "6.2")
    cuda = open_cuda()
    capability = ".".join(map(str, cuda.device()[1]))
    cuda.close()
    typed, types = hasattr(trt.NetworkDefinitionCreationFlag, "STRONGLY_TYPED"), trt.DataType
    if not typed:  # the one type that the runner asks for and TensorRT 8 has no name of
        types = SimpleNamespace(FLOAT=types.FLOAT, HALF=types.HALF, INT64=None)
    trt = SimpleNamespace(**{**vars(trt), "DataType": types})
    for where, name, value in (
        (machines, "this_machine", lambda: machine),
        (device, "ORIN", capability),
        (device, "import_tensorrt", lambda: trt),
        (engine, "build_engine", build_for_this_gpu if typed else build_untyped),
    ):
        patch.object(where, name, value).start()


def build_for_this_gpu(trt: Any, *arguments: Any, **options: Any) -> build.BuiltEngine:
    """The project's builder; RTX must be told that the engine is for the GPU that it sees."""

    def configure(config: Any) -> None:
        if hasattr(trt, "ComputeCapability"):
            config.num_compute_capabilities = 1
            config.set_compute_capability(trt.ComputeCapability.CURRENT, 0)

    return build.build_engine(trt, *arguments, **options, configure=configure)


def build_untyped(
    trt: Any, log: Any, model: bytes, *, timing: bytes = b"", progress: Any = None
) -> build.BuiltEngine:
    """An engine of TensorRT 8, which chooses types itself: of those that the graph has."""
    builder = trt.Builder(log)
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.EXPLICIT_BATCH))
    parser = trt.OnnxParser(network, log)
    if not parser.parse(model):
        said = "; ".join(parser.get_error(i).desc() for i in range(parser.num_errors))
        raise BundleError(f"TensorRT {trt.__version__} cannot read the graph: {said}.")
    config, flags = builder.create_builder_config(), trt.BuilderFlag
    config.clear_flag(flags.TF32)
    config.builder_optimization_level = 1  # its default takes minutes for each engine
    config.max_aux_streams = 0
    layers = [network.get_layer(i) for i in range(network.num_layers)]
    if any(layer.type == trt.LayerType.QUANTIZE for layer in layers):
        config.set_flag(flags.INT8)
    if any(layer.get_output(0).dtype == trt.DataType.HALF for layer in layers):
        config.set_flag(flags.FP16)
        config.set_flag(flags.OBEY_PRECISION_CONSTRAINTS)
    config.set_timing_cache(config.create_timing_cache(timing), False)
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        raise BundleError(f"TensorRT {trt.__version__} cannot build the engine: {log.said()}.")
    return build.BuiltEngine(bytes(plan), bytes(config.get_timing_cache().serialize()))


def built_and_measured(bundle: Bundle, precision: str) -> Iterator[dict[str, Any]]:
    """Each CUDA library, inputs mapped and copied, with a CUDA graph and without; past the gate,
    so that what it refuses is told in numbers."""
    trt, golden, plans = device.open_device().trt, bundle.golden(), {}
    functions = {x.name: x for x in bundle.manifest.functions}
    for name in functions:
        model = TENSORRT.program(bundle, bundle.artefact(name, TENSORRT.name, precision))
        try:
            made = engine.build_engine(trt, make_log(trt), model)  # type: ignore[attr-defined]
            plans[name] = made.plan
        except BundleError as cause:
            yield {"precision": precision, "function": name, "failure": str(cause)}
    for library, mapped_bytes, graph, function in product(
        NAMES, (MAPPED_BYTES, 0), (True, False), plans
    ):
        row: dict[str, Any] = {
            "precision": precision, "library": library, "function": function,
            "mapped_bytes": mapped_bytes, "graph": graph,
        }  # fmt: skip
        try:
            row |= measured(bundle, golden, functions[function], plans[function], trt, row)
        except (OfpError, RuntimeError) as cause:
            row["failure"] = str(cause)
        yield row


def measured(
    bundle: Bundle, golden: Golden, function: Function, plan: bytes, trt: Any, row: dict[str, Any]
) -> dict[str, Any]:
    """Differences in this thread and in another, and milliseconds a call."""
    artefact = bundle.artefact(function.name, TENSORRT.name, row["precision"])
    runner = TensorRTRunner(
        trt, make_log(trt), open_cuda(row["library"]), plan, function.inputs, function.outputs,
        mapped_bytes=row["mapped_bytes"],
    )  # fmt: skip
    if not row["graph"]:
        runner.why_no_graph = "not asked for"
    runner.warm_up()
    found: dict[str, Any] = {"off": differences(bundle, artefact, runner, golden)}
    elsewhere: list[Any] = []

    def run() -> None:
        try:
            elsewhere.append(differences(bundle, artefact, runner, golden))
        except (OfpError, RuntimeError) as cause:
            elsewhere.append(str(cause))

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    times = []
    for _ in range(CALLS):
        start = time.perf_counter_ns()
        runner.infer()
        times.append((time.perf_counter_ns() - start) / 1e6)
    p50, p99 = np.percentile(times, (50, 99))
    found |= {
        "same_in_another_thread": elsewhere[0] == found["off"] or elsewhere[0],
        "why_no_graph": runner.why_no_graph, "ms_p50": float(p50), "ms_p99": float(p99),
    }  # fmt: skip
    runner.close()
    return found


def differences(
    bundle: Bundle, artefact: Artefact, runner: TensorRTRunner, golden: Golden
) -> dict[str, dict[str, float]]:
    """By output: the largest difference to the golden output, and as a share of its tolerance."""
    run, found = GoldenRun(bundle.manifest.functions, {artefact.function: runner}, golden), {}
    for name, got in run.answers(artefact.function).items():
        expected = golden[f"output/{artefact.function}/{artefact.precision}/{name}"]
        worst = per_dimension(name, got - expected, bundle.spec.action_dim)
        share = (worst / np.asarray(artefact.tolerance[name])).max()
        found[name] = {"largest": float(worst.max()), "of_tolerance": float(share)}
    return found


def check_cache(bundle: Bundle, passed: list[str]) -> Iterator[tuple[str, str]]:
    """What is found again, what is built again and why, and that the gate keeps nothing wrong."""
    if not passed:
        return
    cache, precision = EngineCache(bundle), passed[0]

    def reasons() -> str:
        prepared = TENSORRT.prepare(bundle, precision, silent)
        return "; ".join(item.reason for item in prepared if item.reason)

    yield "precision", precision
    yield "again", reasons()
    plan = cache.engine_file("act", precision)
    plan.write_bytes(plan.read_bytes()[:-1] + b"\0")
    yield "damaged", reasons()
    plan.unlink()
    off = {name: x + 1 if name.startswith("output/act/") else x
           for name, x in bundle.golden().items()}  # fmt: skip
    with patch.object(Bundle, "golden", lambda self: off):
        try:
            yield "wrong", reasons()
        except ParityError as cause:
            yield "wrong", f"{cause}; kept: {plan.exists()}"
    yield "after", reasons()


if __name__ == "__main__":
    main()
