"""Whether columns of an action are absolute, a delta or a velocity: statement, names and values are
held against each other, and where they disagree it is asked for."""

from __future__ import annotations

from dataclasses import dataclass

from ofp_edge.data.guess.evidence import Seen
from ofp_edge.data.source import Control

ASKED = "?"
"""The kind that a mapping gets where evidence disagrees: no reader takes it."""


@dataclass(frozen=True)
class Verdict:
    """A kind with the reason. asked: why it is not decided, None where it is; likely: the kind that
    most speaks for then."""

    kind: str
    why: str
    asked: str | None = None
    likely: str = "absolute"


def judge(first: int, stop: int, control: Control, named: str | None, seen: Seen) -> Verdict:
    """Decide on columns [first, stop). control: the layout's statement; named: what names say."""
    columns = range(first, stop)
    if control.kind == "torque":
        return _ask(f"{control.said}: a torque is none of absolute, delta and velocity")
    if not control.stated or control.kind is None:
        return _unstated(columns, control, named, seen)
    stated = f"the file says {control.kind}" + (f" ({control.said})" if control.said else "")
    if named is not None and _apart(control.kind, named):
        return _ask(f"{stated}, its names say {named}")
    if control.kind == "absolute":
        steps = None if seen.tracks(first, stop) else seen.steps(first, stop)
        if steps:
            return _ask(f"{stated}, but its values are the steps of {steps[0]}", steps[1])
        return Verdict("absolute", stated)
    limit = 1.0 if control.limit is None else control.limit
    if why := no_motion(columns, seen, limit, far=control.kind == "delta"):
        return _ask(f"{stated}, but {why}")
    return Verdict(control.kind, f"{stated}, values within ±{limit:g}" if seen.enough else stated)


def _unstated(columns: range, control: Control, named: str | None, seen: Seen) -> Verdict:
    first, stop = columns.start, columns.stop
    follows = seen.tracks(first, stop)
    steps = None if follows else seen.steps(first, stop)
    if named in ("delta", "velocity"):
        if why := no_motion(columns, seen, None, far=named == "delta"):
            return _ask(f"its name says {named}, but {why}")
        return Verdict(named, f"its name says {named}")
    if named is not None:
        if steps:
            why = f"its name says {named}, but its values are the steps of {steps[0]}"
            return _ask(why, steps[1])
        return Verdict("absolute", f"its name says {named}")
    if follows:
        return Verdict("absolute", f"its values follow {follows}")
    if steps:
        return Verdict(steps[1], f"its values are the steps of {steps[0]}")
    if control.kind in ("delta", "velocity"):
        limit = 1.0 if control.limit is None else control.limit
        if why := no_motion(columns, seen, limit, far=True):
            return Verdict("absolute", f"{why}, though {control.said}, is {control.kind}")
        return Verdict(control.kind, f"{control.said}; values within ±{limit:g}")
    if control.said:  # parts of several kinds, and nothing says whose columns these are
        return _ask(f"the file says {control.said}, and not which columns are whose")
    return Verdict("absolute", "the layout does not say, and nothing speaks against it")


def no_motion(columns: range, seen: Seen, limit: float | None, *, far: bool) -> str | None:
    """Say what in the values of columns speaks against a motion, and for places; None if nothing.

    limit: that their controller takes, None where none is stated. far: whether a motion that never
    stops counts as none.
    """
    if limit is not None and (out := seen.outside(columns, limit)):
        return f"values leave ±{limit:g} ({_named(out, len(columns))})"
    if (state := seen.tracks(columns.start, columns.stop, smooth=True)) is not None:
        return f"its values are those of {state}"
    if far and (away := seen.far(columns)):
        return f"values never come near 0 ({_named(away, len(columns))})"
    return None


def _apart(stated: str, named: str) -> bool:
    if named == "position":
        return False  # what is moved, not how
    return (stated == "absolute") != (named == "absolute")


def _named(columns: list[int], of: int) -> str:
    if len(columns) == of > 1:
        return f"all {of} columns"
    numbers = ", ".join(map(str, columns[:4])) + (" …" if len(columns) > 4 else "")
    return f"column{'s' if len(columns) > 1 else ''} {numbers}"


def _ask(why: str, likely: str = "absolute") -> Verdict:
    return Verdict(ASKED, why, why, likely)
