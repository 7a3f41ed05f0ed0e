"""Decide which frames of a camera are news: by their streams' stamps, their number and their
content. Age and skew are the observer's concern (observer.py); a device's odd clock and numbers are
the camera's (cameras/frame_times.py)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ofp_edge.errors import CameraError
from ofp_edge.runtime.camera import Frame, Stream
from ofp_edge.runtime.remarks import Remarks

FROZEN_AFTER = 5
"""The number of equal pictures in a row that no sensor gives, where a rig says nothing else."""
_GLANCE = 8  # every so many rows and columns are looked at first
_SOMETHING = 0.01  # of the pixels: a dark image has some that shine
STREAM_NAMES: dict[Stream, str] = {"depth": "depth", "color": "colour"}


class FrozenImage:
    """Detects an image that repeats: sensors are noisy, so no two frames are the same.

    An image of nearly one value does not count: the lens is covered, or nothing is in reach. after:
    the number of equal images from which it reports; 0: never.
    """

    def __init__(self, after: int = FROZEN_AFTER) -> None:
        self._after = after
        self._last: NDArray[Any] | None = None
        self._glance: NDArray[Any] | None = None
        self._count = 0

    def __call__(self, image: NDArray[Any]) -> bool:
        """Return whether this image has come `after` times in a row, and shows something."""
        if not self._after:
            return False
        # A copy: a driver that fills one buffer over and over has not frozen.
        glance = image[::_GLANCE, ::_GLANCE].copy()
        same = (
            self._last is not None
            and self._glance is not None
            and np.array_equal(glance, self._glance)
            and np.array_equal(image, self._last)
            and _shows_something(image)
        )
        self._count = self._count + 1 if same else 1
        self._last, self._glance = image, glance
        return self._count >= self._after


def _shows_something(image: NDArray[Any]) -> bool:
    pixels = image.reshape(image.shape[0] * image.shape[1], -1)
    odd: NDArray[np.bool_] = (pixels != np.median(pixels, axis=0)).any(axis=1)
    return bool(odd.mean() >= _SOMETHING)


class Pictures:
    """Judges the frames of one camera, in the order in which they are taken. One thread.

    streams: those that the policy sees. remarks: receives each finding once.
    """

    def __init__(
        self, name: str, streams: tuple[Stream, ...], frozen_after: int, remarks: Remarks
    ) -> None:
        self.name, self.streams, self.remarks = name, streams, remarks
        self._frozen_after = frozen_after
        self._frozen = {stream: FrozenImage(frozen_after) for stream in streams}
        self._last: Frame | None = None

    def oldest_ns(self, frame: Frame) -> int:
        """Return when the oldest stream that the policy sees was captured."""
        return min(frame.stamp_ns(stream) for stream in self.streams)

    def newest_ns(self, frame: Frame) -> int:
        """Return when the newest stream that the policy sees was captured."""
        return max(frame.stamp_ns(stream) for stream in self.streams)

    def is_news(self, frame: Frame) -> bool:
        """Return whether every stream, and the frame number, is newer than what came before.

        Raises CameraError when a stamp is not a whole number of nanoseconds.
        """
        for stream in self.streams:
            self._check_stamp(stream, frame.stamp_ns(stream))
        last = self._last
        if last is None:
            self._last = frame
            return True
        same = [s for s in self.streams if frame.stamp_ns(s) <= last.stamp_ns(s)]
        if frame.sequence == last.sequence or len(same) == len(self.streams):
            return False
        if same:
            word = STREAM_NAMES[same[0]]
            self.remarks.say(f"repeated {word}", f"a new frame, but {word} of one before")
            return False
        self._last = frame
        return True

    def is_frozen(self, frame: Frame) -> bool:
        """Return whether one of its streams has shown the same picture too often."""
        frozen = False
        for stream in self.streams:
            raw = frame.raw.get(stream)
            image = raw if raw is not None else frame.color if stream == "color" else frame.depth
            if image is not None and self._frozen[stream](image):
                frozen = True
                self.remarks.say(
                    "frozen image",
                    f"new frames, but {self._frozen_after} times the same "
                    f"{STREAM_NAMES[stream]} bit for bit",
                )
        return frozen

    def late(self, frame: Frame, now_ns: int, most_ns: int) -> bool:
        """Return whether a stream is older than that; remark on it when another one is not."""
        late = [s for s in self.streams if now_ns - frame.stamp_ns(s) > most_ns]
        if late and len(late) < len(self.streams):
            word, age_ms = STREAM_NAMES[late[0]], (now_ns - frame.stamp_ns(late[0])) / 1e6
            self.remarks.say(f"late {word}", f"{age_ms:.0f} ms old in a frame that is newer")
        return bool(late)

    def forget(self) -> None:
        """Accept stamps and numbers that begin anew; what is frozen stays so."""
        self._last = None

    def _check_stamp(self, stream: Stream, stamp: object) -> None:
        if not isinstance(stamp, (int, np.integer)) or isinstance(stamp, bool):
            raise CameraError(
                f"camera {self.name!r}: capture time of {STREAM_NAMES[stream]}: expected whole "
                f"nanoseconds of the monotonic clock, got {stamp!r}."
            )
