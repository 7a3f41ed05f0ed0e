"""Damaged artefacts by the thousand, read in children that may not crash, hang, swell or stray.

    parent: reads the modules once, forks        child: for each case of its share
      |-- fork --> child 0, 2, 4, ...              draws the damage from (seed, kind, case)
      |-- fork --> child 1, 3, 5, ...              reads the artefact, watched (watch.py)
      <-- one line a case ---------------          says how it went
    a child that dies or hangs costs its one case: the next child goes on behind it

Why no library does this: atheris needs instrumented builds and sees nothing of the C libraries that
do the reading; hypothesis tries its examples in its own process, which a crash, a hang or a
gigabyte ends, and it shrinks by trying again in that same process. What is wanted of either is a
seed and a small failure: a case here is (kind, seed, number), its damage is one to three operations
that are named, and operations that are not needed for the failure are left out again.
"""

from __future__ import annotations

import ctypes
import faulthandler
import json
import os
import resource
import select
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np

from ofp_edge.errors import OfpError
from tests.fuzz.watch import CACHE, Watch, lay_bait

HANG_S = 30.0
"""Of processor time, or asleep: a case takes milliseconds, but a busy machine takes its time."""
MOST_MB = 1024.0
"""What a reader may take at its peak; those here hold some hundred kilobytes."""
_POLL_S = 1.0
_CASES_A_CHILD = 2000
_PR_SET_PDEATHSIG = 1
_ADDRESS_SPACE = 4 << 30  # beyond what the modules take


Operation = Callable[[np.random.Generator, Path], str]
"""Damages the artefact in a folder; says how."""


class Kind(Protocol):
    """A kind of artefact. `prepare` and `warm` are called once, in the parent."""

    name: str
    operations: tuple[Operation, ...]
    counts: tuple[int, ...]
    """How many operations a case has: one of these."""
    may: tuple[str, ...]
    """Audit events that reading it may cause, of those that a reader may not."""

    def warm(self) -> None:
        """Import what reading takes. No thread may be started: children are forked from here."""
        ...

    def prepare(self, good: Path) -> None:
        """Make the good artefacts, in a process of its own."""
        ...

    def place(self, rng: np.random.Generator, good: Path, home: Path) -> str:
        """Copy one of them into `home`; which."""
        ...

    def seal(self, rng: np.random.Generator, home: Path) -> None:
        """Make the hashes fit again, so that damage gets past them. Mostly."""
        ...

    def read(self, home: Path) -> str | None:
        """Use it as a command would. Anything but OfpError is a failure. What came of it, where
        the kind counts that."""
        ...


@dataclass
class Result:
    """One case.

    done: what was damaged. file: its reproducer. failure: "" or trace, line, opened, memory, hang,
    died; where: its place in the code. outcome: what the kind calls it, "" where it was refused.
    """

    case: int
    failure: str = ""
    where: str = ""
    detail: str = ""
    refused: str = ""
    peak_mb: float = 0.0
    seconds: float = 0.0
    done: list[str] = field(default_factory=list)
    file: str = ""
    outcome: str = ""

    @property
    def bucket(self) -> str:
        """Failures of one bucket have one cause, as a rule."""
        return f"{self.failure} {self.where}"


def fork() -> int:
    """os.fork, of a child that does not outlive its parent."""
    parent = os.getpid()
    child = os.fork()
    if child == 0:
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(4)
    return child


def prepare(kind: Kind, folder: Path) -> Path:
    """The good artefacts of a kind, made in a child: torch's threads must not be forked."""
    good = folder / f"good-{kind.name}"
    good.mkdir(parents=True)
    child = fork()
    if child == 0:
        code = 1
        try:
            kind.prepare(good)
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    if os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) != 0:
        raise RuntimeError(f"{kind.name}: the good artefacts can't be made")
    kind.warm()
    return good


def run_cases(
    kind: Kind,
    good: Path,
    seed: int,
    cases: range,
    *,
    until: float | None = None,
    hang_s: float = HANG_S,
    without: frozenset[int] = frozenset(),
) -> Iterator[Result]:
    """Every case of `cases`, as long as `until` (time.monotonic) has not passed."""
    for start in range(0, len(cases), _CASES_A_CHILD):
        left = list(cases[start : start + _CASES_A_CHILD])[::-1]
        while left:
            if until is not None and time.monotonic() >= until:
                return
            yield from _child(kind, good, seed, left, until, hang_s, without)


class _Patience:
    """With one case of a child: so much of a processor's time, or so long asleep."""

    def __init__(self, limit_s: float) -> None:
        self._limit_s = limit_s
        self._began_s: float | None = None
        self._last_s, self._asleep = 0.0, 0

    def is_over(self, child: int) -> bool:
        """Asked every _POLL_S seconds."""
        fields = Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()
        used_s = sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")
        self._began_s = used_s if self._began_s is None else self._began_s
        asleep = used_s == self._last_s and fields[0] in "SDZ"
        self._asleep = self._asleep + 1 if asleep else 0
        self._last_s = used_s
        return used_s - self._began_s > self._limit_s or self._asleep * _POLL_S > self._limit_s


def _child(
    kind: Kind,
    good: Path,
    seed: int,
    left: list[int],
    until: float | None,
    hang_s: float,
    without: frozenset[int],
) -> Iterator[Result]:
    """One child's results, until it dies, its cases are done or the time is over."""
    read, write = os.pipe()
    noise = tempfile.TemporaryFile()
    child = fork()
    if child == 0:
        os.close(read)
        _serve(kind, good, seed, left, write, noise.fileno(), without)
    os.close(write)
    buffer, failed, patience = b"", None, _Patience(hang_s)
    try:
        while left:
            if until is not None and time.monotonic() >= until:
                return
            if not select.select([read], [], [], _POLL_S)[0]:
                if patience.is_over(child):
                    failed = Result(left[-1], "hang", detail=f"nothing for {hang_s:g} s")
                    break
                continue
            patience = _Patience(hang_s)
            data = os.read(read, 1 << 16)
            if not data:
                failed = Result(left[-1], "died")
                break
            *lines, buffer = (buffer + data).split(b"\n")
            for line in lines:
                result = Result(**json.loads(line))
                assert result.case == left.pop()
                yield result
    finally:
        os.close(read)
        if failed is None or failed.failure == "hang":
            os.kill(child, signal.SIGKILL)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        noise.seek(0)
        said = noise.read()[-400:].decode(errors="replace")
        noise.close()
    if failed is not None:
        left.pop()
        if failed.failure == "died":
            failed.where = signal.Signals(-code).name if code < 0 else f"exit {code}"
            failed.detail = said
        yield failed


def _serve(
    kind: Kind,
    good: Path,
    seed: int,
    left: list[int],
    write: int,
    noise: int,
    without: frozenset[int],
) -> None:
    os.dup2(noise, 1)
    os.dup2(noise, 2)
    faulthandler.enable(2)
    size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    limit = size + _ADDRESS_SPACE
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    watch = Watch(kind.may)
    try:
        for case in reversed(left):
            result = one_case(kind, good, seed, case, watch, without)
            os.write(write, json.dumps(asdict(result)).encode() + b"\n")
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(3)


def one_case(
    kind: Kind,
    good: Path,
    seed: int,
    case: int,
    watch: Watch,
    without: frozenset[int] = frozenset(),
) -> Result:
    """Damage, read, judge."""
    home = Path(tempfile.mkdtemp(prefix=f"{kind.name}-"))
    try:
        done = damage(kind, good, seed, case, home, without)
        return judge(kind, home, watch, Result(case, done=done))
    finally:
        shutil.rmtree(home, ignore_errors=True)


def damage(
    kind: Kind, good: Path, seed: int, case: int, home: Path, without: frozenset[int] = frozenset()
) -> list[str]:
    """The damaged artefact of a case, always the same one; without some of its operations."""
    key = [seed, sum(kind.name.encode()), case]
    rng = np.random.default_rng(key)
    lay_bait(home)
    done = [kind.place(rng, good, home)]
    for number in range(int(rng.choice(kind.counts))):
        operation = kind.operations[int(rng.integers(len(kind.operations)))]
        if number not in without:
            done.append(operation(np.random.default_rng([*key, number]), home))
    kind.seal(rng, home)
    return done


def judge(kind: Kind, home: Path, watch: Watch, result: Result) -> Result:
    """Read the artefact in `home` and say how that went."""
    began = time.process_time()
    os.environ["OFP_EDGE_CACHE"] = str(home / CACHE)
    watch.begin(home)
    try:
        result.outcome = kind.read(home) or ""
    except OfpError as cause:
        line = " ".join(str(cause).split())
        result.refused = type(cause).__name__
        if not line or len(line) > 2000 or not line.isprintable():
            result.failure, result.where = "line", type(cause).__name__
            result.detail = f"{len(line)} characters: {line[:300]!r}"
    except BaseException as cause:
        result.failure, result.where = "trace", _where(cause)
        result.detail = "".join(traceback.format_exception(cause))[-1500:]
    finally:
        odd, result.peak_mb = watch.end()
    result.seconds = time.process_time() - began
    if odd and not result.failure:
        result.failure, result.where, result.detail = (
            "opened",
            odd[0].split()[0],
            "; ".join(odd[:3]),
        )
    elif result.peak_mb > MOST_MB and not result.failure:
        result.failure, result.detail = "memory", f"{result.peak_mb:.0f} MiB at its peak"
    return result


def _where(cause: BaseException) -> str:
    """The exception, and the innermost line of this project that it went through."""
    own = "?"
    for frame in traceback.extract_tb(cause.__traceback__):
        path = os.path.realpath(frame.filename)
        if "site-packages" not in path and "/tests/" not in path and "/lib/python" not in path:
            own = f"{Path(path).name}:{frame.name}"
    if isinstance(cause, AssertionError):
        own = f"{own} {str(cause)[:40]}"
    return f"{type(cause).__name__} {own}"


if sys.platform != "linux":
    raise ImportError("inotify, /proc and RLIMIT_AS are Linux's")
