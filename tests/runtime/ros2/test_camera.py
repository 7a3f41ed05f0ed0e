"""A camera behind ROS 2's topics: its newest picture, by its stamp, and what ends it."""

import time

import numpy as np
import pytest

from ofp_edge.errors import CameraError
from ofp_edge.rig.file import CameraEntry
from ofp_edge.ros2.messages import CameraInfo, CompressedImage, Image, JointState
from ofp_edge.runtime.cameras.open import open_camera
from ofp_edge.runtime.ros2.camera import Ros2Camera
from tests.runtime.ros2.fake_wire import FakeWire
from tests.runtime.ros2.loopback import network, until
from tests.runtime.ros2.pictures import POSE, colors, depths, image, info, packed

DEPTH, COLOR, INFO = "/depth", "/color", "/info"


class Node(FakeWire):
    """A camera's node that publishes a picture of each stream when somebody begins to listen."""

    def __init__(self, kinds, first=True, what=None):
        super().__init__()
        self.published = {x: kinds[x] for x in kinds}
        self.first, self.what = first, what or info()

    def topics(self):
        return {topic: kind.TYPE for topic, kind in self.published.items()}

    def subscribe(self, topic, kind, heard, *, reliable, depth):
        end = super().subscribe(topic, kind, heard, reliable=reliable, depth=depth)
        if topic == INFO:
            self.say(INFO, self.what, time.monotonic_ns())
        elif self.first:
            self.picture(topic)
        return end

    def picture(self, topic, ago_ms=0.0, seed=0, made=None, stamp_ns=None):
        now_ns = time.time_ns() - round(ago_ms * 1e6) if stamp_ns is None else stamp_ns
        if made is None and topic == DEPTH:
            made = image("16UC1", depths(seed), now_ns)
        elif made is None:
            made = image("rgb8", colors(seed), now_ns)
        self.say(topic, made, time.monotonic_ns())


def camera(node, parameters=POSE, **options):
    topics = {
        key: topic for key, topic in (("depth", DEPTH), ("color", COLOR)) if topic in node.published
    }
    made = {"info": INFO, "start_s": 20.0, "silent_ms": 60_000.0, **topics, **options}
    return Ros2Camera("front", time.monotonic_ns, parameters, wire=lambda: node, **made)


def test_depth_comes_by_its_stamp_once_and_the_lens_from_camera_info():
    node = Node({DEPTH: Image})
    front = camera(node)
    front.start()
    assert (front.parameters.fx, front.parameters.cy, front.parameters.width) == (50, 3, 8)
    assert front.parameters.depth_unit_m == 1e-3
    assert front.read(0).sequence == 1 and front.read(0) is None
    node.picture(DEPTH, ago_ms=9000, seed=1)  # before the one that came at the start
    with pytest.raises(CameraError, match="/depth: its clock went back"):
        front.read(0)
    front.close()
    front.close()
    assert node.closed


def test_two_streams_wait_for_each_other_and_each_keeps_its_stamp():
    node = Node({DEPTH: Image, COLOR: CompressedImage}, first=False)
    front = camera(node)
    import threading

    def later():
        time.sleep(0.05)
        node.picture(DEPTH)
        bgr = np.ascontiguousarray(colors(3)[..., ::-1])
        node.picture(COLOR, made=packed(bgr, time.time_ns() - 5_000_000))

    threading.Thread(target=later).start()
    front.start()
    frame = front.read(0)
    np.testing.assert_array_equal(frame.color, colors(3))
    np.testing.assert_array_equal(frame.depth, depths())
    assert 0 < frame.t_capture_ns - frame.t_color_ns
    node.picture(DEPTH)
    assert front.read(0) is None  # colour is not new
    front.close()


def test_colour_alone_has_a_depth_of_which_nothing_is_known():
    node = Node({COLOR: Image})
    front = camera(node)
    front.start()
    frame = front.read(0)
    np.testing.assert_array_equal(frame.color, colors())
    assert frame.depth.shape == (6, 8) and not frame.depth.any() and frame.t_color_ns is None
    front.close()


@pytest.mark.parametrize(
    "broken, said",
    [
        (
            lambda n: n.picture(DEPTH, made=image("rgb8", colors(), time.time_ns())),
            "expected depth",
        ),
        (lambda n: n.picture(DEPTH, stamp_ns=12 * 10**9), "its clock went back|simulated time"),
        (lambda n: n.picture(DEPTH, ago_ms=-500), "ahead of this computer's clock"),
        (lambda n: n.picture(DEPTH, made=image("16UC1", depths()[:4], time.time_ns())), "8 x 4"),
        (lambda n: n.say(DEPTH, b"\0\1\0\0\1", 0), "ends in the middle"),
        (
            lambda n: n.picture(DEPTH, made=image("16UC1", depths(), time.time_ns(), frame_id="x")),
            "'x'",
        ),
        (lambda n: n.say(INFO, info(k=np.array([9.0, 0, 4, 0, 51, 3, 0, 0, 1])), 0), "another one"),
        (lambda n: (setattr(n, "count_in", 2), n.picture(DEPTH)), "2 publishers on /depth"),
    ],
)
def test_a_picture_that_cannot_be_right_ends_the_camera_with_one_line(broken, said):
    node = Node({DEPTH: Image})
    front = camera(node, frame_id="front_optical")
    front.start()
    broken(node)
    with pytest.raises(CameraError, match=said) as raised:
        front.read(0)
    assert "\n" not in str(raised.value)
    front.close()


def test_a_repeated_stamp_is_no_frame_and_is_remarked():
    node = Node({DEPTH: Image})
    front = camera(node)
    front.start()
    front.read(0)
    stamp = time.time_ns()
    node.picture(DEPTH, stamp_ns=stamp)
    node.picture(DEPTH, stamp_ns=stamp)
    assert front.read(0).sequence == 2 and front.read(0) is None
    assert front.remarks.counts == {"repeated frame": 1}
    front.close()


def test_silence_is_named():
    node = Node({DEPTH: Image})
    front = camera(node, silent_ms=30.0)
    front.start()
    front.read(0)
    time.sleep(0.05)
    with pytest.raises(CameraError, match="nothing on /depth for more than 30 ms"):
        front.read(0)
    node.count_in = 0
    with pytest.raises(CameraError, match="the publisher of /depth is gone"):
        front.read(0)
    front.close()


@pytest.mark.parametrize(
    "node, options, said",
    [
        (
            Node({COLOR: Image}),
            {"depth": DEPTH},
            "no publisher on /depth within 0.1 s; topics: /color",
        ),
        (Node({DEPTH: JointState}), {}, "its type is sensor_msgs/msg/JointState, expected"),
        (Node({DEPTH: Image}, first=False), {}, "nothing on /depth within 0.1 s"),
        (Node({DEPTH: Image}, what=info(d=np.ones(5))), {}, "the lens bends"),
        (Node({DEPTH: Image}), {"info": ""}, "expected depth or color, and info"),
        (Node({DEPTH: Image}), {"stamps": "x"}, "stamps: expected one of"),
    ],
)
def test_what_keeps_it_from_starting_is_one_line(node, options, said):
    with pytest.raises(CameraError, match=said):
        camera(node, start_s=0.1, **options).start()


def test_a_place_that_no_rig_states_is_unknown_and_a_frame_alone_is_refused():
    opened = camera(Node({DEPTH: Image}), {})
    opened.start()
    assert not opened.parameters.known and opened.parameters.fx == 50
    opened.close()
    with pytest.raises(CameraError, match="base_frame: expected T_base_camera with it"):
        camera(Node({DEPTH: Image}), {"base_frame": "base"}).start()


def test_a_rigs_camera_hears_a_node_over_dds():
    from ofp_edge.errors import RobotError
    from ofp_edge.ros2.cdr import encode
    from ofp_edge.runtime.ros2.dds import Dds

    net = network()
    node = Dds(net["domain"], net["config"], RobotError)
    lens, depth = node.publish(INFO, CameraInfo), node.publish(DEPTH, Image)
    options = {**net, "depth": DEPTH, "info": INFO, "start_s": 20.0, "silent_ms": 10_000.0}
    front = open_camera(CameraEntry("front", "ros2", options=options, parameters=POSE))
    import threading

    over = threading.Event()

    def speak():
        while not over.wait(0.02):
            lens.publish(encode(info()))
            depth.publish(encode(image("16UC1", depths(), time.time_ns())))

    speaker = threading.Thread(target=speak)
    speaker.start()
    try:
        front.start()
        frames = []
        until(lambda: frames.append(front.read(100)) or len([x for x in frames if x]) > 3)
        frame = [x for x in frames if x][-1]
        np.testing.assert_array_equal(frame.depth, depths())
        assert 0 <= time.monotonic_ns() - frame.t_capture_ns < 5e9
    finally:
        over.set()
        speaker.join()
        front.close()
        node.close()
