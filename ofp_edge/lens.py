"""A camera's lens, pinhole and distortion as the RealSense SDK names them; straightens pixels."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ofp_edge.errors import SpecMismatch

MODELS = ("none", "brown_conrady", "inverse_brown_conrady", "modified_brown_conrady")
"""The distortion models. brown_conrady is OpenCV's, with k1, k2, p1, p2, k3. In the other two the
tangential part is made from the radially bent point; the SDK projects both alike. Any further model
will do as long as all its coefficients are 0."""
_ROUNDS = 20  # of the fixed-point iteration; ten are the SDK's own


@dataclass(frozen=True)
class Lens:
    """Intrinsics of one image: focal lengths and centre in pixels, five distortion coefficients."""

    width: int
    height: int
    fx: float
    fy: float
    cx: float
    cy: float
    model: str = "none"
    coefficients: tuple[float, ...] = (0.0,) * 5

    def __post_init__(self) -> None:
        for name in ("width", "height", "fx", "fy"):
            value = getattr(self, name)
            if not (_is_number(value) and value > 0):
                raise SpecMismatch(f"lens, {name}", "a positive number", repr(value))
        if not (_is_number(self.cx) and _is_number(self.cy)):
            raise SpecMismatch("lens, cx and cy", "numbers", repr((self.cx, self.cy)))
        if len(self.coefficients) != 5 or not all(map(_is_number, self.coefficients)):
            raise SpecMismatch("lens, coefficients", "5 numbers", self.coefficients)
        if any(self.coefficients) and self.model not in MODELS:
            raise SpecMismatch("lens, distortion model", f"one of {', '.join(MODELS)}", self.model)

    @property
    def matrix(self) -> NDArray[np.float64]:
        """Return the pinhole alone, (3, 3): it holds for straightened pixels."""
        return np.array([[self.fx, 0, self.cx], [0, self.fy, self.cy], [0, 0, 1]], dtype=np.float64)

    def straighten(self, pixels: NDArray[Any]) -> NDArray[np.float64]:
        """Return where an ideal pinhole would have seen these pixels: (n, 2) x, y to (n, 2)."""
        pixels = np.asarray(pixels, dtype=np.float64).reshape(-1, 2)
        if self.model == "none" or not any(self.coefficients):
            return pixels
        focal, centre = np.array([self.fx, self.fy]), np.array([self.cx, self.cy])
        seen = (pixels - centre) / focal
        ideal = seen
        for _ in range(_ROUNDS):
            factor, shift = self._bend(ideal)
            ideal = (seen - shift) / factor
        return np.asarray(ideal * focal + centre)

    def _bend(self, at: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Radial factor (n, 1) and tangential shift (n, 2)."""
        k1, k2, p1, p2, k3 = self.coefficients
        r2 = (at * at).sum(axis=1)
        factor = 1 + r2 * (k1 + r2 * (k2 + r2 * k3))
        x, y = at.T if self.model == "brown_conrady" else at.T * factor
        shift = [2 * p1 * x * y + p2 * (r2 + 2 * x * x), 2 * p2 * x * y + p1 * (r2 + 2 * y * y)]
        return factor[:, None], np.stack(shift, axis=1)

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values; `read_as` is the inverse."""
        return {**asdict(self), "coefficients": list(self.coefficients)}


def _is_number(value: Any) -> bool:
    plain = isinstance(value, (int, float)) and not isinstance(value, bool)
    return plain and math.isfinite(value)
