"""A camera in a process of its own: pictures bit for bit, nothing left behind, one line when it
ends."""

import datetime
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from ofp_edge.camera_parameters import CameraParameters
from ofp_edge.errors import CameraError
from ofp_edge.rig.file import CameraEntry
from ofp_edge.runtime.camera import Frame
from ofp_edge.runtime.cameras.open import open_camera
from ofp_edge.runtime.cameras.shared import PLACES, Place, SharedPictures
from tests.runtime.cameras.small_camera import HEIGHT, POSE, WIDTH, color_of, depth_of

SMALL = "tests.runtime.cameras.small_camera:SmallCamera"
REMOTE = "ofp_edge.runtime.cameras.remote:RemoteCamera"


@pytest.fixture
def diary(tmp_path):
    return tmp_path / "diary"


@pytest.fixture
def make(diary):
    made = []

    def build(camera=SMALL, parameters=None, python=sys.executable, start_s=60.0, **options):
        options = {"camera": camera, "options": {"diary": str(diary), **options}, "python": python,
                   "start_s": start_s}  # fmt: skip
        entry = CameraEntry("front", REMOTE, options=options, parameters=parameters or {})
        made.append(open_camera(entry))
        return made[-1]

    yield build
    for camera in made:
        camera.close()


def until(condition, seconds=60.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.005)


def lines(diary):
    return diary.read_text().splitlines()


def pid_of(diary):
    return int(lines(diary)[0].split()[1])


def gone(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


@pytest.mark.parametrize("shows", ["depth color", "depth", "color"])
def test_frames_come_bit_exact_and_each_once(make, diary, shows, capfd):
    camera = make(shows=shows, wait_s=0.002, parameters={"base_frame": "rail"})
    with pytest.raises(CameraError, match="has not been started"):
        camera.parameters  # noqa: B018
    camera.start()
    assert camera.noise_free and camera.parameters.base_frame == "rail"
    began, seen = time.monotonic_ns(), []
    for _ in range(20):
        frame = camera.read(60_000)
        n = frame.sequence
        seen.append(n)
        expected = depth_of(n) if "depth" in shows else np.zeros((HEIGHT, WIDTH), np.uint16)
        np.testing.assert_array_equal(frame.depth, expected)
        np.testing.assert_array_equal(frame.raw["depth"], depth_of(n + 7))
        if "color" in shows:
            np.testing.assert_array_equal(frame.color, color_of(n))
        else:
            assert frame.color is None
        assert frame.t_color_ns < frame.t_capture_ns <= time.monotonic_ns()
    assert frame.t_capture_ns > began and seen == sorted(set(seen))
    assert camera.remarks.counts == {"restart": 1}
    assert pid_of(diary) != os.getpid()
    camera.close()
    camera.close()
    assert lines(diary)[-1] == "close" and gone(pid_of(diary))
    assert capfd.readouterr().out == ""  # its prints must not spoil --json


def test_a_reader_that_is_slow_gets_the_newest_frame(make):
    camera = make(shows="color", wait_s=0.002)
    camera.start()
    first = camera.read(60_000).sequence
    time.sleep(0.5)  # many times what the places hold
    second = camera.read(60_000)
    assert second.sequence > first + PLACES + 1
    assert time.monotonic_ns() - second.t_capture_ns < 0.4e9


def test_it_starts_again_after_it_was_closed(make, diary):
    camera = make()
    for _ in range(2):
        camera.start()
        assert camera.read(60_000).sequence >= 1
        camera.close()
    assert lines(diary).count("close") == 2


@pytest.mark.parametrize(
    ("fail", "said"),
    [
        ("start", "camera 'front': no such camera. Plug it in."),
        ("read", "the cable is gone. Check it."),
        ("bug", "ZeroDivisionError: a bug"),
        ("die", "its process has ended with exit code 7|its process has ended."),
        ("grow", "its pictures have grown to"),
        ("form", r"depth: expected 2 axes of uint16, got \(480, 640\) of float32"),
    ],
)
def test_what_happens_to_it_is_one_line_here(make, diary, fail, said):
    camera = make(fail=fail)
    with pytest.raises(CameraError, match=said) as raised:  # noqa: PT012
        camera.start()
        for _ in range(100):
            camera.read(60_000)
    assert "\n" not in str(raised.value) and str(raised.value).startswith("camera 'front'")
    camera.close()
    until(lambda: gone(pid_of(diary)))


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"camera": "tests.nothing:Here"}, "no module 'tests.nothing'"),
        ({"color": "red"}, "Check its options in the rig"),
        ({"python": "/nowhere/python"}, "No such file or directory. Check python in the rig"),
        ({"fail": "slow start", "start_s": 1.5}, "no frame within 1.5 s"),
    ],
)
def test_what_a_rig_has_wrong_is_one_line_and_leaves_no_process(make, given, said):
    camera = make(**given)
    with pytest.raises(CameraError, match=said) as raised:
        camera.start()
    assert "\n" not in str(raised.value)
    assert camera._process is None


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"camera": "realsense"}, "camera: expected package.module:Class, got 'realsense'"),
        ({"camera": SMALL, "options": "x"}, "options: expected a table"),
        (
            {"camera": SMALL, "start_s": "60"},
            "start_s: expected a number, got '60': without quotes",
        ),
        ({"camera": SMALL, "start_s": float("nan")}, "start_s: expected seconds"),
        ({"camera": SMALL, "start_s": -1}, "start_s: expected seconds"),
        ({"camera": 3}, "camera: expected text, got 3: quote it"),
        ({"camera": SMALL, "options": {"gain": float("inf")}}, "options: .* can cross"),
        ({"camera": SMALL, "options": {"day": datetime.date(2026, 1, 1)}}, "options: .* can cross"),
    ],
)
def test_options_that_can_start_no_camera_are_one_line(options, said):
    with pytest.raises(CameraError, match=said) as raised:
        open_camera(CameraEntry("front", REMOTE, options=options))
    assert "\n" not in str(raised.value)


def test_a_frame_that_does_not_come_is_none(make):
    camera = make(fail="mute")
    camera.start()
    began = time.monotonic()
    while camera.read(50) is not None:
        assert time.monotonic() - began < 60
    assert camera.read(50) is None


RUN = """
import sys
from pathlib import Path
from ofp_edge.rig.file import CameraEntry
from ofp_edge.runtime.cameras.open import open_camera
options = {"camera": %r, "options": {"diary": sys.argv[1]}}
camera = open_camera(CameraEntry("front", %r, options=options))
camera.start()
print("started", flush=True)
while True:
    camera.read(1000)
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_it_is_closed_when_the_run_is_gone(diary, number):
    command = [sys.executable, "-c", RUN % (SMALL, REMOTE), str(diary)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as run:
        assert run.stdout.readline() == "started\n"
        run.send_signal(number)
        run.wait(60)
    until(lambda: lines(diary)[-1] == "close" and gone(pid_of(diary)))


def test_a_signal_to_it_closes_it_and_is_said(make, diary):
    camera = make(wait_s=0.002)
    camera.start()
    os.kill(pid_of(diary), signal.SIGTERM)
    with pytest.raises(CameraError, match="was asked to end by SIGTERM"):
        while True:
            camera.read(60_000)
    until(lambda: lines(diary)[-1] == "close")


PARAMETERS = CameraParameters(WIDTH, HEIGHT, 600.0, 600.0, 320.0, 240.0, 0.001, "base", POSE)


@pytest.fixture
def memory():
    made = SharedPictures.made(5 * WIDTH * HEIGHT)
    yield made
    made.close()


def frame(number):
    return Frame(depth_of(number), color_of(number), 5, number)


def test_places_are_written_again_only_when_they_are_free(memory):
    places = [memory.put(frame(n)) for n in range(PLACES)]
    assert len({place.number for place in places}) == PLACES and memory.put(frame(9)) is None
    np.testing.assert_array_equal(memory.take(places[1], PARAMETERS).depth, depth_of(1))
    memory.free(places[1].number)
    assert memory.put(frame(9)).number == places[1].number
    np.testing.assert_array_equal(memory.take(places[0], PARAMETERS).color, color_of(0))
    for number in (-1, PLACES, 1.0, None, True):
        with pytest.raises(CameraError, match="a place for pictures"):
            memory.free(number)


@pytest.mark.parametrize(
    ("number", "parts"),
    [
        (PLACES, (("depth", (4, 4)),)),
        (-1, (("depth", (4, 4)),)),
        (PLACES - 1, (("depth", (60000, 60000)),)),
        (0, (("depth", (-4, -4)),)),
        (0, (("depth", (0, 4)),)),
        (0, (("depth", (4, 4, 4)),)),
        (0, (("depth", ()),)),
        (0, (("depth", (4, 4)), ("depth", (4, 4)))),
        (0, (("color", (HEIGHT, WIDTH, 3)), ("depth", (HEIGHT, WIDTH)), ("raw depth", (480, 640)))),
        (0, (("soul", (4, 4, 4)),)),
    ],
)
def test_a_place_that_does_not_fit_the_memory_is_refused(memory, number, parts):
    with pytest.raises(CameraError, match="its frame"):
        memory.take(Place(number, parts, 1, 1, None), PARAMETERS)


def test_memory_that_could_be_cut_off_is_refused():
    handle = os.memfd_create("loose")
    os.ftruncate(handle, 4096 * PLACES)
    with pytest.raises(CameraError, match="memory of another size"):
        SharedPictures.received(handle, 4096)
    with pytest.raises(OSError):
        os.fstat(handle)
    made = SharedPictures.made(10)
    with pytest.raises(PermissionError):
        os.ftruncate(made.handle, 1)
    made.close()
    with pytest.raises(CameraError, match="without their memory"):
        SharedPictures.received(None, 10)
