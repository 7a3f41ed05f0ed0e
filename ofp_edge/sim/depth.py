"""Depth as a camera gives it: whole numbers of its unit."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

_MAX_RAW = 65535


def quantise(depth_m: NDArray[Any], unit_m: float) -> NDArray[np.uint16]:
    """Convert metres (H, W) to raw uint16, rounded; 0 ("unknown") stands for what the range cannot
    hold."""
    raw = np.rint(depth_m / unit_m)
    return np.where(raw <= _MAX_RAW, raw, 0).astype(np.uint16)
