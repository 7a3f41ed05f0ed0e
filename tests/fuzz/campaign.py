"""Many cases of one kind on several processes, and what is kept of those that failed.

A failure is kept once a bucket (what it was, and where): a JSON file that says all of it, and the
damaged artefact itself, packed, where that is small.
"""

from __future__ import annotations

import json
import os
import tarfile
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tests.fuzz.engine import HANG_S, Kind, Result, damage, fork, prepare, run_cases

_LARGEST_BYTES = 8 << 20


@dataclass
class Tally:
    """What came of the cases of a kind."""

    cases: int = 0
    fine: int = 0
    refused: int = 0
    failures: Counter[str] = field(default_factory=Counter)
    files: dict[str, str] = field(default_factory=dict)
    outcomes: dict[str, Counter[str]] = field(default_factory=dict)
    peak_mb: float = 0.0
    slowest_s: float = 0.0

    def add(self, result: Result) -> None:
        """One case."""
        self.cases += 1
        self.peak_mb = max(self.peak_mb, round(result.peak_mb, 1))
        self.slowest_s = max(self.slowest_s, round(result.seconds, 3))
        if len(result.done) > 1 and (result.outcome or result.refused or result.failure):
            outcome = "trace" if result.failure else result.outcome or "refused"
            change = result.done[1].partition(":")[0]
            self.outcomes.setdefault(change, Counter())[outcome] += 1
        if result.failure:
            self.failures[result.bucket] += 1
        elif result.refused:
            self.refused += 1
        else:
            self.fine += 1


class Campaign:
    """One kind. failures: the folder for reproducers."""

    def __init__(
        self,
        make: Callable[[], Kind],
        folder: Path,
        seed: int,
        failures: Path,
        hang_s: float = HANG_S,
    ) -> None:
        self._make, self._folder, self._seed = make, folder, seed
        self._failures, self._hang_s = failures, hang_s

    def run(
        self, first: int, cases: int | None, seconds: float | None, workers: int
    ) -> dict[str, Any]:
        """Cases `first` .. `first + cases - 1`, or as many as `seconds` allow; the tally."""
        read, write = os.pipe()
        server = fork()
        if server == 0:
            os.close(read)
            _guarded(lambda: self._serve(first, cases, seconds, workers, write))
        os.close(write)
        tally = Tally()
        with os.fdopen(read, "rb") as lines:
            for line in lines:
                result = Result(**json.loads(line))
                if result.failure and result.bucket not in tally.files:
                    tally.files[result.bucket] = result.file
                    print(f"FAILED {result.bucket}, case {result.case}, {result.file}")
                    print(f"  {result.done}")
                    print("  " + result.detail[-600:].replace("\n", "\n  "), flush=True)
                tally.add(result)
        if os.waitstatus_to_exitcode(os.waitpid(server, 0)[1]) != 0:
            raise RuntimeError("a process of the fuzzer itself failed; its words are above")
        return {
            **vars(tally),
            "failures": dict(tally.failures),
            "outcomes": {change: dict(counts) for change, counts in tally.outcomes.items()},
        }

    def _serve(
        self, first: int, cases: int | None, seconds: float | None, workers: int, write: int
    ) -> None:
        kind = self._make()
        good = prepare(kind, self._folder)
        until = None if seconds is None else time.monotonic() + seconds
        last = first + (cases if cases is not None else 10**9)
        started = []
        for number in range(workers):
            child = fork()
            if child == 0:
                share = range(first + number, last, workers)
                _guarded(lambda: self._run_share(kind, good, share, until, write))  # noqa: B023
            started.append(child)
        if any(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in started):
            raise RuntimeError("a worker failed")

    def _run_share(
        self, kind: Kind, good: Path, share: range, until: float | None, write: int
    ) -> None:
        seen: set[str] = set()
        for result in run_cases(kind, good, self._seed, share, until=until, hang_s=self._hang_s):
            if result.failure and result.bucket not in seen:
                seen.add(result.bucket)
                without = self._smaller(kind, good, result)
                result.file = str(self._keep(kind, good, result, without))
            result.detail = result.detail[-1200:]
            result.done = [repr(text[:150])[1:-1] for text in result.done]
            os.write(write, json.dumps(asdict(result)).encode() + b"\n")

    def _smaller(self, kind: Kind, good: Path, result: Result) -> frozenset[int]:
        """Operations that this failure does not need."""
        without: frozenset[int] = frozenset()
        if result.failure == "hang":
            return without  # each try would take as long again
        for number in range(3):
            fewer = without | {number}
            (again,) = run_cases(
                kind,
                good,
                self._seed,
                range(result.case, result.case + 1),
                hang_s=self._hang_s,
                without=fewer,
            )
            if again.bucket == result.bucket and len(again.done) < len(result.done):
                without, result.done = fewer, again.done
        return without

    def _keep(self, kind: Kind, good: Path, result: Result, without: frozenset[int]) -> Path:
        """Write the reproducer, in a child: Arrow's threads must not be forked later. Its path."""
        self._failures.mkdir(parents=True, exist_ok=True)
        path = self._failures / f"{kind.name}-{self._seed}-{result.case}.json"
        child = fork()
        if child == 0:
            _guarded(lambda: self._write(path, kind, good, result, without))
        if os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) != 0:
            raise RuntimeError("a reproducer can't be written")
        result.done = json.loads(path.read_text())["done"]
        return path

    def _write(
        self, path: Path, kind: Kind, good: Path, result: Result, without: frozenset[int]
    ) -> None:
        with tempfile.TemporaryDirectory() as folder:
            home = Path(folder) / "home"
            home.mkdir()
            result.done = damage(kind, good, self._seed, result.case, home, without)
            size = sum(p.lstat().st_size for p in home.rglob("*"))
            if size < _LARGEST_BYTES:
                with tarfile.open(path.with_suffix(".tar.gz"), "w:gz") as tar:
                    tar.add(home, "home")
        about = {
            "kind": kind.name,
            "seed": self._seed,
            "without": sorted(without),
            **asdict(result),
        }
        path.write_text(json.dumps(about, indent=1) + "\n")


def reproduce(path: Path) -> int:
    """Try a kept failure again, in a process of its own; says how it went. 1: it still fails."""
    from tests.fuzz.kinds import KINDS

    about = json.loads(path.read_text())
    with tempfile.TemporaryDirectory() as folder:
        kind = KINDS[about["kind"]]()
        good = prepare(kind, Path(folder))
        tar = path.with_suffix(".tar.gz")
        if tar.exists():
            kind = _Kept(kind, tar)  # type: ignore[assignment]
        case, without = about["case"], frozenset(about["without"])
        (result,) = run_cases(kind, good, about["seed"], range(case, case + 1), without=without)
        print(result.detail or result.refused or "fine")
        print(json.dumps({**asdict(result), "detail": ""}))
        return 1 if result.failure else 0


class _Kept:
    """A kind whose only artefact was kept, damage and all."""

    def __init__(self, kind: Kind, tar: Path) -> None:
        self.name, self.read, self._tar = kind.name, kind.read, tar
        self.counts = (1,)
        self.operations, self.may = (lambda rng, home: "as it was kept",), kind.may

    def place(self, rng: Any, good: Path, home: Path) -> str:
        with tarfile.open(self._tar) as tar:
            for member in tar:
                member.name = member.name.removeprefix("home").lstrip("/")
                if member.name:
                    tar.extract(member, home, filter="fully_trusted")
        return "kept"

    def seal(self, rng: Any, home: Path) -> None:
        """It was."""


def _guarded(do: Callable[[], None]) -> None:
    """The whole life of a forked process."""
    code = 1
    try:
        do()
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)
