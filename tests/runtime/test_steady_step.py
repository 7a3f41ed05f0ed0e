"""What a steady step of the policy allocates: a frame observed, a chunk inferred."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from ofp_edge.bundle import open_bundle
from ofp_edge.runtime.chunk import Chunk
from ofp_edge.runtime.infer.load import load_inference
from tests.runtime.small_bundle import write_small_bundle
from tests.runtime.standins import make_spec
from tests.synthetic import CAMERA

STEPS = 300
BESIDE_THE_CHUNK = 1024  # bytes; docs/performance.md states it


@pytest.mark.parametrize("committed_steps", [0, 3])
def test_a_steady_step_leaves_nothing_and_makes_little_beside_its_chunk(
    tmp_path: Path, committed_steps: int
) -> None:
    spec = make_spec(points=True, n_obs_steps=2)
    folder = write_small_bundle(
        tmp_path / "small", spec, {"front": CAMERA}, committed_steps=committed_steps
    )
    bundle = open_bundle(folder)
    inference = load_inference(bundle)
    random = np.random.default_rng(0)
    seen = {f.name: random.uniform(-1, 1, f.shape).astype(np.float32) for f in spec.observations}
    chunk: Chunk | None = None
    told = np.ones((committed_steps, spec.action_dim), np.float32) if committed_steps else None

    def step(number: int) -> Chunk:
        t_ns = number * spec.n_action_steps * spec.dt_ns
        inference.observe(t_ns, seen)
        return inference.infer(t_ns, chunk, told)

    for number in range(1, 1000):  # the interpreter fills its free lists first
        chunk = step(number)
    tracemalloc.start()
    try:
        for number in range(1000, 1050):
            chunk = step(number)
        before = tracemalloc.get_traced_memory()[0]
        most = 0
        for number in range(1050, 1050 + STEPS):
            tracemalloc.reset_peak()
            start = tracemalloc.get_traced_memory()[0]
            chunk = step(number)
            most = max(most, tracemalloc.get_traced_memory()[1] - start)
        kept = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert inference.started_warm and chunk is not None
    assert kept < 512, kept  # over all steps: nothing a step leaves behind
    assert most < chunk.actions.nbytes + chunk.normalised.nbytes + BESIDE_THE_CHUNK, most
