"""Decode a layout's packed image, JPEG or PNG, whose size is known before it is unpacked."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ofp_edge.errors import DatasetError
from ofp_edge.extras import require
from ofp_edge.image_size import image_size
from ofp_edge.outside import said_by

_STARTS = {"JPEG": b"\xff\xd8\xff", "PNG": b"\x89PNG\r\n\x1a\n"}
_MOST_PIXELS = 1 << 26


def decode_image(
    data: bytes, where: str, kinds: Sequence[str], size: tuple[int, int] | None = None
) -> NDArray[np.uint8]:
    """Return (H, W, 3) uint8, colours in file order. kinds: JPEG, PNG. size: (H, W) it must have.

    Raises DatasetError, beginning with `where`, for anything else.
    """
    kind = next((x for x in kinds if data.startswith(_STARTS[x])), None)
    found = image_size(data) if kind else None
    if kind is None or found is None:
        raise DatasetError(f"{where}: no {' or '.join(kinds)}.")
    if found[0] * found[1] > _MOST_PIXELS or (size is not None and found != size):
        expected = f"{size[1]} x {size[0]}" if size else f"at most {_MOST_PIXELS} pixels"
        raise DatasetError(f"{where}: an image of {found[1]} x {found[0]}, expected {expected}.")
    codecs = require("imagecodecs", "data")
    with said_by(f"{where}: no {kind}", DatasetError):
        image = np.asarray(codecs.jpeg_decode(data) if kind == "JPEG" else codecs.png_decode(data))
    if image.dtype != np.uint8 or image.shape != (*found, 3):
        raise DatasetError(f"{where}: {image.shape} {image.dtype}, expected colours in uint8.")
    return image
