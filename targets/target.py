"""What a target states about itself. Data only: nothing here imports torch or an engine."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Target:
    """A kind of computer that bundles are built for.

    engines: what a bundle holds artefacts for, where they are installed, the preferred one first.
    float_precisions: those that every bundle holds. plan_precisions: those a policy's plan may ask
    for. unfit: other precisions, each with the reason. picks_fastest: the default is measured at
    compile time on this very machine; otherwise it is the plan's precision on the preferred engine.
    on_device: engines that are built on the device alone, each with the engine that stands in for
    it while compiling: both take the same graph, which must also pass `tensorrt_graph.check_graph`.
    unsigned_integers: what ONNX Runtime gets in int8 is uint8 (unsigned.py).
    """

    name: str
    summary: str
    engines: tuple[str, ...]
    float_precisions: tuple[str, ...]
    plan_precisions: tuple[str, ...]
    unfit: dict[str, str]
    picks_fastest: bool = False
    on_device: dict[str, str] = field(default_factory=dict)
    unsigned_integers: bool = False
