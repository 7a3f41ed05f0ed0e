"""Shrink a colour frame to a small image of fixed size: the one implementation, used everywhere.

Outside the network an image is uint8 (3, H, W); `as_input` makes the float32 0..1 that the network
takes, at the one place where its input is written. Both are exact: sums of whole numbers and one
rounding, so training and every robot see the same bits.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ofp_edge.errors import SpecMismatch

UNIT = np.float32(1 / 255)


class ColorImage:
    """Crops and shrinks colour frames of one size.

    width, height: of the frames, pixels. shape: (3, H, W) of the result. The largest centred part
    of the result's aspect ratio is kept; each of its pixels is the mean of a box of the frame's
    (boxes end on whole pixels, so between an exact ratio and the next they differ by one), or the
    nearest one where the frame is the smaller. Not thread-safe.
    """

    def __init__(self, width: int, height: int, shape: tuple[int, ...]) -> None:
        self.shape, self._frame = shape, (height, width, 3)
        _, rows, columns = shape
        kept_h = min(height, round(width * rows / columns))
        kept_w = min(width, round(height * columns / rows))
        top, left = (height - kept_h) // 2, (width - kept_w) // 2
        self._kept = slice(top, top + kept_h), slice(left, left + kept_w)
        self._copied = (kept_h, kept_w) == (rows, columns)
        self._rows = np.arange(rows) * kept_h // rows
        self._columns = np.arange(columns) * kept_w // columns
        boxes_h = np.maximum(1, np.diff(self._rows, append=kept_h))
        boxes_w = np.maximum(1, np.diff(self._columns, append=kept_w))
        self._area = (boxes_h[:, None] * boxes_w)[:, :, None].astype(np.uint32)

    def __call__(
        self, color: NDArray[np.uint8], out: NDArray[np.uint8] | None = None
    ) -> NDArray[np.uint8]:
        """Shrink a frame (H0, W0, 3) uint8 to (3, H, W) uint8, into `out` if given.

        Raises SpecMismatch when the frame is of another size or type.
        """
        if color.shape != self._frame or color.dtype != np.uint8:
            got = f"{color.shape} {color.dtype}"
            raise SpecMismatch("colour frame", f"{self._frame} uint8", got)
        if out is None:
            out = np.empty(self.shape, dtype=np.uint8)
        kept = color[self._kept]
        if not self._copied:
            # A box that begins where the next one does is its own first pixel: the nearest.
            sums = np.add.reduceat(kept, self._rows, axis=0, dtype=np.uint32)
            sums = np.add.reduceat(sums, self._columns, axis=1)
            kept = ((2 * sums + self._area) // (2 * self._area)).astype(np.uint8)
        out[:] = kept.transpose(2, 0, 1)
        return out


def as_input(values: NDArray[Any], out: NDArray[Any] | None = None) -> NDArray[Any]:
    """Turn a stored field into the network's input, in `out` if given: uint8 becomes 0..1, the rest
    is unchanged."""
    if values.dtype == np.uint8:
        return np.asarray(np.multiply(values, UNIT, out=out, dtype=np.float32))
    if out is not None:
        np.copyto(out, values)
    return values
