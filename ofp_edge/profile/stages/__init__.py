"""The measured stages, each in a file with a class called `Stage` that has `name`, `order` and
`measure`.

A new file here is a new row in every report; nothing else has to know about it.
"""

from __future__ import annotations

import importlib
import pkgutil
from typing import Protocol

from ofp_edge.profile.bench import Bench


class Stage(Protocol):
    """A stage, built once as `Stage(bench)`. `order` sorts the stages; the later ones use what the
    earlier ones left on the bench. `counts` says whether its time lies between capture and chunk
    ready."""

    name: str
    order: int
    counts: bool

    def measure(self) -> int | None:
        """Do the work once. Return its nanoseconds, or None when there was nothing to
        measure."""


def find_stages(bench: Bench) -> list[Stage]:
    """Return every stage that is installed, in order."""
    names = sorted(module.name for module in pkgutil.iter_modules(__path__))
    stages: list[Stage] = [
        importlib.import_module(f"{__name__}.{name}").Stage(bench) for name in names
    ]
    return sorted(stages, key=lambda stage: stage.order)
