"""The log of a run: MCAP files of JSON messages, written off the control thread.

schemas.py says what the topics hold. Arrays are {"dtype", "shape", "data": base64 of little-endian
bytes}: they are bit-exact, without text rounding; bytes are base64 too. The control thread copies
and enqueues; when the queue is full, or the disk, rows are lost and counted, and the control thread
goes on.
"""

from __future__ import annotations

import base64
import contextlib
import itertools
import json
import queue
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ofp_edge.arrays import array_of
from ofp_edge.errors import OfpError
from ofp_edge.runtime.log.file import NONE
from ofp_edge.runtime.log.numbers import Numbers
from ofp_edge.runtime.log.schemas import SCHEMAS, UNFILLED
from ofp_edge.runtime.log.series import DEFAULT_MB, LogSeries
from ofp_edge.strict import shown

_QUEUE_ROWS = 1024
_FLUSH_S = 1.0  # a kill or a loss of power may cost so much of a run
_END_S = 10.0
_Item = tuple[str, int, int, int, dict[str, Any]]
_NOTHING: _Item = ("", 0, 0, 0, {})


class Telemetry(Protocol):
    """The place to which the loop writes. `write` copies arrays, never blocks and never raises."""

    def write(self, topic: str, t_ns: int, /, **values: Any) -> None:
        """Keep one row for `topic` (of SCHEMAS, or a thumbnail's) at monotonic `t_ns`."""

    def close(self) -> None:
        """Write what is left."""


class NoTelemetry:
    """A telemetry that writes nothing."""

    lost = 0

    def write(self, topic: str, t_ns: int, /, **values: Any) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""


class Several:
    """A telemetry that goes to several places."""

    def __init__(self, *places: Telemetry) -> None:
        self._places = places

    def write(self, topic: str, t_ns: int, /, **values: Any) -> None:
        """Write to each of them."""
        for place in self._places:
            place.write(topic, t_ns, **values)

    def close(self) -> None:
        """Close each of them."""
        for place in self._places:
            place.close()


class McapLog:
    """A writer of rows to `path` and its later files (series.py) from a thread of its own. `lost`
    counts the rows that were not written; the rows of a topic are numbered, so that a reader sees
    where some are missing.

    Several threads may write, /event too, because a camera's remarks come from the planner's
    thread. `header` is plain JSON put in front of every file (bundle hash, spec, seed, L).
    `limit_bytes` bounds all files together. `numbers` makes rows to be plotted out of the others,
    in the log's thread. `trouble` says why the log has ended before the run;
    the log's thread then calls `on_trouble` with it, once. Raises OfpError when the file cannot be
    opened.
    """

    def __init__(
        self,
        path: Path,
        header: dict[str, Any],
        limit_bytes: int = DEFAULT_MB << 20,
        on_trouble: Callable[[str], None] | None = None,
        numbers: Numbers | None = None,
    ) -> None:
        self.path = path
        schemas = NONE if numbers is None else numbers.schemas
        self.series = LogSeries(path, header, limit_bytes, schemas)
        self._plotted, self._plotted_count = numbers, dict.fromkeys(schemas, 0)
        # `next` is one step of the interpreter: two threads never draw the same number.
        self._numbers = {topic: itertools.count(1) for topic in SCHEMAS}
        self._refused = dict.fromkeys(SCHEMAS, 0)  # rows lost to a full queue
        self._unwritten = 0
        self.trouble = ""
        self._on_trouble = on_trouble
        self._unsaved = 0  # rows that this process still holds
        self._queue: queue.Queue[_Item | None] = queue.Queue(_QUEUE_ROWS)
        self._thread = threading.Thread(target=self._drain, name="telemetry", daemon=True)
        self._thread.start()

    def write(self, topic: str, t_ns: int, /, **values: Any) -> None:
        """Enqueue one row for `topic` at `t_ns`; arrays are copied here."""
        row = {key: _copied(value) for key, value in values.items()}
        number = next(self._numbers.setdefault(topic, itertools.count(1)))
        try:
            self._queue.put_nowait((topic, number, t_ns, time.time_ns(), row))
        except queue.Full:
            self._refused[topic] = self._refused.get(topic, 0) + 1

    @property
    def lost(self) -> int:
        """The number of rows that were not written."""
        return self._unwritten + sum(self._refused.values())

    def close(self) -> None:
        """Write what is enqueued, then the file's index. Idempotent; a disk that has not answered
        for ten seconds is not waited for."""
        if self._thread.is_alive():
            with contextlib.suppress(queue.Full):
                self._queue.put(None, timeout=_END_S)
            self._thread.join(_END_S)
            if self._thread.is_alive():
                self._end("the disk does not answer")
                return
        try:
            self.series.finish()
        except (OSError, OfpError) as cause:
            self._end(str(cause))

    def _drain(self) -> None:
        due_s = time.monotonic() + _FLUSH_S
        while True:
            try:
                item = self._queue.get(timeout=max(0.0, due_s - time.monotonic()))
            except queue.Empty:
                item = _NOTHING
            if item is None:
                return
            try:
                if item is not _NOTHING:
                    self._add(item)
                if time.monotonic() >= due_s:
                    due_s = time.monotonic() + _FLUSH_S
                    if self._unsaved and not self.trouble:
                        self.series.flush()
                        self._unsaved = 0
            except (OSError, OfpError) as cause:  # a full disk ends the log, not the run
                self._end(str(cause))

    def _add(self, item: _Item) -> None:
        topic, number, t_ns, wall_ns, row = item
        if self.trouble:
            self._unwritten += 1
            return
        filled = {**UNFILLED.get(topic, {}), **row}
        plain = {key: _plain(value) for key, value in filled.items()}
        data = json.dumps(plain, default=repr).encode()  # a driver may say anything
        self._unsaved += 1
        out = self.series.add(topic, number, t_ns, wall_ns, data)
        if (made := self._drawn(topic, filled)) is not None:
            drawn, data = made
            self._plotted_count[drawn] += 1
            out = self.series.add(drawn, self._plotted_count[drawn], t_ns, wall_ns, data) or out
        if out:
            self._unsaved = 0

    def _drawn(self, topic: str, row: dict[str, Any]) -> tuple[str, bytes] | None:
        """The numbers of a row, where it has any that can be drawn: a driver may say anything, and
        what is drawn of it never costs the log its exact rows."""
        try:
            return None if self._plotted is None else self._plotted.of(topic, row)
        except (TypeError, ValueError, KeyError, AttributeError, OverflowError):
            return None

    def _end(self, trouble: str) -> None:
        self._unwritten += self._unsaved
        self._unsaved = 0
        if not self.trouble:
            self.trouble = trouble
            if self._on_trouble is not None:
                self._on_trouble(trouble)


def array_from_json(value: Any, what: str = "an array of a log") -> NDArray[Any]:
    """Read a logged array back, bit-exact. Raises OfpError where it is none of plain numbers, or
    its shape does not fit its bytes."""
    if not isinstance(value, dict) or not isinstance(value.get("data"), str):
        raise OfpError(f"{what}: expected dtype, shape and data, got {shown(value)}.")
    try:
        data = base64.b64decode(value["data"], validate=True)
    except ValueError as cause:
        raise OfpError(f"{what}: its data are no base64: {cause}.") from None
    return array_of(data, value.get("dtype"), value.get("shape"), what, OfpError)


def _copied(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return value.copy()
    if isinstance(value, dict):
        return {key: _copied(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_copied(item) for item in value]
    return value


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        little = np.ascontiguousarray(value, dtype=value.dtype.newbyteorder("<"))
        return {
            "dtype": little.dtype.str,
            "shape": list(value.shape),
            "data": base64.b64encode(little.tobytes()).decode("ascii"),
        }
    if isinstance(value, np.generic):  # the stamp that a driver gave
        return value.item()
    if isinstance(value, bytes):
        return base64.b64encode(value).decode("ascii")
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return value
