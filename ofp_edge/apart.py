"""Try a call in a child process first: what would end this process becomes a one-line error.

For C++ libraries that trust their input. The child is a copy of this process and its answer is
thrown away; the caller makes the call again after trying it.
"""

from __future__ import annotations

import contextlib
import faulthandler
import os
import resource
import select
import signal
import time
import warnings
from collections.abc import Callable

from ofp_edge.errors import OfpError

GIBIBYTE = 1 << 30


def try_apart(
    function: Callable[[], object],
    what: str,
    error: type[OfpError],
    *,
    seconds: float = 300.0,
    memory: int = 8 * GIBIBYTE,
) -> None:
    """Call `function` in a child; raise `error`, beginning with `what`, if it dies or goes too far.

    What the call raises is left to the caller's own call. seconds, memory (bytes beyond what this
    process has): more ends the child. The function must start no threads that were stopped by the
    copy: torch's are set to one here.
    """
    reading, writing = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # 3.12: threads; the child uses none
        child = os.fork()
    if child == 0:
        _in_child(function, writing, seconds, memory)
    os.close(writing)
    try:
        in_time = _wait(reading, seconds)
        said = os.read(reading, 16) if in_time else b""
        if not in_time:
            os.kill(child, signal.SIGKILL)
    finally:
        os.close(reading)
        _, status = os.waitpid(child, 0)
    if not in_time:
        raise error(f"{what} takes longer than {seconds:g} s: refused.")
    if said == b"memory":
        raise error(f"{what} takes more than {memory / GIBIBYTE:.1f} GiB of memory: refused.")
    if said != b"done":
        code = os.waitstatus_to_exitcode(status)
        how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        raise error(f"{what} ends the process that opens it ({how}): it is damaged, or a trap.")


def _wait(reading: int, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while (left := deadline - time.monotonic()) > 0:
        if select.select([reading], [], [], left)[0]:
            return True
    return False


def _in_child(function: Callable[[], object], writing: int, seconds: float, memory: int) -> None:
    said = b"done"
    try:
        faulthandler.disable()
        quiet = os.open(os.devnull, os.O_RDWR)
        for stream in (0, 1, 2):
            os.dup2(quiet, stream)
        _limit(memory, seconds)
        function()
    except MemoryError:
        said = b"memory"
    except BaseException as cause:  # the caller makes the same call, and hears it
        if "alloc" in str(cause) and isinstance(cause, RuntimeError):  # torch's lack of memory
            said = b"memory"
    finally:
        with contextlib.suppress(OSError):
            os.write(writing, said)
        os._exit(0)


def _limit(memory: int, seconds: float) -> None:
    with open("/proc/self/statm", encoding="ascii") as file:
        have = int(file.read().split()[0]) * resource.getpagesize()
    for what, limit in (
        (resource.RLIMIT_AS, have + memory),
        (resource.RLIMIT_CPU, int(seconds) + 1),
        (resource.RLIMIT_CORE, 0),
    ):
        hard = resource.getrlimit(what)[1]
        resource.setrlimit(what, (limit if hard < 0 else min(limit, hard), hard))
