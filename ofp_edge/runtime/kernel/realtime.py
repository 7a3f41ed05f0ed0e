"""Real time on Linux: what `run --realtime` asks of the kernel, and the line that would allow it.

There are two steps. `prepare` comes first of all, in the main thread: memory stays in RAM and
denormals are flushed, which later threads inherit. `enter` comes in the control thread when every
other thread exists, because children would inherit its priority and its core.

    control thread   SCHED_FIFO priority          one core of its own
    bus, camera      SCHED_FIFO priority - 5      the other cores
    planner          SCHED_FIFO priority - 10     the other cores
    all others       SCHED_FIFO priority - 15     the other cores

All others are raised too: otherwise any other program on its core could delay a thread of the
camera's SDK that holds one of its locks, or a thread that holds Python's, and the control thread
with it.
"""

from __future__ import annotations

import contextlib
import ctypes
import getpass
import os
import platform
import threading
from dataclasses import asdict, dataclass
from pathlib import Path

from ofp_edge.rig.realtime import RealtimeEntry

_MCL_CURRENT, _MCL_FUTURE = 1, 2
_LIMITS = "/etc/security/limits.d/ofp-edge.conf"
_STEPS_BELOW = {"planner": 10, "servo bus": 5, "remote robot": 5, "camera": 5}
_OTHERS_BELOW = 15
# Flush to zero and denormals are zero: in MXCSR on x86, in FPCR on ARM; both lie in fenv_t.
_FLUSH_BITS = {"x86_64": (28, 0x8040), "aarch64": (0, 1 << 24)}


@dataclass(frozen=True)
class Setting:
    """One thing asked of the kernel. `remedy` is the line that would allow it, or empty."""

    name: str
    ok: bool
    detail: str
    remedy: str = ""

    def to_json(self) -> dict[str, str | bool]:
        """Return plain JSON values."""
        return asdict(self)


def prepare() -> list[Setting]:
    """Lock memory and flush denormals. Call it in the main thread, before any other is
    started."""
    return [lock_memory(), flush_denormals()]


def enter(entry: RealtimeEntry, root: Path = Path("/")) -> list[Setting]:
    """Give the control thread (the caller) its core and its priority, and the others theirs."""
    usable = sorted(os.sched_getaffinity(0))
    cpu = choose_cpu(entry.cpu, usable, root)
    if cpu not in usable:
        found = Setting(
            "core",
            False,
            f"cpu {cpu} is not among those to be used: {usable}",
            "set cpu in the rig's [realtime], or widen CPUAffinity",
        )
        return [found, *_priorities(entry.priority)]
    pinned = _pin(cpu, usable)
    return [pinned, *_priorities(entry.priority)]


def choose_cpu(wanted: int | None, usable: list[int], root: Path = Path("/")) -> int:
    """Choose the rig's core; else an isolated one, else the last: the first serves most
    interrupts."""
    if wanted is not None:
        return wanted
    isolated = [cpu for cpu in isolated_cpus(root) if cpu in usable]
    return (isolated or usable)[-1]


def isolated_cpus(root: Path = Path("/")) -> list[int]:
    """Return the cores that the kernel's argument isolcpus= names."""
    try:
        text = (root / "sys/devices/system/cpu/isolated").read_text(encoding="ascii").strip()
    except OSError:
        return []
    found: list[int] = []
    for part in filter(None, text.split(",")):
        first, _, last = part.partition("-")
        found += range(int(first), int(last or first) + 1)
    return found


def lock_memory() -> Setting:
    """Call mlockall: no page of this process is ever fetched from a disk in the middle of a
    tick."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mlockall(_MCL_CURRENT | _MCL_FUTURE) == 0:
        return Setting("memory", True, "locked in RAM (mlockall)")
    reason = os.strerror(ctypes.get_errno())
    return Setting("memory", False, f"mlockall: {reason}", limit_line("memlock unlimited"))


def user_name() -> str | None:
    """This user's name; None where it has only a number, as in many containers."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # OSError from Python 3.13 on
        return None


def limit_line(limit: str) -> str:
    """Return the command that raises a limit of this user."""
    who = user_name() or f":{os.getuid()}"  # limits.conf(5): that uid alone
    return f"echo '{who} - {limit}' | sudo tee -a {_LIMITS}; log in anew"


def flush_denormals() -> Setting:
    """Make numbers below 1e-38 become 0 in this thread and those it starts: they cost 100 times as
    much."""
    machine = platform.machine()
    if machine not in _FLUSH_BITS:
        return Setting("denormals", False, f"not known how on {machine}")
    libm = ctypes.CDLL("libm.so.6")
    environment = (ctypes.c_uint8 * 64)()
    if libm.fegetenv(environment) != 0:
        return Setting("denormals", False, "fegetenv failed")
    offset, bits = _FLUSH_BITS[machine]
    word = ctypes.c_uint32.from_buffer(environment, offset)
    word.value |= bits
    if libm.fesetenv(environment) != 0:
        return Setting("denormals", False, "fesetenv failed")
    return Setting("denormals", True, "flushed to zero")


def _pin(cpu: int, usable: list[int]) -> Setting:
    """Pin the caller to `cpu`, and every other thread of this process to the other cores."""
    others = set(usable) - {cpu}
    me = threading.get_native_id()
    try:
        os.sched_setaffinity(0, {cpu})
        if others:
            for task in os.listdir("/proc/self/task"):
                if int(task) != me:
                    with contextlib.suppress(ProcessLookupError):
                        os.sched_setaffinity(int(task), others)
    except OSError as cause:
        return Setting("core", False, f"affinity: {cause.strerror}")
    alone = f", the other threads on {_names(others)}" if others else ", which all threads share"
    return Setting("core", True, f"control thread on cpu {cpu}{alone}")


def _names(cpus: set[int]) -> str:
    return ", ".join(str(cpu) for cpu in sorted(cpus))


def _priorities(priority: int) -> list[Setting]:
    names = {str(thread.native_id): thread.name for thread in threading.enumerate()}
    me, raised, others = str(threading.get_native_id()), [], max(1, priority - _OTHERS_BELOW)
    try:
        for task in os.listdir("/proc/self/task"):
            if task == me:
                continue
            name = names.get(task, "")
            steps = next((n for start, n in _STEPS_BELOW.items() if name.startswith(start)), None)
            level = others if steps is None else max(1, priority - steps)
            with contextlib.suppress(ProcessLookupError):
                _fifo(int(task), level)
            if steps is not None:
                raised.append(f"{name} {level}")
        _fifo(0, priority)
    except OSError as cause:
        remedy = (
            f"{limit_line(f'rtprio {priority}')}, or start it by the unit that `ofp-edge service` "
            "writes"
        )
        return [Setting("priority", False, f"SCHED_FIFO {priority}: {cause.strerror}", remedy)]
    raised.append(f"all others {others}")
    return [Setting("priority", True, f"control thread SCHED_FIFO {priority}; {', '.join(raised)}")]


def _fifo(thread: int, priority: int) -> None:
    os.sched_setscheduler(thread, os.SCHED_FIFO, os.sched_param(priority))
