"""The identity of this Jetson Orin, its JetPack, TensorRT and CUDA, and whether they will do.

The sources are NVIDIA's Jetson Linux documentation (module part numbers, nv_tegra_release) and
dpkg's status file for versions of packages. `nvidia-smi` is a stub on Orin and is never asked.
"""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from typing import Any

from ofp_edge.errors import OfpError
from ofp_edge.files import read_json
from ofp_edge.runtime.jetson.machine import Machine

SUPPORTED = "JetPack 6.1 to 6.2.x (TensorRT 10.3) or 7.2.x (TensorRT 10.16)"
TENSORRT_LINES = ((10, 3), (10, 16))

# First Jetson Linux release of each JetPack that runs on Orin, and the TensorRT it brings.
_JETPACK = (
    ((35, 2), "5.1", "8.5"), ((36, 2), "6.0", "8.6"), ((36, 4), "6.1", "10.3"),
    ((36, 4, 3), "6.2", "10.3"), ((36, 4, 4), "6.2.1", "10.3"), ((36, 5), "6.2.2", "10.3"),
    ((38, 2), "7.0", "10.13"), ((39, 2), "7.2", "10.16"), ((39, 2, 1), "7.2.1", "10.16"),
    ((39, 3), "later than 7.2", "?"),
)  # fmt: skip
_GIB = 1024 * 1024  # in kB

# Part number in /proc/device-tree/compatible -> module, board. None: memory or power mode decides.
_MODULES = {
    "p3767-0000": ("Orin NX 16 GB", "orin-nx-16"),
    "p3767-0001": ("Orin NX 8 GB", "orin-nx-8"),
    "p3767-0003": ("Orin Nano 8 GB", "orin-nano"),
    "p3767-0004": ("Orin Nano 4 GB", None),
    "p3767-0005": ("Orin Nano 8 GB (developer kit)", "orin-nano"),
    "p3701-0000": ("AGX Orin (developer kit)", "agx-orin"),
    "p3701-0004": ("AGX Orin 32 GB", "agx-orin-32"),
    "p3701-0005": ("AGX Orin 64 GB", "agx-orin-64"),
}


@dataclass(frozen=True)
class Jetson:
    """A Jetson. `board` is a name that `--board` takes, None for a module without one. `l4t` is
    Jetson Linux's version.

    `tensorrt` and `cuda` are the installed packages' versions, None when they are not installed.
    """

    model: str
    module: str
    part: str
    board: str | None
    l4t: str
    jetpack: str
    tensorrt: str | None
    cuda: str | None
    memory_mib: int

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return asdict(self)


def identify(machine: Machine) -> Jetson | None:
    """Identify this Jetson Orin; return None on any other machine. Raises OfpError when the
    machine does not say enough."""
    compatible = machine.whole("proc/device-tree/compatible") or ""
    if "tegra234" not in compatible:
        return None
    model = machine.text("proc/device-tree/model") or "unknown"
    found = re.search(r"p(3767|3701)-(\d{4})", compatible)
    part = found[0] if found else "unknown"
    memory_kib = machine.memory_kib().get("MemTotal", 0)
    module, board = _MODULES.get(part, (f"unknown Orin module {part}", None))
    if board == "agx-orin":
        board = "agx-orin-64" if memory_kib > 40 * _GIB else "agx-orin-32"
    if board == "orin-nano" and "super" in (model + compatible).lower():
        board = "orin-nano-super"
    l4t = _l4t(machine)
    jetpack, _ = _jetpack(l4t)
    return Jetson(
        model,
        module,
        part,
        board,
        l4t,
        jetpack,
        package_version(machine, "libnvinfer10") or package_version(machine, "libnvinfer8"),
        _cuda(machine),
        memory_kib // 1024,
    )


def unsupported(jetson: Jetson) -> str | None:
    """Return why TensorRT engines are not built here and what would be needed; None where they are
    built."""
    _, line = _jetpack(jetson.l4t)
    if tuple(int(x) for x in line.split(".") if x.isdigit()) not in TENSORRT_LINES:
        return (
            f"JetPack {jetson.jetpack} (Jetson Linux {jetson.l4t}, TensorRT {line}) is not "
            f"supported: flash {SUPPORTED}."
        )
    if jetson.tensorrt is not None and version_line(jetson.tensorrt) not in TENSORRT_LINES:
        return (
            f"TensorRT {jetson.tensorrt} under JetPack {jetson.jetpack} is not supported: install "
            f"JetPack's own {line} (sudo apt-get install -y nvidia-jetpack)."
        )
    return None


def version_line(version: str) -> tuple[int, ...]:
    """Parse a version: "10.3.0.30-1+cuda12.5" gives (10, 3)."""
    return tuple(int(x) for x in re.findall(r"\d+", version)[:2])


def package_version(machine: Machine, package: str) -> str | None:
    """Return the installed version of a Debian package, from dpkg's own file."""
    status = machine.whole("var/lib/dpkg/status") or ""
    for block in status.split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.splitlines() if ": " in line)
        if fields.get("Package") == package and "installed" in fields.get("Status", "").split():
            return fields.get("Version")
    return None


def _l4t(machine: Machine) -> str:
    release = machine.text("etc/nv_tegra_release") or ""
    if found := re.search(r"R(\d+).*?REVISION:\s*([\d.]+)", release):
        return f"{found[1]}.{found[2]}"
    if version := package_version(machine, "nvidia-l4t-core"):
        return version.partition("-")[0]
    raise OfpError(
        "this Jetson does not say which Jetson Linux it runs: neither /etc/nv_tegra_release nor "
        "the package nvidia-l4t-core is there."
    )


def _jetpack(l4t: str) -> tuple[str, str]:
    """Return (JetPack, its TensorRT line) of a Jetson Linux release."""
    release = tuple(int(x) for x in l4t.split("."))
    name, line = "older than 5.1", "?"
    for first, jetpack, tensorrt in _JETPACK:
        if release >= first:
            name, line = jetpack, tensorrt
    return name, line


def _cuda(machine: Machine) -> str | None:
    path = machine.root / "usr/local/cuda/version.json"
    if not path.exists():
        return None
    try:
        return str(read_json(path)["cuda"]["version"])
    except (OfpError, KeyError, TypeError):
        return None
