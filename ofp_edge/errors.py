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

from ofp_edge.origin import install_line

NOT_FOR_310 = ("numcodecs", "zarr")  # no extra brings them to Python 3.10


_LONGEST_LINE = 1900


class OfpError(Exception):
    """A user's mistake or a failed check: what, expected against got, what to do; one line.

    It is made one here, whatever names and values from outside stand in it: what a terminal would
    act on is shown as a sign, and what nobody would read is cut off.
    """

    exit_code = 1

    def __init__(self, line: object = "") -> None:
        text = str(line)
        if not text.isprintable():
            text = "".join(x if x.isprintable() else " " if x.isspace() else "\ufffd" for x in text)
        super().__init__(text if len(text) <= _LONGEST_LINE else f"{text[:_LONGEST_LINE]}…")


class OutputExists(OfpError):
    """The output path exists and was not to be replaced."""

    def __init__(self, path: object) -> None:
        super().__init__(f"{path} exists. Give --force to replace it, or another -o.")


class MissingExtra(OfpError):
    """An optional dependency is missing; names the pip line that brings it, if one can."""

    def __init__(self, module: str, extra: str) -> None:
        todo = f"Run: {install_line(extra)}"
        if module in NOT_FOR_310 and sys.version_info < (3, 11):
            todo = "It needs Python 3.11 or newer: make the environment with one."
        super().__init__(f"{module} is not installed. {todo}")


class UnknownName(OfpError):
    """A name that does not exist; lists what does, the nearest first."""

    def __init__(self, what: str, got: str, known: Iterable[str]) -> None:
        names = sorted(known)
        near = difflib.get_close_matches(got, names, n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        super().__init__(f"unknown {what} {got!r}.{hint} Known: {', '.join(names)}")


class SpecMismatch(OfpError):
    """Two sides of a boundary disagree about a field."""

    def __init__(self, what: str, expected: object, got: object, todo: str = "") -> None:
        self.what, self.expected, self.got = what, expected, got
        super().__init__(f"{what}: expected {expected}, got {got}.{' ' + todo if todo else ''}")


class DatasetError(OfpError):
    """A dataset that is empty, malformed or holds NaN; names episode and field."""


class PolicyError(OfpError):
    """A policy folder that is missing, damaged or of another method."""


class BundleError(OfpError):
    """A bundle that is damaged, edited, padded, incomplete or of another schema version."""


class RigError(OfpError):
    """A rig file with a missing or wrong entry; names the field."""


class SuiteError(OfpError):
    """A suite file with a missing, unknown or wrong entry; names the field."""


class ParityError(OfpError):
    """An engine's output differs from the golden output by more than the tolerance."""


class EngineError(OfpError, RuntimeError):
    """An engine failed while it computed: the graph, the machine or its memory."""


class CheckFailed(OfpError):
    """A check that was asked for (gate, budget, verdict) did not pass."""


class CameraError(OfpError):
    """A camera that cannot be opened, or has stopped delivering frames."""


class RobotError(OfpError):
    """A robot that cannot be opened, or has stopped answering."""


class StopUnconfirmed(RobotError):
    """The robot was to be stopped, and neither its driver nor its supervisor could confirm it."""

    exit_code = 3
