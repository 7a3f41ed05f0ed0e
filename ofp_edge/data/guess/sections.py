"""The columns of an action as the layout divides them, and the switches among them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ofp_edge.data.guess.evidence import Seen
from ofp_edge.data.guess.words import kind_of, switch_of
from ofp_edge.data.layouts.controllers import is_arm
from ofp_edge.data.source import Control

_FEW = 3  # values that a switch takes
_BASE = 3  # columns of a mobile base: two directions and a turn
_SHARE = 0.25  # of the other columns' range: less is a joint that hardly moves
_SIGNS = ({-1.0, 1.0}, {0.0, 1.0}, {-1.0, 0.0, 1.0}, {0.0, 1.0, 2.0})


@dataclass(frozen=True)
class Section:
    """Columns [first, stop) of an action, of one part. switch: "gripper" or "mode"."""

    first: int
    stop: int
    control: Control
    switch: str | None = None
    why: str = ""

    @property
    def columns(self) -> range:
        """Its columns."""
        return range(self.first, self.stop)


def sections(
    width: int, controls: Sequence[Control], seen: Seen, names: Sequence[str], sevens: bool
) -> list[Section]:
    """Divide `width` columns. controls: what the layout states of the parts, at least one; sevens:
    whether an arm has six columns and a gripper, where the seventh behaves as one."""
    found = _by_parts(width, controls, seen, names)
    if found is None and sevens and len(controls) == 1 and width % 7 == 0:
        found = _by_sevens(width, controls[0], seen, names)
    if found is None:
        kinds = {x.kind for x in controls}
        one = controls[0] if len(kinds) == 1 else Control("", None, None, None, _all(controls))
        found = [Section(0, width, Control("", one.kind, None, one.limit, one.said, one.stated))]
    made = []
    for part in found:
        made += [part] if part.switch else _divided(part, width, seen, names)
    return made


def behaves(seen: Seen, column: int) -> bool:
    """Say whether a column takes no more values than a switch does, or is constant."""
    return 0 < len(seen.distinct(column)) <= _FEW


def _all(controls: Sequence[Control]) -> str:
    return ", ".join(f"{x.part or 'the arm'}: {x.said or x.kind}" for x in controls)


def _by_parts(
    width: int, controls: Sequence[Control], seen: Seen, names: Sequence[str]
) -> list[Section] | None:
    """By what each part takes, in their order, arms with their grippers; None where that is not
    said, or does not fit."""
    arms = [x for x in controls if is_arm(x.part)]
    rest = len(controls) - len(arms)
    if not arms or (any(x.columns is None for x in arms) and (len(arms) > 1 or rest)):
        return None
    if arms[0].columns is None:
        return None  # joints, however many: a gripper among them shows itself
    needed = sum(x.columns or 0 for x in arms)
    exact, bare = not rest and width == needed + len(arms), not rest and width == needed
    made, at = [], 0
    for part in controls:
        if not is_arm(part.part):
            last = part is controls[-1]
            stop = width if last else min(width, at + (_BASE if part.part == "base" else 1))
            made += [Section(at, stop, part)] if stop > at else []
            at = stop
            continue
        made.append(Section(at, at + (part.columns or 0), part))
        at += part.columns or 0
        if not bare and at < width and (exact or _is_gripper(seen, names, at)):
            why = f"the column after the arm's {part.columns}"
            made.append(Section(at, at + 1, part, "gripper", why))
            at += 1
    return made if at == width else None


def _by_sevens(
    width: int, control: Control, seen: Seen, names: Sequence[str]
) -> list[Section] | None:
    grippers = range(6, width, 7)
    if not all(_is_gripper(seen, names, c) for c in grippers):
        return None
    made = []
    for number, c in enumerate(grippers):
        part = Control(str(number) if width > 7 else "", *_rest(control))
        made.append(Section(c - 6, c, part))
        made.append(Section(c, c + 1, part, "gripper", "after six columns of a pose"))
    return made


def _rest(control: Control) -> tuple[str | None, int | None, float | None, str, bool]:
    return control.kind, 6, control.limit, control.said, control.stated


def _is_gripper(seen: Seen, names: Sequence[str], column: int) -> bool:
    if names:
        return switch_of(names[column]) == "gripper"
    return behaves(seen, column)


def _divided(part: Section, width: int, seen: Seen, names: Sequence[str]) -> list[Section]:
    """A section without its switches, and these."""
    made, start = [], part.first
    few = _switches(part, width, seen, names)
    for c in part.columns:
        if c in few:
            if c > start:
                made.append(Section(start, c, part.control))
            made.append(Section(c, c + 1, part.control, *few[c]))
            start = c + 1
    return [*made, Section(start, part.stop, part.control)] if start < part.stop else made


def _switches(
    part: Section, width: int, seen: Seen, names: Sequence[str]
) -> dict[int, tuple[str, str]]:
    """Column -> gripper or mode, and why. Columns that merely move little are none, and neither
    are most of the columns: those are steps of a keyboard."""
    found: dict[int, tuple[str, str]] = {}
    for c in part.columns if names else ():
        said = switch_of(names[c])
        if said and kind_of(names[c]) not in ("delta", "velocity"):
            found[c] = said, f"named {names[c]}"
    if not seen.enough:
        return found
    relative = part.control.kind in ("delta", "velocity")
    sizes = seen.spread()
    two = {c: x for c in range(width) if len(x := seen.distinct(c)) == 2}
    if len(two) < width and {*seen.distinct(width - 1)} in _SIGNS:
        two[width - 1] = seen.distinct(width - 1)  # of three values only the last column is one
    if width > 1 and len(two) * 2 > width:
        return found
    many = [c for c in range(width) if len(seen.distinct(c)) > _FEW]
    others = [sizes[c] for c in many if sizes[c] > 0]
    usual = float(np.median(others)) if others else 0.0
    mute = [x for x in part.columns if not names or kind_of(names[x]) is None]
    for c in (x for x in mute if x in two and x not in found):
        low, high = two[c][0], two[c][-1]
        last = c + 1 == width
        clear = last or {*two[c]} in _SIGNS or high - low >= _SHARE * usual
        if clear and (not relative or 0.0 not in two[c] or 2 * len(many) >= width):
            role = "mode" if part.control.part and not is_arm(part.control.part) else "gripper"
            role = role if last or width > 1 and is_arm(part.control.part) else "mode"
            found[c] = role, f"only {' and '.join(f'{x:g}' for x in two[c])} occur"
    return found
