"""Runners: one compiled function behind preallocated numpy buffers, the same for every engine.

An engine is a file here with a class of its own and one entry in `ENGINES`.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from numpy.typing import NDArray

from ofp_edge.errors import UnknownName
from ofp_edge.manifest import Tensor
from ofp_edge.runtime.runners.threads import Threads


class Runner(Protocol):
    """Write `inputs` in place, call `infer`, read `outputs`.

    The next `infer` overwrites `outputs`: copy what must live longer. The arrays are C-contiguous,
    have the manifest's names, shapes and dtypes, and stay the same objects until `close`. One
    thread at a time; a runner may be built in one thread and used in another.
    """

    inputs: dict[str, NDArray[Any]]
    outputs: dict[str, NDArray[Any]]

    def warm_up(self, runs: int = 3) -> None:
        """Run a few times, so that no first call falls into the control loop."""

    def infer(self) -> None:
        """Fill `outputs` from `inputs`. EngineError, one line, where the engine can't, which after
        `warm_up` no sound program gives cause for."""

    def close(self) -> None:
        """Release the engine; the runner is not to be used again."""


Load = Callable[[bytes, Sequence[Tensor], Sequence[Tensor], Threads], Runner]


def _onnxruntime(model: bytes, i: Sequence[Tensor], o: Sequence[Tensor], on: Threads) -> Runner:
    from ofp_edge.runtime.runners.onnxruntime_runner import OnnxRuntimeRunner

    return OnnxRuntimeRunner(model, i, o, on)


def _executorch(model: bytes, i: Sequence[Tensor], o: Sequence[Tensor], on: Threads) -> Runner:
    from ofp_edge.runtime.runners.executorch_runner import ExecuTorchRunner

    return ExecuTorchRunner(model, i, o, on)


ENGINES: dict[str, Load] = {"onnxruntime": _onnxruntime, "executorch": _executorch}
MODULES = {"onnxruntime": "onnxruntime", "executorch": "ofp_edge_executorch"}  # what they import


def installed(engine: str) -> bool:
    """Whether an engine's module could be imported, without importing it."""
    return importlib.util.find_spec(MODULES[engine]) is not None


def load_runner(
    engine: str,
    model: bytes,
    inputs: Sequence[Tensor],
    outputs: Sequence[Tensor],
    *,
    threads: int = 1,
    cpus: Sequence[int] = (),
) -> Runner:
    """Load a model for `engine` from the bytes whose hash was checked (`Bundle.read`).

    inputs, outputs: what the manifest says the model takes and gives. threads: the engine's
    compute threads, the caller's among them. cpus: where they belong, the caller's first; empty:
    anywhere. Raises UnknownName, MissingExtra, or BundleError when the engine refuses the model or
    the model has other inputs or outputs.
    """
    if engine not in ENGINES:
        raise UnknownName("engine", engine, ENGINES)
    return ENGINES[engine](model, inputs, outputs, Threads(threads, tuple(cpus)))
