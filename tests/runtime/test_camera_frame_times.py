"""What is odd about a camera's numbers and clocks is said once, counted, and not carried along."""

from ofp_edge.runtime.cameras.frame_times import FrameTimes, Stamp
from ofp_edge.runtime.remarks import Remarks

MS = 1_000_000
PERIOD = 33 * MS


class Camera:
    """Frames at 30 Hz that take 5 ms to arrive; `jump_ns` moves its clock from now on."""

    def __init__(self, domain="hardware_clock", exposed_before_ns=2 * MS):
        self.said = []
        remarks = Remarks()
        remarks.listen(lambda what, detail: self.said.append(what))
        self.counts = remarks.counts
        self.times = FrameTimes(remarks)
        self.domain, self.before = domain, exposed_before_ns
        self.number, self.jump_ns = 0, 0

    def frame(self, number=None, delay_ns=5 * MS):
        """(error of the capture time in ns, or None when it is no new frame)."""
        self.number = self.number + 1 if number is None else number
        readout = 10**15 + self.number * PERIOD
        stamp = Stamp(self.number, readout % 10**12 + self.jump_ns, self.domain, self.before)
        if not self.times.is_new(stamp):
            return None
        return self.times.on_clock(stamp, readout + delay_ns) - (readout - (self.before or 0))


def test_the_capture_time_is_the_middle_of_the_exposure():
    camera = Camera()
    errors = [camera.frame(delay_ns=(5 + i % 7) * MS) for i in range(60)]
    assert max(errors) <= 5 * MS + 1e6 and min(errors) > 0 and not camera.said
    bare = Camera(exposed_before_ns=None)
    assert [bare.frame() for _ in range(30)][-1] == 5 * MS  # the readout's time at best
    assert bare.said == ["metadata absent"] and bare.counts["metadata absent"] == 30


def test_a_clock_that_jumps_back_by_less_than_a_frame_is_noticed_and_not_carried_along():
    camera = Camera("global_time")
    for _ in range(30):
        camera.frame()
    camera.jump_ns = -20 * MS  # without the check every frame would look 20 ms older from now on
    assert abs(camera.frame()) <= 5 * MS
    assert camera.said == ["clock jump"]
    for _ in range(100):
        assert abs(camera.frame()) <= 5 * MS
    assert camera.counts == {"clock jump": 1}


def test_a_clock_that_jumps_forward_is_noticed():
    camera = Camera("global_time")
    for _ in range(30):
        camera.frame()
    camera.jump_ns = 300 * MS
    assert abs(camera.frame()) <= 5 * MS and camera.said == ["clock jump"]


def test_jitter_of_arrival_is_no_jump():
    camera = Camera()
    for i in range(200):
        camera.frame(delay_ns=(5 + 25 * (i % 3)) * MS)
    assert not camera.said


def test_repeats_gaps_and_overtaken_frames_are_counted():
    camera = Camera()
    for number in (1, 2, 3):
        assert camera.frame(number) is not None
    assert camera.frame(3) is None and camera.frame(2) is None and camera.frame(3) is None
    assert camera.frame(7) is not None and camera.frame(9) is not None
    assert camera.counts == {"repeated frame": 2, "overtaken frame": 1, "missing frames": 2}
    assert camera.said == ["repeated frame", "overtaken frame", "missing frames"]


def test_a_device_that_starts_over_is_followed_whatever_its_clock_does():
    camera = Camera()
    for _ in range(100):
        camera.frame()
    camera.jump_ns = -(10**11)
    assert camera.frame(1) is not None
    assert camera.said == ["frame numbers start over"]
    assert abs(camera.frame(2)) <= 5 * MS


def test_a_new_domain_is_said_and_mapped_anew():
    camera = Camera("hardware_clock")
    for _ in range(10):
        camera.frame()
    camera.domain, camera.jump_ns = "system_time", 7 * 10**17
    assert abs(camera.frame()) <= 5 * MS
    assert camera.said == ["clock changed", "no device timestamps"]


def test_remarks_wait_for_a_listener():
    remarks, heard = Remarks(), []
    remarks.say("a", "1")
    remarks.say("a", "2")
    remarks.say("b", "3", again=True)
    remarks.listen(lambda what, detail: heard.append((what, detail)))
    remarks.say("a", "4")
    remarks.say("b", "5", again=True)
    assert heard == [("a", "1"), ("b", "3"), ("b", "5")] and remarks.counts == {"a": 3, "b": 2}
