"""A bundle of three functions whose tensors stay where they are computed, on every engine."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from ofp_edge.bundle import GOLDEN, Bundle, open_bundle, write_manifest
from ofp_edge.camera_parameters import CameraTolerance
from ofp_edge.errors import BundleError, ParityError
from ofp_edge.functions import Function, Tensor
from ofp_edge.manifest import Artefact, Default, FileEntry, Manifest, TimeRow
from ofp_edge.progress import silent
from ofp_edge.runtime.infer.load import load_inference
from ofp_edge.runtime.runners.tensorrt.engine import TensorRT
from tests.runtime.small_bundle import write_small_bundle
from tests.runtime.standins import DT, make_spec
from tests.runtime.tensorrt.standin import Gpu

SPEC = make_spec()
SIZE = SPEC.horizon * SPEC.action_dim
ROWS = (TimeRow("cold", 0.0, 1.0, (0.0, 1.0)), TimeRow("warm", 0.3, 1.0, (0.3, 0.7)))
RNG = np.random.default_rng(5)
WEIGHTS = {
    "encode": RNG.normal(size=(4, 8)).astype(np.float32),
    "project": RNG.normal(size=(8, 6)).astype(np.float32),
    "act": RNG.normal(size=(6 + SIZE + 2, SIZE)).astype(np.float32) / 8,
}


def listed(*, resident: bool = True) -> tuple[Function, Function, Function]:
    """encode -> project -> act."""

    def made(name: str, width: int, source: str | None = None) -> Tensor:
        return Tensor(name, (1, width), role="feature", source=source, resident=resident)

    flat = (1, SIZE)
    return (
        Function("encode", (Tensor("state", (1, 4), role="observation"),), (made("seen", 8),)),
        Function("project", (made("seen", 8, "encode.seen"),), (made("cache", 6),)),
        Function(
            "act",
            (
                made("cache", 6, "project.cache"),
                Tensor("z", flat, role="noise"),
                Tensor("time_row", (1, 2), role="time"),
            ),
            (Tensor("chunk", flat, role="chunk"),
             Tensor("chunk_normalised", flat, role="chunk_normalised")),
        ),
    )  # fmt: skip


def answer(
    state: NDArray[np.float32], z: NDArray[np.float32], row: NDArray[np.float32]
) -> NDArray[np.float32]:
    cache = np.tanh(np.tanh(state @ WEIGHTS["encode"]) @ WEIGHTS["project"])
    found: NDArray[np.float32] = np.tanh(np.concatenate([cache, z, row], 1) @ WEIGHTS["act"])
    return found


def graph(function: Function) -> bytes:
    names = [x.name for x in function.inputs]
    first = function.outputs[0].name
    nodes = [
        helper.make_node("Concat", names, ["all"], axis=1),
        helper.make_node("MatMul", ["all", "w"], ["sum"]),
        helper.make_node("Tanh", ["sum"], [first]),
        *(helper.make_node("Identity", [first], [x.name]) for x in function.outputs[1:]),
    ]
    ends = [
        [helper.make_tensor_value_info(x.name, TensorProto.FLOAT, x.shape) for x in side]
        for side in (function.inputs, function.outputs)
    ]
    weights = [numpy_helper.from_array(WEIGHTS[function.name], "w")]
    model = helper.make_model(
        helper.make_graph(nodes, "main", *ends, weights),
        opset_imports=[helper.make_opsetid("", 20)],
    )
    model.ir_version = 10
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


def write(
    folder: Path, functions: tuple[Function, ...], engine: str = "onnxruntime", off: float = 0.0
) -> Bundle:
    folder.mkdir()
    rng = np.random.default_rng(1)
    golden = {
        "input/encode/state": rng.normal(size=(3, 4)).astype(np.float32),
        "input/act/z": rng.normal(size=(3, SIZE)).astype(np.float32),
        "input/act/time_row": np.asarray([x.row for x in (*ROWS, ROWS[0])], np.float32),
    }
    chunk = answer(*golden.values()) + np.float32(off)
    for name in ("chunk", "chunk_normalised"):
        golden[f"output/act/fp32/{name}"] = chunk
    seen = golden["output/encode/fp32/seen"] = np.tanh(
        golden["input/encode/state"] @ WEIGHTS["encode"]
    )
    golden["output/project/fp32/cache"] = np.tanh(seen @ WEIGHTS["project"])
    for tensor in (x for f in functions for x in f.outputs if x.resident):
        golden = {name: x for name, x in golden.items() if not name.endswith(f"/{tensor.name}")}
    np.savez(folder / GOLDEN, **golden)
    artefacts = []
    for function in functions:
        (folder / f"{function.name}.onnx").write_bytes(graph(function))
        entry = FileEntry.of(folder, f"{function.name}.onnx")
        limits = {x.name: [1e-4] * (SPEC.action_dim if x.name == "chunk" else 1)
                  for x in function.outputs if not x.resident}  # fmt: skip
        artefacts.append(
            Artefact(function.name, engine, "fp32", entry.file, entry.size, entry.sha256, limits)
        )
    manifest = Manifest(
        "jetson-orin", None, SPEC, {}, CameraTolerance(), functions, ROWS, tuple(artefacts),
        (FileEntry.of(folder, GOLDEN, "golden"),), Default(engine, "fp32"), {},
    )  # fmt: skip
    write_manifest(folder, manifest)
    return open_bundle(folder)


def chunk_of(bundle: Bundle) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """What a cold start answers, and what it should."""
    inference = load_inference(bundle, seed=3)
    state = np.array([0.5, 1, -2, 3], np.float32)
    inference.observe(0, {"state": state})
    made = inference.infer(0).normalised.reshape(1, -1)
    z = np.random.Generator(np.random.PCG64(3)).standard_normal((1, SIZE), dtype=np.float32)
    inference.observe(DT, {"state": -state})
    inference.infer(DT)
    inference.close()
    return made, answer(state[None], z, np.asarray([ROWS[0].row], np.float32))


def test_three_functions_answer_as_one_and_share_their_buffers(tmp_path: Path) -> None:
    bundle = write(tmp_path / "b", listed())
    np.testing.assert_allclose(*chunk_of(bundle), atol=1e-5)
    inference = load_inference(bundle)
    runners = inference.runners
    assert runners["project"].inputs["seen"] is runners["encode"].outputs["seen"]
    assert runners["act"].inputs["cache"] is runners["project"].outputs["cache"]


def test_on_a_gpu_they_share_its_memory_and_no_host_array_holds_it(
    gpu: Gpu, tmp_path: Path
) -> None:
    bundle = write(tmp_path / "b", listed(), "tensorrt")
    assert len(TensorRT().prepare(bundle, "fp32", silent)) == 3
    np.testing.assert_allclose(*chunk_of(bundle), atol=1e-5)
    inference = load_inference(bundle)
    assert inference.runners["encode"].outputs == {} == inference.runners["project"].inputs
    assert list(inference.act.inputs) == ["z", "time_row"]
    inference.close()
    assert not gpu.streams or all(not x.queue for x in gpu.streams.values())


def test_a_chained_golden_answer_is_held_against_the_whole_chain(tmp_path: Path) -> None:
    bundle = write(tmp_path / "b", listed(), off=0.5)
    with pytest.raises(ParityError, match="act: chunk.* is 0.5 from the golden output"):
        load_inference(bundle)


def test_what_does_not_stay_is_handed_on(tmp_path: Path) -> None:
    """Only `act`'s feature is kept by the time of its frame."""
    np.testing.assert_allclose(*chunk_of(write(tmp_path / "b", listed(resident=False))), atol=1e-5)


def test_executorch_keeps_nothing_between_two_functions(tmp_path: Path) -> None:
    bundle = write(tmp_path / "b", listed(), "executorch")
    with pytest.raises(BundleError):  # the programs are none of its own either
        load_inference(bundle)


Broken = Callable[[tuple[Function, Function, Function]], tuple[Function, ...]]


@pytest.mark.parametrize(
    ("broken", "says"),
    [
        (lambda f: (f[1], f[0], f[2]), "no function before has 'encode.seen'"),
        (lambda f: (f[0], f[2]), "no function before has 'project.cache'"),
        (lambda f: (f[0], f[2], f[1]), "at the end 'act'"),
        (lambda f: (f[0], f[0], f[2]), "each name once"),
        (lambda f: (replace(f[0], inputs=()), *f[1:]), "observations"),
        (lambda f: (f[0], replace(f[1], inputs=(replace(f[1].inputs[0], source=None),)), f[2]),
         "nothing feeds 'seen'"),
        (lambda f: (f[0], replace(f[1], inputs=(replace(f[1].inputs[0], resident=False),)), f[2]),
         "resident on one side"),
        (lambda f: (f[0], replace(f[1], inputs=(replace(f[1].inputs[0], shape=(1, 9)),)), f[2]),
         r"expected \(1, 8\)"),
        (lambda f: (*f[:2], replace(f[2], outputs=f[2].outputs[:1])), "outputs of act"),
        (lambda f: (*f[:2], replace(f[2], inputs=f[2].inputs[:2])), "inputs of act"),
        (lambda f: (f[0], f[1], replace(f[2], inputs=(
            replace(f[2].inputs[0], role="task"), *f[2].inputs[1:]))),
         r"expected \['task_rows.safetensors'\]"),
        (lambda f: (replace(f[0], inputs=(*f[0].inputs, Tensor("ids", (1, 4), "int64", "task"))),
                    *f[1:]), "expected none, got task 'ids'"),
        (lambda f: (replace(f[0], inputs=(*f[0].inputs, Tensor("ids", (1, 4), "int64", "words"))),
                    *f[1:]), "nothing feeds 'ids'"),
        (lambda f: (*f[:2], replace(f[2], inputs=(*f[2].inputs, Tensor("m", (1, 8), role="free")))),
         "inputs of act.*expected none, got free 'm'"),
        (lambda f: (replace(f[0], inputs=(*f[0].inputs, Tensor("z", (1, 4), role="noise"))),
                    *f[1:]),
         "encode: nothing feeds 'z'"),
        (lambda f: (replace(f[0], outputs=(replace(f[0].outputs[0], dtype="float31"),)), *f[1:]),
         "'seen': dtype: expected one of float32.*got 'float31'"),
    ],
)  # fmt: skip
def test_functions_that_do_not_fit_one_another_are_refused_in_one_line(
    broken: Broken, says: str, tmp_path: Path
) -> None:
    bundle = write(tmp_path / "b", listed())
    write_manifest(bundle.path, replace(bundle.manifest, functions=broken(listed())))
    with pytest.raises(BundleError, match=says) as caught:
        open_bundle(bundle.path)
    assert "\n" not in str(caught.value)


def test_a_kept_feature_holds_every_observation_and_another_input_the_newest_alone(
    tmp_path: Path,
) -> None:
    bundle = write_small_bundle(tmp_path / "b", make_spec(n_obs_steps=2), {})
    manifest = open_bundle(bundle).manifest
    encode, act = manifest.functions
    features = act.inputs[0]
    assert act.kept_feature is features and features.shape == (1, 2 * encode.outputs[0].size)
    for inputs in (
        (replace(features, shape=encode.outputs[0].shape), *act.inputs[1:]),
        (*act.inputs, replace(features, name="again")),
    ):
        write_manifest(bundle, replace(manifest, functions=(encode, replace(act, inputs=inputs))))
        with pytest.raises(BundleError, match=r"expected \(1, \d+\) float32 of encode.feature"):
            open_bundle(bundle)
