"""A V4L2 camera: newest frame, honest times, opened again when it falls silent."""

import time

import numpy as np
import pytest

from ofp_edge.errors import CameraError
from ofp_edge.rig.file import CameraEntry
from ofp_edge.runtime.cameras.open import open_camera
from ofp_edge.runtime.cameras.v4l2 import V4l2Camera

cv2 = pytest.importorskip("cv2")
PARAMETERS = {"fx": 50.0, "fy": 50.0, "cx": 8.0, "cy": 6.0, "T_base_camera": np.eye(4).tolist()}


class Capture:
    """cv2.VideoCapture of a camera whose frames are one colour, blue rising; 10 ms each."""

    def __init__(self, stamps=True):
        self.count, self.stamps, self.silent, self.released = 0, stamps, False, False

    def grab(self):
        time.sleep(0.01)
        self.stamp_ms = time.monotonic_ns() / 1e6 - 4.0
        self.count += not self.silent
        return not self.silent

    def retrieve(self):
        image = np.zeros((12, 16, 3), np.uint8)
        image[..., 0], image[..., 2] = self.count % 256, 7  # OpenCV's order: blue first
        return True, image

    def read(self):
        return self.grab() and self.retrieve()[0], self.retrieve()[1]

    def get(self, key):
        return self.stamp_ms if self.stamps else 33.0 * self.count

    def release(self):
        self.released = True


@pytest.fixture
def make():
    made = []

    def build(*captures, parameters=PARAMETERS, **options):
        waiting = list(captures)

        def opened():
            if not waiting:
                raise CameraError("gone")
            return waiting.pop(0)

        camera = V4l2Camera(
            "top", time.monotonic_ns, parameters, device="/dev/video0", opened=opened,
            restart_after_ms=60.0, **options,
        )  # fmt: skip
        camera.start()
        made.append(camera)
        return camera

    yield build
    for camera in made:
        camera.close()


def test_the_newest_frame_comes_once_in_rgb_with_the_drivers_time(make):
    camera = make(Capture())
    while camera._taken < 4:
        time.sleep(0.01)
    frame = camera.read(1000)
    assert frame.sequence >= 4 and frame.color.shape == (12, 16, 3)
    assert (frame.color[..., 0] == 7).all() and frame.color[0, 0, 2] == frame.sequence + 1
    assert not frame.depth.any() and frame.depth.shape == (12, 16)
    assert 3e6 < time.monotonic_ns() - frame.t_capture_ns < 5e9
    assert camera.read(1000).sequence > frame.sequence  # never the same one twice
    assert not camera.remarks.counts
    assert (camera.parameters.width, camera.parameters.fx) == (16, 50.0)


def test_timestamps_of_another_clock_are_said_once_and_replaced_by_the_arrival(make):
    camera = make(Capture(stamps=False), delivery_ms=20.0)
    frame = camera.read(1000)
    assert 20e6 <= time.monotonic_ns() - frame.t_capture_ns < 5e9
    camera.read(1000)
    assert list(camera.remarks.counts) == ["no device timestamps"]


def test_a_silent_camera_is_opened_again_and_then_given_up(make):
    first, second = Capture(), Capture()
    camera = make(first, second)
    first.silent = True
    while first.released is False:
        camera.read(20)
    assert camera.read(1000) is not None and camera.remarks.counts["restart"] == 1
    second.silent = True
    with pytest.raises(CameraError, match="'top': no frames, nor after"):
        for _ in range(500):
            camera.read(20)


def test_what_is_wrong_with_the_entry_is_one_line():
    stated = {"T_base_camera": PARAMETERS["T_base_camera"]}
    entry = CameraEntry("top", "v4l2", 200, {"device": "/dev/video77"}, stated)
    with pytest.raises(CameraError, match="lacks fx, fy, cx, cy: .*or nothing"):
        open_camera(entry)
    entry = CameraEntry("top", "v4l2", 200, {"device": "/dev/video77"}, PARAMETERS)
    with pytest.raises(CameraError, match="/dev/video77 does not exist"):
        open_camera(entry).start()
    entry = CameraEntry("top", "v4l2", 200, {"device": "/dev/null"}, PARAMETERS)
    with pytest.raises(CameraError, match="can't be opened"):
        open_camera(entry).start()


def test_a_rig_that_states_nothing_of_the_lens_has_a_camera_of_which_the_size_is_known(make):
    camera = make(Capture(), parameters={})
    assert (camera.parameters.width, camera.parameters.height) == (16, 12)
    assert not camera.parameters.known
