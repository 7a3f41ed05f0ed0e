"""Curves of numbers over time, the action in dashes over the state that it follows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from ofp_edge.data.judge import Judged
from ofp_edge.data.page.names import Drawn, drawn_fields, rate_of, shown_episodes, text
from ofp_edge.errors import DatasetError
from ofp_edge.progress import Progress
from ofp_edge.report.lines import COLOURS, Line, legend, lines

_MOST_PLOTS, _MOST_POINTS, _COMPARED = 96, 160, 400
_NEAR = 0.15  # of an action's range: its median distance from the state that it follows
_LARGEST = 1e30  # that is drawn, so that sums of it are finite; below 1 / _LARGEST it is 0
Values = NDArray[np.float64]


def curves(found: Judged, progress: Progress) -> str:
    """Return a plot for each dimension of actions and states, with a line for each episode."""
    fields, episodes = drawn_fields(found), shown_episodes(found)
    values, broken = _values(found, fields, episodes, progress)
    rate = rate_of(found)
    parts, room = ["<h2>Numbers over time</h2>"], _MOST_PLOTS
    parts += [f"<p class='note'>{text(line)}</p>" for line in broken]
    states = [x for x in fields if not x.action]
    drawn: list[Line] = []
    for field in fields:
        if field.key not in values:
            continue
        columns = list(range(*field.columns))[:room]
        room -= len(columns)
        plots = []
        for column in columns:
            beside = _followed(found, field, column, states, values) if field.action else None
            made = _lines(values, field, column, beside, rate)
            if not made:
                continue
            drawn += [x for x in made if x.name not in {line.name for line in drawn}]
            name = field.dimension(found.source, column)
            what = f"{name}, over {beside[2]}" if beside else name
            plot = lines(made, "s" if rate else "frame", name, f"{what} over time")
            plots.append(f"<div class='plot'><p class='small'>{text(what)}</p>{plot}</div>")
        what = "action" if field.action else "state"
        kind = f", {field.kind}" if field.action and field.kind else ""
        parts.append(f"<h3>{what} {text(field.name)}{text(kind)} · {text(field.key)}</h3>")
        left = field.columns[1] - field.columns[0] - len(columns)
        if left:
            parts.append(f"<p class='caption'>{left} of its dimensions are not drawn.</p>")
        parts.append(f"<div class='pair'>{''.join(plots)}</div>")
    if not drawn:
        parts.append("<p class='caption'>There are no numbers to draw.</p>")
        return "".join(parts)
    parts.append(legend(drawn))
    parts.append(
        "<p class='caption'>The action in dashes, over the state that it follows (by name, or "
        "because it is nearest to it) where there is one. Long episodes are drawn by the smallest "
        "and largest value of each span.</p>"
    )
    return "".join(parts)


def _values(
    found: Judged, fields: Sequence[Drawn], episodes: Sequence[int], progress: Progress
) -> tuple[dict[str, dict[int, Values]], list[str]]:
    """Each key's numbers (n, D) by episode, and why some can't be read."""
    made: dict[str, dict[int, Values]] = {}
    broken = []
    keys = list(dict.fromkeys(field.key for field in fields))
    for number, key in enumerate(keys):
        progress(number, len(keys), f"curves of {key}")
        for episode in episodes:
            try:
                read = found.source.read(key, episode)
            except DatasetError as cause:
                broken.append(str(cause))
                continue
            plain = np.asarray(read, np.float64).reshape(len(read), -1)
            plain = np.where(np.abs(plain) < 1 / _LARGEST, 0.0, plain)
            made.setdefault(key, {})[episode] = np.clip(plain, -_LARGEST, _LARGEST)
    progress(len(keys), len(keys))
    return made, broken


def _followed(
    found: Judged,
    action: Drawn,
    column: int,
    states: Sequence[Drawn],
    values: Mapping[str, Mapping[int, Values]],
) -> tuple[str, int, str] | None:
    """The state's key and column that an absolute action goes to, and what it is called."""
    if action.kind not in ("absolute", "?"):
        return None
    named = found.source.names.get(action.key, ())
    own = named[column] if column < len(named) else None
    best: tuple[float, str, int, str] | None = None
    for state in states:
        theirs = found.source.names.get(state.key, ())
        for c in range(*state.columns):
            if state.key not in values or state.key == action.key:
                continue
            far = _distance(values[action.key], column, values[state.key], c)
            alike = own is not None and c < len(theirs) and theirs[c] == own
            if far < (1.0 if alike else _NEAR):
                rank = far - 10 * alike
                if best is None or rank < best[0]:
                    best = rank, state.key, c, state.dimension(found.source, c)
    return best[1:] if best else None


def _distance(
    acted: Mapping[int, Values], column: int, states: Mapping[int, Values], other: int
) -> float:
    """The median distance of the action from the next state, in ranges of the action."""
    a, s = [], []
    for episode in acted.keys() & states.keys():
        count = min(len(acted[episode]), len(states[episode]), _COMPARED)
        a.append(acted[episode][: count - 1, column])
        s.append(states[episode][1:count, other])
    one, two = np.concatenate(a or [np.empty(0)]), np.concatenate(s or [np.empty(0)])
    good = np.isfinite(one) & np.isfinite(two)
    if good.sum() < 2 or not (span := float(np.ptp(one[good]))) > 0:
        return float("inf")
    return float(np.median(np.abs(one - two)[good])) / span


def _lines(
    values: Mapping[str, Mapping[int, Values]],
    field: Drawn,
    column: int,
    beside: tuple[str, int, str] | None,
    rate: float | None,
) -> list[Line]:
    made = []
    for number, (episode, read) in enumerate(values[field.key].items()):
        colour = COLOURS[number % len(COLOURS)]
        if beside is not None and episode in values[beside[0]]:
            points = _points(values[beside[0]][episode][:, beside[1]], rate)
            if points:
                made.append(Line(f"state, episode {episode}", points, colour, 1.2))
        if column < read.shape[1] and (points := _points(read[:, column], rate)):
            what = "action" if field.action else "state"
            width = 1.8 if field.action else 1.2
            name = f"{what}, episode {episode}"
            made.append(Line(name, points, colour, width, dashed=field.action))
    return made


def _points(values: Values, rate: float | None) -> list[tuple[float, float]]:
    """(time, value) of finite numbers, of long ones the smallest and largest of each span."""
    frames = np.flatnonzero(np.isfinite(values))
    if len(frames) > _MOST_POINTS:
        kept = []
        for part in np.array_split(frames, _MOST_POINTS // 2):
            ends = {int(part[values[part].argmin()]), int(part[values[part].argmax()])}
            kept += sorted(ends)
        frames = np.array(kept)
    return [(frame / (rate or 1.0), float(values[frame])) for frame in frames.tolist()]
