"""An inference that has seen something, and what it draws."""

from __future__ import annotations

import numpy as np

from ofp_edge.manifest import TimeRow
from ofp_edge.runtime.chunk import Chunk
from ofp_edge.runtime.infer.inference import Inference
from ofp_edge.runtime.infer.sampler import Nfe, shipped_scheme
from ofp_edge.start import FROM_COLD, Start
from tests.runtime.standins import ROWS, make_runners, make_spec

SPEC = make_spec()
SIZE = SPEC.horizon * SPEC.action_dim
WITH_LADDER = (
    *ROWS,
    *(TimeRow(FROM_COLD, k / 4, (k + 1) / 4, (*ROWS[0].row[:-1], 0.25)) for k in range(4)),
)
PLAIN = Start()


def seeing(start: Start = PLAIN, *, seed: int = 3, nfe: Nfe = 1, guard: int = 1) -> Inference:
    scheme = shipped_scheme(WITH_LADDER, nfe, start)
    runners = make_runners(SPEC)
    inference = Inference(SPEC, *runners, WITH_LADDER, seed, scheme=scheme, guard=guard)
    inference.observe(0, {"state": np.array([0.5, 1, 2, 3], np.float32)})
    return inference


def eps(seed: int = 3) -> np.ndarray:
    rng = np.random.Generator(np.random.PCG64(seed))
    return rng.standard_normal(SIZE, dtype=np.float32)


def flat(chunk: Chunk) -> np.ndarray:
    return chunk.normalised.reshape(-1)
