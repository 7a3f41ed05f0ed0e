"""The fields of numbers that a page draws, what their dimensions are called, and the episodes."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape

from ofp_edge.data.guess.words import is_action, label
from ofp_edge.data.judge import Judged
from ofp_edge.data.mapping import Entry
from ofp_edge.data.source import Source
from ofp_edge.unit_text import scaled, stated

_LONGEST = 2000


@dataclass(frozen=True)
class Drawn:
    """A field whose numbers are drawn. columns: [first, stop) of its key."""

    name: str
    key: str
    columns: tuple[int, int]
    unit: str
    kind: str
    action: bool

    def dimension(self, source: Source, column: int) -> str:
        """What a column is called, with its unit."""
        named = source.names.get(self.key, ())
        width = self.columns[1] - self.columns[0]
        name = f"{self.name}[{column - self.columns[0]}]" if width > 1 else self.name
        if column < len(named):
            name = f"{self.name}: {named[column]}"
        return f"{name}, {unit}" if (unit := stated(self.unit)) else name


def drawn_fields(found: Judged) -> list[Drawn]:
    """Return the actions, then the states, as a mapping names them, or without one by their keys'
    names."""
    source, mapping = found.source, found.mapping
    made = []
    if mapping is not None:
        pairs = [*((x, True) for x in mapping.actions), *((x, False) for x in mapping.observations)]
        for entry, action in pairs:
            if (width := _width(source, entry.key)) is not None:
                made.append(_of(entry, width, action))
        return made
    for key in source.keys:
        action = is_action(key)
        if (width := _width(source, key)) is not None and (action or label(key, width) is None):
            made.append(Drawn(key, key, (0, width), "", "absolute" if action else "", action))
    return sorted(made, key=lambda x: not x.action)


def _of(entry: Entry, width: int, action: bool) -> Drawn:
    first, stop = entry.columns or (0, width)
    values = entry.values
    unit, scale = str(values.get("unit", "")), float(values.get("scale", 1))
    return Drawn(
        entry.name,
        entry.key,
        (min(first, width), min(stop, width)),
        unit if scale == 1 else scaled(unit, scale),
        str(values.get("kind", "")),
        action,
    )


def _width(source: Source, key: str) -> int | None:
    """How many numbers a frame of a key has; None where it is no list of numbers, or none."""
    about = source.keys.get(key)
    if about is None or len(about.shape) > 1:
        return None
    number = about.dtype.startswith(("float", "int", "uint", "bool"))
    return (about.shape[0] if about.shape else 1) if number else None


def shown_episodes(found: Judged) -> list[int]:
    """Return the first, the middle and the last of the episodes that can be read."""
    sound = [x for x in found.episodes if x not in found.survey.unread and found.source.lengths[x]]
    places = dict.fromkeys((0, (len(sound) - 1) // 2, len(sound) - 1)) if sound else ()
    return [sound[x] for x in places]


def rate_of(found: Judged) -> float | None:
    """Return the rate that frames are counted by, as it is stated or by the mapping or guess."""
    if rates := found.source.rates_hz:
        return rates[0]
    return found.mapping.control_hz if found.mapping else None


def text(value: object) -> str:
    """Somebody else's text as HTML, in one line and cut where it is very long."""
    said = " ".join(str(value).split())
    return escape(said if len(said) <= _LONGEST else f"{said[:_LONGEST]}…")
