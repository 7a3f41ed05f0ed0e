"""Points: a cloud that a depth camera sees inside a box."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ofp_edge.errors import SpecMismatch
from ofp_edge.fields.field import Stream, Write
from ofp_edge.fields.measured import Measured
from ofp_edge.fields.values import cloud, is_depth, numbers
from ofp_edge.preprocess import PointCloud


@dataclass(frozen=True)
class Points(Measured):
    """A cloud, which has shape (3, N) float32: planar x, y, z rows, in metres in `frame`.

    low..high is the crop box (3 values each): points outside it are dropped, and it is the range
    normalised to [-1, 1]. `origin`, if given, names the state field whose first three values are
    the position (metres, same frame) that the network sees the points from, as a rule the hand's:
    subtracted inside the network, after the crop.

    In a dataset: data/depth_<camera> (T, H, W) uint16, or data/points_<camera> (T, N, 3) float32
    where the data came with points instead of depth.
    """

    kind: str = field(default="points", kw_only=True)
    sizes: ClassVar[tuple[int | str, ...] | None] = (3, "N")
    stream: ClassVar[Stream | None] = "depth"
    part: ClassVar[str] = "points"
    places: ClassVar[bool] = True
    measures: ClassVar[bool] = False
    frame_form: ClassVar[str] = "(N, 3 or more)"
    frame_axes: ClassVar[int | None] = 2

    @property
    def input_shape(self) -> tuple[int, ...]:
        """The shape (1, 3, 1, N) that a two-dimensional convolution takes."""
        return (1, 3, 1, self.shape[1])

    def preparation(self, camera: Any) -> Write:
        """Return the function from depth (H, W) uint16 to the points inside the box. Raises
        SpecMismatch where nobody stated the camera's place."""
        if not camera.known:
            raise SpecMismatch(
                f"camera {self.camera!r}, place",
                f"T_base_camera in [cameras.{self.camera}.parameters], which points need",
                "none",
            )
        return PointCloud(camera, self.low, self.high, self.shape[1])

    def array(
        self, have: Collection[str], size: tuple[int, ...]
    ) -> tuple[str, tuple[int, ...], str]:
        """Return the points' array where they are stored or recorded, else the depth's."""
        name = f"points_{self.camera}"
        if name in have or not (have or is_depth(size)):
            return name, (self.shape[1], 3), "float32"
        return f"depth_{self.camera}", size, "uint16"

    def recorded(
        self, block: NDArray[Any], columns: tuple[int, int] | None, where: str, first: int
    ) -> NDArray[Any]:
        """Keep depth unchanged, and of points those inside the box."""
        if is_depth(block.shape[1:]):
            return block.astype(np.uint16)
        values = numbers(block, columns, where, first)
        return cloud(values, self.low, self.high, self.shape[1])

    def loading(self, array: str, camera: Any) -> Write:
        """Crop and deproject depth, or lay points in rows."""
        if array.startswith("depth"):
            return super().loading(array, camera)
        return lambda block, out: np.copyto(out, block.transpose(0, 2, 1))
