"""A rig that is drafted, answered and checked: all that is wrong at once, and nothing opened."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from ofp_edge.camera_parameters import CameraParameters
from ofp_edge.cli.main import build_app
from ofp_edge.errors import RigError
from ofp_edge.fields import Rgb, State
from ofp_edge.rig.file import look_at_rig, read_rig
from ofp_edge.runtime import plugged
from ofp_edge.runtime.run_files import make_controller
from ofp_edge.spec import ActionField, PolicySpec
from tests.runtime.small_bundle import write_small_bundle
from tests.synthetic import CAMERA, action_fields, points_field, state_field

JOINTS = ("shoulder_pan", "shoulder_lift", "elbow_flex", "wrist_flex", "wrist_roll", "gripper")
ARM = "ofp_edge.runtime.robots.so101:So101"


def arm_spec() -> PolicySpec:
    """LeRobot's usual kit: six joints in an unstated unit, two cameras."""
    ends = (-100.0,) * 6, (100.0,) * 6
    low, high = (0.0,) * 3, (1.0,) * 3
    images = tuple(Rgb(x, (3, 24, 32), "1", x, low, high, x) for x in ("front", "wrist"))
    state = State("state", (6,), "1", "unknown", *ends)
    action = ActionField("action", (6,), "1", "unknown", "absolute", 1.0, *ends)
    return PolicySpec((state, *images), (action,), 1, 16, 8, 30.0)


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    cameras = {name: CameraParameters.unknown(640, 480) for name in ("front", "wrist")}
    return write_small_bundle(tmp_path / "bundle", arm_spec(), cameras)


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A desk with an arm's board and two webcams, which are files of a folder."""
    port, eyes = tmp_path / "ttyACM0", [tmp_path / "video0", tmp_path / "video2"]
    for path in (port, *eyes):
        path.touch()
    monkeypatch.setattr(plugged, "serial_ports", lambda: [
        plugged.Plugged("serial port", str(port), "USB Single Serial", ARM)])  # fmt: skip
    monkeypatch.setattr(plugged, "realsense_devices", list)
    monkeypatch.setattr(plugged, "video_devices", lambda: [
        plugged.Plugged("video device", str(x), "HD Webcam", "v4l2") for x in eyes])  # fmt: skip
    calibration = {
        name: {"id": i + 1, "drive_mode": 0, "homing_offset": 0, "range_min": 0, "range_max": 4095}
        for i, name in enumerate(JOINTS)
    }
    (tmp_path / "so101.json").write_text(json.dumps(calibration))
    return tmp_path


def ran(*asked: object) -> Result:
    return CliRunner().invoke(build_app(), [str(x) for x in asked])


def drafted(desk: Path, bundle: Path) -> Path:
    rig = desk / "rig.toml"
    got = ran("rig", "new", bundle, "-o", rig, "--no-pictures", "--json")
    assert got.exit_code == 0, got.output
    document = json.loads(got.stdout)
    assert document["robot"] == ARM and document["cameras"] == {"front": "v4l2", "wrist": "v4l2"}
    assert {x["where"] for x in document["open"]} == {
        "[robot.options] calibration", "[robot.options] unit", "[cameras.front.options] device",
        "[cameras.wrist.options] device", "[safety.limits.action] max_velocity",
        "[safety.limits.action] max_first_step",
    }  # fmt: skip
    return rig


def answered(rig: Path, desk: Path) -> None:
    text = rig.read_text()
    answers = {
        "calibration": '"so101.json"', "unit": '"deg"', "max_velocity": "90.0",
        "max_first_step": "15.0",
    }  # fmt: skip
    for key, value in answers.items():
        assert text.count(f'{key} = "?"') == 1
        text = text.replace(f'{key} = "?"', f"{key} = {value}")
    for name in ("video0", "video2"):
        text = text.replace('device = "?"', f'device = "{desk / name}"', 1)
    rig.write_text(text)


def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    from ofp_edge.runtime.drivers import Driver

    monkeypatch.setattr(Driver, "installed", lambda self: True)


def test_a_draft_knows_what_is_plugged_in_and_asks_for_the_rest(
    desk: Path, bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed(monkeypatch)
    rig = drafted(desk, bundle)
    text = rig.read_text()
    assert f'port = "{desk}/ttyACM0"' in text and "width = 640" in text
    assert 'measured = "state"' in text and f"{desk}/video2 (HD Webcam)" in text
    with pytest.raises(RigError, match=r"calibration: not known yet: .*and 5 more"):
        read_rig(rig)
    got = ran("rig", "check", rig, "--bundle", bundle)
    assert got.exit_code == 1 and got.output.count("\n") == 6, got.output
    answered(rig, desk)
    got = ran("rig", "check", rig, "--bundle", bundle)
    assert got.exit_code == 0, got.output
    assert "is complete and fits" in got.output
    assert read_rig(rig).robot.options["calibration"] == str(desk / "so101.json")


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('unit = "deg"', 'unit = "turns"', "unit 'turns': expected deg, rad, normalised"),
        ('"so101.json"', '"other.json"', "calibration: .*/other.json does not exist"),
        ("height = 480", "height = 360", "aspect of its images: expected 640 x 480"),
        ("video2", "video7", r"\[cameras.wrist.options\] device: .*video7 does not exist"),
        ("latency_ms = 100.0", "latency_ms = 900.0", r"\[timing\] latency_ms: expected at most"),
        ('measured = "state"', 'measured = "arm"', r"measured: expected one of"),
        ("max_velocity = 90.0", 'max_velocity = "fast"', "max_velocity: expected float"),
        ("schema_version = 1", "schema_version = 1\ncolour = 1", "colour: unknown entry"),
        ("[cameras.wrist]", "[cameras.hand]", "cameras.wrist.*: (missing|expected by the policy)"),
    ],
)
def test_each_wrong_line_is_named_beside_another(
    desk: Path, bundle: Path, monkeypatch: pytest.MonkeyPatch, old: str, new: str, said: str
) -> None:
    installed(monkeypatch)
    rig = drafted(desk, bundle)
    answered(rig, desk)
    text = rig.read_text()
    assert old in text
    rig.write_text(text.replace(old, new).replace("[robot]\n", "[robot]\nspeed = 3\n"))
    got = json.loads(ran("rig", "check", rig, "--bundle", bundle, "--json").stdout)
    lines = "\n".join(got["wrong"])
    assert not got["ok"] and len(got["wrong"]) >= 2, lines
    assert "[robot] speed: unknown entry." in got["wrong"]
    assert re.search(said, lines), lines


def test_everything_wrong_in_a_file_is_said_at_once(tmp_path: Path) -> None:
    rig = tmp_path / "rig.toml"
    rig.write_text(
        "schema_version = 2\n[robot]\ndriver = 3\n[cameras.a]\nmax_age_ms = -1\n[cameras.b]\n"
        'driver = "v4l2"\nfrozen_after = 1\n[timing]\nlatency_ms = "?"\n[safety]\nspeed = 1\n'
        "max_cut_in_a_row = 0\n"
    )
    _, asked, wrong = look_at_rig(rig)
    assert [x.where for x in asked] == ["[timing] latency_ms"]
    for part in (
        "schema_version: expected 1", "[robot] driver: expected str", "[cameras.a] driver: missing",
        "[cameras.a] max_age_ms: expected a positive", "[cameras.b] frozen_after", "[safety] speed",
        "[timing] max_plan_age_ms: missing", "max_cut_in_a_row: expected 1 or more",
    ):  # fmt: skip
        assert any(part in line for line in wrong), (part, wrong)


@pytest.mark.parametrize("rate", [5.0, 7.3, 30.0, 50.0])
def test_a_draft_s_times_and_limits_fit_its_policy(
    tmp_path: Path, desk: Path, monkeypatch: pytest.MonkeyPatch, rate: float
) -> None:
    installed(monkeypatch)
    spec = PolicySpec((state_field(4), points_field()), action_fields(), 1, 8, 4, rate)
    bundle = write_small_bundle(tmp_path / "cloud", spec, {"front": CAMERA})
    rig = tmp_path / "cloud.toml"
    got = ran("rig", "new", bundle, "-o", rig, "--no-pictures")
    assert got.exit_code == 0, got.output
    text = rig.read_text()
    assert 'driver = "realsense"' in text and "# T_base_camera = " in text
    assert "max_velocity = 0.25" in text and "safety.limits.grip" not in text
    rig.write_text(text.replace('driver = "?"', 'driver = "a:B"').replace('"?"', "1.0"))
    found = read_rig(rig)
    found.timing.require_fits(spec, rig)
    make_controller(spec, found, None)


def test_a_draft_replaces_nothing_unasked(
    desk: Path, bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ofp_edge.runtime.cameras import picture

    rig, shown = desk / "rig.toml", desk / "rig-camera1.png"
    rig.write_text("mine")
    assert "exists" in ran("rig", "new", bundle, "-o", rig, "--no-pictures").output
    assert rig.read_text() == "mine"
    rig.unlink()
    shown.write_text("my picture")
    monkeypatch.setattr(picture, "take_picture", lambda device: device.encode())
    got = ran("rig", "new", bundle, "-o", rig)
    assert got.exit_code == 1 and "rig-camera1.png" in got.output and "exists" in got.output
    assert shown.read_text() == "my picture"
    assert not rig.exists() and not (desk / "rig-camera0.png").exists()
    assert ran("rig", "new", bundle, "-o", rig, "--force").exit_code == 0
    assert shown.read_text() == str(desk / "video2")


def test_the_first_line_of_a_draft_is_the_command_that_checks_it(desk: Path, bundle: Path) -> None:
    rig = desk / "my desk" / "rig.toml"
    rig.parent.mkdir()
    assert ran("rig", "new", bundle, "-o", rig, "--no-pictures").exit_code == 0
    said = rig.read_text().splitlines()[0].partition("Run: ofp-edge ")[2]
    assert shlex.split(said) == ["rig", "check", str(rig), "--bundle", str(bundle)]
    assert "entries are open" not in ran(*shlex.split(said)).output


def test_a_webcam_s_picture_is_a_png() -> None:
    cv2 = pytest.importorskip("cv2")
    import numpy as np

    from ofp_edge.runtime.cameras.picture import take_picture
    from tests.runtime.test_camera_v4l2 import Capture

    data = np.frombuffer(take_picture("/dev/video0", opened=Capture), np.uint8)
    assert cv2.imdecode(data, cv2.IMREAD_COLOR).shape == (12, 16, 3)


def test_a_class_of_one_s_own_is_asked_for_its_options(
    desk: Path, bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(desk))
    (desk / "desk_arm.py").write_text(
        "class Arm:\n    def __init__(self, spec, *, port, speed=1.0): ...\n"
        "    def state(self): ...\n    def send(self, action): ...\n"
        "    def stop(self): ...\n    def close(self): ...\n"
    )
    rig = desk / "own.toml"
    got = ran("rig", "new", bundle, "-o", rig, "--no-pictures", "--robot", "desk_arm:Arm")
    assert got.exit_code == 0, got.output
    text = rig.read_text()
    assert 'driver = "desk_arm:Arm"' in text and 'port = "?"' in text and "speed" not in text
    elsewhere = ran("rig", "new", bundle, "-o", rig, "--no-pictures", "--robot", "no_such:Arm",
                    "--force")  # fmt: skip
    assert elsewhere.exit_code == 0 and "its options are not known here" in elsewhere.output
    unknown = ran("rig", "new", bundle, "-o", rig, "--no-pictures", "--robot", "so100", "--force")
    assert unknown.exit_code == 1 and "unknown driver 'so100'" in unknown.output
