"""A camera in a process and an environment of its own: what it imports never meets the loop.

    run                                      socket pair        camera's process (host.py)
    RemoteCamera --- "start", "free" ----------->        ---> Camera.start, Camera.read
                 <-- "started", "frame", "error" ---
                 <=== pictures, in memory that both see ====

A LeRobot camera, for one, needs LeRobot and torch, and a run needs neither. A picture crosses in
shared memory and a message of some hundred bytes says where it lies; it is copied once, and then
its place is free again. When this process is gone, the socket's end closes the camera. In a rig:

    [cameras.front]
    driver = "ofp_edge.runtime.cameras.remote:RemoteCamera"
    [cameras.front.options]
    python = "/home/me/lerobot/bin/python"    # an environment that has ofp-edge's base wheel too
    camera = "ofp_edge.runtime.cameras.lerobot:LeRobotCamera"
    [cameras.front.options.options]
    camera = "opencv"
    config = { index_or_path = 0, width = 640, height = 480, fps = 30 }
"""

from __future__ import annotations

import contextlib
import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from typing import Any

from ofp_edge.camera_parameters import CameraParameters
from ofp_edge.errors import CameraError, OfpError
from ofp_edge.runtime.camera import Clock, Frame
from ofp_edge.runtime.cameras.newest import Newest
from ofp_edge.runtime.cameras.shared import Place, SharedPictures
from ofp_edge.runtime.own_process import start_process
from ofp_edge.runtime.remarks import Remarks
from ofp_edge.runtime.robots.wire import decode, encode, pair, received
from ofp_edge.strict import read_as, shown

_END_S = 5.0
_POLL_S = 0.2


class RemoteCamera:
    """A camera in a process of its own; see `ofp_edge.runtime.camera.Camera`.

    `camera` is package.module:Class of the camera there, built with `options` and the rig's
    parameters. `python` is the interpreter of its environment, by default this one. `start_s` is
    how long it may take to its first frame. Its stamps are of the monotonic clock, which all
    processes of a machine share.
    """

    def __init__(
        self,
        name: str,
        clock: Clock,
        parameters: Mapping[str, Any],
        *,
        camera: str,
        options: dict[str, Any] | None = None,
        python: str = sys.executable,
        start_s: float = 60.0,
    ) -> None:
        self.check(name, camera=camera, options=options, python=python, start_s=start_s)
        self.name, self.remarks, self.noise_free = name, Remarks(), False
        self._start: dict[str, Any] = {"name": name, "camera": camera, "options": options or {},
                       "parameters": dict(parameters)}  # fmt: skip
        self._what, self._python, self._start_s = camera, python, start_s
        self._parameters: CameraParameters | None = None
        self._newest, self._untold = Newest(name), _Untold()
        self._process: subprocess.Popen[bytes] | None = None
        self._thread: threading.Thread | None = None

    @staticmethod
    def check(
        name: str, *, camera: str, options: Any = None, python: str = "", start_s: float = 60.0
    ) -> None:
        """Raise CameraError, one line, for options that no camera can be started with."""
        said = f"camera {name!r}: options: "
        if ":" not in camera:
            raise CameraError(f"{said}camera: expected package.module:Class, got {shown(camera)}.")
        if not 0 < start_s < float("inf"):
            raise CameraError(f"{said}start_s: expected seconds, got {shown(start_s)}.")
        try:
            json.dumps(options, allow_nan=False)
        except (TypeError, ValueError) as cause:
            raise CameraError(
                f"{said}options: {cause}. Numbers, texts and lists can cross."
            ) from None

    @property
    def parameters(self) -> CameraParameters:
        """Those that the camera there has; known once started."""
        if self._parameters is None:
            raise CameraError(f"camera {self.name!r} has not been started.")
        return self._parameters

    def start(self) -> None:
        """Start the process and wait for its first frame. Raises CameraError, one line."""
        self._newest.clear()
        self._socket, theirs = pair()
        self._process = start_process(
            self._python, "ofp_edge.runtime.cameras.host", theirs, self._socket, CameraError
        )
        self._thread = threading.Thread(target=self._receive, name=f"camera {self.name}",
                                        daemon=True)  # fmt: skip
        deadline = time.monotonic() + self._start_s
        try:
            with contextlib.suppress(ConnectionError):  # it has ended: the thread hears how
                self._socket.send(encode("start", **self._start))
            self._thread.start()
            while not (self._newest.there or self._newest.trouble) and time.monotonic() < deadline:
                time.sleep(0.005)
            if self._newest.trouble:
                self._newest.take(0)  # raises it
            if not self._newest.there:
                raise CameraError(
                    f"camera {self.name!r}: {self._what}: no frame within {self._start_s:g} s."
                )
        except BaseException:  # a signal, too, leaves no process behind
            self.close()
            raise

    def read(self, timeout_ms: float) -> Frame | None:
        """Return the newest frame not returned yet, or None after `timeout_ms`."""
        try:
            return self._newest.take(timeout_ms)
        finally:
            self._untold.tell(self.remarks)

    def close(self) -> None:
        """End its process, which closes the camera first. Idempotent."""
        process, self._process = self._process, None
        if process is None:
            return
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_WR)
        if self._parameters is None:
            process.terminate()  # it may be in the middle of its imports
        try:
            process.wait(timeout=_END_S)
        except subprocess.TimeoutExpired:
            process.kill()
        process.wait()
        if self._thread is not None and self._thread.is_alive():
            self._thread.join(_END_S)
        self._socket.close()

    def _receive(self) -> None:
        process, pictures = self._process, None
        assert process is not None
        with self._socket.dup() as line:
            line.settimeout(_POLL_S)
            try:
                while True:
                    try:
                        message, handle = received(line)
                    except (TimeoutError, BlockingIOError):
                        if process.poll() is not None:  # a child of its keeps the socket open
                            break
                        continue
                    except ConnectionResetError:
                        continue  # said once; what it had said before is still there
                    if not message:
                        break
                    kind, values, _ = decode(message)
                    if kind == "started" and pictures is None:
                        pictures = SharedPictures.received(handle, values.get("place_bytes"))
                        self.noise_free = values.get("noise_free") is True
                        self._parameters = CameraParameters.from_json(values.get("parameters"))
                    elif kind == "frame" and pictures is not None:
                        place = read_as(Place, values, "its frame", CameraError)
                        self._newest.put(pictures.take(place, self.parameters))
                        with contextlib.suppress(OSError):  # it has ended
                            line.send(encode("free", number=place.number))
                    elif kind == "remark":
                        self._untold.add(values.get("what"), values.get("detail"))
                    elif kind == "error" and isinstance(said := values.get("line"), str):
                        self._newest.fail(said.removeprefix(f"camera {self.name!r}: "))
                    else:
                        raise CameraError(f"an unknown message from its process: {shown(kind)}.")
            except (OSError, OfpError) as cause:
                self._newest.fail(str(cause))
            finally:
                if pictures is not None:
                    pictures.close()
        code = process.poll()
        ended = "" if code is None else f" with exit code {code}"
        self._newest.fail(f"its process has ended{ended}. Its words are above.")


class _Untold:
    """Remarks of the camera there, on their way to the thread that reads."""

    def __init__(self) -> None:
        self._said: list[tuple[str, str]] = []

    def add(self, what: Any, detail: Any) -> None:
        if not isinstance(what, str) or not isinstance(detail, str):
            raise CameraError(f"a remark that can't be read: {shown(what)}, {shown(detail)}.")
        self._said.append((what, detail))

    def tell(self, remarks: Remarks) -> None:
        while self._said:
            remarks.say(*self._said.pop(0))
