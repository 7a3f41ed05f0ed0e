"""Every camera, and every stream of one, is judged by its own stamps and by what it shows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from ofp_edge.camera_parameters import CameraTolerance
from ofp_edge.errors import CameraError
from ofp_edge.runtime.camera import Frame
from ofp_edge.runtime.control.loop import Limits
from ofp_edge.runtime.observer import Observer
from ofp_edge.runtime.pictures import FROZEN_AFTER, FrozenImage
from ofp_edge.spec import PolicySpec
from tests.runtime.standins import DT, MS
from tests.runtime.test_loop import Stand
from tests.synthetic import CAMERA, action_fields, points_field, rgb_fields, state_field

RNG = np.random.default_rng(0)
FRONT_RGB = rgb_fields()[0]
DEPTH = PolicySpec((state_field(4), points_field()), action_fields(), 1, 8, 4, 20.0)
COLOR = PolicySpec((state_field(4), FRONT_RGB), action_fields(), 1, 8, 4, 20.0)
BOTH = PolicySpec((state_field(4), points_field(), FRONT_RGB), action_fields(), 1, 8, 4, 20.0)


def depth_image() -> np.ndarray:
    return RNG.integers(500, 999, (24, 32), dtype=np.uint16)


def color_image() -> np.ndarray:
    return RNG.integers(0, 256, (24, 32, 3), dtype=np.uint8)


class Camera:
    """Hands over what it is given."""

    parameters = CAMERA

    def __init__(self) -> None:
        self.next: Frame | None = None

    def read(self, timeout_ms: float) -> Frame | None:
        frame, self.next = self.next, None
        return frame


class Eye:
    """An observer of one camera at 30 Hz; `see` says whether a frame is there to be used."""

    def __init__(self, spec: PolicySpec, frozen_after: int | None = None, **camera: Any) -> None:
        self.camera: Any = Camera()
        vars(self.camera).update(camera)
        after = {} if frozen_after is None else {"front": frozen_after}
        self.observer = Observer(
            spec, {"front": self.camera}, {}, CameraTolerance(), {"front": 200 * MS}, after
        )
        self.observer.max_skew_ns = 100 * MS
        self.number, self.now_ns = 0, 0

    def see(
        self, depth: Any = None, color: Any = None, *, number: int | None = None,
        stamp: Any = None, color_stamp: Any = None, after_ms: int = 33, **more: Any,
    ) -> bool:  # fmt: skip
        self.number += 1
        self.now_ns += after_ms * MS
        self.camera.next = Frame(
            depth_image() if depth is None else depth, color_image() if color is None else color,
            self.now_ns if stamp is None else stamp, self.number if number is None else number,
            color_stamp, **more,
        )  # fmt: skip
        self.observer._frames.clear()  # what was there before was used up
        return self.observer.poll(lambda: self.now_ns)

    @property
    def counts(self) -> dict[str, int]:
        return {name: n for name, n in vars(self.observer.counters).items() if n}

    @property
    def said(self) -> dict[str, int]:
        return self.observer.remarks["front"].counts


# --- what does not change ------------------------------------------------------------------------


def test_an_image_that_stands_still_is_noticed_but_darkness_is_not() -> None:
    frozen = FrozenImage()
    image = np.random.default_rng(0).integers(1, 999, (4, 6), dtype=np.uint16)
    assert [frozen(image) for _ in range(6)] == [False] * 4 + [True] * 2
    image = image.copy()
    image[0, 0] += 1
    assert not frozen(image)
    assert not any(FrozenImage()(np.zeros((4, 6), np.uint16)) for _ in range(20))


@pytest.mark.parametrize("dark", [(0, 0, 0), (16, 16, 18)])
def test_a_covered_lens_is_no_frozen_picture(dark: tuple[int, ...]) -> None:
    image = np.full((24, 32, 3), dark, np.uint8)
    image[3, 4] = image[0, 0] = 40  # pixels that always shine
    frozen = FrozenImage()
    assert not any(frozen(image.copy()) for _ in range(20))


def test_one_pixel_anywhere_is_enough_to_be_another_picture() -> None:
    image, frozen = depth_image(), FrozenImage()
    for k in range(20):
        image = image.copy()
        image[5, 7] = 500 + k % 2  # not among those that are looked at first
        assert not frozen(image)


def test_a_driver_that_fills_one_buffer_over_and_over_has_not_frozen() -> None:
    buffer, frozen = depth_image(), FrozenImage()
    for _ in range(20):
        buffer[:] = depth_image()
        assert not frozen(buffer)


@pytest.mark.parametrize(("spec", "stream"), [(DEPTH, "depth"), (COLOR, "colour"), (BOTH, "depth"),
                                              (BOTH, "colour")])  # fmt: skip
def test_a_frozen_stream_of_any_camera_is_not_acted_upon(spec: PolicySpec, stream: str) -> None:
    """New stamps, new numbers, the same picture; the other stream goes on."""
    eye, depth, color = Eye(spec), depth_image(), color_image()
    still = {"depth": depth} if stream == "depth" else {"color": color}
    used = [eye.see(**still) for _ in range(FROZEN_AFTER + 3)]
    assert used == [True] * (FROZEN_AFTER - 1) + [False] * 4
    assert eye.counts["frozen"] == 4 and eye.said == {"frozen image": 4}
    eye.observer.forget()
    assert not eye.see(**still), "not in the next episode either"
    assert eye.see(), "and it is back as soon as it moves"


def test_a_stream_that_the_policy_does_not_see_may_stand_still() -> None:
    eye, color = Eye(DEPTH), color_image()
    assert all(eye.see(color=color, color_stamp=1) for _ in range(20)) and not eye.said


def test_a_simulator_may_stand_still_and_the_rig_has_the_last_word() -> None:
    depth = depth_image()
    calm = Eye(DEPTH, noise_free=True)
    assert all(calm.see(depth) for _ in range(20))
    told = Eye(DEPTH, 3, noise_free=True)
    assert [told.see(depth) for _ in range(4)] == [True, True, False, False]
    never = Eye(DEPTH, 0)
    assert all(never.see(depth) for _ in range(20))


def test_what_the_sensor_gave_decides_where_filters_and_alignment_changed_it() -> None:
    flat, raw = np.full((24, 32), 700, np.uint16), color_image()
    eye = Eye(BOTH)
    used = [eye.see(flat, color_image(), raw={"color": raw}) for _ in range(6)]
    assert used == [True] * 4 + [False] * 2, "aligned colour follows depth's noise"
    calm = Eye(DEPTH)
    smooth = depth_image()
    assert all(calm.see(smooth, raw={"depth": depth_image()}) for _ in range(20))


# --- numbers and stamps --------------------------------------------------------------------------


@pytest.mark.parametrize("spec", [DEPTH, COLOR, BOTH], ids=["depth", "colour", "both"])
def test_a_number_or_a_stamp_that_stands_still_is_no_news(spec: PolicySpec) -> None:
    eye = Eye(spec)
    assert eye.see()
    assert not any(eye.see(number=1) for _ in range(5)), "new stamps, the same number"
    assert not any(eye.see(stamp=33 * MS) for _ in range(5)), "new numbers, the same stamp"
    assert eye.counts["repeated"] == 10
    assert eye.see() and eye.see(number=1), "a camera that starts over is followed"


def test_colour_that_repeats_while_depth_goes_on_is_no_news_and_is_said() -> None:
    eye = Eye(BOTH)
    assert eye.see(color_stamp=30 * MS)
    assert not any(eye.see(color_stamp=30 * MS) for _ in range(3))
    assert eye.counts["repeated"] == 3 and eye.said == {"repeated colour": 3}
    assert eye.see(color_stamp=160 * MS)


def test_colour_that_lags_behind_is_as_old_as_its_own_stamp() -> None:
    """1.2 s old, in frames that are new."""
    eye = Eye(BOTH)
    eye.now_ns = 2_000 * MS
    for _ in range(5):
        assert not eye.see(color_stamp=eye.now_ns + 33 * MS - 1_200 * MS)
    assert eye.counts["stale"] == 5 and eye.said == {"late colour": 5}
    only = Eye(COLOR)
    only.now_ns = 2_000 * MS
    assert not only.see(color_stamp=only.now_ns + 33 * MS - 201 * MS) and only.counts["stale"] == 1
    assert only.see(color_stamp=only.now_ns + 33 * MS - 200 * MS)
    assert only.observer.t_obs_ns == only.now_ns - 200 * MS, "the observation is as old, too"


def test_two_streams_of_one_camera_are_held_to_the_skew_limit() -> None:
    eye = Eye(BOTH)
    eye.now_ns = 1_000 * MS
    assert eye.see(color_stamp=eye.now_ns + 33 * MS - 100 * MS)
    assert not eye.see(color_stamp=eye.now_ns + 33 * MS - 101 * MS)
    assert eye.counts["skewed"] == 1
    assert Eye(DEPTH).see(color_stamp=-(10**12)), "colour that nobody sees has no say"


def test_colour_from_the_future_is_not_used() -> None:
    eye = Eye(BOTH)
    assert not eye.see(color_stamp=34 * MS) and eye.counts["future"] == 1
    assert eye.said == {"from the future": 1}


@pytest.mark.parametrize("stamp", [float("nan"), float("inf"), 1e9, None, "now", True])
def test_a_capture_time_that_is_no_whole_number_is_an_error(stamp: Any) -> None:
    eye = Eye(BOTH)
    frame = Frame(depth_image(), color_image(), stamp, 1)
    eye.camera.read = lambda timeout_ms: frame
    with pytest.raises(CameraError, match="'front': capture time of depth: expected whole nano"):
        eye.observer.poll(lambda: 10**10)
    if stamp is not None:
        with pytest.raises(CameraError, match="capture time of colour"):
            eye.camera.read = lambda timeout_ms: Frame(depth_image(), color_image(), 1, 2, stamp)
            eye.observer.poll(lambda: 10**10)
    assert Eye(BOTH).see(stamp=np.int64(1))


# --- in the loop ---------------------------------------------------------------------------------


def stand_of(change: Any) -> Stand:
    """A loop whose camera hands over what `change` makes of its frames, from tick 20 on."""
    stand = Stand()
    read = stand.camera.read

    def changed(timeout_ms: float) -> Frame | None:
        frame = read(timeout_ms)
        if frame is None or stand.controller.counters.ticks < 20:
            return frame
        return change(frame)

    stand.camera.read = changed  # type: ignore[method-assign]
    return stand


def test_a_picture_that_stands_still_with_new_stamps_stops_the_robot() -> None:
    """At most the frames before it was known, and what their last plan may be followed."""
    still = depth_image()
    stand = stand_of(lambda f: Frame(still, None, f.t_capture_ns, f.sequence))
    report = stand.loop.run(Limits(duration_s=30.0))
    assert "no plan younger than max_plan_age_ms = 400" in (report.fault or "")
    assert stand.controller.counters.ticks <= 20 + (FROZEN_AFTER - 1) * 3 + 8 + 3
    assert stand.observer.remarks["front"].counts["frozen image"] > 0


def test_frames_of_another_clock_stop_the_robot_and_none_of_them_is_used() -> None:
    stand = stand_of(lambda f: Frame(f.depth, None, f.t_capture_ns + 10**18, f.sequence))
    report = stand.loop.run(Limits(duration_s=30.0))
    assert "no plan younger" in (report.fault or "")
    assert stand.controller.counters.ticks <= 20 + 8 + 3


def test_a_camera_of_another_clock_from_the_start_is_told_so() -> None:
    stand = Stand()
    stand.camera.age_ms = -1e9
    with pytest.raises(CameraError, match=r"no fresh frame .*not used: \d+ future"):
        stand.loop.run(Limits(duration_s=1.0))
    assert not stand.robot.sent
    remarks: list[str] = []
    stand.observer.remarks["front"].listen(lambda what, detail: remarks.append(what + detail))
    assert "time.monotonic_ns()" in remarks[0]


def test_a_capture_time_that_is_no_number_stops_the_robot_with_the_drivers_line() -> None:
    stand = stand_of(lambda f: Frame(f.depth, None, float("nan"), f.sequence))  # type: ignore[arg-type]
    with pytest.raises(CameraError, match="whole nanoseconds"):
        stand.loop.run(Limits(duration_s=30.0))
    assert stand.robot.stops >= 1 and stand.robot.sent[-1][0] <= stand.clock() + DT
