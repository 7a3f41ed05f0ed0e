"""A real run in processes of its own, what its robot wrote down, and who of them is still there."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

PATIENCE_S = 120.0
ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join([os.getcwd(), *sys.path])}
_MARK = "OFP_EDGE_TESTED_RUN"


def until(condition: Callable[[], Any]) -> None:
    """Wait for it, for as long as a busy machine may take."""
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.02)


class Run:
    """One run of tests.runtime.ends.program, or of another command, and all processes of it."""

    def __init__(
        self, folder: Path, *, command: list[str] | None = None, popen: Any = None, **options: Any
    ) -> None:
        self.diary = folder / "diary"
        self.out, self.err = folder / "out", folder / "err"
        program = [sys.executable, "-m", "tests.runtime.ends.program"]
        command = command or [*program, json.dumps({"diary": str(self.diary), **options})]
        environment = {**ENVIRONMENT, _MARK: str(self.diary)}
        with self.out.open("w") as out, self.err.open("w") as err:
            pipes = {"stdout": out, "stderr": err, **(popen or {})}
            self.process = subprocess.Popen(command, env=environment, **pipes)

    def entries(self) -> list[tuple[int, int, str]]:
        """(monotonic ns, pid, what) of the diary."""
        if not self.diary.exists():
            return []
        lines = [line.split(maxsplit=2) for line in self.diary.read_text().splitlines()]
        return [(int(t), int(pid), what) for t, pid, what in lines]

    def words(self) -> list[str]:
        """What happened to the robot."""
        return [what for _, _, what in self.entries()]

    def wait_for(self, word: str, count: int = 1) -> None:
        """Until the robot was told that so many times."""
        until(lambda: self.words().count(word) >= count or self.process.poll() is not None)
        assert self.words().count(word) >= count, self.err.read_text()

    def alive(self) -> dict[int, str]:
        """Command lines of all processes of this run, by pid."""
        found = {}
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                if f"{_MARK}={self.diary}\0" in (folder / "environ").read_text(errors="replace"):
                    line = (folder / "cmdline").read_text()
                    if line:  # not a zombie
                        found[int(folder.name)] = line.replace("\0", " ")
            except OSError:
                continue
        return found

    def pid(self, role: str) -> int:
        """Of the "run", its "supervisor" or the robot's own process, the "host"."""
        if role == "run":
            return self.process.pid
        module = {"supervisor": ".supervisor.process ", "host": ".robots.host "}[role]
        (found,) = [pid for pid, line in self.alive().items() if module in line]
        return found

    def end(self) -> int:
        """Wait for every process of it; the run's return code."""
        code = self.process.wait(PATIENCE_S)
        until(lambda: not self.alive())
        return code

    def clear(self) -> None:
        """Kill what a failed test left."""
        for pid in self.alive():
            os.kill(pid, 9)
        self.process.wait()
