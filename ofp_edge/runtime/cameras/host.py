"""The process of a RemoteCamera: `python -m ofp_edge.runtime.cameras.host FD`, which RemoteCamera
starts.

One thread: between two frames it hears which places are free again. Whatever ends it (the other end
or its process is gone, an error here, a signal), it closes the camera.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
import time
import traceback
from dataclasses import dataclass
from types import FrameType
from typing import Any

from ofp_edge.errors import CameraError, OfpError
from ofp_edge.rig.file import CameraEntry
from ofp_edge.runtime.camera import Camera
from ofp_edge.runtime.cameras.open import open_camera
from ofp_edge.runtime.cameras.shared import SharedPictures, parts_of
from ofp_edge.runtime.robots.wire import LARGEST_BYTES, WireError, decode, encode
from ofp_edge.strict import read_as, shown

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)
_WAIT_MS = 100.0


@dataclass(frozen=True)
class Start:
    """The first message: which camera to open."""

    name: str
    camera: str
    options: dict[str, Any]
    parameters: dict[str, Any]


class Host:
    """The server of one camera to the other end of `connection`."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection, self._parent = connection, os.getppid()
        self._signal = ""

    def obey_signals(self) -> None:
        """Make a signal end `serve`, and not the process, from now on."""
        for number in _SIGNALS:
            signal.signal(number, self._heed)

    def serve(self, camera: Camera) -> None:
        """Hand over frames until there is no other end. Raises CameraError, as the camera does."""
        pictures: SharedPictures | None = None
        try:
            while self._wanted(pictures):
                frame = camera.read(_WAIT_MS)
                if frame is None:
                    continue
                if pictures is None:
                    height, width = camera.parameters.height, camera.parameters.width
                    size = sum(x.nbytes for x in parts_of(frame).values())
                    # Depth that is nowhere known at first, a covered lens, may be seen later.
                    pictures = SharedPictures.made(size + 2 * 2 * height * width)
                    self._begin(camera, pictures)
                place = pictures.put(frame)
                if place is not None and not self._send(encode("frame", **place.to_json())):
                    return
        finally:
            if pictures is not None:
                pictures.close()
        if self._signal:
            self.complain(f"the camera's process was asked to end by {self._signal}.")

    def complain(self, line: str) -> None:
        """Let the other end know why there will be no more frames."""
        with contextlib.suppress(OSError):
            message = encode("error", line=" ".join(line.split()))
            self._connection.send(message, socket.MSG_DONTWAIT)

    def _begin(self, camera: Camera, pictures: SharedPictures) -> None:
        remarks = getattr(camera, "remarks", None)
        if remarks is not None:
            remarks.listen(
                lambda what, detail: self._send(encode("remark", what=what, detail=detail))
            )
        message = encode(
            "started",
            parameters=camera.parameters.to_json(),
            noise_free=bool(getattr(camera, "noise_free", False)),
            place_bytes=pictures.place_bytes,
        )
        with contextlib.suppress(ConnectionError):
            socket.send_fds(self._connection, [message], [pictures.handle])

    def _wanted(self, pictures: SharedPictures | None) -> bool:
        """Hear what has come; return whether there is somebody to hand frames to."""
        while True:
            try:
                message = self._connection.recv(LARGEST_BYTES, socket.MSG_DONTWAIT)
            except BlockingIOError:
                break
            except ConnectionError:
                return False
            if not message:
                return False
            kind, values, _ = decode(message)
            if kind != "free" or pictures is None:
                raise WireError(f"a message that can't be read: {shown(kind)} to a camera.")
            pictures.free(values.get("number"))
        return not self._signal and os.getppid() == self._parent

    def _send(self, message: bytes) -> bool:
        """Send, or drop a remark that nobody picks up; frames are never more than there are
        places. Return False when there is no other end."""
        with contextlib.suppress(BlockingIOError):
            try:
                self._connection.send(message, socket.MSG_DONTWAIT)
            except ConnectionError:
                return False
        return True

    def _heed(self, number: int, _: FrameType | None) -> None:
        self._signal = self._signal or signal.Signals(number).name


def main(connection: socket.socket) -> int:
    """Wait for the first message, open the camera that it names, and serve it. Return 0 when the
    other end had enough."""
    host, camera = Host(connection), None
    try:
        _, values, _ = decode(connection.recv(LARGEST_BYTES))
    except ConnectionError:
        return 1  # the other end is gone already
    except WireError as cause:
        host.complain(str(cause))
        return 1
    try:
        start = read_as(Start, values, "the first message", WireError)
        if ":" not in start.camera:
            raise CameraError(f"camera: expected package.module:Class, got {start.camera!r}.")
        entry = CameraEntry(start.name, start.camera, options=start.options,
                            parameters=start.parameters)  # fmt: skip
        camera = open_camera(entry, time.monotonic_ns)
        host.obey_signals()
        camera.start()
        host.serve(camera)
    except OfpError as cause:
        host.complain(str(cause))
        return 1
    except Exception as cause:
        traceback.print_exc()  # a bug keeps its trace
        host.complain(f"{type(cause).__name__}: {cause}")
        return 1
    finally:
        if camera is not None:
            camera.close()
    return 0


if __name__ == "__main__":
    with socket.socket(fileno=int(sys.argv[1])) as end:
        sys.exit(main(end))
