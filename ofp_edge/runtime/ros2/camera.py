"""A camera behind ROS 2's topics: depth, colour or both, with the CameraInfo that belongs to them.

    [cameras.front]
    driver = "ros2"
    [cameras.front.options]
    depth = "/camera/depth/image_rect_raw"        # Image or CompressedImage, whichever is published
    color = "/camera/color/image_raw"
    info = "/camera/depth/camera_info"
    [cameras.front.parameters]
    T_base_camera = [[...], ...]

Pictures are taken apart in the wire's thread; the newest is kept, and nobody is waited for.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ofp_edge.camera_parameters import CameraParameters
from ofp_edge.errors import CameraError, OfpError, SpecMismatch
from ofp_edge.ros2.cdr import decode
from ofp_edge.ros2.images import color_of, depth_of, lens_of
from ofp_edge.ros2.messages import CameraInfo, CompressedImage, Image
from ofp_edge.runtime.camera import Clock, Frame
from ofp_edge.runtime.cameras.newest import Newest
from ofp_edge.runtime.cameras.stated import place
from ofp_edge.runtime.remarks import Remarks
from ofp_edge.runtime.ros2.clock import RosClock
from ofp_edge.runtime.ros2.dds import Dds, domain_id
from ofp_edge.runtime.ros2.wire import Heard, Subscription, Wire

_UNIT_M = 1e-3  # ROS's 16UC1
_LOOK_S = 0.01
KINDS = {Image.TYPE: Image, CompressedImage.TYPE: CompressedImage}


class Ros2Camera:
    """The camera; see `ofp_edge.runtime.camera.Camera`. Its options stand in docs/ros2.md.

    `parameters` are T_base_camera and what CameraInfo does not say: base_frame ("base"),
    depth_unit_m (0.001), and fx, fy, cx, cy where they are to differ from it. wire: for tests.
    """

    def __init__(
        self,
        name: str,
        clock: Clock,
        parameters: Mapping[str, Any],
        *,
        depth: str = "",
        color: str = "",
        info: str = "",
        rectified: bool = False,
        frame_id: str = "",
        stamps: str = "system",
        max_apart_ms: float = 20.0,
        reliable: bool = False,
        domain: int | None = None,
        config: str | None = None,
        start_s: float = 10.0,
        silent_ms: float = 1000.0,
        wire: Callable[[], Wire] | None = None,
    ) -> None:
        self.name, self.remarks = name, Remarks()
        self._topics = {"depth": depth, "color": color}
        self._streams = [stream for stream, topic in self._topics.items() if topic]
        if not self._streams or not info:
            raise CameraError(f"camera {name!r}: options: expected depth or color, and info.")
        self._own, self._info_topic = dict(parameters), info
        self._unit_m = float(parameters.get("depth_unit_m", _UNIT_M))
        self._rectified, self._frame_id, self._reliable = rectified, frame_id, reliable
        self._start_s, self._silent_ns = start_s, round(silent_ms * 1e6)
        self._stamps = {
            stream: RosClock(stamps, self._topics[stream], CameraError, apart_ms=max_apart_ms)
            for stream in self._streams
        }
        number = domain_id(domain, CameraError)
        self._open_wire = wire or (lambda: Dds(number, config, CameraError))
        self._wire: Wire | None = None
        self._newest = Newest(name)
        self._parameters: CameraParameters | None = None
        self._subscriptions: dict[str, Subscription] = {}
        self._info: CameraInfo | None = None
        self._parts: dict[str, tuple[int, NDArray[Any]]] = {}
        self._no_depth = np.zeros((0, 0), np.uint16)
        self._count, self._heard_ns = 0, 0

    @property
    def parameters(self) -> CameraParameters:
        """CameraInfo's lens and the rig's parameters; known once started."""
        if self._parameters is None:
            raise CameraError(f"camera {self.name!r} has not been started.")
        return self._parameters

    def start(self) -> None:
        """Listen, and wait for a CameraInfo and a first picture. CameraError when none comes."""
        self._info = None
        self._newest.clear()
        self._parts.clear()
        wire = self._wire = self._open_wire()
        try:
            until_s = time.monotonic() + self._start_s
            self._hear(wire, self._info_topic, CameraInfo, self._heard_info)
            for stream in self._streams:
                kind = self._kind_of(wire, self._topics[stream], until_s)
                self._subscriptions[self._topics[stream]] = self._hear(
                    wire, self._topics[stream], kind, self._taker(stream, kind)
                )
            self._wait_for_picture(until_s)
        except BaseException:
            self.close()
            raise

    def read(self, timeout_ms: float) -> Frame | None:
        """Return the newest frame not returned yet, or None after `timeout_ms`. CameraError when
        the camera has been silent for too long, or said what can't be."""
        if self._parameters is None:
            raise CameraError(f"camera {self.name!r} has not been started.")
        frame = self._newest.take(timeout_ms)
        if frame is None and time.monotonic_ns() - self._heard_ns > self._silent_ns:
            raise CameraError(f"camera {self.name!r}: {self._silence()}.")
        return frame

    def close(self) -> None:
        """Leave the network. Idempotent."""
        if self._wire is not None:
            self._wire.close()
            self._wire = None
        self._parameters = None

    def _hear(
        self, wire: Wire, topic: str, kind: type[Any], heard: Callable[[Heard], None]
    ) -> Subscription:
        def safely(message: Heard) -> None:
            try:
                heard(message)
            except OfpError as cause:
                self._newest.fail(str(cause))

        return wire.subscribe(topic, kind, safely, reliable=self._reliable, depth=1)

    def _kind_of(self, wire: Wire, topic: str, until_s: float) -> type[Any]:
        """Image or CompressedImage, as it is published."""
        while (said := wire.topics().get(topic)) is None:
            if time.monotonic() > until_s:
                have = ", ".join(sorted(wire.topics())) or "none at all"
                raise CameraError(
                    f"camera {self.name!r}: no publisher on {topic} within {self._start_s:g} s; "
                    f"topics: {have}."
                )
            time.sleep(_LOOK_S)
        if said not in KINDS:
            raise CameraError(
                f"camera {self.name!r}: {topic}: its type is {said}, expected {' or '.join(KINDS)}."
            )
        return KINDS[said]

    def _heard_info(self, heard: Heard) -> None:
        info = decode(CameraInfo, heard.data)
        lens = lens_of(info, rectified=self._rectified)
        if self._info is not None and lens_of(self._info, rectified=self._rectified) != lens:
            raise CameraError(f"{self._info_topic}: the lens is another one than at the start.")
        self._info = info

    def _taker(self, stream: str, kind: type[Any]) -> Callable[[Heard], None]:
        topic, stamps = self._topics[stream], self._stamps[stream]

        def take(heard: Heard) -> None:
            seen = self._subscriptions.get(topic)
            if seen is not None and (count := seen.publishers()) > 1:
                raise CameraError(f"{count} publishers on {topic}: which one is the camera?")
            image = decode(kind, heard.data)
            header = image.header
            if self._frame_id and header.frame_id != self._frame_id:
                raise CameraError(
                    f"{topic}: frame_id: expected {self._frame_id!r}, got {header.frame_id!r}."
                )
            t_ns = stamps(header.stamp.ns, heard.arrival_ns)
            if t_ns is None:
                self.remarks.say("repeated frame", f"{topic}: the stamp of the one before")
                return
            found = depth_of(image, self._unit_m) if stream == "depth" else color_of(image)
            self._take(stream, t_ns, found, heard.arrival_ns)

        return take

    def _take(self, stream: str, t_ns: int, found: NDArray[Any], arrival_ns: int) -> None:
        """A frame is whole when each stream has something new."""
        info = self._info
        if info is not None and found.shape[:2] != (info.height, info.width):
            raise CameraError(
                f"{self._topics[stream]}: {found.shape[1]} x {found.shape[0]} pixels, and "
                f"{self._info_topic} says {info.width} x {info.height}."
            )
        self._heard_ns = arrival_ns
        self._parts[stream] = t_ns, found
        if len(self._parts) < len(self._streams):
            return
        parts, self._parts = self._parts, {}
        color_ns, color = parts.get("color", (None, None))
        if "depth" in parts:
            depth_ns, depth = parts["depth"]
        else:
            depth_ns, depth = t_ns, self._unknown(found.shape[:2])
        self._count += 1
        frame = Frame(depth, color, depth_ns, self._count, color_ns if "depth" in parts else None)
        self._newest.put(frame)

    def _unknown(self, size: tuple[int, ...]) -> NDArray[np.uint16]:
        if self._no_depth.shape != size:
            self._no_depth = np.zeros(size, np.uint16)
            self._no_depth.flags.writeable = False
        return self._no_depth

    def _wait_for_picture(self, until_s: float) -> None:
        while self._info is None or not self._newest.there:
            if self._newest.trouble:
                raise CameraError(f"camera {self.name!r}: {self._newest.trouble}")
            if time.monotonic() > until_s:
                missing = self._info_topic if self._info is None else ", ".join(self._silent())
                raise CameraError(
                    f"camera {self.name!r}: nothing on {missing} within {self._start_s:g} s. Does "
                    "the camera's node publish it, and with a quality of service that fits?"
                )
            time.sleep(_LOOK_S)
        lens = lens_of(self._info, rectified=self._rectified)
        try:
            known = {"depth_unit_m": _UNIT_M, **place(self._own), **self._own}
            self._parameters = CameraParameters.from_json({**lens, **known})
        except SpecMismatch as cause:
            raise CameraError(f"camera {self.name!r}: {cause} Check its parameters.") from None

    def _silent(self) -> list[str]:
        return [self._topics[x] for x in self._streams if x not in self._parts]

    def _silence(self) -> str:
        gone = [topic for topic, seen in self._subscriptions.items() if not seen.publishers()]
        if gone:
            return f"the publisher of {', '.join(gone)} is gone"
        missing = ", ".join(self._silent())
        return f"nothing on {missing} for more than {self._silent_ns / 1e6:g} ms"
