"""Run a log again: the same inputs through the same network and the same state machine.

First every chunk is made again from the logged network inputs, then the state machine hears at
every tick what it heard then, with the chunks made now. Same bundle, same engine, same machine
type: every chunk and every action is the same, bit for bit.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ofp_edge.errors import OfpError
from ofp_edge.rig_safety import safety_from_json
from ofp_edge.runtime.chunk import Chunk
from ofp_edge.runtime.controller import Controller
from ofp_edge.runtime.events import Command
from ofp_edge.runtime.heard import from_row
from ofp_edge.runtime.inference import Inference
from ofp_edge.runtime.log_reader import LogReader, Row
from ofp_edge.runtime.log_schemas import LOG_VERSION
from ofp_edge.runtime.refining import RefineBudget
from ofp_edge.runtime.safety.layer import SafetyLayer
from ofp_edge.runtime.telemetry import array_from_json
from ofp_edge.spec import PolicySpec

_LISTED = 20
_COMPARED = ("kind", "reason", "t_obs_ns", "index", "misses")


@dataclass(frozen=True)
class Difference:
    """One place. t_ns: the tick, or the observation of a chunk; apart: the largest difference."""

    what: str
    t_ns: int
    apart: float | None
    detail: str = ""


@dataclass
class ReplayReport:
    """What was run again, and where it came out otherwise: the first 20 of `differ` places.

    files_left_out: those after a gap of files that were deleted to make room: nothing tells the
    state in which they begin.
    """

    chunks: int = 0
    chunks_same: int = 0
    ticks: int = 0
    ticks_same: int = 0
    missing_rows: int = 0
    files_left_out: int = 0
    whole: bool = False
    differences: list[Difference] = field(default_factory=list)

    @property
    def same(self) -> bool:
        """Whether all of it is there and bit for bit the same."""
        alike = self.chunks == self.chunks_same and self.ticks == self.ticks_same
        complete = self.missing_rows == 0 and self.files_left_out == 0
        return alike and complete and self.ticks > 0

    def note(self, difference: Difference) -> None:
        """Keep it, if there is room."""
        if len(self.differences) < _LISTED:
            self.differences.append(difference)


class _Lost(Exception):
    """A chunk that the state machine heard of is not in the log."""


def controller_of(header: Row) -> Controller:
    """The state machine as it was: everything that decides is in the log's header."""
    spec = PolicySpec.from_json(header["spec"])
    first_ns = header["refine_first_ns"]
    return Controller(
        spec,
        round(header["latency_ms"] * 1e6),
        round(header["max_plan_age_ms"] * 1e6),
        fade_steps=header["cross_fade_steps"],
        safety=SafetyLayer(spec, safety_from_json(header["safety"])),
        refine=None if first_ns is None else RefineBudget(first_ns),
    )


def replay(log: LogReader, inference: Inference) -> ReplayReport:
    """Make every chunk and every decision again. inference: fresh, seeded as the log's header says.

    Raises OfpError for a log of another version or another policy.
    """
    if (version := log.header.get("log_version")) != LOG_VERSION:
        raise OfpError(
            f"{log.path}: log_version: expected {LOG_VERSION}, got {version}. Replay it with the "
            f"ofp-edge that wrote it: {log.header.get('ofp_edge')}."
        )
    PolicySpec.from_json(log.header["spec"]).require_same(inference.spec, "replay")
    report = ReplayReport()
    chunks = _chunks_again(log, inference, report)
    _ticks_again(log, chunks, report)
    report.missing_rows, report.whole = sum(log.missing.values()), log.whole
    report.files_left_out = len(log.left_out)
    return report


def _chunks_again(
    log: LogReader, inference: Inference, report: ReplayReport
) -> dict[tuple[int, bool], Chunk]:
    made: dict[tuple[int, bool], Chunk] = {}
    for topic, row in log.rows("/event", "/observation", "/plan", all_files=False):
        if topic == "/event":
            if row["what"] == "episode":
                inference.reset()
        elif topic == "/observation":
            inputs = {name: array_from_json(value) for name, value in row["inputs"].items()}
            inference.observe(row["t_obs_ns"], inputs)
        else:
            chunk = _chunk_again(row, inference, made)
            made[chunk.t_obs_ns, chunk.refined] = chunk
            report.chunks += 1
            then = array_from_json(row["chunk"])
            if _same(chunk.actions, then):
                report.chunks_same += 1
            else:
                report.note(Difference("chunk", chunk.t_obs_ns, _apart(chunk.actions, then)))
    return made


def _chunk_again(row: Row, inference: Inference, made: dict[tuple[int, bool], Chunk]) -> Chunk:
    if row["refined"]:
        return inference.refine(row["t_obs_ns"])
    warm_from = row["warm_from_ns"]
    previous = None if warm_from is None else made.get((warm_from, row["warm_from_refined"]))
    return inference.infer(row["t_obs_ns"], previous)


def _ticks_again(
    log: LogReader, chunks: dict[tuple[int, bool], Chunk], report: ReplayReport
) -> None:
    controller = controller_of(log.header)

    def chunk_of(t_obs_ns: int, refined: bool) -> Chunk:
        if (t_obs_ns, refined) not in chunks:
            raise _Lost
        return chunks[t_obs_ns, refined]

    for _, row in log.rows("/command", all_files=False):
        report.ticks += 1
        try:
            events = [from_row(entry, chunk_of) for entry in row["heard"]]
        except _Lost:
            report.note(Difference("log", row["tick_ns"], None, "a chunk's row is missing"))
            return
        command = controller.step(row["tick_ns"], events)
        now = {
            "kind": command.kind, "reason": command.reason, "t_obs_ns": command.t_obs_ns,
            "index": command.index, "misses": controller.counters.misses,
        }  # fmt: skip
        other = [f"{key}: {row[key]} then, {now[key]} now" for key in _COMPARED
                 if row[key] != now[key]]  # fmt: skip
        apart = _action_apart(command, row)
        if other or apart is not None:
            report.note(Difference("command", row["tick_ns"], apart, "; ".join(other)))
        else:
            report.ticks_same += 1


def _action_apart(command: Command, row: Row) -> float | None:
    """How far the action is from the logged one; None where it is the same bits."""
    if (command.action is None) != (row["action"] is None):
        return float("inf")
    if command.action is None:
        return None
    then = array_from_json(row["action"])
    return None if _same(command.action, then) else _apart(command.action, then)


def _same(a: NDArray[Any], b: NDArray[Any]) -> bool:
    return a.shape == b.shape and a.dtype == b.dtype and a.tobytes() == b.tobytes()


def _apart(a: NDArray[Any], b: NDArray[Any]) -> float:
    return float(np.abs(a - b).max()) if a.shape == b.shape else float("inf")
