"""Write a small picture as PNG, with nothing but zlib."""

from __future__ import annotations

import base64
import struct
import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray


def png(picture: NDArray[np.uint8]) -> bytes:
    """Return a PNG of (H, W, 3) RGB or (H, W) grey, uint8."""
    height, width = picture.shape[:2]
    colour = 2 if picture.ndim == 3 else 0
    rows = np.ascontiguousarray(picture).reshape(height, -1)
    plain = np.hstack([np.zeros((height, 1), np.uint8), rows]).tobytes()  # each row unfiltered
    head = struct.pack(">IIBBBBB", width, height, 8, colour, 0, 0, 0)
    parts = ((b"IHDR", head), (b"IDAT", zlib.compress(plain, 6)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(*part) for part in parts)


def shown(picture: NDArray[Any]) -> NDArray[np.uint8]:
    """Return a picture for people: colour as it is; raw depth as grey, near is light, unknown
    black."""
    if picture.dtype == np.uint8:
        return picture
    known = picture[picture > 0]
    if not known.size:
        return np.zeros(picture.shape, np.uint8)
    low, high = (float(np.percentile(known, p)) for p in (1, 99))
    near = np.clip((high - picture.astype(np.float64)) / max(high - low, 1.0), 0.0, 1.0)
    return np.where(picture > 0, 40 + 215 * near, 0).astype(np.uint8)


def data_uri(picture: NDArray[Any]) -> str:
    """Return a picture as a URI to put into a page."""
    return f"data:image/png;base64,{base64.b64encode(png(shown(picture))).decode('ascii')}"


def _chunk(kind: bytes, data: bytes) -> bytes:
    check = zlib.crc32(kind + data)
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", check)
