"""RealSenseCamera: the one class that turns SDK framesets into frames, whatever their source.

    source -> newest frameset -> (filters) -> (align colour to depth) -> copy out -> Frame

Depth is never resampled: aligning goes towards it, so that its pixels stay bit-exact.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ofp_edge.camera_parameters import CameraParameters, CameraTolerance
from ofp_edge.errors import CameraError, SpecMismatch
from ofp_edge.runtime.camera import Clock, Frame, Stream
from ofp_edge.runtime.cameras.filters import FilterChain
from ofp_edge.runtime.cameras.frame_times import FrameTimes, Stamp, read_stamp
from ofp_edge.runtime.cameras.recovery import RecoveringSource
from ofp_edge.runtime.cameras.sdk import one_line_errors, realsense
from ofp_edge.runtime.cameras.sensors import Sensors, read_sensors
from ofp_edge.runtime.cameras.sources import (
    SYNC_MODES,
    DeviceSource,
    RecordingSource,
    Source,
    Started,
)
from ofp_edge.runtime.cameras.stated import place
from ofp_edge.runtime.cameras.timestamps import TimestampMap
from ofp_edge.runtime.remarks import Remarks

_OWN_CALIBRATION = ("fx", "fy", "cx", "cy", "base_frame", "T_base_camera")
_OF_LENS = ("width", "height", "fx", "fy", "cx", "cy")
_FIRST_FRAME_MS = 5000.0


class RealSenseCamera:
    """A depth camera read through the RealSense SDK. See `ofp_edge.runtime.camera.Camera`.

    `parameters` are the rig's [cameras.<name>.parameters]. T_base_camera (4 rows of 4, metres) is
    what points need, and base_frame is "base" by default. fx, fy, cx, cy (pixels) replace what the
    device reports, which must agree within CameraTolerance's defaults: otherwise it is another
    camera or image size. `delivery_ms` is the quickest way from exposure to arrival, which no
    timestamp shows (a D435's depth is said to take about 9 ms; measure yours); it is subtracted
    from every capture time. With `align`, colour is seen from the depth camera and is black where
    there is no depth. Without it, colour is the colour sensor's own whole image, and `parameters`
    are that image's: T_base_camera is then the colour sensor's pose, and no points can be made. For
    `filters` see FilterChain. `remarks` holds what is odd about the frames.
    """

    def __init__(
        self,
        name: str,
        source: Source,
        clock: Clock,
        parameters: Mapping[str, Any],
        *,
        delivery_ms: float = 0.0,
        align: bool = True,
        filters: Mapping[str, Any] | None = None,
        remarks: Remarks | None = None,
    ) -> None:
        if unknown := sorted(set(parameters) - set(_OWN_CALIBRATION)):
            raise CameraError(
                f"camera {name!r}: unknown parameter {unknown[0]!r}. "
                f"Known: {', '.join(_OWN_CALIBRATION)}."
            )
        self.name = name
        self._source, self._clock, self._own = source, clock, dict(parameters)
        self.remarks = remarks or Remarks()
        even = not source.stamps_on_clock
        self.times = FrameTimes(self.remarks, round(delivery_ms * 1e6), even=even)
        self._color_map = TimestampMap(round(delivery_ms * 1e6))
        self._filters = FilterChain(name, filters or {})
        self._parameters: CameraParameters | None = None
        self._sensors: Sensors | None = None
        self._aligned, self._align = align, None
        # A recording may show the same again and again; so may a simulator.
        self.noise_free = not isinstance(source, RecoveringSource)

    @property
    def parameters(self) -> CameraParameters:
        """The intrinsics and depth unit from the SDK, and the pose from the rig; known once
        started."""
        if self._parameters is None:
            raise CameraError(f"camera {self.name!r} has not been started.")
        return self._parameters

    @property
    def sensors(self) -> Sensors:
        """The device's own calibration; known once started."""
        if self._sensors is None:
            raise CameraError(f"camera {self.name!r} has not been started.")
        return self._sensors

    @property
    def shows_color(self) -> bool:
        """Whether `parameters` are the colour sensor's, and not the depth sensor's."""
        return self._source.color and not self._aligned

    def start(self) -> None:
        """Begin to stream. Raises CameraError when there is no such camera, file or mode."""
        started = self._source.start(self.name)
        self.times.restart()
        try:
            if self._filters.decimates:
                started = started._replace(depth=self._decimated())
            self._parameters = self._read_parameters(started)
        except BaseException:
            self._source.close()
            raise
        if self._source.color and self._aligned:
            rs = realsense()
            self._align = rs.align(rs.stream.depth)

    def read(self, timeout_ms: float) -> Frame | None:
        """Return the newest frame not returned yet, or None after `timeout_ms`."""
        if self._parameters is None:
            raise CameraError(f"camera {self.name!r} has not been started.")
        deadline_s = time.monotonic() + timeout_ms / 1000
        left_ms = timeout_ms
        with one_line_errors(self.name, "Check the USB 3 link."):
            while True:
                frameset = self._source.newest(max(0.0, left_ms))
                if frameset is None:
                    return None
                frame = self._take(frameset)
                if frame is not None:
                    return frame
                left_ms = 1000 * (deadline_s - time.monotonic())

    def close(self) -> None:
        """Stop streaming. Idempotent."""
        self._source.close()
        self._parameters = self._sensors = None

    def _take(self, frameset: Any) -> Frame | None:
        """Copy a frameset out; return None when its depth frame is not newer than the last."""
        depth = frameset.get_depth_frame()
        arrival_ns = self._clock()
        stamp = read_stamp(depth)
        if not self.times.is_new(stamp):
            return None
        t_ns = stamp.t_ns
        if not self._source.stamps_on_clock:
            t_ns = self.times.on_clock(stamp, arrival_ns)
        color, color_ns, raw = None, None, self._raw(frameset)
        if self._source.color:
            color_ns = self._color_ns(
                read_stamp(frameset.get_color_frame()), stamp, t_ns, arrival_ns
            )
        frameset = self._filters.process(frameset)
        depth = frameset.get_depth_frame()
        if self._align is not None:
            frameset = self._align.process(frameset)
            depth = frameset.get_depth_frame()
        if self._source.color:
            color = np.array(frameset.get_color_frame().get_data(), dtype=np.uint8)
        seen = np.array(depth.get_data(), dtype=np.uint16)
        return Frame(seen, color, t_ns, stamp.number, color_ns, raw)

    def _raw(self, frameset: Any) -> dict[Stream, NDArray[Any]]:
        """Copy what filters and alignment are about to change."""
        raw: dict[Stream, NDArray[Any]] = {}
        if self.noise_free:
            return raw
        if self._filters.names:
            raw["depth"] = np.array(frameset.get_depth_frame().get_data(), dtype=np.uint16)
        if self._align is not None:
            raw["color"] = np.array(frameset.get_color_frame().get_data(), dtype=np.uint8)
        return raw

    def _color_ns(self, color: Stamp, depth: Stamp, depth_ns: int, arrival_ns: int) -> int:
        """Return when the middle of colour's exposure was, on the loop's clock: colour that lags
        behind the depth it comes with is that much older."""
        if self._source.stamps_on_clock:
            return color.t_ns
        if color.domain != depth.domain:
            return self._color_map(color.domain, color.middle_ns, arrival_ns)
        return min(arrival_ns, depth_ns + color.middle_ns - depth.middle_ns)

    def _decimated(self) -> Any:
        """Return the profile of a filtered depth frame: only the SDK knows how it rounds."""
        with one_line_errors(self.name, "Check the USB 3 link."):
            frameset = self._source.newest(_FIRST_FRAME_MS)
            if frameset is None:
                raise CameraError(
                    f"camera {self.name!r}: no frame in {_FIRST_FRAME_MS:g} ms. "
                    "Check the USB 3 link."
                )
            depth = self._filters.process(frameset).get_depth_frame()
        return depth.profile.as_video_stream_profile()

    def _read_parameters(self, started: Started) -> CameraParameters:
        try:
            self._sensors = sensors = read_sensors(started)
            lens = sensors.depth
            if self.shows_color and sensors.color is not None:
                lens = sensors.color
            elif any(lens.coefficients):
                raise CameraError(
                    f"camera {self.name!r}: its depth image is distorted ({lens.model}), which the "
                    "point cloud does not undo. Choose a rectified depth mode."
                )
            reported = {
                **{name: getattr(lens, name) for name in _OF_LENS},
                "depth_unit_m": sensors.depth_unit_m,
                **place(self._own),
            }
            factory = CameraParameters.from_json(reported)
            own = CameraParameters.from_json({**reported, **self._own})
        except (SpecMismatch, TypeError, ValueError) as cause:
            raise CameraError(f"camera {self.name!r}: {cause} Check its parameters.") from None
        try:
            CameraTolerance().require(self.name, own, factory)
        except SpecMismatch as cause:
            raise CameraError(
                f"{cause} The first is the rig's, the second the device's: another camera, or "
                f"another image size? Run: ofp-edge calibrate camera, with --write."
            ) from None
        return own


def device_camera(
    name: str, clock: Clock, parameters: Mapping[str, Any], *, serial: str | None = None,
    width: int = 0, height: int = 0, fps: int = 0, color: bool = False, align: bool = True,
    delivery_ms: float = 0.0, filters: dict[str, Any] | None = None, sync: str = "none",
    global_time: bool = False, restart_after_ms: float = 1000.0, context: Any | None = None,
) -> RealSenseCamera:  # fmt: skip
    """Open the driver "realsense": the connected camera with this serial (see DeviceSource).

    A camera without a frame for `restart_after_ms` is restarted, then reset (see recovery.py).
    """
    if sync not in SYNC_MODES:
        raise CameraError(f"camera {name!r}: sync {sync!r}: expected {', '.join(SYNC_MODES)}.")
    device = DeviceSource(
        serial, width, height, fps, color, context, sync=sync, global_time=global_time
    )
    remarks = Remarks()
    # By then there is a camera.
    source = RecoveringSource(
        device, remarks, restart_after_ms, on_restart=lambda: camera.times.restart()
    )
    camera = RealSenseCamera(
        name,
        source,
        clock,
        parameters,
        delivery_ms=delivery_ms,
        align=align,
        filters=filters,
        remarks=remarks,
    )
    return camera


def recording_camera(
    name: str, clock: Clock, parameters: Mapping[str, Any], *, path: str, real_time: bool = True,
    repeat: bool = False, color: bool = False, align: bool = True,
    filters: dict[str, Any] | None = None,
) -> RealSenseCamera:  # fmt: skip
    """Open the driver "recording": a recorded .db3 or .bag file (see RecordingSource)."""
    source = RecordingSource(Path(path), real_time, repeat, color)
    return RealSenseCamera(name, source, clock, parameters, align=align, filters=filters)
