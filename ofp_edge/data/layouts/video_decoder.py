"""The process that decodes videos, started by video.py, which describes the protocol.

It opens no file. The files it decodes come opened, and are read as MP4 alone: no playlist names
others.
"""

from __future__ import annotations

import contextlib
import itertools
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
_MOST_FRAMES = 10**6
_ROUNDING_S = 1e-4  # of times in float32, and of rates that are no whole number of ticks


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
                _answer(pipe, connection, file, json.loads(line))
        except _Stopped:
            continue  # what is to be read says so, or that it is over
        except _Wrong as cause:
            _complain(pipe, str(cause))
        except Exception as cause:  # a damaged file's, whatever PyAV makes of it
            _complain(pipe, f"cannot be decoded: {cause}")


def _answer(pipe: int, connection: socket.socket, file: Any, wanted: dict[str, Any]) -> None:
    import av

    with av.open(file, mode="r", format="mp4", buffer_size=_READ_BYTES) as container:
        if not container.streams.video:
            raise _Wrong("cannot be decoded: no video in it.")
        stream = container.streams.video[0]
        if "times_s" not in wanted:
            text = json.dumps(_about(container, stream)).encode()
            _write(pipe, b"T" + len(text).to_bytes(4, "little") + text)
            return
        stream.thread_type = "AUTO"
        if (first_s := wanted["times_s"][0]) > 0:  # to the key frame before it, if not it itself
            at = int((first_s + _ROUNDING_S) / stream.time_base)
            container.seek(at, stream=stream, backward=True)
        for frame in _matched(container.decode(stream), wanted):
            if select.select([connection], [], [], 0)[0]:
                raise _Stopped
            _write(pipe, b"F", frame)
    _write(pipe, b"D")


def _about(container: Any, stream: Any) -> dict[str, Any]:
    """When its frames are shown: even ones as three numbers, others one by one."""
    count, rate, base = stream.frames, stream.average_rate, stream.time_base
    if count and rate and rate == stream.base_rate:
        first = float((stream.start_time or 0) * base)
        return {"count": count, "first_s": first, "step_s": float(1 / rate)}
    found = (x.pts for x in container.demux(stream) if x.pts is not None)
    times = sorted(float(x * base) for x in itertools.islice(found, _MOST_FRAMES))
    return {"times_s": times}


def _matched(decoded: Iterator[Any], wanted: dict[str, Any]) -> Iterator[NDArray[np.uint8]]:
    """For each of the wanted times the frame that is nearest, not half_s away or more."""
    times, half, shape = wanted["times_s"], wanted["half_s"], tuple(wanted["shape"])
    made, before = 0, None
    for frame in itertools.chain((x for x in decoded if x.time is not None), [None]):
        while made < len(times):
            due, best = times[made], before
            if frame is not None and (best is None or _off(frame, due) < _off(best, due)):
                if frame.time < due - _ROUNDING_S:
                    break  # the next may be nearer
                best = frame
            if best is None or _off(best, due) >= half:
                last = "the start" if before is None else f"{before.time:.3f} s"
                raise _Wrong(
                    f"has no frame within {half:.3g} s of {due:.3f} s (the last before it: "
                    f"{last}): {made} of {len(times)} frames."
                )
            if (best.height, best.width, 3) != shape:
                got = (best.height, best.width, 3)
                raise _Wrong(f"has a frame of {got}, expected {shape}.")
            yield best.to_ndarray(format="rgb24")
            made += 1
        if made == len(times):
            return
        before = frame


def _off(frame: Any, due: float) -> float:
    return abs(float(frame.time) - due)


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
