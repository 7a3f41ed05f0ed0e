"""Starts a program on an emulated processor and reads which instructions its engines ran.

QEMU prints every block of guest code once, before it first runs, to stderr (`-d in_asm`): beside
what the program itself says there.
"""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import threading
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cpus import INSTRUCTIONS, Cpu, cpuinfo

_CHUNK = 1 << 20
_running: list[subprocess.Popen[bytes]] = []
_DISASSEMBLY = ("0x", "IN:", "----", "OBJD")


@dataclass(frozen=True)
class Ran:
    """rows: the JSON lines it printed. instructions: (address, name), one a place in the code.

    said: the last lines on stderr that are no disassembly.
    """

    rows: list[dict[str, Any]]
    instructions: list[tuple[int, str]]
    said: list[str]

    def kernels(self) -> dict[str, dict[str, int]]:
        """By engine, how many places of its library hold each instruction that ran."""
        found = {}
        for engine, ranges in self.rows[-1]["lies"].items():
            names = (n for at, n in self.instructions if any(a <= at < b for a, b in ranges))
            found[engine] = dict(sorted(Counter(names).items()))
        return found


def run(
    cpu: Cpu, root: Path, arguments: Sequence[str], *, site: Sequence[str], traced: bool = False,
    may_fail: bool = False,
) -> Ran:  # fmt: skip
    """Run Python with `arguments` on `cpu`.

    root: of an x86 processor a folder for what differs from this machine (/proc/cpuinfo); of an
    aarch64 one a whole system, which the program sees nothing beside. site: PYTHONPATH. Exits with
    what the program said when it failed, unless it may. Several may run at a time.
    """
    path = ":".join(site)
    trace = ["-d", "in_asm"] if traced else []
    if cpu.machine == "x86_64":
        (root / "proc").mkdir(parents=True, exist_ok=True)
        (root / "proc/cpuinfo").write_text(cpuinfo(cpu), encoding="ascii")
        command = ["qemu-x86_64-static", "-L", str(root), "-cpu", cpu.qemu, *trace]
        command += [os.path.realpath(sys._base_executable), *arguments]  # type: ignore[attr-defined]
        environment = {**os.environ, "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"}
        environment |= {"OMP_NUM_THREADS": "1"}
    else:
        told = root / f"cpuinfo-{cpu.name}"
        told.write_text(cpuinfo(cpu), encoding="ascii")
        inside = shlex.quote(str(root))
        # QEMU tells where libraries lie by /proc/self/maps; what is mounted ends with the program.
        enter = f"mount --rbind /proc {inside}/proc && mount --bind {shlex.quote(str(told))} "
        enter += f"{inside}/proc/cpuinfo && exec chroot {inside} "
        command = ["unshare", "--map-root-user", "--net", "--mount"]
        command += ["sh", "-c", enter + '"$@"', "sh"]
        command += ["/usr/bin/qemu-aarch64-static", "-cpu", cpu.qemu, *trace, "/usr/bin/python3"]
        command += arguments
        environment = {"HOME": "/", "PATH": "/usr/bin:/bin:/usr/sbin:/sbin", "PYTHONPATH": path}
        environment |= {"PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )  # fmt: skip
    _running.append(process)
    assert process.stdout is not None
    instructions: list[tuple[int, str]] = []
    said: deque[str] = deque(maxlen=20)
    reader = threading.Thread(target=_read, args=(process.stderr, cpu.machine, instructions, said))
    reader.start()
    printed = process.stdout.read().decode("utf-8", "replace")
    reader.join()
    if process.wait() != 0 and not may_fail:
        sys.exit(f"{cpu.name}: {' '.join(arguments)}: exit {process.returncode}\n"
                 + printed + "\n".join(said))  # fmt: skip
    rows = [json.loads(line) for line in printed.splitlines() if line.startswith("{")]
    return Ran(rows, instructions, list(said))


def stop_all() -> None:
    """End every program that still runs."""
    for process in _running:
        process.kill()


def _read(stream: Any, machine: str, found: list[tuple[int, str]], said: deque[str]) -> None:
    rest = ""
    while data := stream.read1(_CHUNK):
        text = rest + data.decode("ascii", "replace")
        text, _, rest = text.rpartition("\n")
        for match in INSTRUCTIONS[machine].finditer(text):
            found.append((int(match[1], 16), match["name"] or str(match.lastgroup)))
        said.extend(x for x in text.splitlines() if x and not x.startswith(_DISASSEMBLY))
