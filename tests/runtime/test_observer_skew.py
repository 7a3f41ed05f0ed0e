"""Frames of one observation show one moment: what lags behind is dropped, and counted."""

import numpy as np
import pytest

from ofp_edge.camera_parameters import CameraTolerance
from ofp_edge.runtime.camera import Frame
from ofp_edge.runtime.observer import Observer
from ofp_edge.spec import PolicySpec
from tests.runtime.standins import MS
from tests.synthetic import CAMERA, action_fields, rgb_fields, state_field


class Camera:
    """Delivers what it is given."""

    parameters = CAMERA

    def __init__(self):
        self.frames = []

    def read(self, timeout_ms):
        return self.frames.pop(0) if self.frames else None

    def taken(self, t_ms):
        depth = np.zeros((CAMERA.height, CAMERA.width), np.uint16)
        color = np.zeros((CAMERA.height, CAMERA.width, 3), np.uint8)
        self.frames.append(Frame(depth, color, t_ms * MS, t_ms))


@pytest.fixture
def parts():
    spec = PolicySpec((state_field(4), *rgb_fields()), action_fields(), 1, 8, 4, 20.0)
    cameras = {"front": Camera(), "side": Camera()}
    observer = Observer(spec, cameras, {}, CameraTolerance(), dict.fromkeys(cameras, 500 * MS))
    observer.max_skew_ns = 40 * MS
    return observer, cameras["front"], cameras["side"]


def test_frames_within_the_limit_are_one_observation(parts):
    observer, front, side = parts
    front.taken(100)
    side.taken(140)
    assert observer.poll(lambda: 150 * MS) and observer.counters.skewed == 0


def taken(observer):
    return {name: frame.t_capture_ns for name, frame in observer.frames.items()}


def test_the_one_that_lags_behind_is_dropped_until_a_newer_one_comes(parts):
    observer, front, side = parts
    front.taken(100)
    side.taken(141)
    assert not observer.poll(lambda: 150 * MS)
    assert taken(observer) == {"side": 141 * MS} and observer.counters.skewed == 1
    front.taken(133)
    assert observer.poll(lambda: 160 * MS)
    assert taken(observer) == {"front": 133 * MS, "side": 141 * MS}


def test_without_a_limit_nothing_is_dropped(parts):
    observer, front, side = parts
    observer.max_skew_ns = None
    front.taken(100)
    side.taken(400)
    assert observer.poll(lambda: 400 * MS)
