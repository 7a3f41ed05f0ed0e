"""The ladder: restart, hardware reset, stop; nobody waits for a rung."""

import time

import pytest

from ofp_edge.errors import CameraError
from ofp_edge.runtime.cameras.recovery import RecoveringSource
from ofp_edge.runtime.remarks import Remarks


class Device:
    """Delivers numbers. `mended_by`: which rung makes it deliver again after `silent`."""

    color, stamps_on_clock = False, False

    def __init__(self, mended_by=None, slow_s=0.0):
        self.mended_by, self.slow_s, self.silent, self.gone = mended_by, slow_s, False, False
        self.calls, self.count = [], 0

    def start(self, camera):
        self.calls.append("start")
        if self.gone:
            raise CameraError("no device")
        time.sleep(self.slow_s)
        if self.calls.count("start") > 1 and self.mended_by == "restart":
            self.silent = False

    def hardware_reset(self, camera):
        self.calls.append("reset")
        self.gone = False
        if self.mended_by == "reset":
            self.silent = False

    def newest(self, timeout_ms):
        if self.gone:
            raise RuntimeError("No such device")
        if self.silent:
            time.sleep(timeout_ms / 1000)
            return None
        self.count += 1
        return self.count

    def close(self):
        self.calls.append("close")


def open_source(device):
    remarks, starts = Remarks(), []
    source = RecoveringSource(device, remarks, 30.0, lambda: starts.append(device.count))
    source.start("front")
    assert source.newest(0) == 1
    return source, remarks, starts


def frames_until(source, wanted, seconds=10.0):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if (frame := source.newest(5)) is not None:
            return frame
    raise AssertionError("no frame")


def test_a_restart_mends_what_it_can_and_the_frames_know_of_it():
    device = Device("restart")
    source, remarks, starts = open_source(device)
    device.silent = True
    assert frames_until(source, 2) == 2
    assert device.calls == ["start", "close", "start"] and starts == [1]
    assert remarks.counts == {"restart": 1}
    device.silent = True  # the next outage begins at the first rung again
    frames_until(source, 3)
    assert remarks.counts == {"restart": 2}


def test_a_hardware_reset_follows_and_then_an_error_that_says_what_was_tried():
    device = Device("reset")
    source, remarks, _ = open_source(device)
    device.silent = True
    frames_until(source, 2)
    assert device.calls[3:] == ["close", "reset", "start"]
    device.mended_by, device.silent = None, True
    with pytest.raises(CameraError, match="'front'.*restart and a hardware reset"):
        frames_until(source, 3)
    assert remarks.counts == {"restart": 2, "hardware reset": 2}


def test_a_device_that_was_unplugged_is_found_again():
    device = Device("reset")
    source, _, _ = open_source(device)
    device.gone = True
    assert frames_until(source, 2) == 2


def test_the_reader_never_waits_for_a_rung():
    device = Device("restart", slow_s=0.5)
    source, _, _ = open_source(device)
    device.silent = True
    longest = 0.0
    while device.silent:
        began = time.monotonic()
        source.newest(10)
        longest = max(longest, time.monotonic() - began)
    assert longest < 0.3
    source.close()


def test_closing_in_the_middle_of_a_rung_leaves_nothing_running():
    device = Device("restart", slow_s=0.2)
    source, _, _ = open_source(device)
    device.silent = True
    while "close" not in device.calls:
        source.newest(5)
    source.close()
    assert device.calls[-2:] == ["start", "close"]
