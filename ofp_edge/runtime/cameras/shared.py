"""Pictures in memory that two processes see: places of one size, each written, said, copied, freed.

The memory has no name (memfd), so it is gone with the two processes however they end, and it is
sealed against shrinking, so that no end of the other one can make a read fail.
"""

from __future__ import annotations

import contextlib
import fcntl
import math
import mmap
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ofp_edge.camera_parameters import CameraParameters
from ofp_edge.errors import CameraError
from ofp_edge.runtime.camera import Frame

PLACES = 3
"""One that is being written, one that is being copied, one between them."""
_LARGEST_BYTES = 1 << 28
_PAGE = mmap.PAGESIZE
_KINDS: Mapping[str, tuple[type[np.generic], int]] = {
    "depth": (np.uint16, 2),
    "color": (np.uint8, 3),
    "raw depth": (np.uint16, 2),
    "raw color": (np.uint8, 3),
}


@dataclass(frozen=True)
class Place:
    """A frame in the memory. number: which place. parts: (name, shape), one behind the other in
    their order: depth, color, "raw depth", "raw color"; depth that is not there is unknown
    everywhere. The rest is the Frame's."""

    number: int
    parts: tuple[tuple[str, tuple[int, ...]], ...]
    t_capture_ns: int
    sequence: int
    t_color_ns: int | None

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return asdict(self)


def parts_of(frame: Frame) -> dict[str, NDArray[Any]]:
    """Return the pictures of a frame that say something, by name. Raises CameraError where one is
    of another type or form than a Frame's."""
    given = {"depth": frame.depth, "color": frame.color,
             **{f"raw {stream}": x for stream, x in frame.raw.items()}}  # fmt: skip
    parts = {}
    for name, picture in given.items():
        if picture is None or (name == "depth" and not picture.any()):
            continue
        kind, axes = _KINDS.get(name, (np.uint8, 0))
        if picture.dtype != kind or picture.ndim not in (axes, 2):
            raise CameraError(
                f"{name}: expected {axes} axes of {np.dtype(kind)}, got {picture.shape} of "
                f"{picture.dtype}."
            )
        parts[name] = picture
    return parts


class SharedPictures:
    """The memory. The end that made it writes, the end that received it reads."""

    def __init__(self, handle: int, place_bytes: int, *, writable: bool) -> None:
        self.handle, self.place_bytes = handle, place_bytes
        access = mmap.ACCESS_WRITE if writable else mmap.ACCESS_READ
        self._memory = mmap.mmap(handle, place_bytes * PLACES, access=access)
        self._free = set(range(PLACES))

    @staticmethod
    def made(largest_bytes: int) -> SharedPictures:
        """Make memory for frames of at most so many bytes. Raises CameraError beyond 256 MiB."""
        place_bytes = -(-max(largest_bytes, 1) // _PAGE) * _PAGE
        if place_bytes > _LARGEST_BYTES:
            raise CameraError(f"a frame of {largest_bytes} bytes, more than {_LARGEST_BYTES}.")
        handle = os.memfd_create("pictures", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        os.ftruncate(handle, place_bytes * PLACES)
        fcntl.fcntl(handle, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW)
        return SharedPictures(handle, place_bytes, writable=True)

    @staticmethod
    def received(handle: int | None, place_bytes: Any) -> SharedPictures:
        """Take the memory that came with a message. Raises CameraError when it is not as `made`
        makes it."""
        if handle is None:
            raise CameraError("a message that can't be read: pictures without their memory.")
        sealed = fcntl.fcntl(handle, fcntl.F_GET_SEALS) & fcntl.F_SEAL_SHRINK
        whole = type(place_bytes) is int and 0 < place_bytes <= _LARGEST_BYTES
        if not (sealed and whole and os.fstat(handle).st_size == place_bytes * PLACES):
            os.close(handle)
            raise CameraError("a message that can't be read: memory of another size than said.")
        return SharedPictures(handle, place_bytes, writable=False)

    def put(self, frame: Frame) -> Place | None:
        """Write a frame into a free place, or return None where there is none: the reader is behind
        and a newer one comes. Raises CameraError where the frame is larger than the places."""
        parts = parts_of(frame)
        size = sum(x.nbytes for x in parts.values())
        if size > self.place_bytes:
            raise CameraError(f"its pictures have grown to {size} bytes while it streams.")
        if not self._free:
            return None
        number = self._free.pop()
        at = number * self.place_bytes
        for picture in parts.values():
            into = np.frombuffer(self._memory, picture.dtype, picture.size, at)
            into.reshape(picture.shape)[...] = picture
            at += picture.nbytes
        shapes = tuple((name, picture.shape) for name, picture in parts.items())
        color_ns = None if frame.t_color_ns is None else int(frame.t_color_ns)
        return Place(number, shapes, int(frame.t_capture_ns), int(frame.sequence), color_ns)

    def free(self, number: Any) -> None:
        """Let a place be written again. Raises CameraError for one that there is not."""
        if type(number) is not int or not 0 <= number < PLACES:
            raise CameraError(f"a place for pictures: expected 0..{PLACES - 1}, got {number!r}.")
        self._free.add(number)

    def take(self, place: Place, parameters: CameraParameters) -> Frame:
        """Copy a frame out. Raises CameraError where it does not fit its place."""
        if not 0 <= place.number < PLACES:
            raise CameraError(f"its frame lies in place {place.number} of {PLACES}.")
        at, end = place.number * self.place_bytes, (place.number + 1) * self.place_bytes
        found: dict[str, NDArray[Any]] = {}
        for name, shape in place.parts:
            kind, axes = _KINDS.get(name, (np.uint8, 0))
            size = math.prod(shape) * np.dtype(kind).itemsize
            if len(shape) not in (axes, 2) or min(shape) < 1 or at + size > end or name in found:
                raise CameraError(f"its frame has {name!r} of the shape {shape}.")
            count = math.prod(shape)
            found[name] = np.frombuffer(self._memory, kind, count, at).reshape(shape).copy()
            at += size
        depth = found.get("depth")
        if depth is None:
            depth = np.zeros((parameters.height, parameters.width), np.uint16)
        raw = {key.removeprefix("raw "): x for key, x in found.items() if key.startswith("raw ")}
        return Frame(depth, found.get("color"), place.t_capture_ns, place.sequence,
                     place.t_color_ns, raw)  # type: ignore[arg-type]  # fmt: skip

    def close(self) -> None:
        """Let go of the memory. Idempotent."""
        if self.handle >= 0:
            with contextlib.suppress(BufferError):  # an error's trace still sees a picture in it
                self._memory.close()
            os.close(self.handle)
            self.handle = -1
