"""How old a frame may be, and how long the planner waits for a fresh one."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from ofp_edge.camera_parameters import CameraTolerance
from ofp_edge.rig.timing import Timing
from ofp_edge.runtime.control.loop import Limits
from ofp_edge.runtime.observer import Observer
from ofp_edge.runtime.session import make_observer
from ofp_edge.spec import PolicySpec
from tests.runtime.standins import DT, MS, FakeClock
from tests.runtime.test_loop import Stand
from tests.runtime.test_observer_skew import Camera
from tests.synthetic import action_fields, rgb_fields, state_field

LATENCY_MS, MOST_MS = 50, 300


@pytest.mark.parametrize(
    ("own_limit_ms", "age_ms", "used"),
    [(500, MOST_MS - LATENCY_MS, True), (500, MOST_MS - LATENCY_MS + 1, False), (100, 101, False)],
    ids=["its plan can act once", "its plan is too old to act", "the camera's own limit"],
)
def test_a_frame_whose_plan_could_not_act_is_dropped(own_limit_ms, age_ms, used):
    fields = tuple(field for field in rgb_fields() if field.camera == "front")
    spec = PolicySpec((state_field(4), *fields), action_fields(), 1, 8, 4, 20.0)
    manifest = SimpleNamespace(cameras={}, camera_tolerance=CameraTolerance())
    rig = SimpleNamespace(
        timing=Timing(LATENCY_MS, MOST_MS),
        instruction=None,
        cameras={"front": SimpleNamespace(max_age_ms=own_limit_ms, frozen_after=None)},
    )
    camera = Camera()
    observer = make_observer(SimpleNamespace(manifest=manifest, spec=spec), rig, {"front": camera})
    camera.taken(1000 - age_ms)
    assert observer.poll(lambda: 1000 * MS) is used
    assert observer.counters.stale == (not used)


class Waiting(Camera):
    """Notes how long it was waited for; its frames come at the given moments of the clock."""

    def __init__(self, clock: FakeClock, *taken_ms: int) -> None:
        super().__init__()
        self.clock, self.coming, self.asked_ms = clock, list(taken_ms), []

    def read(self, timeout_ms):
        self.asked_ms.append(timeout_ms)
        until_ns = self.clock() + round(timeout_ms * MS)
        if self.coming and self.coming[0] * MS <= until_ns:
            self.clock.sleep_until(self.coming[0] * MS)
            self.taken(self.coming.pop(0))
            return super().read(timeout_ms)
        self.clock.sleep_until(until_ns)
        return None


def several(clock: FakeClock, *moments: tuple[int, ...]) -> tuple[Observer, list[Waiting]]:
    fields = [replace(rgb_fields()[0], name=f"rgb_{i}", camera=f"c{i}") for i in range(3)]
    spec = PolicySpec((state_field(4), *fields[: len(moments)]), action_fields(), 1, 8, 4, 20.0)
    cameras = {f"c{i}": Waiting(clock, *taken_ms) for i, taken_ms in enumerate(moments)}
    ages = dict.fromkeys(cameras, 500 * MS)
    return Observer(spec, cameras, {}, CameraTolerance(), ages), list(cameras.values())


@pytest.mark.parametrize("count", [1, 2, 3])
def test_silent_cameras_are_waited_for_together_and_not_in_turn(count):
    clock = FakeClock(1000 * MS)
    observer, cameras = several(clock, *[()] * count)
    assert not observer.poll(clock, 20.0, 1000 * MS)
    assert clock() == 1020 * MS
    assert [camera.asked_ms for camera in cameras] == [[0.0, 20.0], *[[0.0, 0.0]] * (count - 1)]


@pytest.mark.parametrize("silent", [0, 1, 2])
def test_a_silent_camera_keeps_no_other_ones_frame_back(silent):
    clock, moments = FakeClock(1000 * MS), [(1004,), (1011,), (1018,)]
    moments[silent] = ()
    observer, cameras = several(clock, *moments)
    assert not observer.poll(clock, 20.0, 1000 * MS)
    assert clock() == 1020 * MS
    assert set(observer.frames) == {f"c{i}" for i in range(3)} - {f"c{silent}"}


def test_a_clock_that_goes_back_while_cameras_are_waited_for_makes_the_wait_no_longer():
    clock = FakeClock(1000 * MS)
    observer, cameras = several(clock, (), ())
    read = cameras[0].read

    def back(timeout_ms):
        read(timeout_ms)
        clock.now_ns -= 500 * MS

    cameras[0].read = back
    observer.poll(clock, 20.0, 1000 * MS)
    assert cameras[1].asked_ms == [0.0, 20.0]


def test_patience_for_a_frame_shrinks_with_thinking_at_once_and_comes_back_slowly():
    stand, patience = Stand(), []
    poll = stand.observer.poll

    def noted(clock, timeout_ms=0.0, *rest, **more):
        if stand.planner_clock.serving:
            patience.append(timeout_ms * MS / DT)
        return poll(clock, timeout_ms, *rest, **more)

    stand.observer.poll = noted
    answer, slow = stand.act.function, iter([1.8])

    def act(inputs, outputs):
        stand.planner_clock.now_ns += round(next(slow, 0.0) * DT)
        answer(inputs, outputs)

    stand.act.function = act
    stand.loop.run(Limits(duration_s=60 * DT / 1e9))
    assert np.allclose(patience[0], 0.4)
    lowest = int(np.argmin(patience))
    assert patience[lowest] < 0.15 < patience[lowest + 1] < 0.35
    assert (np.diff(patience[lowest:]) >= 0).all()
    assert np.allclose(patience[-1], 0.4)
