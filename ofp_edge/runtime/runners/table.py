"""Every engine by name. A new one is a file with its class, and its line here."""

from __future__ import annotations

from collections.abc import Sequence

from ofp_edge.errors import UnknownName
from ofp_edge.functions import Tensor
from ofp_edge.runtime.runners import Runner
from ofp_edge.runtime.runners.engine import Engine
from ofp_edge.runtime.runners.executorch_runner import ExecuTorch
from ofp_edge.runtime.runners.onnxruntime_runner import OnnxRuntime
from ofp_edge.runtime.runners.tensorrt.engine import TensorRT
from ofp_edge.runtime.runners.threads import Threads

ENGINES: dict[str, Engine] = {x.name: x for x in (TensorRT(), OnnxRuntime(), ExecuTorch())}
"""The engines, in the order in which a target prefers them."""


def engine_of(name: str) -> Engine:
    """Return the engine. Raises UnknownName listing them."""
    if name not in ENGINES:
        raise UnknownName("engine", name, ENGINES)
    return ENGINES[name]


def load_runner(
    engine: str,
    program: bytes,
    inputs: Sequence[Tensor],
    outputs: Sequence[Tensor],
    *,
    threads: int = 1,
    cpus: Sequence[int] = (),
) -> Runner:
    """Load one function on `engine`; see `Engine.runner`.

    threads: the engine's compute threads, the caller's among them. cpus: where they belong, the
    caller's first; empty: anywhere.
    """
    return engine_of(engine).runner(program, inputs, outputs, Threads(threads, tuple(cpus)))
