"""Write scalars over the steps of a run for TensorBoard, or nowhere."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

from ofp_edge.extras import require


class Scalars(Protocol):
    """A callable that takes values by tag and the number of optimiser steps done."""

    def __call__(self, values: Mapping[str, float], step: int) -> None:
        """Note the values."""


@contextlib.contextmanager
def scalars_to(folder: Path | None, first_step: int) -> Iterator[Scalars]:
    """Write event files below `folder`; None writes nothing.

    first_step: events after it, of a run that is being resumed, are hidden: they come again.
    Raises MissingExtra without tensorboard.
    """
    if folder is None:
        yield lambda values, step: None
        return
    require("tensorboard", "tensorboard")
    from torch.utils.tensorboard import SummaryWriter

    writer: Any = SummaryWriter(str(folder), purge_step=first_step + 1 if first_step else None)

    def write(values: Mapping[str, float], step: int) -> None:
        for tag, value in values.items():
            writer.add_scalar(tag, value, step)

    try:
        yield write
    finally:
        writer.close()
