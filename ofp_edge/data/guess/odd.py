"""What speaks against the kinds of action that somebody wrote: remarked, not refused."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ofp_edge.data.guess.actions import beside
from ofp_edge.data.guess.evidence import see
from ofp_edge.data.guess.verdict import no_motion
from ofp_edge.data.mapping import Entry, Mapping
from ofp_edge.data.source import Source


def odd_actions(source: Source, mapping: Mapping, episodes: Sequence[int]) -> list[str]:
    """Return a line for each action that is written as a delta or a velocity, and whose values are
    places or switches; none for a guess, which was judged. episodes: those that are read."""
    written = () if mapping.guessed else mapping.actions
    relative = [x for x in written if x.values.get("kind") in ("delta", "velocity")]
    states = beside(source, [x.key for x in mapping.observations if x.key in source.keys])
    with np.errstate(all="ignore"):
        found = [_odd(source, x, states, episodes) for x in relative]
    return [line for line in found if line is not None]


def _odd(
    source: Source, entry: Entry, states: Sequence[str], episodes: Sequence[int]
) -> str | None:
    kind, hold = entry.values["kind"], entry.values.get("hold", 0.0)
    seen = see(source, entry.key, states, episodes)
    if not seen.enough:
        return None
    columns = range(*(entry.columns or (0, seen.frames.shape[1])))
    limit = max((x.limit or 1.0 for x in source.controls if x.kind == kind), default=None)
    if why := no_motion(columns, seen, limit, far=kind == "delta"):
        return f"action {entry.name}: the mapping says {kind}, but {why}: is it absolute?"
    switches = [c for c in columns if len(x := seen.distinct(c)) == 2 and hold not in x]
    if switches:
        few = ", ".join(f"{x:g}" for x in seen.distinct(switches[0]))
        return (
            f"action {entry.name}: the mapping says {kind} with hold {hold:g}, but column "
            f"{switches[0]} takes only {few}: is it a gripper (absolute, interpolation nearest)?"
        )
    return None
