"""Pictures in the log, for people: what each camera saw, small, once a second.

The network's own inputs are in /observation; nothing is ever computed from these pictures.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ofp_edge.runtime.camera import Frame

_EVERY_NS = 10**9
_WIDTH = 96  # at most


class Thumbnails:
    """The pictures that are due, for one thread."""

    def __init__(self) -> None:
        self._last_ns: dict[str, int] = {}

    def due(self, frames: Mapping[str, Frame]) -> Iterator[tuple[str, int, dict[str, Any]]]:
        """Yield (topic, capture time, row) for each camera whose last picture is a second old."""
        for camera, frame in frames.items():
            t_ns, last_ns = frame.t_capture_ns, self._last_ns.get(camera)
            if last_ns is None or abs(t_ns - last_ns) >= _EVERY_NS:
                self._last_ns[camera] = t_ns
                yield f"/thumbnail/{camera}", t_ns, raw_image(camera, frame)


def raw_image(camera: str, frame: Frame) -> dict[str, Any]:
    """Return a row of foxglove.RawImage: every so many pixels, in colour if there is some, else
    raw depth.

    `timestamp` is the capture time on the monotonic clock.
    """
    whole = frame.depth if frame.color is None else frame.color
    every = -(-whole.shape[1] // _WIDTH)
    small = whole[::every, ::every]
    sec, nsec = divmod(frame.t_capture_ns, 10**9)
    return {
        "timestamp": {"sec": sec, "nsec": nsec},
        "frame_id": camera,
        "width": small.shape[1],
        "height": small.shape[0],
        "encoding": "16UC1" if frame.color is None else "rgb8",
        "step": small.shape[1] * small.itemsize * (small.shape[2] if small.ndim == 3 else 1),
        "data": small.astype(small.dtype.newbyteorder("<")).tobytes(),
    }
