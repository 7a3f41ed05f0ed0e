"""`rig check` against a policy of points: what every run refuses is said, all of it, and a draft
leads there."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
import tomlkit
from typer.testing import CliRunner

from ofp_edge.camera_parameters import CameraParameters
from ofp_edge.cli.main import build_app
from ofp_edge.rig.draft import Device, Here, draft
from ofp_edge.rig.file import look_at_rig
from ofp_edge.runtime import plugged
from ofp_edge.runtime.drivers import Driver
from ofp_edge.spec import PolicySpec
from tests.runtime.small_bundle import write_small_bundle
from tests.synthetic import CAMERA, action_fields, points_field, state_field

SPEC = PolicySpec((state_field(4), points_field()), action_fields(), 1, 8, 4, 20.0)
POSE = json.dumps(CAMERA.to_json()["T_base_camera"])
ONE = [plugged.Plugged("RealSense", "usb 2-1", "RealSense D435", "realsense")]
ARM = """class Arm:
    def __init__(self, spec, *, port: str = "", speed: float = 1.0, joints: int | None = None): ...
    def state(self): ...
    def send(self, action): ...
    def stop(self): ...
    def close(self): ...
class Eye:
    parameters = None
    def __init__(self, name, clock, parameters, *, lane=0): ...
    def start(self): ...
    def read(self, timeout_ms): ...
    def close(self): ...
    @staticmethod
    def check(name, *, lane=0):
        from ofp_edge.errors import CameraError
        if lane > 3:
            raise CameraError(f"camera {name!r}: lane: expected 0..3, got {lane}.")
"""


def checked(rig: Path, bundle: Path) -> list[str]:
    got = CliRunner().invoke(
        build_app(), ["rig", "check", str(rig), "--bundle", str(bundle), "--json"]
    )
    document = json.loads(got.stdout)
    assert got.exit_code == (0 if document["ok"] else 1), got.output
    wrong: list[str] = document["wrong"]
    return wrong


@pytest.fixture
def bundle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(Driver, "installed", lambda self: True)
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "bench_arm.py").write_text(ARM)
    return write_small_bundle(tmp_path / "cloud", SPEC, {"front": CAMERA})


@pytest.fixture
def rig(tmp_path: Path, bundle: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A draft for one RealSense that lacks the camera's pose alone."""
    monkeypatch.setattr(plugged, "serial_ports", list)
    monkeypatch.setattr(plugged, "video_devices", list)
    monkeypatch.setattr(plugged, "realsense_devices", lambda: ONE)
    path = tmp_path / "rig.toml"
    words = ["rig", "new", str(bundle), "-o", str(path), "--robot", "bench_arm:Arm"]
    assert CliRunner().invoke(build_app(), words).exit_code == 0
    return path


def whole(rig: Path) -> str:
    """The text of the draft with its camera's pose and the robot's options."""
    text = re.sub(r"(?m)^# T_base_camera = .*$", f"T_base_camera = {POSE}", rig.read_text())
    return text.replace("[timing]", "[robot.options]\n[timing]")


def test_a_draft_for_one_camera_lacks_its_pose_alone(rig: Path, bundle: Path) -> None:
    assert look_at_rig(rig)[1:] == ([], []) and "serial" not in rig.read_text()
    (line,) = checked(rig, bundle)
    assert line.startswith("[cameras.front.parameters] lacks T_base_camera")
    rig.write_text(whole(rig))
    assert checked(rig, bundle) == []


OPTIONS = "[cameras.front.options]"


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (POSE, "[[1, 2], [3]]", r"\[cameras.front.parameters\].*4 rows of 4"),
        (POSE, f"{POSE}\nfoo = 3", r"\[cameras.front.parameters\] foo: unknown entry"),
        (POSE, f'{POSE}\nfx = "wide"', r"\[cameras.front.parameters\].*fx.*expected a number"),
        (POSE, f"{POSE}\nfx = -3.0", r"fx: expected a positive"),
        (POSE, f"{POSE}\ndepth_unit_m = 0.001", "unknown parameter 'depth_unit_m'"),
        (POSE, json.dumps([[1, 0, 0, 9], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]), "pose: expec"),
        (
            OPTIONS,
            f'{OPTIONS}\nfps = "30"',
            "fps: expected a whole number.*without quotes, fps = 30",
        ),
        (OPTIONS, f'{OPTIONS}\nalign = "no"', "align: expected true or false, got 'no'"),
        (OPTIONS, f"{OPTIONS}\nserial = 839", 'serial: .*quote it in the rig, serial = "839"'),
        (OPTIONS, f"{OPTIONS}\nfilters = 2", "filters: expected a table"),
        (OPTIONS, f'{OPTIONS}\nsync = "master of all"', "sync 'master of all': expected"),
        (OPTIONS, f"{OPTIONS}\nfilters = {{ blur = {{}} }}", "filters: unknown 'blur'"),
        (OPTIONS, f"{OPTIONS}\ncolour = true", "unexpected keyword argument 'colour'"),
        (f"T_base_camera = {POSE}", "fx = 615.3", "lacks T_base_camera"),
        (
            "[robot.options]",
            '[robot.options]\nspeed = "2"',
            r"\[robot.options\] speed: expected a nu",
        ),
        (
            "[robot.options]",
            "[robot.options]\njoints = true",
            "joints: expected a whole number, got",
        ),
    ],
)
def test_what_a_run_would_refuse_of_a_camera_is_wrong(
    rig: Path, bundle: Path, old: str, new: str, said: str
) -> None:
    text = whole(rig)
    assert text.count(old) == 1
    rig.write_text(text.replace(old, new))
    assert any(re.search(said, line) for line in checked(rig, bundle)), checked(rig, bundle)


@pytest.mark.parametrize(
    ("driver", "options", "said"),
    [
        ("v4l2", 'device = 0\nfourcc = "MJPEG"', "fourcc: expected four letters, got 'MJPEG'"),
        ("v4l2", 'device = 0\nwidth = "640"', r"width: expected a whole number, got '640'"),
        ("v4l2", "device = 0.5", "device: expected text or a whole number, got 0.5"),
        ("ros2", 'depth = "/depth"', "expected depth or color, and info"),
        ("ros2", 'depth = "/d"\ninfo = "/i"\nstart_s = "9"', "start_s: expected a number"),
        ("bench_arm:Eye", "lane = 7", r"lane: expected 0\.\.3, got 7"),
        ("ofp_edge.runtime.cameras.remote:RemoteCamera", 'camera = "a:B"\noptions = "x"',
         "options: expected a table, got 'x'"),
        ("ofp_edge.runtime.cameras.remote:RemoteCamera", 'camera = "a:B"\nstart_s = "60"',
         "start_s: expected a number.*without quotes, start_s = 60"),
    ],
)  # fmt: skip
def test_other_drivers_are_asked_too(
    rig: Path, bundle: Path, driver: str, options: str, said: str
) -> None:
    text = whole(rig).replace("[cameras.front.options]", f"[cameras.front.options]\n{options}")
    drop = "color", "width", "height"
    lines = [
        x for x in text.splitlines() if x in options.split("\n") or x.split(" ")[0] not in drop
    ]
    rig.write_text("\n".join(lines).replace('driver = "realsense"', f'driver = "{driver}"'))
    assert any(re.search(said, line) for line in checked(rig, bundle)), checked(rig, bundle)


def test_a_webcam_s_lens_is_stated_whole_or_not_at_all(rig: Path, bundle: Path) -> None:
    text = whole(rig).replace(f"T_base_camera = {POSE}", "fx = 615.3")
    text = text.replace("[cameras.front.options]", "[cameras.front.options]\ndevice = 0")
    rig.write_text(text.replace('driver = "realsense"', 'driver = "v4l2"'))
    assert any("lacks fy, cx, cy, T_base_camera" in line for line in checked(rig, bundle))


def test_points_of_an_unknown_training_camera_are_refused(tmp_path: Path, rig: Path) -> None:
    unknown = CameraParameters.unknown(CAMERA.width, CAMERA.height)
    other = write_small_bundle(tmp_path / "other", SPEC, {"front": unknown})
    rig.write_text(whole(rig))
    (line,) = checked(rig, other)
    assert "camera 'front' of the policy's training: expected its lens and place" in line


def test_one_wrong_entry_silences_no_other(rig: Path, bundle: Path) -> None:
    fields = [x.name for x in SPEC.actions]
    text = whole(rig).replace("[cameras.front.options]", (
        '[cameras.front.options]\nfps = "?"\nalign = 3\nsync = "loud"\nfilters = 1'))  # fmt: skip
    text = re.sub(r"(?ms)^\[safety.*", "", text)
    text += f'[safety]\nstop_silence_ms = 5\nmax_stall_ms = "?"\n[safety.limits.{fields[0]}]\n'
    text += 'max_velocity = "?"\nposition_low = ["a"]\n[safety.limits.elbow]\nmax_velocity = 1.0\n'
    text += '[safety.workspace]\nmeasured = "nothing"\nlow = [0.0]\nhigh = [1.0]\n'
    rig.write_text(
        text.replace("[cameras.front.parameters]", "[cameras.front.parameters]\nfoo = 1")
    )
    lines = checked(rig, bundle)
    for part in (
        "align: expected true or false", "filters: expected a table", "sync 'loud'",
        "[cameras.front.parameters] foo", "stop_silence_ms: expected stop_socket",
        "position_low: expected numbers", "[safety.limits.elbow]: expected an action",
        "[safety.workspace] measured: expected one of",
    ):  # fmt: skip
        assert any(part in line for line in lines), (part, lines)
    assert len(lines) == len(set(lines)) == 8, lines


def test_a_device_that_is_not_there_silences_nothing(rig: Path, bundle: Path) -> None:
    text = whole(rig).replace("width = ", 'device = "/dev/nope"\nfourcc = "no"\nwidth = 1')
    text = re.sub(r"(?m)^color = .*$", "", text)
    rig.write_text(text.replace('driver = "realsense"', 'driver = "v4l2"'))
    lines = "\n".join(checked(rig, bundle))
    for part in ("/dev/nope does not exist", "fourcc: expected four", "image size: expected"):
        assert part in lines, lines


def test_a_port_that_is_not_there_silences_no_calibration_file(
    rig: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # a relative file, of a rig named without a folder
    arm = 'driver = "ofp_edge.runtime.robots.so101:So101"\n[robot.options]\nport = "/dev/nope"\n'
    text = whole(rig).replace("[robot.options]\n", "")
    text = text.replace('driver = "bench_arm:Arm"', arm + 'calibration = "so101.json"')
    rig.write_text(text)
    lines = "\n".join(checked(Path(rig.name), tmp_path / "cloud"))
    assert "calibration: so101.json does not exist." in lines and "/dev/nope does" in lines, lines
    (tmp_path / "so101.json").write_text("{}")
    lines = "\n".join(checked(Path(rig.name), tmp_path / "cloud"))
    assert "so101.json" not in lines or "does not exist" not in lines.replace("/dev/nope does", "")
    assert "/dev/nope does not exist" in lines and len(lines.splitlines()) > 1, lines


@pytest.mark.parametrize("stated", ['"?"', '"one"', "2", ""])
def test_a_schema_version_is_said_once(rig: Path, stated: str) -> None:
    old = "schema_version = 1"
    rig.write_text(rig.read_text().replace(old, f"schema_version = {stated}" if stated else ""))
    _, asked, wrong = look_at_rig(rig)
    assert len(asked) + len(wrong) == 1, (asked, wrong)


def two_cameras() -> PolicySpec:
    side = replace(points_field(), name="side points", camera="side")
    return replace(SPEC, observations=(*SPEC.observations, side))


@pytest.mark.parametrize("devices", [0, 1, 2])
def test_cameras_of_one_driver_are_told_apart_by_their_serials(devices: int) -> None:
    plugged_in = [Device(f"usb 2-{i}", "D435") for i in range(devices)]
    cameras = {"front": CAMERA, "side": CAMERA}
    text = draft(two_cameras(), cameras, Here("a:B", realsenses=plugged_in), title="t")
    entries = tomlkit.parse(text).unwrap()["cameras"]
    assert [entries[x]["options"]["serial"] for x in cameras] == ["?", "?"]
    assert text.count("`ofp-edge cameras` lists the serials") == 2


def test_what_others_say_writes_no_entry() -> None:
    said = Here(
        "a:B", {"port": ("\x7f\U0001f600", 'left\nspeed = 9\r# "')},
        realsenses=[Device("x\nserial = 3", "D435\n[timing]"), Device("y")],
    )  # fmt: skip
    action = replace(SPEC.actions[0], unit="m\nmax_jerk = 1", kind="absolute", hold=None)
    spec = replace(SPEC, actions=(action, *SPEC.actions[1:]))
    found = tomlkit.parse(draft(spec, {"front": CAMERA}, said, title="a\n[b]\u2028")).unwrap()
    assert set(found) == {"schema_version", "robot", "cameras", "timing", "safety"}
    assert found["robot"]["options"] == {"port": "\x7f\U0001f600"}
    assert found["cameras"]["front"]["options"]["serial"] == "?"
    assert "max_jerk" not in found["safety"]["limits"][action.name]
