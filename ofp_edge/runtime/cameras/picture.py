"""One picture of a webcam, for people who have to tell several apart."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from ofp_edge.errors import CameraError
from ofp_edge.extras import require
from ofp_edge.runtime.cameras.v4l2 import V4l2Camera

_SETTLES_S, _FRAME_MS = 0.7, 2000.0  # exposure begins anywhere


def take_picture(device: str, opened: Callable[[], Any] | None = None) -> bytes:
    """Return a picture of a V4L2 device as PNG, in the size that it chooses. Raises CameraError
    where it gives none, MissingExtra without OpenCV. opened: see V4l2Camera."""
    cv2 = require("cv2", "v4l2")
    camera = V4l2Camera(device, time.monotonic_ns, {}, device=device, opened=opened)
    try:
        camera.start()
        time.sleep(_SETTLES_S)
        frame = camera.read(_FRAME_MS)
    finally:
        camera.close()
    if frame is None or frame.color is None:
        raise CameraError(f"{device}: no frame within {_FRAME_MS / 1000:g} s.")
    _, packed = cv2.imencode(".png", cv2.cvtColor(frame.color, cv2.COLOR_RGB2BGR))
    return bytes(packed)
