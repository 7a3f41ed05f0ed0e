"""The files and commands by which a machine is known, under a root that tests may choose."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

Command = Callable[[Sequence[str]], str | None]
_TIMEOUT_S = 10.0


def run_command(arguments: Sequence[str]) -> str | None:
    """Return a command's output; None when the command is not there, fails, or gives no answer in
    ten seconds."""
    try:
        done = subprocess.run(
            arguments,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_TIMEOUT_S,
            stdin=subprocess.DEVNULL,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None


@dataclass(frozen=True)
class Machine:
    """A machine. `root` is where /proc, /sys, /etc, /var and /usr are looked for; `command` runs a
    program."""

    root: Path = Path("/")
    command: Command = run_command

    def text(self, path: str | Path) -> str | None:
        """Return a file's first line without NUL bytes; None when it cannot be read (sysfs may
        refuse)."""
        found = self.whole(path)
        return None if found is None else found.replace("\0", "").strip().partition("\n")[0]

    def whole(self, path: str | Path) -> str | None:
        """Return a whole file; None when it cannot be read."""
        try:
            return (self.root / path).read_text(encoding="utf-8", errors="replace")
        except OSError:
            return None

    def number(self, path: str | Path) -> int | None:
        """Return a file's whole number; None when there is none."""
        try:
            return int(self.text(path) or "")
        except ValueError:
            return None

    def memory_kib(self) -> dict[str, int]:
        """Return /proc/meminfo by name ("MemAvailable"); empty when it cannot be read."""
        lines = (line.partition(":") for line in (self.whole("proc/meminfo") or "").splitlines())
        return {key: int(rest.split()[0]) for key, _, rest in lines if rest.split()}

    def glob(self, pattern: str) -> list[Path]:
        """Return existing paths below the root, sorted."""
        return sorted(self.root.glob(pattern))


def this_machine() -> Machine:
    """Return the machine that runs this process. Call it through the module: tests may replace
    it."""
    return Machine()
