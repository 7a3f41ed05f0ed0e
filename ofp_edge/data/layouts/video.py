"""Decode frames of MP4 files in a separate process: a damaged video may end that, not us.

    we                             the decoder (video_decoder.py)
    a request and the open file -> (a socket)
                                <- (a pipe) F and a frame, again and again; D at the end, or
                                            T, four bytes of length and JSON: when frames are shown
                                            E, four bytes of length and one line

It gets each file opened, and has no right to write files and no memory without end. A reader keeps
one decoder for all its files; a second one only while two videos are read in turns.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import select
import signal
import socket
import subprocess
import sys
import weakref
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ofp_edge.errors import DatasetError
from ofp_edge.extras import require_installed
from ofp_edge.outside import open_plain

# Our own module path: the working directory may be a dataset's, and is no place to import from.
_START = (
    "import sys; sys.path[:] = sys.argv[3:]; "
    "from ofp_edge.data.layouts.video_decoder import main; main(int(sys.argv[1]), int(sys.argv[2]))"
)
_SILENCE_S = 120.0
_PIPE_BYTES = 1 << 20
_LONGEST_LINE, _MOST_FRAMES = 1 << 12, 10**7


class VideoReader:
    """Reads videos. Its decoders end with it."""

    def __init__(self) -> None:
        self._free: list[_Decoder] = []

    def frames(
        self,
        path: Path,
        times_s: Sequence[float],
        half_s: float,
        shape: tuple[int, ...],
        where: str,
    ) -> Iterator[NDArray[np.uint8]]:
        """Yield a frame (H, W, 3) RGB of `shape` for each of these times, which increase.

        It is the one that is shown nearest to that time by the file's own stamps. DatasetError,
        beginning with `where`, when the file is missing or damaged, a frame has another shape, or
        none is less than `half_s` seconds away.
        """
        wanted = {
            "times_s": [round(float(x), 6) for x in times_s],
            "half_s": half_s,
            "shape": list(shape),
        }
        with self._asked(path, wanted, where) as decoder:
            yield from decoder.answers(shape)

    def times(self, path: Path, where: str) -> NDArray[np.float64]:
        """Return when each frame is shown, in seconds: (n,), in order, by the file's own tables.

        Nothing is decoded. DatasetError as for frames.
        """
        with self._asked(path, {}, where) as decoder:
            said = decoder.times()
        if "times_s" in said:
            return np.array(said["times_s"], np.float64)
        numbers = np.arange(min(int(said["count"]), _MOST_FRAMES), dtype=np.float64)
        return float(said["first_s"]) + numbers * float(said["step_s"])

    @contextlib.contextmanager
    def _asked(self, path: Path, wanted: dict[str, object], where: str) -> Iterator[_Decoder]:
        """A decoder that answers this request."""
        require_installed("av", "data")
        if not path.is_file():
            raise DatasetError(f"{where}: video {path} is missing.")
        decoder = self._free.pop() if self._free else _Decoder()
        failed = False
        try:
            with open_plain(path, DatasetError) as file:
                decoder.ask(wanted, file.fileno())
            yield decoder
        except _Failed as cause:
            failed = True
            raise DatasetError(f"{where}: video {path} {cause}") from None
        finally:
            if decoder.idle or (not failed and decoder.leave()):
                self._free.append(decoder)
            else:
                decoder.end()


class _Failed(Exception):
    """The rest of the line."""


class _Decoder:
    """One process. idle: whether it waits for a request."""

    def __init__(self) -> None:
        ours, theirs = socket.socketpair()
        reading, writing = os.pipe()
        with contextlib.suppress(OSError):  # more than this system lets us have
            fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
        command = [sys.executable, "-c", _START, str(theirs.fileno()), str(writing), *sys.path]
        try:
            self._process = subprocess.Popen(
                command,
                pass_fds=(theirs.fileno(), writing),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
                env={**os.environ, "MALLOC_ARENA_MAX": "2"},  # its address space is bounded
            )
        finally:
            theirs.close()
            os.close(writing)
        self._socket, self._pipe, self.idle = ours, reading, True
        self.end = weakref.finalize(self, _end, self._process, ours, reading)

    def ask(self, wanted: dict[str, object], file: int) -> None:
        """Send a request, and the file with it."""
        self.idle = False
        data = json.dumps(wanted).encode() + b"\n"
        try:
            self._socket.sendall(data[socket.send_fds(self._socket, [data], [file]) :])
        except OSError:
            raise self._death() from None

    def answers(self, shape: tuple[int, ...]) -> Iterator[NDArray[np.uint8]]:
        """Frames, until it says that there are no more."""
        while (said := self._take(1)) == b"F":
            frame = np.empty(shape, np.uint8)
            self._fill(memoryview(frame.data).cast("B"))
            yield frame
        if said != b"D":
            raise _Failed(self._line())
        self.idle = True

    def times(self) -> dict[str, Any]:
        """When the file's frames are shown, as video_decoder.py puts it."""
        if self._take(1) != b"T":
            raise _Failed(self._line())
        found: dict[str, Any] = json.loads(self._take(int.from_bytes(self._take(4), "little")))
        self.idle = True
        return found

    def leave(self) -> bool:
        """Have it stop in the middle of an answer, unread; False when it does not.

        It says on the socket when the last of the answer is in the pipe.
        """
        with contextlib.suppress(OSError):
            self._socket.send(b"stop\n")
            both: list[Any] = [self._socket, self._pipe]
            while ready := select.select(both, [], [], _SILENCE_S)[0]:
                if self._pipe in ready:
                    if not os.read(self._pipe, _PIPE_BYTES):
                        return False
                elif self._socket.recv(1) == b"S":
                    self._empty()
                    self.idle = True
                    return True
                else:
                    return False
        return False

    def _empty(self) -> None:
        while select.select([self._pipe], [], [], 0)[0] and os.read(self._pipe, _PIPE_BYTES):
            pass

    def _line(self) -> str:
        size = int.from_bytes(self._take(4), "little")
        line = self._take(min(size, _LONGEST_LINE)).decode("utf-8", "replace")
        self.idle = True
        return " ".join(line.split())

    def _take(self, size: int) -> bytes:
        data = bytearray(size)
        self._fill(memoryview(data))
        return bytes(data)

    def _fill(self, target: memoryview) -> None:
        while target:
            if not select.select([self._pipe], [], [], _SILENCE_S)[0]:
                raise _Failed(f"cannot be decoded: nothing came for {_SILENCE_S:g} s.")
            count = os.readv(self._pipe, [target])
            if not count:
                raise self._death()
            target = target[count:]

    def _death(self) -> _Failed:
        with contextlib.suppress(subprocess.TimeoutExpired):
            code = self._process.wait(10.0)
            how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
            return _Failed(f"cannot be decoded: it ends the process that decodes it ({how}).")
        return _Failed("cannot be decoded: its decoder has gone silent.")


def _end(process: subprocess.Popen[bytes], connection: socket.socket, pipe: int) -> None:
    connection.close()
    os.close(pipe)
    process.kill()
    process.wait()
