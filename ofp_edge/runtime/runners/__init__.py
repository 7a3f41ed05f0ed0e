"""Runners: one compiled function behind preallocated numpy buffers, the same for every engine."""

from __future__ import annotations

from typing import Any, Protocol

from numpy.typing import NDArray


class Runner(Protocol):
    """A compiled function: write `inputs` in place, call `infer`, read `outputs`.

    The next `infer` overwrites `outputs`: copy what must live longer. The arrays are C-contiguous,
    have the manifest's names, shapes and dtypes, and stay the same objects until `close`. One
    thread at a time; a runner may be built in one thread and used in another.
    """

    inputs: dict[str, NDArray[Any]]
    outputs: dict[str, NDArray[Any]]

    def warm_up(self, runs: int = 3) -> None:
        """Run a few times, so that no first call falls into the control loop."""

    def infer(self) -> None:
        """Fill `outputs` from `inputs`. Raises EngineError, one line, when the engine can't; after
        `warm_up` a sound program never does."""

    def close(self) -> None:
        """Release the engine; the runner is not to be used again."""
