"""A new engine takes its class and one line in the table: it is compiled for, checked and run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from ofp_edge.bundle import open_bundle
from ofp_edge.cli.output import Output
from ofp_edge.cli.targets import targets
from ofp_edge.functions import Tensor
from ofp_edge.profile.pick import candidates
from ofp_edge.runtime.infer.load import load_inference
from ofp_edge.runtime.runners.buffers import allocate
from ofp_edge.runtime.runners.engine import Engine, Sources
from ofp_edge.runtime.runners.table import ENGINES
from ofp_edge.runtime.runners.threads import ONE, Threads
from ofp_edge.targets.compile import compile_policy
from tests.synthetic import tiny_policy


class ReferenceRunner:
    """The onnx package's own evaluator: numpy alone, very slow."""

    def __init__(self, program: bytes, inputs: Sequence[Tensor], outputs: Sequence[Tensor]) -> None:
        import onnx
        from onnx.reference import ReferenceEvaluator

        self.inputs: dict[str, NDArray[Any]] = allocate(inputs)
        self.outputs: dict[str, NDArray[Any]] = allocate(outputs)
        self._graph = ReferenceEvaluator(onnx.load_from_string(program))

    def warm_up(self, runs: int = 3) -> None:
        self.infer()

    def infer(self) -> None:
        for into, value in zip(
            self.outputs.values(), self._graph.run(None, self.inputs), strict=True
        ):
            np.copyto(into, value)

    def close(self) -> None:
        pass


class Reference(Engine):
    name = "reference"
    module = distribution = "onnx"
    form = "onnx"
    targets = ("host",)
    oldest = ">=1.16"

    def runner(
        self,
        program: bytes,
        inputs: Sequence[Tensor],
        outputs: Sequence[Tensor],
        threads: Threads = ONE,
        bound: Sources | None = None,
    ) -> ReferenceRunner:
        return ReferenceRunner(program, inputs, outputs)


def test_a_toy_engine_is_compiled_for_checked_and_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(ENGINES, "reference", Reference())
    tiny_policy(tmp_path / "policy", "state")
    compile_policy(tmp_path / "policy", "host", tmp_path / "b", leave_out=["executorch"])
    bundle = open_bundle(tmp_path / "b")
    assert set(bundle.engines()) == {("onnxruntime", "fp32"), ("reference", "fp32")}
    assert bundle.artefact("act", "reference", "fp32").requires == {"reference": ">=1.16"}
    chunks = []
    for engine in ("onnxruntime", "reference"):
        inference = load_inference(bundle, engine, "fp32", seed=1)
        inference.observe(0, {f.name: np.zeros(f.shape, f.dtype) for f in bundle.spec.observations})
        chunks.append(inference.infer(0).actions)
        inference.close()
    np.testing.assert_allclose(chunks[0], chunks[1], atol=1e-4)
    listed = {x["name"]: x["engines"] for x in targets(Output(True))["targets"]}
    assert "reference" in listed["host"] and "reference" not in listed["arm-cpu"]
    assert {c.engine for c in candidates(bundle, [1], None, None)} == {"onnxruntime", "reference"}
