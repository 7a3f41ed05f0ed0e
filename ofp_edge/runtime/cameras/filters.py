"""The SDK's depth filters, always in the one order that works, with one chain for each camera.

    decimation -> depth to disparity -> spatial -> temporal -> disparity to depth -> hole filling

Spatial and temporal filters belong in disparity, where noise is even over distance. The temporal
filter smears what moves. Decimation changes the intrinsics, so the camera reads them off a filtered
frame. The policy has to be trained on depth that was filtered in the same way.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ofp_edge.errors import CameraError
from ofp_edge.runtime.cameras.sdk import realsense

_ORDER = ("decimation", "spatial", "temporal", "hole_filling")


class FilterChain:
    """A chain built from the rig's `filters`, e.g. { decimation = 2, spatial = {}, temporal = {
    alpha = 0.4 }, hole_filling = {} }. A value is a number, which is decimation's magnitude, or a
    table of the SDK's own options (filter_magnitude, filter_smooth_alpha, ... or short: magnitude,
    alpha, delta)."""

    def __init__(self, camera: str, filters: Mapping[str, Any]) -> None:
        if unknown := sorted(set(filters) - set(_ORDER)):
            raise CameraError(
                f"camera {camera!r}: filters: unknown {unknown[0]!r}. Known: {', '.join(_ORDER)}."
            )
        self.decimates = "decimation" in filters
        self.names: list[str] = []
        self._steps: list[Any] = []
        if not filters:
            return
        rs = realsense()
        disparity = "spatial" in filters or "temporal" in filters
        for name in _ORDER:
            if name == "spatial" and disparity:
                self._add("depth to disparity", rs.disparity_transform(True))
            if name in filters:
                made = getattr(rs, f"{name}_filter")()
                self._set(camera, name, made, filters[name])
                self._add(name, made)
            if name == "temporal" and disparity:
                self._add("disparity to depth", rs.disparity_transform(False))

    def process(self, frameset: Any) -> Any:
        """Return the frameset with its depth filtered."""
        for step in self._steps:
            frameset = step.process(frameset)
        return frameset.as_frameset() if self._steps else frameset

    def _add(self, name: str, step: Any) -> None:
        self.names.append(name)
        self._steps.append(step)

    def _set(self, camera: str, name: str, made: Any, values: Any) -> None:
        rs = realsense()
        if isinstance(values, (int, float)) and not isinstance(values, bool):
            values = {"magnitude": values}
        if not isinstance(values, Mapping):
            raise CameraError(
                f"camera {camera!r}: filters.{name}: expected a table or a number, got {values!r}."
            )
        for key, value in values.items():
            names = (f"filter_{key}", f"filter_smooth_{key}", key)
            known = [getattr(rs.option, name) for name in names if hasattr(rs.option, name)]
            found = [option for option in known if rs.options.supports(made, option)]
            if not found:
                raise CameraError(f"camera {camera!r}: filters.{name}: no option {key!r}.")
            try:
                made.set_option(found[0], float(value))
            except (RuntimeError, TypeError, ValueError) as cause:
                raise CameraError(
                    f"camera {camera!r}: filters.{name}.{key} = {value!r}: {cause}"
                ) from None
