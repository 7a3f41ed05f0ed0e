"""A camera of your own in one file (ZED, OAK, CSI, a file): copy it, put your SDK where the
comments say.

    [cameras.front]
    driver = "my_camera:MyCamera"
    [cameras.front.options]
    width = 640
    height = 480
    [cameras.front.parameters]             # where it stands, for points; images do without it
    T_base_camera = [[1, 0, 0, 0], [0, -1, 0, 0.5], [0, 0, -1, 0.8], [0, 0, 0, 1]]

Here the "sensor" is noise over a slope.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

import numpy as np

from ofp_edge.camera_parameters import CameraParameters
from ofp_edge.runtime.camera import Clock, Frame


class MyCamera:
    """Keeps the newest frame in a thread of its own, so that `read` waits for no cable."""

    def __init__(
        self, name: str, clock: Clock, parameters: Mapping[str, Any], *,
        width: int = 640, height: int = 480, rate_hz: float = 30.0,
    ) -> None:  # fmt: skip
        self.name, self._clock, self._period_s = name, clock, 1 / rate_hz
        # Here: ask your SDK for the intrinsics (pixels) and for metres of one depth unit.
        known: dict[str, Any] = {"fx": width, "fy": width, "cx": width / 2, "cy": height / 2}
        if "T_base_camera" in parameters:
            known["base_frame"] = "base"
        nothing = CameraParameters.unknown(width, height).to_json()
        self.parameters = CameraParameters.from_json({**nothing, **known, **parameters})
        self._fresh, self._newest, self._over = threading.Condition(), None, threading.Event()
        self._thread = threading.Thread(target=self._capture, name=f"camera {name}", daemon=True)

    def start(self) -> None:
        """Open the device here; raise CameraError, one line, when it is not there."""
        self._thread.start()

    def read(self, timeout_ms: float) -> Frame | None:
        """The newest frame if nobody has had it yet; else wait, and None after `timeout_ms`."""
        with self._fresh:
            self._fresh.wait_for(lambda: self._newest is not None, timeout_ms / 1e3)
            frame, self._newest = self._newest, None
        return frame

    def close(self) -> None:
        """Stop streaming. Idempotent."""
        self._over.set()
        if self._thread.is_alive():
            self._thread.join(2)

    def _capture(self) -> None:
        rng, p, number = np.random.default_rng(0), self.parameters, 0
        slope = np.linspace(500, 1500, p.height)[:, None]
        while not self._over.wait(self._period_s):
            # Here: take a frame from your SDK; copy it, as the SDK will use the memory again.
            depth = (slope + rng.normal(size=(p.height, p.width))).astype(np.uint16)
            color = np.repeat((depth // 8).astype(np.uint8)[:, :, None], 3, axis=2)
            # Here: when the sensor saw it, by time.monotonic_ns(): the middle of its exposure.
            t_capture_ns, number = self._clock(), number + 1
            with self._fresh:
                self._newest = Frame(depth, color, t_capture_ns, number)
                self._fresh.notify()
