"""A camera of software: a program pushes frames one by one through the RealSense SDK's own
machinery."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ofp_edge.camera_parameters import CameraParameters
from ofp_edge.runtime.cameras.sdk import one_line_errors, realsense
from ofp_edge.runtime.cameras.sources import Started, newest

SERIAL = "000000000001"
"""The serial number that a recording of a software camera carries."""
_PAUSE = 6  # frames; at 8 the syncer has forgotten


class SoftwareSource:
    """The frames that a program pushes, through `rs.software_device` sensors and an `rs.syncer`.

    `parameters` are intrinsics and depth unit of both streams (they share one viewpoint).
    `record_to` is a .db3 file that also gets every frame. `push` and `newest` may be called from
    two threads.
    """

    stamps_on_clock = True

    def __init__(
        self, parameters: CameraParameters, fps: float, color: bool, record_to: Path | None = None
    ) -> None:
        self.parameters, self.color = parameters, color
        self._fps, self._record_to = fps, record_to
        self._streams: list[tuple[Any, Any, int]] = []  # sensor, profile, bytes a pixel
        self._opened: list[Any] = []
        self._recorder: Any = None
        self._pushed, self._last_ns = False, 0

    def start(self, camera: str) -> Started:
        """Start; see Source."""
        rs = self._rs = realsense()
        device = self._device = rs.software_device()
        device.register_info(rs.camera_info.name, "ofp-edge software camera")
        device.register_info(rs.camera_info.serial_number, SERIAL)
        depth = device.add_sensor("Depth")
        depth.add_read_only_option(rs.option.depth_units, self.parameters.depth_unit_m)
        depth_profile = depth.add_video_stream(self._stream(rs.stream.depth, rs.format.z16, 2))
        self._streams = [(depth, depth_profile, 2)]
        if self.color:
            color = device.add_sensor("Color")
            color_profile = color.add_video_stream(self._stream(rs.stream.color, rs.format.rgb8, 3))
            same = rs.extrinsics()
            same.rotation, same.translation = [1, 0, 0, 0, 1, 0, 0, 0, 1], [0, 0, 0]
            depth_profile.register_extrinsics_to(color_profile, same)
            color_profile.register_extrinsics_to(depth_profile, same)
            self._streams.append((color, color_profile, 3))
        device.create_matcher(rs.matchers.default)
        sensors = [sensor for sensor, _, _ in self._streams]
        if self._record_to is not None:
            with one_line_errors(camera, "Can the recording's folder be written?"):
                self._recorder = rs.recorder(str(self._record_to), device)
                sensors = list(self._recorder.query_sensors())
        self._syncer = rs.syncer(10)
        for sensor, (_, profile, _) in zip(sensors, self._streams, strict=True):
            sensor.open(profile)
            sensor.start(self._syncer)
        self._opened = sensors
        self._pushed = False
        profiles = [profile.as_video_stream_profile() for _, profile, _ in self._streams]
        unit_m = depth.get_option(rs.option.depth_units)
        return Started(profiles[0], profiles[1] if self.color else None, unit_m, SERIAL)

    def push(
        self, depth: NDArray[np.uint16], color: NDArray[np.uint8] | None, stamp_ns: int, number: int
    ) -> None:
        """Hand one capture to the SDK, which copies it. Shapes are as in Frame."""
        frame_ns = round(1e9 / self._fps)
        paused = stamp_ns - self._last_ns > _PAUSE * frame_ns
        if self.color and (not self._pushed or paused):
            # The syncer pairs two streams only once it has seen a frame of both, and forgets a
            # stream that pauses.
            self._push_once(depth, color, stamp_ns - frame_ns, number - 1)
        self._pushed, self._last_ns = True, stamp_ns
        self._push_once(depth, color, stamp_ns, number)

    def _push_once(
        self, depth: NDArray[np.uint16], color: NDArray[np.uint8] | None, stamp_ns: int, number: int
    ) -> None:
        rs = self._rs
        for (sensor, profile, size), pixels in zip(self._streams, (depth, color), strict=False):
            frame = rs.software_video_frame()
            frame.pixels = np.ascontiguousarray(pixels)
            frame.bpp, frame.stride = size, size * self.parameters.width
            frame.timestamp, frame.domain = stamp_ns / 1e6, rs.timestamp_domain.system_time
            frame.frame_number = number
            frame.profile = profile.as_video_stream_profile()
            if size == 2:
                frame.depth_units = self.parameters.depth_unit_m
            # Without these two the syncer hands out half of the pairs as single frames.
            sensor.set_metadata(rs.frame_metadata_value.actual_fps, round(1000 * self._fps))
            sensor.set_metadata(rs.frame_metadata_value.frame_timestamp, stamp_ns // 1000)
            sensor.on_video_frame(frame)

    def newest(self, timeout_ms: float) -> Any | None:
        """Return the newest frameset; see Source."""
        syncer = self._syncer
        return newest(syncer.poll_for_frames, syncer.try_wait_for_frames, self.color, timeout_ms)

    def close(self) -> None:
        """Close; see Source."""
        for sensor in self._opened:
            sensor.stop()
            sensor.close()
        self._opened = []
        self._recorder = None  # closes the file

    def _stream(self, kind: Any, pixel_format: Any, size: int) -> Any:
        rs, p = self._rs, self.parameters
        stream = rs.video_stream()
        stream.type, stream.fmt, stream.index, stream.uid = kind, pixel_format, 0, size
        stream.width, stream.height, stream.bpp = p.width, p.height, size
        stream.fps = max(1, round(self._fps))
        pinhole = rs.intrinsics()
        pinhole.width, pinhole.height, pinhole.model = p.width, p.height, rs.distortion.none
        pinhole.fx, pinhole.fy, pinhole.ppx, pinhole.ppy = p.fx, p.fy, p.cx, p.cy
        pinhole.coeffs = [0.0] * 5
        stream.intrinsics = pinhole
        return stream
