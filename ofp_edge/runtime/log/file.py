"""One MCAP file of a log: header, channels, rows; it is readable up to its last chunk at any
time."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Mapping
from typing import Any, BinaryIO

from mcap.writer import CompressionType, Writer

from ofp_edge.runtime.log.schemas import SCHEMAS, picture_schema, schema_of

NONE: Mapping[str, dict[str, Any]] = {}
_CHUNK_BYTES = 1 << 15
# A chunk adds so much to the index, which `finish` writes and the writer keeps in memory.
_INDEX_BYTES, _MOST_CHUNKS = 256, 8192
_END_BYTES = 1 << 14  # schemas, channels and statistics, once more


class LogFile:
    """A writer of rows to `file`, which it closes. Every method may raise OSError; one thread uses
    it.

    `header` is plain JSON, put in front as the metadata record "ofp_edge". `schemas` are those of
    topics beyond SCHEMAS. `synced` says whether the file is on a disk, and not a device.
    """

    def __init__(
        self,
        file: BinaryIO,
        header: dict[str, Any],
        schemas: Mapping[str, dict[str, Any]] = NONE,
        *,
        synced: bool = True,
    ) -> None:
        self._file, self._synced, self._chunks, self._size = file, synced, 0, 0
        self._writer = Writer(file, chunk_size=_CHUNK_BYTES, compression=CompressionType.NONE)
        self._writer.start(profile="", library="ofp-edge")
        self._writer.add_metadata("ofp_edge", {"json": json.dumps(header)})
        self._channels = {
            topic: self._channel(topic, f"ofp_edge.{topic[1:]}", schema_of(properties))
            for topic, properties in SCHEMAS.items()
        }
        for topic, schema in schemas.items():
            self._channels[topic] = self._channel(topic, f"ofp_edge.{topic[1:]}", schema)
        self._size = file.tell()

    def add(self, topic: str, number: int, t_ns: int, wall_ns: int, data: bytes) -> bool:
        """Add one row; return whether it and all before it have left this process."""
        if topic not in self._channels:  # a camera's first picture
            self._channels[topic] = self._channel(topic, *picture_schema(topic))
        self._writer.add_message(
            self._channels[topic], log_time=wall_ns, publish_time=t_ns, data=data, sequence=number
        )
        if self._file.tell() == self._size:
            return False
        self.flush()  # a whole chunk went out
        return True

    def flush(self) -> None:
        """Let nothing wait: what was added survives the end of this process."""
        self._writer.flush()  # type: ignore[no-untyped-call]
        self._file.flush()
        self._chunks += self._file.tell() != self._size
        self._size = self._file.tell()

    def sync(self) -> None:
        """Wait for the disk: what was flushed survives a loss of power."""
        if self._synced:
            os.fdatasync(self._file.fileno())

    def is_full(self, limit_bytes: int) -> bool:
        """Say whether another chunk could make the file larger than that, its end included, or its
        index, which is kept in memory, too long."""
        end = self._size + self._chunks * _INDEX_BYTES + _END_BYTES
        return end + 2 * _CHUNK_BYTES > limit_bytes or self._chunks >= _MOST_CHUNKS

    def finish(self) -> int:
        """Write the index and close; return the file's size in bytes. Idempotent."""
        if self._file.closed:
            return self._size
        try:
            self._writer.finish()  # type: ignore[no-untyped-call]
            self._file.flush()
            self.sync()
            self._size = self._file.tell()
            return self._size
        finally:
            with contextlib.suppress(OSError):
                self._file.close()

    def _channel(self, topic: str, name: str, schema: dict[str, Any]) -> int:
        number = self._writer.register_schema(name, "jsonschema", json.dumps(schema).encode())
        channel: int = self._writer.register_channel(topic, "json", number)
        return channel
