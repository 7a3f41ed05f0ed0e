"""The engines of a bundle on this Orin: found or built, held against the golden outputs, opened."""

from __future__ import annotations

import time
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from typing import Any

from ofp_edge.bundle import Bundle
from ofp_edge.errors import BundleError, OfpError, ParityError
from ofp_edge.manifest import FUNCTIONS, Artefact
from ofp_edge.progress import Progress, silent
from ofp_edge.runtime.jetson import machine as machines
from ofp_edge.runtime.jetson.identity import Jetson, identify, unsupported
from ofp_edge.runtime.jetson.live import Live, look
from ofp_edge.runtime.jetson.machine import Machine
from ofp_edge.runtime.runners.check import Golden, check_artefact
from ofp_edge.runtime.runners.open import program_of
from ofp_edge.runtime.runners.tensorrt.api import import_tensorrt, make_log
from ofp_edge.runtime.runners.tensorrt.build import WORKSPACE_BYTES, build_engine
from ofp_edge.runtime.runners.tensorrt.cache import EngineCache, EngineKey
from ofp_edge.runtime.runners.tensorrt.cuda import open_cuda
from ofp_edge.runtime.runners.tensorrt.runner import TensorRTRunner

ENGINE = "tensorrt"
ORIN = "8.7"
# What the builder itself takes besides the weights, which it holds about four times: an estimate.
_BUILDER_MIB = 800
_DESCENT = ("int8", "fp16", "fp32")


@dataclass(frozen=True)
class Prepared:
    """One function's engine. reason: why it was built; empty when it was found.

    plan: its bytes, whose hash was checked when it was found.
    """

    function: str
    precision: str
    file: str
    reason: str
    seconds: float
    parity: dict[str, float]
    plan: bytes = field(repr=False)


@dataclass(frozen=True)
class Device:
    """Where engines are built and run. warnings: what makes timings worth less here."""

    trt: Any
    jetson: Jetson
    live: Live
    gpu: str
    compute_capability: str
    warnings: tuple[str, ...] = field(default=())


def open_device() -> Device:
    """TensorRT, CUDA and the board, checked. OfpError names what is missing or unsupported."""
    machine = machines.this_machine()
    jetson = identify(machine)
    if jetson is None:
        raise OfpError(
            "TensorRT engines are built on a Jetson Orin alone, and this is none. Give --engine "
            "onnxruntime here, or run this on the device."
        )
    if (why := unsupported(jetson)) is not None:
        raise OfpError(why)
    trt = import_tensorrt()
    cuda = open_cuda()
    gpu, capability = cuda.device()
    cuda.close()
    number = ".".join(str(x) for x in capability)
    if number != ORIN:
        raise OfpError(f"the GPU {gpu} has compute capability {number}, expected {ORIN} (Orin).")
    live = look(machine)
    return Device(trt, jetson, live, gpu, number, _warnings(live))


def prepare(
    bundle: Bundle, precision: str, device: Device, *, fallback: bool = False,
    progress: Progress = silent,
) -> list[Prepared]:  # fmt: skip
    """Find or build both functions' engines in `precision`; a built one must pass parity.

    fallback: when it does not, try the next precision that the bundle has (int8, fp16, fp32), once.
    ParityError names the worst output; OfpError when memory will not do; nothing is kept then.
    """
    cache = EngineCache(bundle)
    kept = [_find(bundle, function, precision, device, cache)[0] for function in FUNCTIONS]
    # Finished engines may lie where this user cannot write, so nothing is locked for them.
    if (found := [item for item in kept if item is not None]) == kept:
        return found
    with cache.locked():
        try:
            return _prepare(bundle, precision, device, cache, progress)
        except ParityError as cause:
            lower = _next_precision(bundle, precision)
            if not fallback or lower is None:
                hint = f" (--fallback builds {lower} in its place)" if lower else ""
                raise ParityError(f"{cause}{hint}") from None
            return _prepare(bundle, lower, device, cache, progress)


def open_runners(
    bundle: Bundle, precision: str, *, cuda_name: str | None = None
) -> dict[str, TensorRTRunner]:
    """`encode` and `act` ready to run, built first if they have to be, and held against golden.

    Both or none: when the second fails, the first gives its memory and stream back.
    """
    device, golden, runners = open_device(), bundle.golden(), {}
    with ExitStack() as opened:
        for item in prepare(bundle, precision, device):
            runner = _load(bundle, item.function, item.plan, device, cuda_name)
            opened.callback(runner.close)
            _parity(bundle.artefact(item.function, ENGINE, precision), runner, bundle, golden)
            runners[item.function] = runner
        opened.pop_all()
    return runners


def _find(
    bundle: Bundle, function: str, precision: str, device: Device, cache: EngineCache
) -> tuple[Prepared | None, str]:
    """The engine that is kept, or None and the reason why it has to be built."""
    plan, reason = cache.find(function, _key(bundle, function, precision, device))
    if plan is None:
        return None, reason
    file, parity = cache.engine_file(function, precision), cache.record(function, precision)
    return Prepared(function, precision, str(file), "", 0.0, parity["parity"], plan), ""


def _prepare(
    bundle: Bundle, precision: str, device: Device, cache: EngineCache, progress: Progress
) -> list[Prepared]:
    prepared, golden = [], bundle.golden()
    for function in FUNCTIONS:
        found, reason = _find(bundle, function, precision, device, cache)
        if found is not None:
            prepared.append(found)
            continue
        artefact = bundle.artefact(function, ENGINE, precision)
        model = program_of(bundle, artefact)
        require_memory(len(model), machines.this_machine())
        what = f"{function} {precision}"

        def told(done: int, total: int, note: str = "", what: str = what) -> None:
            progress(done, total, f"{what}: {note}")

        start = time.monotonic()
        log = make_log(device.trt)
        built = build_engine(device.trt, log, model, timing=cache.timing(), progress=told)
        seconds = time.monotonic() - start
        runner = _load(bundle, function, built.plan, device, None)
        try:
            parity = _parity(artefact, runner, bundle, golden)
        finally:
            with suppress(RuntimeError):  # what went wrong first is said
                runner.close()
        cache.keep_timing(built.timing)
        cache.keep(
            function, _key(bundle, function, precision, device), built.plan,
            {"seconds": seconds, "parity": parity, "power_mode": device.live.power_mode,
             "clocks_hz": device.live.clocks_hz, "warnings": list(log.warnings)},
        )  # fmt: skip
        file = str(cache.engine_file(function, precision))
        prepared.append(Prepared(function, precision, file, reason, seconds, parity, built.plan))
    return prepared


def build_bytes(model_bytes: int) -> int:
    """Memory that building a graph of this size takes, an estimate."""
    return (_BUILDER_MIB << 20) + 4 * model_bytes + WORKSPACE_BYTES


def require_memory(model_bytes: int, machine: Machine) -> None:
    """Refuse a build that would not fit into what is available; the figure is an estimate."""
    need_mib = build_bytes(model_bytes) >> 20
    available = machine.memory_kib().get("MemAvailable")
    if available is not None and available // 1024 < need_mib:
        raise OfpError(
            f"building the engine needs about {need_mib} MiB, {available // 1024} MiB are "
            "available. Stop the desktop (sudo systemctl isolate multi-user.target) and other "
            "programs, or add swap for the build."
        )


def _load(
    bundle: Bundle, function: str, plan: bytes, device: Device, cuda_name: str | None
) -> TensorRTRunner:
    manifest = bundle.manifest
    try:
        return TensorRTRunner(
            device.trt, make_log(device.trt), open_cuda(cuda_name), plan,
            manifest.inputs(function), manifest.outputs(function),
        )  # fmt: skip
    except RuntimeError as cause:
        raise BundleError(f"the engine of {function} cannot be loaded: {cause}.") from None


def _parity(
    artefact: Artefact, runner: TensorRTRunner, bundle: Bundle, golden: Golden
) -> dict[str, float]:
    try:
        runner.warm_up()
        return check_artefact(artefact, runner, bundle, golden)
    except RuntimeError as cause:
        raise BundleError(f"the engine of {artefact.function} does not run: {cause}.") from None


def _key(bundle: Bundle, function: str, precision: str, device: Device) -> EngineKey:
    return EngineKey(
        bundle.artefact(function, ENGINE, precision).sha256, precision, device.trt.__version__,
        device.gpu, device.compute_capability, device.jetson.jetpack,
    )  # fmt: skip


def _next_precision(bundle: Bundle, precision: str) -> str | None:
    have = [p for engine, p in bundle.engines() if engine == ENGINE]
    lower = _DESCENT[_DESCENT.index(precision) + 1 :] if precision in _DESCENT else ()
    return next((p for p in lower if p in have), None)


def _warnings(live: Live) -> tuple[str, ...]:
    found = []
    if live.clocks_locked is False:
        found.append("the GPU's clock is not locked, so tactics and latencies vary: run "
                     "`sudo jetson_clocks`")  # fmt: skip
    if live.power_mode is not None and "MAXN" not in live.power_mode:
        found.append(f"the power mode is {live.power_mode}: an engine is tuned for the clocks it "
                     "was built under; `sudo nvpmodel -q` lists the modes")  # fmt: skip
    if live.throttled:
        found.append(f"throttled by {', '.join(live.throttled)}: cool it, then build again")
    return tuple(found)
