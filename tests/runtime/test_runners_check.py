"""check_parity finds every kind of wrong answer, and names it."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from ofp_edge.bundle import GOLDEN, Bundle, open_bundle, write_manifest
from ofp_edge.errors import BundleError, ParityError
from ofp_edge.functions import Function, Tensor
from ofp_edge.manifest import FileEntry
from ofp_edge.processor import Processor
from ofp_edge.runtime.runners.check import GoldenRun, check_parity, per_dimension
from ofp_edge.runtime.runners.null import NullRunner
from tests.test_bundle import write_bundle

K = 3


class Sum(NullRunner):
    """Every output is the sum of all inputs, plus what the test adds."""

    extra: dict[str, Any] = {}

    def infer(self) -> None:
        total = sum(float(x.sum()) for x in self.inputs.values())
        for name, output in self.outputs.items():
            output[:] = total + self.extra.get(name, 0)


@pytest.fixture
def golden() -> dict[str, NDArray[np.float32]]:
    rng = np.random.default_rng(0)

    def draw(*shape: int) -> NDArray[np.float32]:
        return rng.integers(-4, 5, shape).astype(np.float32)

    state, features, z, row = draw(K, 3), draw(K, 6), draw(K, 8), draw(K, 2)
    total = (features.sum(1) + z.sum(1) + row.sum(1))[:, None]
    return {
        "input/encode/state": state,
        "input/act/features": features,
        "input/act/z": z,
        "input/act/time_row": row,
        "output/encode/int8/feature": np.repeat(state.sum(1)[:, None], 3, 1),
        "output/act/int8/chunk": np.repeat(total, 8, 1),
        "output/act/int8/chunk_normalised": np.repeat(total, 8, 1),
    }


def bundle_with(folder: Path, golden: dict[str, NDArray[np.float32]]) -> Bundle:
    manifest = write_bundle(folder)
    buffer = io.BytesIO()
    np.savez(buffer, **golden)
    (folder / GOLDEN).write_bytes(buffer.getvalue())
    limits = {
        "encode": {"feature": [1e-3]},
        "act": {"chunk": [1e-3, 1e-1], "chunk_normalised": [1e-3]},
    }
    artefacts = tuple(replace(a, tolerance=limits[a.function]) for a in manifest.artefacts)
    files = (FileEntry.of(folder, GOLDEN),)
    write_manifest(folder, replace(manifest, artefacts=artefacts, files=files))
    return open_bundle(folder)


def runners(bundle: Bundle, **extra: Any) -> dict[str, Sum]:
    made = {x.name: Sum(x.inputs, x.outputs) for x in bundle.manifest.functions}
    for runner in made.values():
        runner.extra = extra
    return made


def test_right_answers_pass_with_their_worst_difference(
    tmp_path: Path, golden: dict[str, NDArray[np.float32]]
) -> None:
    bundle = bundle_with(tmp_path / "b", golden)
    worst = check_parity(bundle, "onnxruntime", "int8", runners(bundle, feature=5e-4))
    assert worst["act"] == {"chunk": 0, "chunk_normalised": 0}
    assert worst["encode"]["feature"] == pytest.approx(5e-4, rel=1e-2)


def test_the_worst_output_is_named_with_its_figures(
    tmp_path: Path, golden: dict[str, NDArray[np.float32]]
) -> None:
    bundle = bundle_with(tmp_path / "b", golden)
    with pytest.raises(ParityError, match=r"onnxruntime int8, encode: feature is 0\.5 .* 0\.001"):
        check_parity(bundle, "onnxruntime", "int8", runners(bundle, feature=0.5))


def test_each_action_dimension_has_its_own_tolerance(
    tmp_path: Path, golden: dict[str, NDArray[np.float32]]
) -> None:
    bundle = bundle_with(tmp_path / "b", golden)
    loose = np.tile([0.0, 0.05], 4)  # within the tolerance of the second dimension only
    check_parity(bundle, "onnxruntime", "int8", runners(bundle, chunk=loose))
    with pytest.raises(ParityError, match=r"chunk\[0\]"):
        check_parity(bundle, "onnxruntime", "int8", runners(bundle, chunk=loose[::-1]))


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_nan_and_infinity_never_pass(
    tmp_path: Path, golden: dict[str, NDArray[np.float32]], value: float
) -> None:
    bundle = bundle_with(tmp_path / "b", golden)
    with pytest.raises(ParityError):
        check_parity(bundle, "onnxruntime", "int8", runners(bundle, chunk_normalised=value))


def test_only_one_wrong_sample_is_enough(
    tmp_path: Path, golden: dict[str, NDArray[np.float32]]
) -> None:
    golden["output/act/int8/chunk"][K - 1, 5] += 0.5
    bundle = bundle_with(tmp_path / "b", golden)
    with pytest.raises(ParityError, match=r"chunk\[1\]"):
        check_parity(bundle, "onnxruntime", "int8", runners(bundle))


def test_a_precision_without_golden_outputs_is_no_pass(
    tmp_path: Path, golden: dict[str, NDArray[np.float32]]
) -> None:
    bundle = bundle_with(tmp_path / "b", golden)
    with pytest.raises(BundleError, match="holds no output/encode/fp32/feature"):
        check_parity(bundle, "onnxruntime", "fp32", runners(bundle))


def test_golden_inputs_of_another_shape_are_refused(
    tmp_path: Path, golden: dict[str, NDArray[np.float32]]
) -> None:
    golden["input/act/z"] = golden["input/act/z"][:, :5]
    bundle = bundle_with(tmp_path / "b", golden)
    with pytest.raises(BundleError, match="golden input act/z"):
        check_parity(bundle, "onnxruntime", "int8", runners(bundle))


@pytest.mark.parametrize("name", ["input/act/z", "output/act/int8/chunk"])
def test_golden_tensors_of_a_function_have_as_many_rows(
    tmp_path: Path, golden: dict[str, NDArray[np.float32]], name: str
) -> None:
    golden[name] = golden[name][:1]
    bundle = bundle_with(tmp_path / "b", golden)
    with pytest.raises(BundleError, match=r"as many rows of each tensor of act, got \[1, 3\]"):
        check_parity(bundle, "onnxruntime", "int8", runners(bundle))


def test_golden_inputs_of_another_kind_of_number_are_refused() -> None:
    tokens = Function("encode", (Tensor("words", (1, 4), "int64"),), (Tensor("feature", (1, 2)),))
    golden = {"input/encode/words": np.full((K, 4), 0.5, np.float32)}
    run = GoldenRun([tokens], {"encode": NullRunner(tokens.inputs, tokens.outputs)}, golden)
    with pytest.raises(BundleError, match=r"encode/words: expected rows of .* int64, got .* float"):
        run.answers("encode")


def test_a_chain_runs_each_of_its_functions_once_a_row() -> None:
    """Each takes two outputs of the one before: run again for each, the first would run 2^14 times
    a row."""
    ran: list[str] = []

    class Counted(NullRunner):
        name = ""

        def infer(self) -> None:
            ran.append(self.name)

    pair = ("left", "right")
    chain = [Function("f0", (Tensor("x", (1, 2)),), tuple(Tensor(x, (1, 2)) for x in pair))]
    for n in range(1, 15):
        taken = tuple(Tensor(x, (1, 2), source=f"f{n - 1}.{x}") for x in pair)
        chain.append(Function(f"f{n}", taken, tuple(Tensor(x, (1, 2)) for x in pair)))
    made = {}
    for function in chain:
        made[function.name] = runner = Counted(function.inputs, function.outputs)
        runner.name = function.name
    golden = {"input/f0/x": np.zeros((K, 2), np.float32), "output/f14/left": np.zeros((K, 2))}
    GoldenRun(chain, made, golden).answers("f14")
    assert ran == K * [f.name for f in chain]


@pytest.mark.parametrize(
    ("machine", "flags", "says"),
    [("x86_64", "sse2 avx2", "AVX2, no VNNI: without VNNI some add products in 16 bits, which sat"),
     ("x86_64", "avx2 avx512_vnni", "x86_64: AVX-512 VNNI, AVX2. Compile the policy again here"),
     ("aarch64", "asimd", "no dotprod; the bundle was compiled on x86_64. Compile the pol")],
)  # fmt: skip
def test_an_int8_engine_that_differs_names_the_processor(
    tmp_path: Path, golden: dict[str, NDArray[np.float32]], monkeypatch: pytest.MonkeyPatch,
    machine: str, flags: str, says: str,
) -> None:  # fmt: skip
    bundle = bundle_with(tmp_path / "b", golden)
    origin = {**bundle.manifest.provenance, "machine": "x86_64"}
    write_manifest(bundle.path, replace(bundle.manifest, provenance=origin))
    bundle = open_bundle(bundle.path)
    here = Processor(machine, frozenset(flags.split()))
    monkeypatch.setattr("ofp_edge.runtime.runners.check.processor", lambda: here)
    with pytest.raises(ParityError) as caught:
        check_parity(bundle, "onnxruntime", "int8", runners(bundle, feature=0.5))
    assert says in str(caught.value) and "--precision fp32" in str(caught.value)


def test_a_float_engine_that_differs_says_nothing_of_8_bits(
    tmp_path: Path, golden: dict[str, NDArray[np.float32]]
) -> None:
    floats = {name.replace("/int8/", "/fp32/"): x for name, x in golden.items()}
    bundle = bundle_with(tmp_path / "b", floats)
    with pytest.raises(ParityError) as caught:
        check_parity(bundle, "onnxruntime", "fp32", runners(bundle, feature=0.5))
    assert "8-bit" not in str(caught.value)


def test_differences_of_a_chunk_are_taken_per_action_dimension() -> None:
    difference = np.zeros((2, 8))
    difference[1, 6] = -0.3  # step 3, dimension 0
    difference[0, 1] = 0.1
    assert per_dimension("chunk", difference, 2).tolist() == [0.3, 0.1]
    assert per_dimension("chunk_normalised", difference, 2).tolist() == [0.3]
