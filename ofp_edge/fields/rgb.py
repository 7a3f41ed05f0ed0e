"""Rgb: a colour image, cropped and shrunk."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ofp_edge.errors import DatasetError
from ofp_edge.fields.field import Stream, Write
from ofp_edge.fields.measured import Measured
from ofp_edge.image import ColorImage


@dataclass(frozen=True)
class Rgb(Measured):
    """An image, which has shape (3, H, W), range 0..1, unit "1". Until the network reads it, it is
    uint8 (ofp_edge/image.py).

    In a dataset: data/rgb_<camera> (T, H0, W0, 3) uint8, as large as it was recorded.
    """

    kind: str = field(default="rgb", kw_only=True)
    sizes: ClassVar[tuple[int | str, ...] | None] = (3, "H", "W")
    whole_range: ClassVar[tuple[float, float] | None] = (0.0, 1.0)
    dtype: ClassVar[str] = "uint8"
    stream: ClassVar[Stream | None] = "color"
    part: ClassVar[str] = "rgb"
    measures: ClassVar[bool] = False
    frame_form: ClassVar[str] = "(H, W, 3)"
    frame_axes: ClassVar[int | None] = 3

    def preparation(self, camera: Any) -> Write:
        """Return the function from colour (H0, W0, 3) uint8 to the image."""
        return ColorImage(camera.width, camera.height, self.shape)

    def array(
        self, have: Collection[str], size: tuple[int, ...]
    ) -> tuple[str, tuple[int, ...], str]:
        """Return the camera's array."""
        return f"rgb_{self.camera}", (*size[:2], 3), "uint8"

    def recorded(
        self, block: NDArray[Any], columns: tuple[int, int] | None, where: str, first: int
    ) -> NDArray[Any]:
        """Return (n, H, W, 3) uint8. Floats are 0..255, as Diffusion Policy's PushT has them."""
        if block.dtype == np.uint8:
            return block
        if block.dtype.kind != "f" or not (0 <= block.min() and 1 < block.max() <= 255):
            raise DatasetError(
                f"{where}: colours are {block.dtype} {block.min():g}..{block.max():g}, expected "
                "uint8, or floats of 0..255."
            )
        return np.asarray(np.rint(block), np.uint8)
