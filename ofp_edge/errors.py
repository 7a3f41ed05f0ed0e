"""Every error a user can cause, in one tree; the command line prints each as one line.

OfpError
├── OutputExists      an output path is taken and --force was not given
├── MissingExtra      an optional dependency is not installed
├── UnknownName       a task, target, board, recipe, method … that does not exist
├── SpecMismatch      two things that must fit do not: expected and got
├── DatasetError      a dataset that cannot be trained on
├── PolicyError       a policy folder that cannot be read
├── BundleError       a bundle that is damaged, edited or of another schema
├── RigError          a rig file that is wrong in itself
├── SuiteError        a benchmark suite file that is wrong in itself
├── ParityError       an engine whose answers differ from the golden outputs
├── EngineError       an engine that failed while it computed
│   └── NoAnswer          a policy server that gave no chunk this time: a run goes on
├── CheckFailed       a measured check (gate, budget) that did not pass
├── CameraError       a camera that cannot be opened or stopped delivering
└── RobotError        a robot that refused or stopped answering
    └── StopUnconfirmed   nobody can say that the robot stands still (exit code 3)

Anything else that escapes is a bug of ours and keeps its trace.
"""

from __future__ import annotations

import difflib
import sys
from collections.abc import Iterable
from typing import Any

from ofp_edge.origin import install_line

NOT_FOR_310 = ("numcodecs", "zarr")  # no extra brings them to Python 3.10


_LONGEST_LINE = 1900


class OfpError(Exception):
    """A user's mistake or a failed check, in one line: what, expected against got, what to do.

    The message is reduced to one line here, whatever outside names and values it holds: control
    characters are shown as symbols, and excess length is cut off.
    """

    exit_code = 1

    def __init__(self, line: object = "") -> None:
        # A line's end and what indents the next one are one space; other spaces may be a name's.
        text = " ".join(x.strip() for x in str(line).splitlines())
        if not text.isprintable():
            text = "".join(x if x.isprintable() else " " if x.isspace() else "\ufffd" for x in text)
        super().__init__(text if len(text) <= _LONGEST_LINE else f"{text[:_LONGEST_LINE]}…")

    def __reduce__(self) -> tuple[Any, ...]:
        # By its line, whatever its class is made from: a worker's error has to reach who asked.
        return _again, (type(self), self.args, vars(self))


def _again(kind: type[OfpError], args: tuple[Any, ...], values: dict[str, Any]) -> OfpError:
    error = kind.__new__(kind, *args)
    vars(error).update(values)
    return error


class OutputExists(OfpError):
    """The output path exists and may not be replaced."""

    def __init__(self, path: object) -> None:
        super().__init__(f"{path} exists. Give --force to replace it, or another name.")


class MissingExtra(OfpError):
    """An optional dependency is missing; names the pip line that installs it, if there is one."""

    def __init__(self, module: str, extra: str) -> None:
        todo = f"Run: {install_line(extra)}"
        if module in NOT_FOR_310 and sys.version_info < (3, 11):
            todo = "It needs Python 3.11 or newer: make the environment with one."
        super().__init__(f"{module} is not installed. {todo}")


class UnknownName(OfpError):
    """A name does not exist; lists those that do, the nearest first."""

    def __init__(self, what: str, got: str, known: Iterable[str]) -> None:
        names = sorted(known)
        folded = {name.casefold(): name for name in reversed(names)}
        near = difflib.get_close_matches(got.casefold(), folded, n=1)
        hint = f" Did you mean {folded[near[0]]!r}?" if near else ""
        super().__init__(f"unknown {what} {got!r}.{hint} Known: {', '.join(names)}")


class SpecMismatch(OfpError):
    """Two sides of a boundary disagree about a field."""

    def __init__(self, what: str, expected: object, got: object, todo: str = "") -> None:
        self.what, self.expected, self.got, self.todo = what, expected, got, todo
        super().__init__(f"{what}: expected {expected}, got {got}.{' ' + todo if todo else ''}")


class DatasetError(OfpError):
    """A dataset is empty, malformed or holds NaN; names episode and field."""


class PolicyError(OfpError):
    """A policy folder is missing, damaged or of another method."""


class BundleError(OfpError):
    """A bundle is damaged, edited, padded, incomplete or of another schema version."""


class RigError(OfpError):
    """A rig file has a missing or wrong entry; names the field."""


class SuiteError(OfpError):
    """A suite file has a missing, unknown or wrong entry; names the field."""


class ParityError(OfpError):
    """An engine's output differs from the golden output by more than the tolerance."""


class EngineError(OfpError, RuntimeError):
    """An engine failed while it computed: the graph, the machine or its memory."""


class NoAnswer(EngineError):
    """A policy server gave no chunk, or none in time; the next question may have an answer."""


class CheckFailed(OfpError):
    """A requested check (gate, budget, verdict) did not pass."""


class CameraError(OfpError):
    """A camera cannot be opened, or has stopped delivering frames."""


class RobotError(OfpError):
    """A robot cannot be opened, or has stopped answering."""


class StopUnconfirmed(RobotError):
    """The robot was to stop; neither its driver nor its supervisor could confirm that it has."""

    exit_code = 3
