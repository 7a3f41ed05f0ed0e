"""The proof from a user's own Orin: it identifies, builds, checks parity, measures latency and
soaks, in one document.

The document holds nothing personal: no paths, no host name, no serial number.
"""

from __future__ import annotations

import platform
import time
from typing import Any

import numpy as np

from ofp_edge import __version__
from ofp_edge.boards.orin import floor, orin_boards
from ofp_edge.bundle import Bundle
from ofp_edge.errors import BundleError, OfpError, ParityError
from ofp_edge.progress import Progress, silent
from ofp_edge.runtime.jetson import machine as machines
from ofp_edge.runtime.jetson.live import look
from ofp_edge.runtime.jetson.watch import Watch
from ofp_edge.runtime.runners import Runner
from ofp_edge.runtime.runners.check import check_artefact
from ofp_edge.runtime.runners.tensorrt.cuda import NAMES
from ofp_edge.runtime.runners.tensorrt.device import open_device
from ofp_edge.runtime.runners.tensorrt.engine import TensorRT

SCHEMA_VERSION = 1
_CALLS = 1000
_SOAK_PART_S = 10.0

Runners = dict[str, Runner]


def certify(bundle: Bundle, soak_s: float, progress: Progress = silent) -> dict[str, Any]:
    """Return everything as plain JSON. A precision that fails is recorded, and the rest continues.

    `soak_s` is the number of seconds for which the default precision runs back to back while the
    board is watched. Raises OfpError when this is no supported Orin or the bundle is not for one.
    """
    precisions = [p for engine, p in bundle.engines() if engine == TensorRT.name]
    if not precisions:
        raise OfpError(
            f"{bundle.path} holds nothing for TensorRT: compile it for --target jetson-orin."
        )
    device = open_device()
    machine = machines.this_machine()
    found = {p: _precision(bundle, p, progress) for p in precisions}
    default = bundle.manifest.default.precision
    soaked = _soak(bundle, default, soak_s, progress) if found[default]["passed"] else None
    failed = [f"{p}: {x['failure']}" for p, x in found.items() if not x["passed"]]
    if soaked is None:
        failed.append("no soak: the default precision failed")
    else:
        failed += soaked["failures"]
    board = orin_boards().get(device.jetson.board or "")
    costs = bundle.manifest.provenance.get("costs")
    gpu = device.live.clocks_hz.get("gpu")
    clock = None if gpu is None else gpu["current"]
    return {
        "schema_version": SCHEMA_VERSION,
        "ofp_edge": __version__,
        "bundle_sha256": bundle.sha256,
        "costs": costs,
        "python": platform.python_version(),
        "kernel": platform.release(),
        "jetson": device.jetson.to_json(),
        "tensorrt": device.trt.__version__,
        "gpu": device.gpu,
        "before": device.live.to_json(),
        "after": look(machine).to_json(),
        "warnings": list(device.warnings),
        "precisions": found,
        "floor": {p: floor(board, costs, p, 1, clock) for p in found} if board and costs else None,
        "soak": soaked,
        "failures": failed,
        "passed": not failed,
    }


def _precision(bundle: Bundle, precision: str, progress: Progress) -> dict[str, Any]:
    """Measure the build, the parity, and the latency with each CUDA library that loads."""
    try:
        prepared = TensorRT().prepare(bundle, precision, progress)
    except (ParityError, BundleError) as cause:
        return {"passed": False, "failure": str(cause), "engines": [], "latency": {}}
    latency: dict[str, Any] = {}
    for library in NAMES:
        progress(0, 1, f"{precision}: latency with {library}")
        try:
            runners: Any = TensorRT(library).load(bundle, precision)
        except OfpError as cause:
            latency[library] = {"failure": str(cause)}
            continue
        latency[library] = {
            function: {
                "graph": runner.graph is not None,
                "why_no_graph": runner.why_no_graph,
                "ms": _statistics(_times(runner, _CALLS)),
            }
            for function, runner in runners.items()
        }
        _close(runners)
    engines = [
        {"function": x.function, "built": bool(x.reason), "build_s": x.seconds, "parity": x.parity}
        for x in prepared
    ]
    works = any("failure" not in item for item in latency.values())
    failure = None if works else "no CUDA library runs it"
    return {"passed": works, "failure": failure, "engines": engines, "latency": latency}


def _soak(bundle: Bundle, precision: str, soak_s: float, progress: Progress) -> dict[str, Any]:
    """Run a chunk's calls back to back, and ask for the golden answers again at the end."""
    runners = TensorRT().load(bundle, precision)
    parts: list[dict[str, Any]] = []
    failures: list[str] = []
    with Watch(machines.this_machine()) as watch:
        begin = time.monotonic()
        while (passed := time.monotonic() - begin) < soak_s:
            progress(round(passed), round(soak_s), "soak")
            until = min(begin + soak_s, time.monotonic() + _SOAK_PART_S)
            times: list[float] = []
            while time.monotonic() < until or not times:
                times.append(sum(map(_once, runners.values())))
            parts.append(_statistics(np.asarray(times)))
    golden = bundle.golden()
    for function in runners:
        artefact = bundle.artefact(function, TensorRT.name, precision)
        try:
            check_artefact(artefact, runners, bundle, golden)
        except ParityError as cause:
            failures.append(f"after the soak, {cause}")
    _close(runners)
    summary = watch.summary
    if summary["throttled"]:
        failures.append(f"throttled during the soak by {', '.join(summary['throttled'])}")
    return {
        "precision": precision,
        "seconds": soak_s,
        "chunk_ms": parts,
        "board": summary,
        "failures": failures,
    }


def _times(runner: Runner, calls: int) -> np.ndarray[Any, np.dtype[np.float64]]:
    return np.asarray([_once(runner) for _ in range(calls)])


def _once(runner: Runner) -> float:
    """Return the milliseconds of one call."""
    start = time.perf_counter_ns()
    runner.infer()
    return (time.perf_counter_ns() - start) / 1e6


def _statistics(times_ms: np.ndarray[Any, np.dtype[np.float64]]) -> dict[str, float]:
    p50, p99, p999 = np.percentile(times_ms, (50, 99, 99.9))
    return {
        "samples": len(times_ms),
        "p50": float(p50),
        "p99": float(p99),
        "p99_9": float(p999),
        "max": float(times_ms.max()),
    }


def _close(runners: Runners) -> None:
    for runner in runners.values():
        runner.close()
