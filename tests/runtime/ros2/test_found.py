"""What `robots --network` and `cameras --network` hear of ROS 2's nodes."""

import contextlib
import json

import pytest
from typer.testing import CliRunner

from ofp_edge.cli.main import build_app
from ofp_edge.errors import OfpError, RobotError
from ofp_edge.ros2.messages import CompressedImage, Image, JointTrajectory
from ofp_edge.runtime.ros2.dds import Dds
from ofp_edge.runtime.ros2.found import found_in_domain
from tests.runtime.ros2.loopback import Arm, network, until


@pytest.fixture
def nodes():
    net = network()
    with contextlib.ExitStack() as stack:
        arm = Arm(net, "/arm/joint_trajectory", JointTrajectory)
        stack.callback(arm.close)
        eye = Dds(net["domain"], net["config"], RobotError)
        stack.callback(eye.close)
        eye.publish("/wrist/image_raw", Image)
        eye.publish("/top/compressed", CompressedImage)
        until(lambda: len(eye.topics()) == 1)
        yield net


def test_robots_and_cameras_are_heard_by_what_they_say_and_listen_to(nodes):
    found, note = found_in_domain("robot", nodes["domain"], 2.0, nodes["config"])
    assert {(x.kind, x.device, x.about) for x in found} == {
        ("ROS 2 node that publishes", "/joint_states", "sensor_msgs/msg/JointState"),
        ("ROS 2 node that listens", "/arm/joint_trajectory", "trajectory_msgs/msg/JointTrajectory"),
    }
    assert {x.driver for x in found} == {"ros2"} and "listened for 2 s." in note
    found, _ = found_in_domain("camera", nodes["domain"], 2.0, nodes["config"])
    assert [x.device for x in found] == ["/top/compressed", "/wrist/image_raw"]


def test_the_commands_list_them(nodes, monkeypatch):
    monkeypatch.setenv("CYCLONEDDS_URI", nodes["config"])
    domain = ["--network", "2", "--domain", str(nodes["domain"]), "--json"]
    for command, expected in (("robots", "/joint_states"), ("cameras", "/wrist/image_raw")):
        done = CliRunner().invoke(build_app(), [command, *domain])
        assert done.exit_code == 0, done.output
        said = json.loads(done.stdout)
        assert expected in {x["device"] for x in said["found"]}
        assert any("listened for 2 s" in note for note in said["notes"])


def test_an_empty_domain_says_where_else_to_look(monkeypatch):
    net = network()
    found, note = found_in_domain("camera", net["domain"], 0.5, net["config"])
    assert not found and "no topic at all. Another domain? --domain, ROS_DOMAIN_ID." in note
    monkeypatch.setenv("ROS_DOMAIN_ID", "many")
    with pytest.raises(OfpError, match="ROS_DOMAIN_ID: expected a whole number"):
        found_in_domain("robot", None, 0.1)
    monkeypatch.setenv("ROS_DOMAIN_ID", "5")
    with pytest.raises(OfpError, match="can't be joined|config"):
        found_in_domain("robot", None, 0.1, "<CycloneDDS><Nonsense/></CycloneDDS>")
