"""The groups of an action's columns that become a field each: one kind, one part, side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from ofp_edge.data.guess.evidence import Seen
from ofp_edge.data.guess.sections import Section, behaves
from ofp_edge.data.guess.verdict import ASKED, Verdict, judge
from ofp_edge.data.guess.words import is_rot6d, kind_of, side_of
from ofp_edge.data.layouts.controllers import is_arm

_ROT6D = 6


@dataclass(frozen=True)
class Group:
    """Columns [first, stop), which become one field. role: "", "gripper", "mode" or "rot6d"; part:
    of the robot, "" where nothing says; discrete: its values are a switch's."""

    first: int
    stop: int
    verdict: Verdict
    role: str = ""
    part: str = ""
    discrete: bool = False


def grouped(key: str, found: Sequence[Section], seen: Seen, names: Sequence[str]) -> list[Group]:
    """Judge the columns of each section, and join what is of one kind again."""
    made: list[Group] = []
    for section in found:
        part = section.control.part
        if section.switch:
            made.append(_switch(section, seen))
            continue
        for first, stop, six in _rotations(section, seen, names, key):
            for start, end, named in _named(first, stop, key, names):
                verdict = judge(start, end, section.control, named, seen)
                if six and section.control.kind in ("delta", "velocity"):
                    verdict = _rotated(verdict, "is a rotation of six numbers, which is absolute")
                elif six and not _orthonormal(seen, start):
                    verdict = _rotated(verdict, "is named rot6d, and its values are no rotation")
                made.append(Group(start, end, verdict, "rot6d" if six else "", part))
    return [_sided(x, names) for x in _joined(made)]


def _switch(section: Section, seen: Seen) -> Group:
    """A gripper or a mode holds its last value whatever moves the arm."""
    few = behaves(seen, section.first) or not section.why.startswith("named")
    why = f"{section.why}: a {section.switch}, which keeps its value"
    return Group(section.first, section.stop, Verdict("absolute", why), section.switch or "",
                 section.control.part, few)  # fmt: skip


def _orthonormal(seen: Seen, first: int) -> bool:
    return not seen.enough or seen.rot6d(first)


def _rotations(
    section: Section, seen: Seen, names: Sequence[str], key: str
) -> list[tuple[int, int, bool]]:
    """The section's columns cut where six of them are a rotation by their values, or by name."""
    cuts, start, c = [], section.first, section.first
    while c < section.stop:
        six = range(c, c + _ROT6D)
        fits = six.stop <= section.stop
        said = fits and (all(is_rot6d(names[x]) for x in six) if names else
                         is_rot6d(key) and len(section.columns) == _ROT6D)  # fmt: skip
        if fits and (said or seen.enough and seen.rot6d(c)):
            if c > start:
                cuts.append((start, c, False))
            cuts.append((c, six.stop, True))
            start = c = six.stop
        else:
            c += 1
    return [*cuts, (start, section.stop, False)] if start < section.stop else cuts


def _named(
    first: int, stop: int, key: str, names: Sequence[str]
) -> list[tuple[int, int, str | None]]:
    """Runs of columns of which names say one kind; the key's name speaks where theirs do not."""
    if not names:
        return [(first, stop, kind_of(key))]
    runs: list[tuple[int, int, str | None]] = []
    for c in range(first, stop):
        kind = kind_of(names[c]) or kind_of(key)
        if runs and runs[-1][2] == kind:
            runs[-1] = (runs[-1][0], c + 1, kind)
        else:
            runs.append((c, c + 1, kind))
    return runs


def _rotated(verdict: Verdict, why: str) -> Verdict:
    text = f"{verdict.why}; it {why}"
    return Verdict(ASKED, text, text)


def _joined(groups: Sequence[Group]) -> list[Group]:
    """Neighbours that are absolute and of one part become one field, a gripper that takes many
    values among them: it moves as a joint does."""
    made: list[Group] = []
    for group in groups:
        before = made[-1] if made else None
        if before is not None and _one(before, group):
            main = before if not before.role else group
            made[-1] = replace(main, first=before.first, stop=group.stop)
        else:
            made.append(group)
    return made


def _one(a: Group, b: Group) -> bool:
    plain = all(not x.discrete and x.role in ("", "gripper", "mode") for x in (a, b))
    return plain and a.verdict.kind == b.verdict.kind == "absolute" and a.part == b.part


def _sided(group: Group, names: Sequence[str]) -> Group:
    """With the side for its part that all its columns' names say."""
    if group.part or not names:
        return group
    sides = {side_of(names[c]) for c in range(group.first, group.stop)}
    side = sides.pop() if len(sides) == 1 else None
    return replace(group, part=side or "")


def titles(groups: Sequence[Group], whole: str) -> list[str]:
    """Name each field: `whole` where it is the only one, else after what it does and of which part;
    numbers where that would name two alike."""
    if len(groups) == 1:
        return [whole]
    kinds = {"absolute": "action", "delta": "move", "velocity": "velocity", ASKED: "action"}
    stems = []
    arms = {x.part for x in groups if is_arm(x.part)}
    for x in groups:
        stem = {"rot6d": "rotation"}.get(x.role, x.role) or kinds[x.verdict.kind]
        if x.part and not is_arm(x.part):
            stem = x.part if not x.role else f"{x.role}_{x.part}" if x.role != "mode" else x.role
        elif x.part and len(arms) > 1:
            stem = f"{stem}_{x.part}"
        stems.append(stem)
    return [f"{s}_{stems[:i].count(s)}" if stems.count(s) > 1 else s for i, s in enumerate(stems)]
