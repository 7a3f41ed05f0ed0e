"""Load a bundle's functions into an Inference: checked against the golden outputs, and warm."""

from __future__ import annotations

from collections.abc import Sequence

from ofp_edge.bundle import Bundle
from ofp_edge.runtime.infer.guard import check_guard
from ofp_edge.runtime.infer.inference import Inference
from ofp_edge.runtime.infer.prompt_inputs import open_prompt
from ofp_edge.runtime.infer.sampler import Nfe, shipped_scheme
from ofp_edge.runtime.infer.task_inputs import open_tasks
from ofp_edge.runtime.runners.threads import Threads
from ofp_edge.start import Start


def load_inference(
    bundle: Bundle,
    engine: str | None = None,
    precision: str | None = None,
    *,
    threads: int = 1,
    cpus: Sequence[int] = (),
    seed: int | Sequence[int] = 0,
    nfe: Nfe | None = None,
    start: Start | None = None,
    warm: bool = True,
    guard: int = 1,
) -> Inference:
    """Load a bundle's functions, check them against the golden outputs, and warm them up.

    engine, precision, nfe, start: None takes the manifest's. threads, cpus: see `Threads`. Nothing
    is built on the device here: see `Engine.prepare`. Raises UnknownName, MissingExtra,
    BundleError, OfpError (too little memory), or ParityError when this machine's engine answers
    differently.
    """
    from ofp_edge.runtime.runners.table import engine_of

    engine, precision = bundle.choose(engine, precision)
    manifest = bundle.manifest
    nfe = manifest.default.nfe if nfe is None else nfe
    start = manifest.start if start is None else start
    check_guard(guard, draws=not manifest.deterministic)
    scheme = shipped_scheme(manifest.time_rows, nfe, start, warm=warm)
    runners = engine_of(engine).load(bundle, precision, Threads(threads, tuple(cpus)))
    inference = Inference(
        manifest.spec,
        manifest.functions,
        runners,
        manifest.time_rows,
        seed,
        scheme=scheme,
        guard=guard,
        committed=manifest.committed,
        prompt=open_prompt(bundle, runners) or open_tasks(bundle, runners),
        state_bounds=manifest.state_bounds,
    )
    inference.warm_up()
    return inference
