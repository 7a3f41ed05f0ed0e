"""The process that decodes videos, started by video.py, which describes the protocol.

It opens no file. The files it decodes come opened, and are read as MP4 alone: no playlist names
others.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import select
import socket
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

_MEMORY_BYTES = 6 << 30
_LONGEST_REQUEST = 1 << 12
_READ_BYTES = 1 << 18


class _Wrong(Exception):
    """One line for the user."""


class _Stopped(Exception):
    """Nobody wants the rest."""


def serve(connection: socket.socket, pipe: int) -> None:
    """Answer requests until the other end is closed."""
    waiting = b""
    handles: list[int] = []
    while True:
        while b"\n" not in waiting:
            data, found, _, _ = socket.recv_fds(connection, _LONGEST_REQUEST, 4)
            if not data:
                return
            waiting += data
            handles += found
        line, _, waiting = waiting.partition(b"\n")
        if line == b"stop":  # the answer had ended already
            connection.send(b"S")
            continue
        try:
            with os.fdopen(handles.pop(0), "rb", buffering=0) as file:
                for frame in _frames(file, json.loads(line)):
                    if select.select([connection], [], [], 0)[0]:
                        raise _Stopped
                    _write(pipe, b"F", frame)
            _write(pipe, b"D")
        except _Stopped:
            continue  # what is to be read says so, or that it is over
        except _Wrong as cause:
            _complain(pipe, str(cause))
        except Exception as cause:  # a damaged file's, whatever PyAV makes of it
            _complain(pipe, f"cannot be decoded: {cause}")


def _frames(file: Any, wanted: dict[str, Any]) -> Iterator[NDArray[np.uint8]]:
    import av

    with av.open(file, mode="r", format="mp4", buffer_size=_READ_BYTES) as container:
        if not container.streams.video:
            raise _Wrong("cannot be decoded: no video in it.")
        stream = container.streams.video[0]
        stream.thread_type = "AUTO"
        if wanted["first_s"] > 0:  # to the key frame before it
            at = int(wanted["first_s"] / stream.time_base)
            container.seek(at, stream=stream, backward=True)
        yield from _matched(container.decode(stream), wanted)


def _matched(decoded: Iterator[Any], wanted: dict[str, Any]) -> Iterator[NDArray[np.uint8]]:
    first_s, count, rate_hz = wanted["first_s"], wanted["count"], wanted["rate_hz"]
    shape = tuple(wanted["shape"])
    half, made, last = 0.5 / rate_hz, 0, "the start"
    for frame in decoded:
        due = first_s + made / rate_hz
        if frame.time is None or frame.time < due - half:
            continue
        if frame.time >= due + half:
            break
        if (frame.height, frame.width, 3) != shape:
            raise _Wrong(f"has a frame of {(frame.height, frame.width, 3)}, expected {shape}.")
        yield frame.to_ndarray(format="rgb24")
        made, last = made + 1, f"{frame.time:.3f} s"
        if made == count:
            return
    raise _Wrong(
        f"has no frame at {first_s + made / rate_hz:.3f} s (the last that fits {rate_hz:g} Hz: "
        f"{last}): {made} of {count} frames."
    )


def _complain(pipe: int, line: str) -> None:
    text = line.encode("utf-8", "replace")[: 1 << 11]
    _write(pipe, b"E" + len(text).to_bytes(4, "little") + text)


def _write(pipe: int, head: bytes, frame: NDArray[np.uint8] | None = None) -> None:
    parts = [memoryview(head)]
    if frame is not None:
        parts.append(np.ascontiguousarray(frame).data.cast("B"))
    while parts:
        count = os.writev(pipe, parts)
        while parts and count >= len(parts[0]):
            count -= len(parts.pop(0))
        if parts:
            parts[0] = parts[0][count:]


def main(connection: int, pipe: int) -> None:
    """Give up the rights it does not need, and serve."""
    for what, limit in (
        (resource.RLIMIT_AS, _MEMORY_BYTES),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
    ):
        hard = resource.getrlimit(what)[1]
        resource.setrlimit(what, (limit, limit) if hard < 0 else (min(limit, hard), hard))
    with socket.socket(fileno=connection) as end, contextlib.suppress(OSError):
        serve(end, pipe)  # until nobody is there any more
