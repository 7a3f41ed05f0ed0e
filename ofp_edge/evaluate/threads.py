"""One torch thread, so that sums are added in the same order wherever an evaluation runs."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from ofp_edge.evaluate.contestant import TORCH


@contextlib.contextmanager
def one_torch_thread(engine: str) -> Iterator[None]:
    """Use one intra-op thread in the block where the engine is torch."""
    if engine != TORCH:
        yield
        return
    from ofp_edge.quantize.threads import one_thread

    with one_thread():
        yield
