"""A V4L2 camera (a webcam), read by OpenCV: it gives colour alone, keeps the newest, and is never
waited for.

A thread takes every frame when it comes and keeps the newest. The driver's own timestamp is on the
monotonic clock, so it is used where it makes sense; else a frame is as old as its arrival.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ofp_edge.camera_parameters import CameraParameters
from ofp_edge.errors import CameraError
from ofp_edge.extras import require
from ofp_edge.runtime.camera import Clock, Frame
from ofp_edge.runtime.cameras.newest import Newest
from ofp_edge.runtime.cameras.stated import no_depth, require_stated, stated_parameters
from ofp_edge.runtime.remarks import Remarks

_PLAUSIBLE_NS = 1_000_000_000
_PAUSE_S = 0.5


class V4l2Camera:
    """A webcam; see `ofp_edge.runtime.camera.Camera`. Its frames have no depth (all 0: unknown).

    `parameters` are fx, fy, cx, cy (pixels), T_base_camera and base_frame ("base"), or nothing: a
    webcam knows none of them, and images need none. `device` is "/dev/video0" or its number.
    `width`, `height` and `fps` of 0 leave the driver's choice. `fourcc` is the pixel format, e.g.
    "MJPG", which USB 2 needs for more than VGA. For `delivery_ms` see RealSenseCamera. A device
    without a frame for `restart_after_ms` is opened anew; after three tries `read` raises
    CameraError. `opened` is a function that opens it, for tests.
    """

    def __init__(
        self,
        name: str,
        clock: Clock,
        parameters: Mapping[str, Any],
        *,
        device: str | int,
        width: int = 0,
        height: int = 0,
        fps: float = 0.0,
        fourcc: str = "",
        delivery_ms: float = 0.0,
        restart_after_ms: float = 1000.0,
        opened: Callable[[], Any] | None = None,
    ) -> None:
        require_stated(name, parameters, "a V4L2 camera does not")
        if fourcc and len(fourcc) != 4:
            raise CameraError(f"camera {name!r}: fourcc: expected four letters, got {fourcc!r}.")
        self.name, self.remarks = name, Remarks()
        self._clock, self._own, self._device = clock, dict(parameters), device
        self._wanted = (width, height, fps, fourcc)
        self._open = opened or self._open_device
        self._delivery_ns = round(delivery_ms * 1e6)
        self._restart_after_ns = round(restart_after_ms * 1e6)
        self._parameters: CameraParameters | None = None
        self._newest = Newest(name)
        self._taken = 0
        self._running = False
        self._thread: threading.Thread | None = None

    @property
    def parameters(self) -> CameraParameters:
        """The rig's parameters, with the size of the images that come; known once started."""
        if self._parameters is None:
            raise CameraError(f"camera {self.name!r} has not been started.")
        return self._parameters

    def start(self) -> None:
        """Open the device and take its first frame. Raises CameraError when there is none."""
        capture = self._open()
        ok, image = capture.read()
        if not ok:
            capture.release()
            raise CameraError(
                f"camera {self.name!r}: {self._device} delivers no frames. Does another program "
                "use it?"
            )
        height, width = image.shape[:2]
        self._depth = no_depth(height, width)
        try:
            self._parameters = stated_parameters(self.name, self._own, width, height)
        except CameraError:
            capture.release()
            raise
        self._running = True
        self._newest.clear()
        self._thread = threading.Thread(
            target=self._keep_latest, args=(capture,), name=f"camera {self.name}", daemon=True
        )
        self._thread.start()

    def read(self, timeout_ms: float) -> Frame | None:
        """Return the newest frame not returned yet, or None after `timeout_ms`."""
        if self._parameters is None:
            raise CameraError(f"camera {self.name!r} has not been started.")
        return self._newest.take(timeout_ms)

    def close(self) -> None:
        """Stop; a driver that hangs is left behind. Idempotent."""
        self._running = False
        if self._thread is not None:
            self._thread.join(timeout=2.0)
            self._thread = None
        self._parameters = None

    def _open_device(self) -> Any:
        cv2 = require("cv2", "v4l2")
        device = self._device
        if isinstance(device, str) and not Path(device).exists():
            raise CameraError(
                f"camera {self.name!r}: {device} does not exist. Look at v4l2-ctl --list-devices."
            )
        capture = cv2.VideoCapture(device, cv2.CAP_V4L2)
        if not capture.isOpened():
            raise CameraError(
                f"camera {self.name!r}: {device} can't be opened as a V4L2 camera. "
                "Is your user in the group video?"
            )
        width, height, fps, fourcc = self._wanted
        settings = [
            (cv2.CAP_PROP_FOURCC, cv2.VideoWriter.fourcc(*fourcc) if fourcc else 0),
            (cv2.CAP_PROP_FRAME_WIDTH, width),
            (cv2.CAP_PROP_FRAME_HEIGHT, height),
            (cv2.CAP_PROP_FPS, fps),
        ]
        for key, value in settings:
            if value and not (capture.set(key, value) and round(capture.get(key)) == round(value)):
                got = capture.get(key)
                capture.release()
                raise CameraError(
                    f"camera {self.name!r}: {device}: expected {value:g}, got {got:g}. "
                    "v4l2-ctl --list-formats-ext shows what it can."
                )
        capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)
        return capture

    def _keep_latest(self, capture: Any) -> None:
        cv2 = require("cv2", "v4l2")
        tries, heard_ns = 0, self._clock()
        while self._running:
            ok = capture is not None and capture.grab()
            arrival_ns = self._clock()
            if ok:
                ok, image = capture.retrieve()
            if ok:
                tries, heard_ns = 0, arrival_ns
                self._taken += 1
                t_ns = self._captured(capture.get(cv2.CAP_PROP_POS_MSEC), arrival_ns)
                color = cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
                self._newest.put(Frame(self._depth, color, t_ns, self._taken))
            elif arrival_ns - heard_ns < self._restart_after_ns:
                time.sleep(0.005)
            elif tries == 3:
                self._newest.fail(
                    "no frames, nor after it was opened three times anew. Check the cable."
                )
                break
            else:
                tries, heard_ns = tries + 1, arrival_ns
                self.remarks.say("restart", f"{self._device} fell silent", again=True)
                capture = self._reopen(capture)
        if capture is not None:
            capture.release()

    def _reopen(self, capture: Any) -> Any:
        if capture is not None:
            capture.release()
        try:
            return self._open()
        except CameraError:
            time.sleep(min(_PAUSE_S, self._restart_after_ns / 1e9))
            return None

    def _captured(self, driver_ms: float, arrival_ns: int) -> int:
        """Return the driver's timestamp where it is on the monotonic clock, else the arrival."""
        t_ns = round(driver_ms * 1e6)
        if not 0 <= arrival_ns - t_ns < _PLAUSIBLE_NS:
            self.remarks.say(
                "no device timestamps",
                "the driver's are not of the monotonic clock: capture times are arrival times",
            )
            t_ns = arrival_ns
        return t_ns - self._delivery_ns
