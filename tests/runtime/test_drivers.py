"""What `robots` and `cameras` say: drivers with their options, and devices that are plugged in."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from examples.my_camera import MyCamera
from ofp_edge.cli.main import build_app
from ofp_edge.errors import CameraError
from ofp_edge.rig.file import CameraEntry, RobotEntry, read_rig
from ofp_edge.runtime.cameras.open import open_camera
from ofp_edge.runtime.drivers import CAMERAS, ROBOTS, shown_options
from ofp_edge.runtime.plugged import realsense_devices, serial_ports, video_devices
from ofp_edge.runtime.robot import open_robot
from tests.runtime.standins import make_spec

EXAMPLES = Path(__file__).parents[2] / "examples"
POSE = [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]


def device(root: Path, place: str, name: str, **words: str) -> None:
    """A USB device with an interface, and what hangs on it, as sysfs shows it."""
    usb = root / "sys/devices/usb1" / name
    usb.mkdir(parents=True, exist_ok=True)
    for key, text in words.items():
        (usb / key).write_text(f"{text}\n")
    (root / "sys/bus/usb/devices").mkdir(parents=True, exist_ok=True)
    link = root / "sys/bus/usb/devices" / name
    if not link.exists():
        link.symlink_to(usb)
    if place:
        interface = usb / f"{name}:1.0"
        interface.mkdir(exist_ok=True)
        entry = root / "sys/class" / place
        entry.mkdir(parents=True)
        (entry / "device").symlink_to(interface)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A machine with a servo board, another adapter, a webcam of two nodes and a RealSense."""
    device(tmp_path, "tty/ttyACM0", "1-1", idVendor="1a86", idProduct="55d3",
           manufacturer="QinHeng", product="USB Single Serial", serial="5A46")  # fmt: skip
    device(tmp_path, "tty/ttyUSB0", "1-2", idVendor="0403", idProduct="6001", product="FT232R")
    (tmp_path / "sys/class/tty/ttyS0/device").mkdir(parents=True)
    for number, (name, index) in enumerate((("Webcam C920", "0"), ("Webcam C920", "1"))):
        device(tmp_path, f"video4linux/video{number}", "1-3", idVendor="046d", product="C920")
        (tmp_path / f"sys/class/video4linux/video{number}/name").write_text(name)
        (tmp_path / f"sys/class/video4linux/video{number}/index").write_text(index)
    device(tmp_path, "", "2-1", idVendor="8086", idProduct="0b07", speed="480",
           product="Intel(R) RealSense(TM) Depth Camera 435")  # fmt: skip
    dev = tmp_path / "dev"
    (dev / "serial/by-id").mkdir(parents=True)
    (dev / "ttyACM0").touch()
    (dev / "serial/by-id/usb-QinHeng_5A46-if00").symlink_to("../../ttyACM0")
    return tmp_path


def test_serial_ports_are_named_by_what_stays_the_same(root: Path) -> None:
    board, other = serial_ports(root)
    assert board.device == "/dev/serial/by-id/usb-QinHeng_5A46-if00" and board.serial == "5A46"
    assert board.about == "QinHeng USB Single Serial" and board.driver.endswith(":So101")
    assert other.device == "/dev/ttyUSB0" and other.driver == "" and other.about == "FT232R"


def test_of_a_camera_with_several_nodes_the_one_that_captures_is_named(root: Path) -> None:
    (webcam,) = video_devices(root)
    assert (webcam.device, webcam.about, webcam.driver) == ("/dev/video0", "Webcam C920", "v4l2")
    (depth,) = realsense_devices(root)
    assert "RealSense" in depth.about and "480 Mbit/s" in depth.about


def test_a_machine_without_anything_has_nothing(tmp_path: Path) -> None:
    assert serial_ports(tmp_path) == video_devices(tmp_path) == realsense_devices(tmp_path) == []


def test_what_a_device_says_of_itself_can_not_steer_a_terminal(root: Path) -> None:
    (root / "sys/class/video4linux/video0/name").write_bytes(b"\x1b[2J\xff" + b"x" * 5000)
    (webcam,) = video_devices(root)
    assert webcam.about.isprintable() and len(webcam.about) <= 120


@pytest.mark.parametrize("command", ["robots", "cameras"])
def test_options_are_broken_between_words_at_80_columns(
    command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    lines = CliRunner().invoke(build_app(), [command]).stdout.splitlines()
    told = [x for x in lines if x.startswith("  ")]
    assert len(told) > 8 and max(map(len, told)) <= 80, told
    assert any(x.startswith(" " * 11) for x in told)  # what goes on stands under what begins


@pytest.mark.parametrize("command", ["robots", "cameras"])
def test_the_commands_list_every_driver_with_its_own_options(command: str) -> None:
    result = CliRunner().invoke(build_app(), [command, "--json"])
    assert result.exit_code == 0, result.stderr
    document = json.loads(result.stdout)
    names = [x["driver"] for x in document["drivers"]]
    assert names == [x.driver for x in (ROBOTS if command == "robots" else CAMERAS)]
    options: dict[str, Any] = {x["driver"]: x["options"] for x in document["drivers"]}
    if command == "robots":
        arm = options["ofp_edge.runtime.robots.so101:So101"]
        assert arm["port"] == arm["calibration"] == "required" and arm["acceleration"] == 254
    else:
        assert options["v4l2"]["device"] == "required" and options["realsense"]["fps"] == 0
    people = CliRunner().invoke(build_app(), [command])
    assert people.exit_code == 0 and all(name in people.stdout for name in names)


def test_every_named_camera_driver_is_one_that_a_rig_can_name() -> None:
    named = [x.driver for x in CAMERAS if ":" not in x.driver]
    with pytest.raises(CameraError, match=f"Known: {', '.join(named)}, package.module:Class"):
        open_camera(CameraEntry("front", "none"))


def test_required_options_come_first() -> None:
    assert shown_options({"a": 1, "b": "required"}) == "b, a = 1"


def test_the_example_rig_fits_the_example_robot(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(EXAMPLES))
    rig = read_rig(EXAMPLES / "rig-realsense.toml")
    assert isinstance(rig.robot, RobotEntry)
    robot = open_robot(rig.robot, make_spec())
    assert set(robot.state().values) >= {"state"}
    robot.close()


def test_the_example_camera_is_one_that_a_rig_can_name() -> None:
    entry = CameraEntry(
        "front", "examples.my_camera:MyCamera",
        options={"width": 64, "height": 48, "rate_hz": 100.0},
        parameters={"T_base_camera": POSE},
    )  # fmt: skip
    camera = open_camera(entry)
    assert isinstance(camera, MyCamera) and camera.parameters.width == 64
    assert camera.read(0) is None
    camera.start()
    began = time.monotonic_ns()
    frames = [camera.read(20_000) for _ in range(3)]
    camera.close()
    camera.close()
    numbers = [frame.sequence for frame in frames if frame is not None]
    assert len(numbers) == 3 and numbers == sorted(set(numbers))
    first = frames[0]
    assert first is not None and first.depth.shape == (48, 64) and first.depth.dtype == "uint16"
    assert first.color is not None and first.color.shape == (48, 64, 3)
    assert began <= first.t_capture_ns <= time.monotonic_ns()


def test_the_example_camera_knows_no_place_that_nobody_stated() -> None:
    entry = CameraEntry("front", "examples.my_camera:MyCamera", options={"width": 64})
    camera = open_camera(entry)
    assert not camera.parameters.known and camera.parameters.width == 64
    camera.close()


def test_the_example_camera_says_what_it_lacks() -> None:
    for options, parameters, said in (
        ({"depth": True}, {"T_base_camera": POSE}, "unexpected keyword argument 'depth'"),
    ):
        with pytest.raises(CameraError, match=said):
            open_camera(CameraEntry("front", "examples.my_camera:MyCamera", options=options,
                                    parameters=parameters))  # fmt: skip
