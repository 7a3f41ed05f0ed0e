"""A RealSense's colour has a capture time of its own, and its sensors' own images are kept."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tests.runtime.conftest import EYE
from tests.runtime.standins import MS, FakeClock

rs = pytest.importorskip("pyrealsense2")

from ofp_edge.runtime.cameras.realsense import RealSenseCamera, device_camera  # noqa: E402

POSE = {"T_base_camera": [list(row) for row in EYE]}
EPOCH_NS = 10**13  # of the device's own clock
RNG = np.random.default_rng(0)


class Image:
    """One stream's frame, as the SDK hands it out; times in ms of the device's clock."""

    def __init__(
        self, pixels: Any, number: int, t_ms: float, domain: str = "hardware_clock",
        exposed_before_ms: float | None = 2.0,
    ) -> None:  # fmt: skip
        self.pixels, self.number, self.t_ms = pixels, number, EPOCH_NS / MS + t_ms
        self.domain, self.before = domain, exposed_before_ms

    def get_data(self) -> Any:
        return self.pixels

    def get_frame_number(self) -> int:
        return self.number

    def get_timestamp(self) -> float:
        return self.t_ms

    def get_frame_timestamp_domain(self) -> Any:
        return SimpleNamespace(name=self.domain)

    def supports_frame_metadata(self, key: Any) -> bool:
        return self.before is not None

    def get_frame_metadata(self, key: Any) -> int:
        readout_us = round(1000 * self.t_ms)
        exposed = key == rs.frame_metadata_value.sensor_timestamp
        return readout_us - round(1000 * (self.before or 0)) * exposed


def both(depth: Image, color: Image) -> Any:
    return SimpleNamespace(get_depth_frame=lambda: depth, get_color_frame=lambda: color)


class Device:
    """A camera that is handed framesets; each arrives 9 ms after its depth was read out."""

    def __init__(self, **options: Any) -> None:
        self.clock = FakeClock(1000 * MS)
        self.camera: RealSenseCamera = device_camera(
            "front", self.clock, POSE, color=True, align=False, **options
        )

    def take(self, t_ms: float, color_ms: float, number: int, **color: Any) -> Any:
        depth = Image(RNG.integers(1, 999, (4, 6), dtype=np.uint16), number, t_ms)
        seen = Image(RNG.integers(0, 256, (4, 6, 3), dtype=np.uint8), number, color_ms, **color)
        self.clock.now_ns = round((1000 + t_ms + 9) * MS)
        return self.camera._take(both(depth, seen))


def test_colour_is_as_much_older_as_the_devices_clock_says() -> None:
    device = Device()
    for number, lag_ms in enumerate([0.0, 12.0, 1200.0, 33.0]):
        t_ms = 33.0 * number
        frame = device.take(t_ms, t_ms - lag_ms, number, exposed_before_ms=5.0)
        assert frame.t_capture_ns - frame.t_color_ns == (lag_ms + 5.0 - 2.0) * MS
        assert frame.stamp_ns("depth") == frame.t_capture_ns
        assert frame.stamp_ns("color") == frame.t_color_ns


def test_colour_that_is_newer_than_depth_is_not_from_the_future() -> None:
    device = Device()
    frame = device.take(0.0, 30.0, 1)
    assert frame.t_color_ns == device.clock.now_ns


def test_colour_of_another_clock_is_mapped_by_itself() -> None:
    """Its quickest delivery is the best that is known of it; what comes later than that is late."""
    device = Device()
    ages = []
    for number, lag_ms in ((0, 0.0), (1, 0.0), (20, 300.0)):
        t_ms = 33.0 * number
        frame = device.take(t_ms, 5e8 + t_ms - lag_ms, number, domain="system_time",
                            exposed_before_ms=None)  # fmt: skip
        ages.append((device.clock.now_ns - frame.t_color_ns) / MS)
    assert ages == pytest.approx([0.0, 0.0, 300.0], abs=0.1)


def test_what_alignment_and_filters_change_is_kept_of_a_device_and_of_nothing_else() -> None:
    device = Device()
    assert device.camera.noise_free is False
    plain = device.take(0.0, 0.0, 1)
    assert plain.raw == {}, "the frame is what the sensors gave"
    aligned = Device()
    black = SimpleNamespace(get_data=lambda: np.zeros((4, 6, 3), np.uint8))
    aligned.camera._align = SimpleNamespace(  # type: ignore[assignment]
        process=lambda frames: both(frames.get_depth_frame(), black)  # type: ignore[arg-type]
    )
    frame = aligned.take(0.0, 0.0, 1)
    assert not frame.color.any() and frame.raw["color"].any() and set(frame.raw) == {"color"}
    filtered = Device(filters={"temporal": {}})
    smooth = Image(np.full((4, 6), 7, np.uint16), 1, 0.0)
    filtered.camera._filters.process = lambda frames: both(  # type: ignore[method-assign]
        smooth, frames.get_color_frame()
    )
    frame = filtered.take(0.0, 0.0, 1)
    assert (frame.depth == 7).all() and frame.raw["depth"].std() > 1


def test_recordings_and_simulators_may_stand_still() -> None:
    from ofp_edge.rig.file import CameraEntry
    from ofp_edge.runtime.cameras.open import open_camera
    from ofp_edge.runtime.cameras.software import SoftwareSource
    from tests.runtime.conftest import PARAMETERS

    entry = CameraEntry("front", "recording", 200, {"path": "x.db3"}, POSE)
    assert open_camera(entry).noise_free  # type: ignore[attr-defined]
    source = SoftwareSource(PARAMETERS, 20.0, False)
    assert RealSenseCamera("front", source, FakeClock(), POSE).noise_free
