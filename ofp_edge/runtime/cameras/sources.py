"""The sources of framesets: a connected device or a recorded file (software.py has a third)."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from ofp_edge.errors import CameraError
from ofp_edge.runtime.cameras.sdk import one_line_errors, realsense, sdk_context


class Started(NamedTuple):
    """The video profiles of the streams (colour's or None), the metres of one depth unit, and the
    device's serial number, if it has one."""

    depth: Any
    color: Any
    depth_unit_m: float
    serial: str | None


class Source(Protocol):
    """A source delivers SDK framesets to one reader.

    With `color`, framesets without a colour frame are passed over. `stamps_on_clock` says that the
    timestamps are already on the loop's clock.
    """

    color: bool
    stamps_on_clock: bool

    def start(self, camera: str) -> Started:
        """Begin."""
        ...

    def newest(self, timeout_ms: float) -> Any | None:
        """Return the newest frameset not handed out yet, else one that comes within
        `timeout_ms`."""
        ...

    def close(self) -> None:
        """Stop. Idempotent."""
        ...


SYNC_MODES = {"none": 0, "master": 1, "slave": 2, "full_slave": 3}
_BACK_AFTER_RESET_S = 15.0


class DeviceSource:
    """A connected device, of which only the newest frameset is kept. A `serial` of None takes the
    only one there is.

    `width`, `height` (pixels) and `fps` (Hz) of 0 leave the SDK's default. `sync` is a key of
    SYNC_MODES, for cameras that are wired together. `global_time` lets the SDK map the device's
    clock to the computer's; without it timestamps are the device's own, which never jump, and the
    mapping is ours. `context` is an `rs.context` (tests load a recording into one as if it were
    plugged in).
    """

    stamps_on_clock = False

    def __init__(
        self,
        serial: str | None,
        width: int,
        height: int,
        fps: int,
        color: bool,
        context: Any | None,
        *,
        sync: str = "none",
        global_time: bool = False,
    ) -> None:
        self.serial, self.color = serial, color
        self._size = (width, height, fps)
        self._context = context
        self._sync, self._global_time = sync, global_time
        self._pipeline: Any = None
        self._queue: Any = None

    def start(self, camera: str) -> Started:
        """Start; see Source."""
        rs = realsense()
        if self.serial is not None and not isinstance(self.serial, str):
            raise CameraError(
                f"camera {camera!r}: serial: expected text, got the number {self.serial}: quote "
                f'it, serial = "{self.serial}".'
            )
        context = self._context or sdk_context(camera)
        serials = [serial for serial, _ in _devices(context)]
        if not serials or (self.serial is not None and self.serial not in serials):
            wanted = f"with serial {self.serial}" if self.serial else "connected"
            raise CameraError(
                f"camera {camera!r}: no RealSense {wanted}; found {', '.join(serials) or 'none'}. "
                "Check the USB 3 cable and the serial in the rig."
            )
        if self.serial is None and len(serials) > 1:
            raise CameraError(
                f"camera {camera!r}: {len(serials)} RealSense cameras are connected. "
                f"Set options.serial in the rig to one of {', '.join(serials)}."
            )
        config = rs.config()
        config.enable_device(self.serial or serials[0])
        width, height, fps = self._size
        config.enable_stream(rs.stream.depth, -1, width, height, rs.format.z16, fps)
        if self.color:
            config.enable_stream(rs.stream.color, -1, 0, 0, rs.format.rgb8, fps)
        self._queue = rs.frame_queue(1, keep_frames=False)
        pipeline = rs.pipeline(context)
        with one_line_errors(camera, "Check width, height and fps in the rig, and the cable."):
            device = dict(_devices(context))[self.serial or serials[0]]
            self._set_options(camera, device)
            profile = pipeline.start(config, self._queue)
        self._pipeline = pipeline
        return _started(profile, self.color)

    def newest(self, timeout_ms: float) -> Any | None:
        """Return the newest frameset; see Source."""
        queue = self._queue
        return newest(queue.poll_for_frame, queue.try_wait_for_frame, self.color, timeout_ms)

    def close(self) -> None:
        """Close; see Source."""
        if self._pipeline is not None:
            pipeline, self._pipeline = self._pipeline, None
            _stop(pipeline)

    def hardware_reset(self, camera: str) -> None:
        """Reset the device, as if it were plugged in again. Raises CameraError when it stays
        away."""
        context = self._context or sdk_context(camera)
        devices = dict(_devices(context))
        serial = self.serial or next(iter(devices), None)
        if serial in devices:
            with one_line_errors(camera, "Plug it in again."):
                devices[serial].hardware_reset()
            time.sleep(1.0)  # it is still listed for a moment
        deadline_s = time.monotonic() + _BACK_AFTER_RESET_S
        while serial not in dict(_devices(context)):
            if time.monotonic() > deadline_s:
                raise CameraError(
                    f"camera {camera!r}: not there {_BACK_AFTER_RESET_S:g} s after "
                    "its reset. Check the cable."
                )
            time.sleep(0.2)

    def _set_options(self, camera: str, device: Any) -> None:
        rs = realsense()
        # Exposure must not lengthen the period; one frame queued is the newest.
        wanted = [
            (rs.option.frames_queue_size, 1),
            (rs.option.auto_exposure_priority, 0),
            (rs.option.global_time_enabled, int(self._global_time)),
        ]
        sensors = list(device.query_sensors())
        for sensor in sensors:
            for option, value in wanted:
                if sensor.supports(option) and not sensor.is_option_read_only(option):
                    sensor.set_option(option, value)
        if self._sync == "none":
            return
        option = rs.option.inter_cam_sync_mode
        able = [sensor for sensor in sensors if sensor.supports(option)]
        if not able:
            raise CameraError(
                f"camera {camera!r}: this model knows no sync. Take sync out of its options."
            )
        for sensor in able:
            sensor.set_option(option, SYNC_MODES[self._sync])


class RecordingSource:
    """A recorded .db3 (or older .bag) file.

    With `real_time`, frames come at the speed at which they were recorded, and are lost when nobody
    reads; otherwise each read gets the next one. With `repeat` the recording starts over at the
    end; otherwise nothing comes after it.
    """

    stamps_on_clock = False

    def __init__(self, path: Path, real_time: bool, repeat: bool, color: bool) -> None:
        self.path, self.color = path, color
        self._real_time, self._repeat = real_time, repeat
        self._pipeline: Any = None

    def start(self, camera: str) -> Started:
        """Start; see Source."""
        if not self.path.is_file():
            raise CameraError(f"camera {camera!r}: the recording {self.path} does not exist.")
        rs = realsense()
        config = rs.config()
        pipeline = rs.pipeline()
        with one_line_errors(camera, f"Is {self.path} a whole .db3 or .bag recording?"):
            config.enable_device_from_file(str(self.path), self._repeat)
            config.enable_stream(rs.stream.depth)
            if self.color:
                config.enable_stream(rs.stream.color)
            device = config.resolve(rs.pipeline_wrapper(pipeline)).get_device()
            device.as_playback().set_real_time(self._real_time)  # before the first frame leaves
            profile = pipeline.start(config)
        self._pipeline = pipeline
        return _started(profile, self.color)

    def newest(self, timeout_ms: float) -> Any | None:
        """Return the newest frameset; see Source."""
        if self._real_time:
            pipeline = self._pipeline
            return newest(
                pipeline.poll_for_frames, pipeline.try_wait_for_frames, self.color, timeout_ms
            )
        arrived, frameset = self._pipeline.try_wait_for_frames(max(1, int(timeout_ms)))
        return frameset if arrived else None

    def close(self) -> None:
        """Close; see Source."""
        if self._pipeline is not None:
            _stop(self._pipeline)
            self._pipeline = None


def newest(
    poll: Callable[[], Any], wait: Callable[[int], tuple[bool, Any]], color: bool, timeout_ms: float
) -> Any | None:
    """Empty the SDK's queue by `poll` and return its last complete frameset, else call `wait`
    for one.

    A complete frameset has a depth frame and, where asked for, a colour frame.
    """
    found = None
    while frame := poll():
        found = _complete(frame, color) or found
    deadline_s = time.monotonic() + timeout_ms / 1000
    while found is None and (left_s := deadline_s - time.monotonic()) > 0:
        arrived, frame = wait(max(1, int(1000 * left_s)))
        if arrived:
            found = _complete(frame, color)
    return found


def _complete(frame: Any, color: bool) -> Any | None:
    frameset = frame.as_frameset()
    if not frameset or not frameset.get_depth_frame():
        return None
    return None if color and not frameset.get_color_frame() else frameset


def _stop(pipeline: Any) -> None:
    """Stop the pipeline. A playback is paused first: librealsense 2.59 crashes when one is stopped
    as it delivers."""
    device = pipeline.get_active_profile().get_device()
    if device.is_playback():
        device.as_playback().pause()
    pipeline.stop()


def _started(profile: Any, color: bool) -> Started:
    rs = realsense()
    kinds = (rs.stream.depth, rs.stream.color) if color else (rs.stream.depth,)
    streams = [profile.get_stream(kind).as_video_stream_profile() for kind in kinds]
    device, key = profile.get_device(), rs.camera_info.serial_number
    unit_m = device.first_depth_sensor().get_depth_scale()
    serial = device.get_info(key) if device.supports(key) else None
    return Started(streams[0], streams[1] if color else None, unit_m, serial)


def _devices(context: Any) -> list[tuple[str, Any]]:
    """Return (serial, device) of everything connected that has a serial."""
    key = realsense().camera_info.serial_number
    return [(d.get_info(key), d) for d in context.query_devices() if d.supports(key)]
