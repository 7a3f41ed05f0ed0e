"""Builds the library while the wheel is made: one g++ call against an unpacked executorch wheel.

EXECUTORCH=FOLDER   the `executorch` package to build against and to take libraries from
                    (default: the installed one). Its libraries decide the wheel's platform, so
                    an unpacked aarch64 wheel and a cross compiler give an aarch64 wheel.
CXX=COMMAND         the compiler (default: g++)
"""

from __future__ import annotations

import importlib.util
import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

# XNNPACK does the work; the kernels are for operations that it does not take.
LIBRARIES = (
    "executorch", "executorch_threadpool", "executorch_backend_xnnpack",
    "executorch_kernels_optimized", "executorch_kernels_quantized",
)  # fmt: skip
MACHINES = {62: "x86_64", 183: "aarch64"}  # ELF's e_machine
OLDEST_GLIBC = (2, 28)  # what executorch's own wheels ask for


class CustomBuildHook(BuildHookInterface):  # type: ignore[type-arg]
    """Compiles into the package folder and names the wheel py3-none-<platform>."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Called by hatchling before it collects the wheel's files."""
        executorch = _executorch()
        wanted = ".".join(self.metadata.version.split(".")[:3])
        got = _version(executorch)
        if got != wanted:
            raise SystemExit(f"executorch: expected {wanted}, got {got} in {executorch}.")
        if len(self.metadata.core.license_files) != 2:  # a wheel without them may not be passed on
            raise SystemExit(
                f"hatchling does not find LICENSE and THIRD_PARTY_NOTICES in {self.root}: it takes "
                "brackets in a path for a pattern. Build elsewhere."
            )
        out = Path(self.root) / "build" / _machine(executorch / "lib/libexecutorch.so")
        out.mkdir(parents=True, exist_ok=True)
        built = [out / "libofp_edge_executorch.so"]
        _compile(Path(self.root) / "src/runner.cpp", built[0], executorch, self.metadata.version)
        for name in LIBRARIES:
            built.append(out / f"lib{name}.so")
            shutil.copy2(executorch / "lib" / built[-1].name, built[-1])
        build_data["pure_python"] = False
        build_data["tag"] = f"py3-none-{_platform(built)}"
        build_data["force_include"] |= {str(x): f"ofp_edge_executorch/{x.name}" for x in built}


def _executorch() -> Path:
    if given := os.environ.get("EXECUTORCH"):
        return Path(given)
    found = importlib.util.find_spec("executorch")
    if found is None or not found.submodule_search_locations:
        raise SystemExit(
            "executorch is not installed. Run `make wheels` in ofp-edge's repository, which "
            "fetches it, or set EXECUTORCH to the executorch folder of an unpacked wheel."
        )
    return Path(next(iter(found.submodule_search_locations)))


def _version(executorch: Path) -> str:
    text = (executorch / "version.py").read_text(encoding="utf-8")
    found = re.search(r"__version__[^\"']*[\"'](\d+\.\d+\.\d+)", text)
    return found[1] if found else "an unknown version"


def _compile(source: Path, out: Path, executorch: Path, version: str) -> None:
    include = executorch / "include"
    command = [
        *shlex.split(os.environ.get("CXX", "g++")),
        "-std=c++17", "-O2", "-shared", "-fPIC", "-fvisibility=hidden", "-s",
        "-Wall", "-Wno-deprecated-declarations", "-DC10_USING_CUSTOM_GENERATED_MACROS",
        f'-DOFP_VERSION="{version}"',
        f"-I{include}", f"-I{include}/executorch/runtime/core/portable_type/c10",
        f"-ffile-prefix-map={include}=include", f"-ffile-prefix-map={source.parent}=src",
        str(source), "-o", str(out), f"-L{executorch / 'lib'}",
        # The backend and the kernels register themselves on being loaded: nothing calls them.
        "-Wl,--no-as-needed", *(f"-l{name}" for name in LIBRARIES), "-Wl,--as-needed",
        "-Wl,-rpath,$ORIGIN", "-Wl,--allow-shlib-undefined",
    ]  # fmt: skip
    try:
        done = subprocess.run(command, capture_output=True, text=True)
    except FileNotFoundError:
        raise SystemExit(f"no compiler: {command[0]} is not installed.") from None
    if done.returncode:
        raise SystemExit(f"{shlex.join(command)}\n{done.stderr}")


def _machine(library: Path) -> str:
    number = int.from_bytes(library.read_bytes()[18:20], "little")
    if number not in MACHINES:
        raise SystemExit(f"{library}: built for an unknown machine ({number}).")
    return MACHINES[number]


def _platform(libraries: list[Path]) -> str:
    """The manylinux tag: the newest glibc that any of the libraries asks for."""
    if len(machines := {_machine(x) for x in libraries}) != 1:
        raise SystemExit(f"the compiler builds for another machine: {', '.join(sorted(machines))}.")
    asked = {
        (int(a), int(b))
        for x in libraries
        for a, b in re.findall(rb"GLIBC_(\d+)\.(\d+)", x.read_bytes())
    }
    major, minor = max(asked | {OLDEST_GLIBC})
    return f"manylinux_{major}_{minor}_{machines.pop()}"
