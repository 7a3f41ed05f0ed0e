"""A whole guess: fields, the table of what each key is taken for, and what is asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ofp_edge.data.guess.actions import Actions, actions, inline
from ofp_edge.data.guess.observations import observations, told_alike
from ofp_edge.data.guess.ours import stated
from ofp_edge.data.layouts.replay_buffer import ReplaySource
from ofp_edge.data.mapping import Entry, Mapping
from ofp_edge.data.source import Source
from ofp_edge.data.taken import LEFT, Taken, lines
from ofp_edge.errors import DatasetError
from ofp_edge.fields import Points

RATE_HZ = {"robotwin-raw": 15.0}
"""The default rate that a layout's own tools use; 10 Hz, as Diffusion Policy's, elsewhere."""
_USUAL_HZ = 10.0


@dataclass(frozen=True)
class Guess:
    """What a source is taken for. taken: for every key a row or more, in the source's order;
    mapping: None where there is no action or nothing to see; refused: why it is not used, one line
    with what to write instead, None where it is."""

    taken: tuple[Taken, ...]
    mapping: Mapping | None
    refused: str | None = None


def guess(source: Source) -> Mapping:
    """Map every image, the first cloud, the states, and the action.

    DatasetError when there is no action, or nothing to see, or where the files' statement, names
    and values disagree on what an action means: with the lines of a mapping to write.
    """
    found = look(source)
    if found.refused is not None or found.mapping is None:
        raise DatasetError(found.refused or f"{source.path}: no guess.")
    return found.mapping


def look(source: Source) -> Guess:
    """Guess, and say all of it also where nothing comes of it. DatasetError where a dataset of ours
    does not state what it must."""
    if isinstance(source, ReplaySource) and source.attributes:
        mapping = stated(source)
        return Guess(taken_by(source, mapping, "stated by the dataset"), mapping)
    seen = observations(source)
    try:
        does = actions(source, seen.states, [x.name for x in seen.entries])
    except DatasetError as cause:
        return Guess(_ordered(source, seen.taken), None, str(cause))
    acted = {row.key for row in does.taken}
    seen = told_alike(seen, does.same)
    rows = [*does.taken, *(row for row in seen.taken if row.key not in acted)]
    taken = _ordered(source, rows)
    if not seen.entries:
        line = f"no key looks like an observation: {', '.join(source.keys)}"
        return Guess(taken, None, f"{source.path}: {line}. Write a mapping file.")
    said = []
    try:
        rate = source.rate_hz
    except DatasetError as cause:
        return Guess(taken, None, str(cause))
    if rate is None:
        rate = RATE_HZ.get(source.layout, _USUAL_HZ)
        said.append(f"control_hz = {rate:g}: the layout states none, the robot's speed hangs on it")
    said.append("units of actions and states are unknown: 1, until a mapping states them")
    if any(Points.kind == entry.values.get("kind") for entry in seen.entries):
        said.append("cameras unknown: a robot refuses the policy until [camera.NAME] states them")
    seen_by, does_by = tuple(seen.entries), tuple(does.entries)
    guessed, remarks = (*lines(taken), *said), tuple(said)
    task = None if len(set(source.tasks)) > 1 else source.task
    mapping = Mapping(source.path, seen_by, does_by, rate, task, guessed=guessed, remarks=remarks)
    return Guess(taken, mapping, _asked(source, does))


def taken_by(
    source: Source, mapping: Mapping, why: str = "the mapping says so"
) -> tuple[Taken, ...]:
    """Return the table of a mapping that somebody wrote: what it names, and what it does not."""
    rows = [_row(entry, "action", why) for entry in mapping.actions]
    rows += [_row(entry, str(entry.values.get("kind", "")), why) for entry in mapping.observations]
    named = {row.key for row in rows}
    rows += [Taken(key, None, LEFT, "not named") for key in source.keys if key not in named]
    for key in (x for x in named if x in source.keys and len(source.keys[x].shape) == 1):
        spans = [row.columns for row in rows if row.key == key]
        rows += [Taken(key, x, LEFT, "not named") for x in _gaps(spans, source.keys[key].shape[0])]
    return _ordered(source, rows)


def _gaps(spans: Sequence[tuple[int, int] | None], width: int) -> list[tuple[int, int]]:
    """The columns between those that are taken; none where one takes them all."""
    if None in spans:
        return []
    made, at = [], 0
    for first, stop in sorted(x for x in spans if x is not None):
        if first > at:
            made.append((at, first))
        at = max(at, stop)
    return [*made, (at, width)] if at < width else made


def _row(entry: Entry, what: str, why: str) -> Taken:
    told = f"{what} {entry.name}"
    if what == "action":
        told += f": {entry.values.get('kind')}"
    return Taken(entry.key, entry.columns, told, why, entry.name)


def _ordered(source: Source, rows: list[Taken]) -> tuple[Taken, ...]:
    rows = [*rows, *(Taken(key, None, LEFT, why) for key, why in source.left.items())]
    order = {key: number for number, key in enumerate(source.keys)}
    return tuple(sorted(rows, key=lambda x: (order.get(x.key, len(order)), x.columns or (0, 0))))


def _asked(source: Source, does: Actions) -> str | None:
    """One line with the action's lines, of which the kinds to write are open."""
    if not does.asked:
        return None
    return (
        f"{source.path}: {'; '.join(does.asked)}. Say which it is in a mapping, which `ofp-edge "
        'data info --write-mapping` writes: kind = "absolute", or "delta" or "velocity" with hold '
        f"= 0.0. Likely is: {inline(does.likely)}"
    )
