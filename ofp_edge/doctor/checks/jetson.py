"""The check of a Jetson Orin: module, JetPack, TensorRT, power, clocks, memory, and what a
RealSense needs."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

from ofp_edge.boards.orin import orin_systems
from ofp_edge.doctor.findings import Finding
from ofp_edge.errors import OfpError
from ofp_edge.origin import pip
from ofp_edge.runtime.jetson import machine as machines
from ofp_edge.runtime.jetson.identity import Jetson, identify, unsupported
from ofp_edge.runtime.jetson.live import Live, look
from ofp_edge.runtime.jetson.machine import Machine

_LITTLE_MIB = 1500  # building an engine takes about one GiB
_UNPATCHED = (3, 11)  # dreamscale's camera SDK has no older wheels
_JETPACK_PLACES = ("/usr/lib/python3",)


def check(
    machine: Machine | None = None,
    *,
    python: tuple[int, int] = sys.version_info[:2],
    tensorrt: Path | None = None,
) -> list[Finding]:
    """Check the Jetson; elsewhere the only finding is "absent". `tensorrt` is where Python would
    take the module from."""
    machine = machine or machines.this_machine()
    try:
        jetson = identify(machine)
    except OfpError as cause:
        remedy = "sudo apt-get install -y nvidia-l4t-core"
        return [Finding("jetson", "fail", str(cause), remedy)]
    if jetson is None:
        return [Finding("jetson", "absent", "this is no Jetson Orin")]
    live = look(machine)
    return [
        _board(jetson),
        _python(jetson, python),
        _tensorrt(jetson, tensorrt or _found_tensorrt()),
        _power(live),
        _clocks(live),
        _heat(live),
        _memory(machine),
        _swap(live),
        _realsense_kernel(machine, python),
    ]


def _board(jetson: Jetson) -> Finding:
    detail = (
        f"{jetson.module} ({jetson.part}), JetPack {jetson.jetpack}, Jetson Linux {jetson.l4t}, "
        f"CUDA {jetson.cuda or 'not installed'}"
    )
    if (why := unsupported(jetson)) is not None:
        return Finding("jetson", "fail", detail, why)
    return Finding("jetson", "ok", detail)


def _python(jetson: Jetson, python: tuple[int, int]) -> Finding:
    line, have = jetson.jetpack.partition(".")[0], ".".join(str(x) for x in python)
    need = next((x.python for x in orin_systems() if x.jetpack == line), have)
    if have == need:
        return Finding("jetson python", "ok", have)
    detail = f"{have}: JetPack {jetson.jetpack} has its TensorRT module for {need} alone"
    remedy = f"python{need} -m venv --system-site-packages .venv"
    return Finding("jetson python", "warn", detail, remedy)


def _tensorrt(jetson: Jetson, found: Path | None) -> Finding:
    if jetson.tensorrt is None:
        remedy = "sudo apt-get install -y nvidia-jetpack"
        return Finding("jetson tensorrt", "fail", "JetPack's TensorRT is not installed", remedy)
    if found is None:
        detail = f"{jetson.tensorrt} is installed, this Python does not see it"
        remedy = (
            "sudo apt-get install -y python3-libnvinfer; make the virtual environment with "
            "--system-site-packages"
        )
        return Finding("jetson tensorrt", "warn", detail, remedy)
    if not str(found).startswith(_JETPACK_PLACES):
        detail = f"{found} shadows JetPack's {jetson.tensorrt}: pip's does not run on Orin"
        remedy = (
            "pip uninstall -y tensorrt tensorrt-cu12 tensorrt-cu12-bindings tensorrt-cu13 "
            "tensorrt-cu13-bindings"
        )
        return Finding("jetson tensorrt", "fail", detail, remedy)
    return Finding("jetson tensorrt", "ok", f"{jetson.tensorrt}, {found}")


def _power(live: Live) -> Finding:
    if live.power_mode is None:
        return Finding("jetson power mode", "warn", "nvpmodel does not say", "sudo nvpmodel -q")
    watts = "" if live.power_mw is None else f", {live.power_mw / 1000:.1f} W now"
    detail = f"{live.power_mode}{watts}"
    if "MAXN" in live.power_mode:
        return Finding("jetson power mode", "ok", detail)
    remedy = "sudo nvpmodel -m 0 (MAXN on most modules; /etc/nvpmodel.conf lists the modes)"
    return Finding("jetson power mode", "warn", f"{detail}: below the module's best", remedy)


def _clocks(live: Live) -> Finding:
    if live.clocks_locked is None:
        detail = "the GPU's clock cannot be read"
        return Finding("jetson clocks", "warn", detail, "sudo jetson_clocks --show")
    gpu = live.clocks_hz["gpu"]
    detail = f"GPU {gpu['current'] / 1e6:.0f} MHz of {gpu['max'] / 1e6:.0f}"
    if live.clocks_locked:
        return Finding("jetson clocks", "ok", f"{detail}, locked")
    detail += ", not locked: latency varies"
    return Finding("jetson clocks", "warn", detail, "sudo jetson_clocks")


def _heat(live: Live) -> Finding:
    hottest = max(live.temperatures_c.items(), key=lambda x: x[1], default=None)
    detail = "no zone can be read" if hottest is None else f"{hottest[0]} {hottest[1]:.0f} °C"
    if live.throttled:
        return Finding(
            "jetson heat",
            "warn",
            f"{detail}, throttled by {', '.join(live.throttled)}",
            "Cool it: sudo jetson_clocks --fan, a heat sink, or a smaller power mode.",
        )
    return Finding("jetson heat", "ok", detail)


def _memory(machine: Machine) -> Finding:
    available = machine.memory_kib().get("MemAvailable", 0) // 1024
    detail = f"{available} MiB available to CPU and GPU together"
    if available < _LITTLE_MIB:
        remedy = "sudo systemctl isolate multi-user.target (stops the desktop)"
        return Finding("jetson memory", "warn", f"{detail}: too little for a build", remedy)
    return Finding("jetson memory", "ok", detail)


def _swap(live: Live) -> Finding:
    if live.swap_used_mib > 0:
        detail = f"{live.swap_used_mib} MiB swapped out: latency has a long tail"
        return Finding("jetson swap", "warn", detail, "sudo swapoff -a && sudo swapon -a")
    return Finding("jetson swap", "ok", "nothing swapped out")


def _realsense_kernel(machine: Machine, python: tuple[int, int]) -> Finding:
    """Check the kernel: librealsense's patch script for Jetson leaves its uvcvideo in the kernel's
    extra folder."""
    name = "jetson realsense kernel"
    if machine.glob("lib/modules/*/extra/**/uvcvideo.ko*"):
        return Finding(name, "ok", "uvcvideo is patched")
    detail = "uvcvideo is not patched: a RealSense gives no metadata, so no times of its own"
    remedy = "librealsense/scripts/patch-realsense-ubuntu-L4T.sh"
    if python >= _UNPATCHED:
        remedy += (
            f", or the driver that needs no patch: {pip()} uninstall -y pyrealsense2 && "
            f"{pip()} install dreamscale-pyrealsense2==2.58.4"
        )
    return Finding(name, "warn", detail, remedy)


def _found_tensorrt() -> Path | None:
    spec = importlib.util.find_spec("tensorrt")
    return None if spec is None or spec.origin is None else Path(spec.origin)
