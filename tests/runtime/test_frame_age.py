"""How old a frame may be, and how long the planner waits for a fresh one."""

from types import SimpleNamespace

import numpy as np
import pytest

from ofp_edge.camera_parameters import CameraTolerance
from ofp_edge.rig.file import Timing
from ofp_edge.runtime.control.loop import Limits
from ofp_edge.runtime.session import make_observer
from ofp_edge.spec import PolicySpec
from tests.runtime.standins import DT, MS
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
