"""Events of the state machine as log rows, and back. A chunk is named by its observation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ofp_edge.runtime.chunk import Chunk
from ofp_edge.runtime.events import (
    ChunkReady,
    EpisodeStarted,
    Event,
    NotSent,
    PlannerFree,
    PlanStarted,
    StateRead,
    StopRequested,
)
from ofp_edge.runtime.robot import RobotState
from ofp_edge.runtime.telemetry import array_from_json


def to_row(event: Event) -> dict[str, Any]:
    """One entry of a command's `heard`; arrays stay arrays, the log writes them."""
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
            "event": "chunk", "t_obs_ns": event.chunk.t_obs_ns, "refined": event.chunk.refined,
            "refine_ns": event.refine_ns,
        }  # fmt: skip
    if isinstance(event, PlannerFree):
        return {"event": "free"}
    if isinstance(event, NotSent):
        return {"event": "unsent"}
    return {"event": "stop", "reason": event.reason}


def from_row(row: dict[str, Any], chunk_of: Callable[[int, bool], Chunk]) -> Event:
    """The event of an entry. chunk_of: by observation time, and whether the refined one."""
    kind = row["event"]
    if kind == "episode":
        return EpisodeStarted(row["t_ns"])
    if kind == "state":
        values = {name: array_from_json(value) for name, value in row["values"].items()}
        # Logs of before it was written hold states that were never held against the clock's future.
        return StateRead(RobotState(row["t_ns"], values), row.get("read_ns", row["t_ns"]))
    if kind == "planning":
        return PlanStarted(row["t_ns"], row["t_obs_ns"])
    if kind == "chunk":
        return ChunkReady(chunk_of(row["t_obs_ns"], row["refined"]), row["refine_ns"])
    if kind == "unsent":
        return NotSent()
    return PlannerFree() if kind == "free" else StopRequested(row["reason"])
