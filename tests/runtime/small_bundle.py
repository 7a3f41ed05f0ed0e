"""A real bundle in a moment: two hand-made ONNX graphs, golden outputs by onnxruntime, hashes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from ofp_edge.bundle import GOLDEN, write_manifest
from ofp_edge.camera_parameters import CameraParameters, CameraTolerance
from ofp_edge.functions import Tensor, encode_and_act
from ofp_edge.manifest import Artefact, Committed, Default, FileEntry, Manifest, TimeRow
from ofp_edge.runtime.runners.table import load_runner
from ofp_edge.spec import PolicySpec
from ofp_edge.start import FROM_COLD, Start

FEATURE, EMBEDDING = 8, 4
PLAIN = Start()
_TIMES = (("cold", 0.0, 1.0), ("warm", 0.3, 1.0), ("refine", 0.6, 1.0))


def write_small_bundle(
    folder: Path, spec: PolicySpec, cameras: dict[str, CameraParameters], *, seed: int = 0,
    provenance: dict[str, Any] | None = None, start: Start = PLAIN,
    committed_steps: int = 0,
) -> Path:  # fmt: skip
    """A bundle for `spec` with random weights. committed_steps: act is told so long a prefix."""
    rng = np.random.default_rng(seed)
    size = spec.horizon * spec.action_dim
    n = start.cold_steps()
    ladder = [(FROM_COLD, k / n, (k + 1) / n) for k in range(n)] if n > 1 else []
    rows = tuple(
        TimeRow(name, t, r, (*rng.normal(size=EMBEDDING).tolist(), r - t))
        for name, t, r in (*_TIMES, *ladder)
    )
    told = committed_steps > 0
    encode, act = functions = encode_and_act(spec, FEATURE, EMBEDDING + 1, committed=told)
    one = (1.0,) * spec.action_dim
    models = {"encode": _encode(encode.inputs, rng), "act": _act(act.inputs, size, rng)}
    folder.mkdir(parents=True)
    golden: dict[str, np.ndarray] = {}
    artefacts = []
    for function in functions:
        name, model = function.name, models[function.name]
        file = f"{name}.fp32.onnx"
        (folder / file).write_bytes(model)
        runner = load_runner("onnxruntime", model, function.inputs, function.outputs)
        for tensor in function.inputs:
            values = rng.normal(size=tensor.shape).astype(np.float32)
            runner.inputs[tensor.name][:] = values
            golden[f"input/{name}/{tensor.name}"] = values
        runner.infer()
        for tensor in function.outputs:
            golden[f"output/{name}/fp32/{tensor.name}"] = runner.outputs[tensor.name].copy()
        tolerance = {
            t.name: [1e-4] * (spec.action_dim if t.name == "chunk" else 1) for t in function.outputs
        }
        entry = FileEntry.of(folder, file)
        artefacts.append(
            Artefact(name, "onnxruntime", "fp32", entry.file, entry.size, entry.sha256, tolerance)
        )
    np.savez(folder / GOLDEN, **golden)
    manifest = Manifest(
        "host", None, spec, cameras, CameraTolerance(), functions, rows,
        tuple(artefacts), (FileEntry.of(folder, GOLDEN),), Default("onnxruntime", "fp32"),
        {"made_by": "tests <&>", **(provenance or {})}, start,
        committed=Committed(committed_steps, one, one) if told else None,
    )  # fmt: skip
    write_manifest(folder, manifest)
    return folder


def _encode(inputs: tuple[Tensor, ...], rng: np.random.Generator) -> bytes:
    nodes, parts, width = [], [], 0
    for tensor in inputs:
        if len(tensor.shape) == 3:
            nodes.append(helper.make_node("Flatten", [tensor.name], [f"{tensor.name}.flat"]))
            parts.append(f"{tensor.name}.flat")
            width += tensor.shape[1] * tensor.shape[2]
        elif len(tensor.shape) == 4:
            pooled, flat = f"{tensor.name}.pooled", f"{tensor.name}.flat"
            nodes.append(helper.make_node("GlobalMaxPool", [tensor.name], [pooled]))
            nodes.append(helper.make_node("Flatten", [pooled], [flat]))
            parts.append(flat)
            width += 3
        else:
            parts.append(tensor.name)
            width += tensor.shape[1]
    nodes.append(helper.make_node("Concat", parts, ["all"], axis=1))
    nodes.append(helper.make_node("MatMul", ["all", "w"], ["sum"]))
    nodes.append(helper.make_node("Tanh", ["sum"], ["feature"]))
    return _model(nodes, inputs, {"feature": FEATURE}, {"w": rng.normal(size=(width, FEATURE))})


def _act(inputs: tuple[Tensor, ...], size: int, rng: np.random.Generator) -> bytes:
    width = sum(tensor.shape[1] for tensor in inputs)
    weights = {
        "w": rng.normal(size=(width, size)) / 4,
        "pick": np.eye(EMBEDDING + 1)[:, -1:],
        "half": np.array([[0.5]]),
    }
    nodes = [
        helper.make_node("Concat", [t.name for t in inputs], ["all"], axis=1),
        helper.make_node("MatMul", ["all", "w"], ["sum"]),
        helper.make_node("Tanh", ["sum"], ["u"]),
        helper.make_node("MatMul", ["time_row", "pick"], ["step"]),
        helper.make_node("Mul", ["u", "step"], ["move"]),
        helper.make_node("Add", ["z", "move"], ["chunk_normalised"]),
        helper.make_node("Mul", ["chunk_normalised", "half"], ["chunk"]),
    ]
    return _model(nodes, inputs, {"chunk": size, "chunk_normalised": size}, weights)


def _model(
    nodes: list[onnx.NodeProto],
    inputs: tuple[Tensor, ...],
    outputs: dict[str, int],
    weights: dict[str, np.ndarray],
) -> bytes:
    graph = helper.make_graph(
        nodes,
        "main",
        [helper.make_tensor_value_info(t.name, TensorProto.FLOAT, t.shape) for t in inputs],
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, (1, w)) for n, w in outputs.items()],
        [numpy_helper.from_array(w.astype(np.float32), n) for n, w in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)])
    model.ir_version = 10
    return bytes(model.SerializeToString())
