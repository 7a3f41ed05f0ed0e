"""The camera interface that the loop expects; a rig's [cameras.<name>] entry becomes a camera."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ofp_edge.camera_parameters import CameraParameters
from ofp_edge.fields.field import Stream as Stream

Clock = Callable[[], int]
"""A clock in nanoseconds that never goes back: time.monotonic_ns, or simulated in evaluation."""


@dataclass(frozen=True)
class Frame:
    """One capture, copied out of the SDK: it does not change.

    depth: (H, W) uint16, raw (times `depth_unit_m` = metres along the optical axis; 0 = unknown).
    color: (H, W, 3) uint8 RGB seen from the depth camera, or None. A camera that only images are
    made from may give its colour sensor's own image instead.
    t_capture_ns: when the scene looked like this, on the loop's clock, a whole number.
    sequence: the camera's frame number; it rises, and gaps are frames that nobody read.
    t_color_ns: when colour saw it, where that was not when depth did.
    raw: what a stream's sensor gave, where filters or alignment made something else of it: a
    frozen image is known by the noise that it does not have.
    """

    depth: NDArray[np.uint16]
    color: NDArray[np.uint8] | None
    t_capture_ns: int
    sequence: int
    t_color_ns: int | None = None
    raw: Mapping[Stream, NDArray[Any]] = field(default_factory=dict, repr=False)

    def stamp_ns(self, stream: Stream) -> int:
        """Return the capture time of one of its streams."""
        of_color = stream == "color" and self.t_color_ns is not None
        return self.t_color_ns if of_color else self.t_capture_ns  # type: ignore[return-value]


class Camera(Protocol):
    """A depth camera. `start`, `read` and `close` are called by one thread at a time: in a run
    `read` by the planner's, which it may keep waiting while it brings the camera back.

    `parameters` is known from `start` on. The class named in the rig is built as
    `Class(name=str, clock=Clock, parameters=dict, **options)`. One whose pictures have no noise (a
    simulator, a recording) has an attribute `noise_free`, True: what it shows may stand still. One
    that has something to say of its frames keeps it in an attribute `remarks` (Remarks).
    """

    @property
    def parameters(self) -> CameraParameters:
        """Return intrinsics, depth unit and pose of the image the policy reads, usually depth."""
        ...

    def start(self) -> None:
        """Begin to stream. Raises CameraError, one line."""
        ...

    def read(self, timeout_ms: float) -> Frame | None:
        """Return the newest frame if it is newer than the last one returned; else wait for one.

        None when none came within `timeout_ms` (0 = do not wait). An old frame is never returned
        as new. Raises CameraError when the camera is gone.
        """
        ...

    def close(self) -> None:
        """Stop streaming. Idempotent."""
        ...


CAMERA_METHODS = ("start", "read", "close")
