"""Run several episodes at once in one thread: each until it asks the network, then all are asked.

An episode is a greenlet, a coroutine that may wait from inside any call: `Evaluator.run` and
`Inference` are the same ones that run alone. Rows of the batch without an episode keep what they
held; a row's answer does not depend on the others (`TorchBatch`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ofp_edge.evaluate.episode import Episode, Evaluator
from ofp_edge.extras import require


def run_lanes(
    evaluators: Sequence[Evaluator],
    next_seed: Callable[[], int | None],
    done: Callable[[Episode], None],
) -> None:
    """Let every evaluator take seeds until `next_seed` gives None; evaluator i owns row i."""

    def work(evaluator: Evaluator) -> None:
        while (seed := next_seed()) is not None:
            done(evaluator.run(seed))

    batch = evaluators[0].contestant.batch
    if batch is None:
        work(evaluators[0])
        return
    greenlet = require("greenlet", "sim")
    hub = greenlet.getcurrent()
    batch.wait = hub.switch
    try:
        lanes = [greenlet.greenlet(work, hub) for _ in evaluators]
        for lane, evaluator in zip(lanes, evaluators, strict=True):
            lane.switch(evaluator)
        while lanes := [lane for lane in lanes if not lane.dead]:
            batch.infer()
            for lane in lanes:
                lane.switch()
    finally:
        batch.wait = None
