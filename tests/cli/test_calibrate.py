"""`calibrate`: from a printed board to a pose in the rig, whose comments stay; and each refusal."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

cv2 = pytest.importorskip("cv2")

from ofp_edge.calibration.views import write_views  # noqa: E402
from ofp_edge.cli.main import build_app  # noqa: E402
from ofp_edge.pose import checked_pose, distance, from_quaternion  # noqa: E402
from ofp_edge.rig.file import look_at_rig, read_rig  # noqa: E402
from tests.calibration.conftest import boards, gl, pictures  # noqa: E402
from tests.calibration.rendered import setup, views_at  # noqa: E402
from tests.calibration.test_hand_eye import TRUTH, hands_of  # noqa: E402
from tests.cli.calibrating import SCENE  # noqa: E402

__all__ = ["boards", "gl", "pictures"]

RIG = """\
# the left bench
schema_version = 1

[robot]
driver = "tests.cli.calibrating:StandInRobot"   # not plugged in

[cameras.front]
driver = "tests.cli.calibrating:StandInCamera"

[cameras.front.parameters]   # measured with a ruler
T_base_camera = [
    [1.0, 0.0, 0.0, 0.0],    # x
    [0.0, 1.0, 0.0, 0.0],    # y
    [0.0, 0.0, 1.0, 1.0],
    [0.0, 0.0, 0.0, 1.0],
]

[timing]   # by profile
latency_ms = 50.0
max_plan_age_ms = 500.0
"""


@pytest.fixture
def rig(tmp_path: Path) -> Path:
    path = tmp_path / "rig.toml"
    path.write_text(RIG)
    return path


@pytest.fixture
def scene(boards: Any, pictures: Any) -> Iterator[Any]:
    SCENE.pictures, SCENE.hands = pictures, hands_of(boards, "eye-to-hand")
    SCENE.at, SCENE.restless = 0, False
    yield SCENE


def views(folder: Path, boards: Any, pictures: Any, mount: str | None) -> Path:
    path = folder / "views"
    path.mkdir()
    seen = views_at(boards, pictures, mount or "eye-to-hand", *TRUTH[mount or "eye-to-hand"])
    write_views(path, setup(mount), list(seen))
    return path


def invoke(*arguments: object, fails: str | None = None, **options: Any) -> dict[str, Any]:
    """Run `ofp-edge calibrate … --json`; its document. fails: what its one error line matches."""
    words = ["calibrate", *map(str, arguments), "--json"]
    result = CliRunner().invoke(build_app(), words, **options)
    assert result.exit_code == (0 if fails is None else 1), result.output
    document: dict[str, Any] = json.loads(result.stdout.splitlines()[-1])
    if fails is not None:
        assert re.search(fails, document["error"]), document["error"]
    return document


def test_the_printed_board_is_the_board(tmp_path: Path) -> None:
    got = invoke("board", "-o", tmp_path / "board.svg", "--squares", "8x6", "--square-mm", 30)
    text = (tmp_path / "board.svg").read_text()
    assert 'width="255mm" height="195mm"' in text and got["corners"] == 35
    match = re.search(r"base64,([^\"]+)", text)
    assert match is not None
    picture = cv2.imdecode(np.frombuffer(base64.b64decode(match[1]), np.uint8), 0)
    markers = cv2.aruco.getPredefinedDictionary(cv2.aruco.DICT_4X4_50)
    board = cv2.aruco.CharucoBoard((8, 6), 0.03, 0.0225, markers)
    picture = cv2.copyMakeBorder(picture, 60, 60, 60, 60, cv2.BORDER_CONSTANT, value=255)
    assert len(cv2.aruco.CharucoDetector(board).detectBoard(picture)[1]) == 35
    invoke("board", "-o", tmp_path / "board.svg", fails="exists. Give --force")
    invoke("board", "-o", tmp_path / "b.svg", "--squares", "7", fails="columns x rows")


@pytest.mark.parametrize("mount", TRUTH)
def test_hand_eye_writes_the_pose_and_keeps_the_comments(
    mount: str, tmp_path: Path, rig: Path, boards: Any, pictures: Any
) -> None:
    folder = views(tmp_path, boards, pictures, mount)
    before = rig.read_text()
    dry = invoke("hand-eye", folder, "--rig", rig, "--camera", "front", "--dry-run")
    assert rig.read_text() == before and not dry["written"]
    got = invoke("hand-eye", folder, "--rig", rig, "--camera", "front")
    key, frame = ("T_base_camera", "base") if mount == "eye-to-hand" else ("T_hand_camera", "hand")
    mm, deg = distance(checked_pose(got[key], key), TRUTH[mount][0])
    assert mm < 1 and deg < 0.1 and got["written"] and got["count"] == len(boards)
    entry = read_rig(rig).cameras["front"]
    assert entry.parameters == {"T_base_camera": got[key], "base_frame": frame}
    found = entry.calibration
    assert found["frames"] == f"camera optical frame (x right, y down, z forward) -> {frame}"
    told = from_quaternion(found["position_m"], found["quaternion_xyzw"])
    assert distance(told, checked_pose(got[key], key))[0] < 0.1
    text = rig.read_text()
    for comment in ("# the left bench", "# not plugged in", "# measured with a ruler", "# by prof"):
        assert comment in text
    assert ("# y" in text) == (mount == "eye-to-hand")  # the rows it replaced went with theirs
    again = invoke("hand-eye", folder, "--rig", rig, "--camera", "front")
    assert again[key] == got[key] and rig.read_text() == text


OPEN_ELSEWHERE = """
[cameras.side]
driver = "?"
[safety.limits.move]
max_velocity = "?"   # m/s
"""


@pytest.mark.parametrize("pose", ["# T_base_camera: `hand-eye` writes it", 'T_base_camera = "?"'])
def test_a_draft_of_which_the_rest_is_open_is_calibrated(
    tmp_path: Path, rig: Path, boards: Any, pictures: Any, pose: str
) -> None:
    text = re.sub(r"(?ms)^T_base_camera = .*?^\]", pose, RIG)
    text = re.sub(r"(?m)^driver = .*Robot\"", 'driver = "?"', text) + OPEN_ELSEWHERE
    assert pose in text and text.count('"?"') >= 3
    rig.write_text(text)
    invoke("hand-eye", views(tmp_path, boards, pictures, "eye-to-hand"), "--rig", rig,
           "--camera", "front")  # fmt: skip
    drafted, asked, wrong = look_at_rig(rig)
    assert not wrong and rig.read_text().endswith(OPEN_ELSEWHERE)
    pose_found = checked_pose(drafted.cameras["front"].parameters["T_base_camera"], "X")
    assert distance(pose_found, TRUTH["eye-to-hand"][0])[0] < 1
    assert [x.where for x in asked] == [
        "[robot] driver", "[cameras.side] driver", "[safety.limits.move] max_velocity"]  # fmt: skip
    invoke("record", tmp_path / "v", "--rig", rig, "--camera", "front", "--mount", "eye-to-hand",
           fails=r"\[robot\] driver: not known yet")  # fmt: skip
    invoke("camera", "--rig", rig, "--camera", "side", fails=r"cameras.side\] driver: not known")


def test_a_refusal_changes_nothing(tmp_path: Path, rig: Path, boards: Any, pictures: Any) -> None:
    folder = views(tmp_path, boards, pictures, "eye-to-hand")
    value = json.loads((folder / "views.json").read_text())
    hands = [view["T_base_hand"] for view in value["views"]]
    for view, hand in zip(value["views"], [*hands[1:], hands[0]], strict=True):
        view["T_base_hand"] = hand
    (folder / "views.json").write_text(json.dumps(value))
    arguments = ("hand-eye", folder, "--rig", rig, "--camera")
    invoke(*arguments, "front", fails="methods disagree by .* mm")
    invoke(*arguments, "side", fails=r"\[cameras.side\]: expected, got \['front'\]")
    assert rig.read_text() == RIG


def test_views_without_a_robot_are_for_the_camera_alone(
    tmp_path: Path, rig: Path, boards: Any, pictures: Any
) -> None:
    folder = views(tmp_path, boards, pictures, None)
    invoke("hand-eye", folder, "--rig", rig, "--camera", "front", fails="have no robot poses")
    got = invoke("camera", folder)
    assert got["ok"] and got["check"]["rms_px"] < 0.3 and got["device"] is None
    assert abs(got["check"]["depth_percent"]) < 0.3


def test_a_camera_that_is_not_what_it_says_ends_with_1_and_its_figures(
    tmp_path: Path, boards: Any, pictures: Any
) -> None:
    folder = views(tmp_path, boards, pictures, None)
    value = json.loads((folder / "views.json").read_text())
    value["depth"]["unit_m"] *= 1.1
    (folder / "views.json").write_text(json.dumps(value))
    result = CliRunner().invoke(build_app(), ["calibrate", "camera", str(folder), "--json"])
    assert result.exit_code == 1
    document = json.loads(result.stdout)
    assert not document["ok"] and document["check"]["depth_percent"] == pytest.approx(10, abs=0.5)


def test_record_takes_a_view_an_enter_key_and_hand_eye_reads_them(
    tmp_path: Path, rig: Path, scene: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ofp_edge.cli import calibrate_record

    def press(_output: object, prompt: str) -> str:
        scene.at = int(prompt.split()[1]) - 1
        return ""

    monkeypatch.setattr(calibrate_record, "_ask", press)
    folder = tmp_path / "v"
    arguments = (folder, "--rig", rig, "--camera", "front", "--mount", "eye-to-hand")
    got = invoke("record", *arguments, "--count", len(scene.hands))
    assert got["count"] == len(scene.hands) and got["spread_deg"][1] > 5
    document = invoke("hand-eye", folder, "--rig", rig, "--camera", "front")
    assert distance(checked_pose(document["T_base_camera"], "X"), TRUTH["eye-to-hand"][0])[0] < 1
    invoke("record", *arguments, fails="exists. Give --force")


@pytest.mark.parametrize(
    ("old", "new", "typed", "message"),
    [
        ("", "", "", "a keyboard is needed"),
        ("", "", "q\n", "no view was taken; nothing was written"),
        ("[timing]", '[robot.options]\nknown = "state"\n[timing]', "", "no 'hand_pose', only"),
    ],
)
def test_what_stops_a_recording_leaves_no_folder(
    tmp_path: Path, rig: Path, scene: Any, old: str, new: str, typed: str, message: str
) -> None:
    rig.write_text(RIG.replace(old, new, 1) if old else RIG)
    arguments = ("--rig", rig, "--camera", "front", "--mount", "eye-in-hand")
    invoke("record", tmp_path / "v", *arguments, fails=message, input=typed)
    assert not (tmp_path / "v").exists()


def test_a_hand_that_moves_meanwhile_is_not_taken(tmp_path: Path, rig: Path, scene: Any) -> None:
    scene.restless = True
    arguments = ("record", tmp_path / "v", "--rig", rig, "--camera", "front", "--mount")
    invoke(*arguments, "eye-to-hand", fails="no view was taken", input="\n\nq\n")
    invoke(*arguments, "on-the-wall", fails="unknown mount 'on-the-wall'")


def test_the_example_robot_tells_its_hand() -> None:
    from ofp_edge.calibration.record import HAND_POSE, hand_pose
    from ofp_edge.rig.file import RobotEntry
    from ofp_edge.runtime.robot import open_robot

    robot = open_robot(RobotEntry("examples.my_robot:MyRobot"), HAND_POSE)
    np.testing.assert_allclose(hand_pose(robot)[:3, 3], [0.0, 0.6, 0.2], atol=1e-6)


@pytest.mark.parametrize("value", [[0.0] * 7, [0, 0, 0, 1, 1, 0, 0], [1.0] * 3, [np.nan] * 7])
def test_a_hand_pose_that_is_none_is_refused(value: Any) -> None:
    from ofp_edge.calibration.record import hand_pose
    from ofp_edge.errors import RobotError
    from ofp_edge.runtime.robot import RobotState

    class Robot:
        def state(self) -> RobotState:
            return RobotState(0, {"hand_pose": np.array(value, dtype=np.float32)})

    with pytest.raises(RobotError, match="expected 7 numbers, the last 4 a unit quaternion"):
        hand_pose(Robot())  # type: ignore[arg-type]


def test_camera_needs_something_to_look_at(rig: Path) -> None:
    invoke("camera", fails="give a folder of views, or --rig and --camera")
    invoke("camera", "--rig", rig, fails="go together")
