"""The device that builds and runs engines: TensorRT, CUDA and the board, found and checked."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from ofp_edge.errors import OfpError
from ofp_edge.runtime.jetson import machine as machines
from ofp_edge.runtime.jetson.identity import Jetson, identify, unsupported
from ofp_edge.runtime.jetson.live import Live, look
from ofp_edge.runtime.runners.tensorrt.api import import_tensorrt
from ofp_edge.runtime.runners.tensorrt.cuda import open_cuda

ORIN = "8.7"


@dataclass(frozen=True)
class Device:
    """The device that builds and runs engines. warnings: what makes timings less valid here."""

    trt: Any
    jetson: Jetson
    live: Live
    gpu: str
    compute_capability: str
    warnings: tuple[str, ...] = field(default=())


def open_device() -> Device:
    """Find TensorRT, CUDA and the board. OfpError names what is missing or unsupported."""
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


def _warnings(live: Live) -> tuple[str, ...]:
    found = []
    if live.clocks_locked is False:
        found.append(
            "the GPU's clock is not locked, so tactics and latencies vary: run `sudo jetson_clocks`"
        )
    if live.power_mode is not None and "MAXN" not in live.power_mode:
        found.append(
            f"the power mode is {live.power_mode}: an engine is tuned for the clocks it "
            "was built under; `sudo nvpmodel -q` lists the modes"
        )
    if live.throttled:
        found.append(f"throttled by {', '.join(live.throttled)}: cool it, then build again")
    return tuple(found)
