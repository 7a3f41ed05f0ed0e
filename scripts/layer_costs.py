"""Each layer's achieved GFLOP/s and GB/s against this machine's measured peaks, as JSON.

    python scripts/layer_costs.py BUNDLE --precision fp32 --calls 200

ONNX Runtime's own profiler gives each node's time (one thread); operations and bytes come from the
graph's shapes. The peaks are measured in the same run: a 384^3 product in the same engine and
precision, and a copy of 64 MiB. A layer near neither peak is bound by what surrounds
it: the profiler's and the engine's cost of a node, which a node that computes nothing shows.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper

from ofp_edge.bundle import open_bundle
from ofp_edge.int8_kernels import open_exactly, unsigned_here
from ofp_edge.report.fingerprint import fingerprint
from ofp_edge.targets.unsigned import unsigned_integers

_SIZE, _WARM_UP = 384, 5
_BYTES = {TensorProto.FLOAT: 4, TensorProto.INT8: 1, TensorProto.UINT8: 1, TensorProto.INT32: 4}


def session(model: bytes, folder: Path | None = None) -> Any:
    """One thread; with a folder, timing every node, and the graph as it is run is written there."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    open_exactly(options, model)
    if folder is not None:
        options.enable_profiling = True
        options.profile_file_prefix = str(folder / "profile")
        options.optimized_model_filepath = str(folder / "graph.onnx")
    return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def product(precision: str) -> bytes:
    """A graph that is one large product, in the form that quantised layers have."""
    random = np.random.default_rng(0)
    nodes: list[Any] = []
    values: dict[str, Any] = {}
    if precision == "fp32":
        values["w"] = random.normal(size=(_SIZE, _SIZE)).astype(np.float32)
        nodes.append(helper.make_node("MatMul", ["x", "w"], ["y"]))
    else:
        values["w"] = random.integers(-127, 128, (_SIZE, _SIZE)).astype(np.int8)
        values |= {"s": np.float32(0.01), "o": np.int8(0)}
        for node in (
            ("QuantizeLinear", ["x", "s", "o"], ["xq"]),
            ("DequantizeLinear", ["xq", "s", "o"], ["xd"]),
            ("DequantizeLinear", ["w", "s", "o"], ["wd"]), ("MatMul", ["xd", "wd"], ["m"]),
            ("QuantizeLinear", ["m", "s", "o"], ["mq"]),
            ("DequantizeLinear", ["mq", "s", "o"], ["y"]),
        ):  # fmt: skip
            nodes.append(helper.make_node(*node))
    shape = [_SIZE, _SIZE]
    graph = helper.make_graph(
        nodes, "peak", [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, shape)],
        [numpy_helper.from_array(np.asarray(v), k) for k, v in values.items()],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)])
    model.ir_version = 10
    made = bytes(model.SerializeToString())
    return unsigned_integers(made, relu_from_zero=False) if unsigned_here() else made


def peaks(precision: str) -> dict[str, float]:
    """{"gflops", "gb_s"}: the best of many short tries, so that a busy machine does not hide them.

    The memory is walked from end to end, so that no slice is in a cache when its turn comes.
    """
    run, x = session(product(precision)), np.ones((_SIZE, _SIZE), np.float32)
    source = np.ones((64, 1 << 20), np.uint8)
    target = np.empty_like(source)
    compute, copy = [], []
    for _ in range(300):
        before = time.perf_counter()
        run.run(None, {"x": x})
        compute.append(time.perf_counter() - before)
    for _ in range(5):
        for slice_, other in zip(source, target, strict=True):
            before = time.perf_counter()
            np.copyto(other, slice_)
            copy.append(time.perf_counter() - before)
    return {
        "gflops": 2 * _SIZE**3 / min(compute) / 1e9,
        "gb_s": 2 * source[0].nbytes / float(np.percentile(copy, 5)) / 1e9,
    }  # fmt: skip


def node_times(model: bytes, feeds: dict[str, Any], calls: int) -> list[dict[str, Any]]:
    """Every node of the graph that ONNX Runtime made: {"node", "operation", "us", "flops",
    "bytes"}."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        run = session(model, folder)
        for _ in range(calls + _WARM_UP):
            run.run(None, feeds)
        events = json.loads(Path(run.end_profiling()).read_text())
        graph = onnx.load(folder / "graph.onnx").graph
    constants = {x.name: (tuple(x.dims), _BYTES.get(x.data_type, 4)) for x in graph.initializer}
    weights = {
        node.name: [constants[x] for x in node.input if x in constants] for node in graph.node
    }
    times, shapes = defaultdict(list), {}
    for event in events:
        if event.get("cat") == "Node" and event["name"].endswith("_kernel_time"):
            node = event["name"].removesuffix("_kernel_time")
            times[node].append(float(event["dur"]))
            shapes[node] = event["args"]
    rows = []
    for node, values in times.items():
        told = shapes[node]
        fixed = max(weights.get(node, []), key=lambda x: np.prod(x[0]), default=((), 4))
        if len(fixed[0]) < 2:  # made at run time: the profiler shows it
            shown = [tuple(next(iter(x.values()))) for x in told["input_type_shape"][1:]]
            fixed = (max(shown, key=lambda x: len(x), default=()), 4)
        flops = operations(told["op_name"], fixed[0], told)
        moved = sum(size(x) for x in (*told["input_type_shape"], *told["output_type_shape"]))
        if not any(list(fixed[0]) == next(iter(x.values())) for x in told["input_type_shape"]):
            moved += int(np.prod(fixed[0])) * fixed[1]  # packed away, so the profiler leaves it out
        rows.append({"node": node, "operation": told["op_name"], "us": median(values[_WARM_UP:]),
                     "flops": flops, "bytes": moved})  # fmt: skip
    return rows


def size(item: dict[str, list[int]]) -> int:
    """Bytes of a tensor as the profiler writes it, e.g. {"float": [1, 8]}."""
    kind, shape = next(iter(item.items()))
    each = {"float": 4, "int8": 1, "uint8": 1, "int32": 4, "int64": 8}.get(kind, 4)
    return int(np.prod(shape)) * each


def operations(op: str, weight: tuple[int, ...], told: dict[str, Any]) -> int:
    """Of a product or convolution: a multiply-add is two; of anything else one an output."""
    out = int(np.prod(next(iter(told["output_type_shape"][0].values()))))
    source = int(np.prod(next(iter(told["input_type_shape"][0].values()))))
    if not weight or not any(x in op for x in ("MatMul", "Gemm", "Conv")):
        return out
    if "ConvTranspose" in op:
        return 2 * source * int(np.prod(weight[1:]))
    if "Conv" in op:
        return 2 * out * int(np.prod(weight[1:]))
    return 2 * int(np.prod(weight))  # one row times a matrix


def limit(row: dict[str, Any], idle_us: float) -> str:
    """What bounds a layer, as far as figures tell."""
    if row["us"] < 2 * idle_us:
        return "the engine's cost of any node"
    if max(row["of_peak_gflops"], row["of_peak_gb_s"]) < 0.2:
        return "neither peak: too small to fill the CPU's pipelines"
    return "computing" if row["of_peak_gflops"] >= row["of_peak_gb_s"] else "reading memory"


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--precision", default="fp32")
    parser.add_argument("--calls", type=int, default=200)
    given = parser.parse_args()
    bundle = open_bundle(given.bundle)
    manifest, golden = bundle.manifest, bundle.golden()
    best = peaks(given.precision)
    rows: list[dict[str, Any]] = []
    for function, inputs in ((x.name, x.inputs) for x in manifest.functions):
        model = bundle.read(bundle.artefact(function, "onnxruntime", given.precision).file)
        feeds = {x.name: golden[f"input/{function}/{x.name}"][:1].reshape(x.shape) for x in inputs}
        rows += [
            {"function": function, **row,
             "gflops": round(row["flops"] / max(row["us"], 0.5) / 1e3, 3),
             "gb_s": round(row["bytes"] / max(row["us"], 0.5) / 1e3, 3)}
            for row in node_times(model, feeds, given.calls)
        ]  # fmt: skip
    idle_us = median(row["us"] for row in rows if row["flops"] < 1000) or 1.0
    total = sum(row["us"] for row in rows)
    for row in rows:
        row["share"] = round(row["us"] / total, 4)
        row["of_peak_gflops"] = round(row["gflops"] / best["gflops"], 4)
        row["of_peak_gb_s"] = round(row["gb_s"] / best["gb_s"], 4)
        row["limited_by"] = limit(row, idle_us)
    rows.sort(key=lambda row: -row["us"])
    flops = sum(row["flops"] for row in rows)
    print(json.dumps({
        "bundle": given.bundle.name, "preset": manifest.provenance.get("preset"),
        "engine": "onnxruntime", "precision": given.precision, "threads": 1,
        "calls": given.calls, "peaks": {k: round(v, 2) for k, v in best.items()},
        "idle_node_us": idle_us, "nodes": len(rows),
        "whole": {"us": total, "gflops": round(flops / total / 1e3, 3),
                  "of_peak_gflops": round(flops / total / 1e3 / best["gflops"], 4)},
        "layers": rows[:12], "fingerprint": fingerprint(1),
    }, indent=1))  # fmt: skip


if __name__ == "__main__":
    main()
