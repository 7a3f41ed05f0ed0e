"""Convert the state machine's events to log rows and back. A chunk is named by its observation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

from ofp_edge.errors import OfpError
from ofp_edge.runtime.chunk import Chunk
from ofp_edge.runtime.control.events import (
    ChunkReady,
    EpisodeStarted,
    Event,
    NotSent,
    PlannerFree,
    PlanStarted,
    StateRead,
    StopRequested,
    Told,
)
from ofp_edge.runtime.log.telemetry import array_from_json
from ofp_edge.runtime.robot import RobotState
from ofp_edge.strict import read_as, shown

_FARTHEST_NS = 2**62


@dataclass(frozen=True)
class Heard:
    """An entry of a command's `heard`; `event` decides which other fields it has."""

    event: Literal["episode", "state", "planning", "chunk", "free", "unsent", "told", "stop"]
    t_ns: Any = None
    read_ns: int | None = None
    t_obs_ns: int | None = None
    refined: bool = False
    refine_ns: int = 0
    reason: str | None = None
    instruction: str | None = None
    values: dict[str, Any] = field(default_factory=dict)


def to_row(event: Event) -> dict[str, Any]:
    """Turn an event into an entry of a command's `heard`; arrays stay, the log writes them."""
    if isinstance(event, EpisodeStarted):
        return {"event": "episode", "t_ns": event.t_ns}
    if isinstance(event, StateRead):
        read_ns = {} if event.read_ns is None else {"read_ns": event.read_ns}
        state = event.state
        return {"event": "state", "t_ns": state.t_ns, "values": state.values, **read_ns}
    if isinstance(event, PlanStarted):
        return {"event": "planning", "t_ns": event.t_ns, "t_obs_ns": event.t_obs_ns}
    if isinstance(event, ChunkReady):
        return {
            "event": "chunk",
            "t_obs_ns": event.chunk.t_obs_ns,
            "refined": event.chunk.refined,
            "refine_ns": event.refine_ns,
        }
    if isinstance(event, PlannerFree):
        return {"event": "free"}
    if isinstance(event, NotSent):
        return {"event": "unsent"}
    if isinstance(event, Told):
        return {"event": "told", "instruction": event.instruction}
    return {"event": "stop", "reason": event.reason}


def from_row(row: Any, chunk_of: Callable[[int, bool], Chunk], what: str = "heard") -> Event:
    """Turn an entry back into its event. chunk_of: by observation time, and whether the refined
    one. Raises OfpError, one line that begins with `what`, when it is none."""
    heard = read_as(Heard, row, what, OfpError, others=True)
    if heard.event == "state":
        values = {k: array_from_json(x, f"{what}: {shown(k)}") for k, x in heard.values.items()}
        t_ns = heard.t_ns
        if type(t_ns) is int or isinstance(t_ns, (dict, list)):
            _ns(t_ns, "t_ns", what)
        # Of another type a driver may have said it, and the state machine judges it, as it did.
        # Logs of before it was written hold states that were never held against the clock's future.
        read_ns = heard.read_ns if "read_ns" in row or type(t_ns) is not int else t_ns
        return StateRead(RobotState(t_ns, values), read_ns)
    if heard.event == "episode":
        return EpisodeStarted(_ns(heard.t_ns, "t_ns", what))
    if heard.event == "planning":
        started_ns = _ns(heard.t_ns, "t_ns", what)
        return PlanStarted(started_ns, _ns(heard.t_obs_ns, "t_obs_ns", what))
    if heard.event == "chunk":
        chunk = chunk_of(_ns(heard.t_obs_ns, "t_obs_ns", what), heard.refined)
        return ChunkReady(chunk, heard.refine_ns)
    if heard.event == "stop" and heard.reason is None:
        raise OfpError(f"{what}: reason: expected an entry, got none: it is missing.")
    if heard.event == "told":
        if heard.instruction is None:
            raise OfpError(f"{what}: instruction: expected an entry, got none: it is missing.")
        return Told(heard.instruction)
    if heard.event == "unsent":
        return NotSent()
    return PlannerFree() if heard.event == "free" else StopRequested(str(heard.reason))


def _ns(value: Any, key: str, what: str) -> int:
    if type(value) is not int or abs(value) >= _FARTHEST_NS:
        raise OfpError(f"{what}: {key}: expected whole nanoseconds, got {shown(value)}.")
    return value
