"""The log of a run: an MCAP file of JSON messages, written off the control thread.

What the topics hold: log_schemas.py. Arrays are {"dtype", "shape", "data": base64 of little-endian
bytes}: bit-exact, no text rounding; bytes are base64 too. The control thread copies and enqueues;
when the queue is full, or the disk, rows are lost and counted, and the control thread goes on.
"""

from __future__ import annotations

import base64
import contextlib
import errno
import itertools
import json
import os
import queue
import stat
import threading
import time
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from mcap.writer import CompressionType, Writer
from numpy.typing import NDArray

from ofp_edge.errors import OfpError
from ofp_edge.runtime.log_schemas import RAW_IMAGE, SCHEMAS, schema_of

_QUEUE_ROWS = 1024
_CHUNK_BYTES = 1 << 15  # what a kill may cost: less than a second of a run


class Telemetry(Protocol):
    """Where the loop writes. `write` copies arrays, never blocks and never raises."""

    def write(self, topic: str, t_ns: int, /, **values: Any) -> None:
        """Keep one row for `topic` (of SCHEMAS, or a thumbnail's) at monotonic `t_ns`."""

    def close(self) -> None:
        """Write what is left."""


class NoTelemetry:
    """Writes nothing."""

    lost = 0

    def write(self, topic: str, t_ns: int, /, **values: Any) -> None:
        """Nothing happens."""

    def close(self) -> None:
        """Nothing happens."""


class Several:
    """Telemetry that goes to several places."""

    def __init__(self, *places: Telemetry) -> None:
        self._places = places

    def write(self, topic: str, t_ns: int, /, **values: Any) -> None:
        """To each of them."""
        for place in self._places:
            place.write(topic, t_ns, **values)

    def close(self) -> None:
        """Each of them."""
        for place in self._places:
            place.close()


class McapLog:
    """Writes rows to `path` from its own thread. `lost` counts the rows that were not written; the
    rows of a topic are numbered, so that a reader sees where some are missing.

    Several threads may write, /event too: a camera's remarks come from the planner's.
    header: plain JSON put in front as the metadata record "ofp_edge" (bundle hash, spec, seed, L).
    Raises OfpError when the file can't be opened.
    """

    def __init__(self, path: Path, header: dict[str, Any]) -> None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = open(path, "wb", opener=_open_at_once)
        except OSError as cause:
            raise OfpError(f"log {path} can't be written: {cause.strerror}.") from None
        self.path = path
        # `next` is one step of the interpreter: two threads never draw the same number.
        self._numbers = {topic: itertools.count(1) for topic in SCHEMAS}
        self._refused = dict.fromkeys(SCHEMAS, 0)  # by a full queue
        self._unwritten = 0
        self.trouble = ""
        self._unsaved = 0  # rows of the chunk that is not in the file yet
        self._queue: queue.Queue[tuple[str, int, int, int, dict[str, Any]] | None] = queue.Queue(
            _QUEUE_ROWS
        )
        self._writer = Writer(self._file, chunk_size=_CHUNK_BYTES, compression=CompressionType.NONE)
        self._channels = self._start(header)
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
        """Rows that were not written."""
        return self._unwritten + sum(self._refused.values())

    def close(self) -> None:
        """Write what is enqueued, then the file's index. Idempotent."""
        if self._thread.is_alive():
            self._queue.put(None)
            self._thread.join()
        if not self._file.closed:
            try:
                self._writer.finish()  # type: ignore[no-untyped-call]
            except OSError as cause:
                self._fail(cause)
            with contextlib.suppress(OSError):
                self._file.close()

    def _start(self, header: dict[str, Any]) -> dict[str, int]:
        self._writer.start(profile="", library="ofp-edge")
        self._writer.add_metadata("ofp_edge", {"json": json.dumps(header)})
        with contextlib.suppress(OSError):  # a disk that is full already is found by the first row
            self._file.flush()
        return {
            topic: self._channel(topic, f"ofp_edge.{topic[1:]}", properties)
            for topic, properties in SCHEMAS.items()
        }

    def _channel(self, topic: str, schema: str, properties: dict[str, Any]) -> int:
        number = self._writer.register_schema(
            schema, "jsonschema", json.dumps(schema_of(properties)).encode()
        )
        channel: int = self._writer.register_channel(topic, "json", number)
        return channel

    def _drain(self) -> None:
        while (item := self._queue.get()) is not None:
            topic, number, t_ns, wall_ns, row = item
            if self.trouble:
                self._unwritten += 1
                continue
            plain = {key: _plain(value) for key, value in row.items()}
            data = json.dumps(plain, default=repr).encode()  # a driver may say anything
            before = self._file.tell()
            self._unsaved += 1
            try:
                if topic not in self._channels:  # a camera's first thumbnail
                    self._channels[topic] = self._channel(topic, "foxglove.RawImage", RAW_IMAGE)
                self._writer.add_message(
                    self._channels[topic], log_time=wall_ns, publish_time=t_ns, data=data,
                    sequence=number,
                )  # fmt: skip
            except OSError as cause:  # a full disk ends the log, not the run
                self._fail(cause)
            else:
                if self._file.tell() > before:  # a whole chunk went out
                    self._flush()

    def _fail(self, cause: OSError) -> None:
        self.trouble = self.trouble or str(cause)
        self._unwritten += self._unsaved
        self._unsaved = 0

    def _flush(self) -> None:
        try:
            self._file.flush()
            self._unsaved = 0
        except OSError as cause:
            self._fail(cause)


def _open_at_once(path: str, flags: int) -> int:
    """A FIFO is an error here, and no wait for its reader with the robot open."""
    handle = os.open(path, flags | os.O_NONBLOCK, 0o666)
    if stat.S_ISFIFO(os.fstat(handle).st_mode):
        os.close(handle)
        raise OSError(errno.ESPIPE, "it is a FIFO")
    return handle


def array_from_json(value: dict[str, Any]) -> NDArray[Any]:
    """The inverse of how arrays are logged; bit-exact."""
    data = np.frombuffer(base64.b64decode(value["data"]), dtype=value["dtype"])
    return data.reshape(value["shape"]).copy()


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
    if isinstance(value, np.generic):  # a driver's own stamp
        return value.item()
    if isinstance(value, bytes):
        return base64.b64encode(value).decode("ascii")
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return value
