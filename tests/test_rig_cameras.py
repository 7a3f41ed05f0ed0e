"""Where a camera is, in a rig file, and setting it: comments survive."""

from __future__ import annotations

from pathlib import Path

import pytest

from ofp_edge.errors import RigError
from ofp_edge.rig.calibrated import set_camera
from ofp_edge.rig.file import read_rig
from ofp_edge.spec import PolicySpec
from tests.rig_text import GOOD, MOVE, POINTS, rig

ROWS = "[[1.0, 0, 0, 0], [0, 1.0, 0, 0], [0, 0, 1.0, 0], [0, 0, 0, 1.0]]"


def test_points_need_the_camera_s_place_and_images_do_not(tmp_path: Path) -> None:
    spec = PolicySpec((POINTS,), (MOVE,), 1, 16, 8, 20.0)
    with pytest.raises(RigError, match=r"\[cameras.front.parameters\] lacks T_base_camera: points"):
        read_rig(rig(tmp_path)).require_fits(spec)
    read_rig(rig(tmp_path, with_parameters(f"T_base_camera = {ROWS}"))).require_fits(spec)


def with_parameters(text: str) -> str:
    return GOOD.replace("[timing]", f"[cameras.front.parameters]\n{text}\n[timing]")


def test_a_camera_on_the_hand_has_the_hand_for_its_base(tmp_path: Path) -> None:
    text = with_parameters(f"T_hand_camera = {ROWS}")
    got = read_rig(rig(tmp_path, text)).cameras["front"].parameters
    assert set(got) == {"T_base_camera", "base_frame"} and got["base_frame"] == "hand"
    named = with_parameters(f'T_hand_camera = {ROWS}\nhand_frame = "flange"')
    got = read_rig(rig(tmp_path, named)).cameras["front"].parameters
    assert got["base_frame"] == "flange"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (f"T_hand_camera = {ROWS}\nT_base_camera = {ROWS}", "T_base_camera is there too"),
        (f'T_hand_camera = {ROWS}\nbase_frame = "b"', r"\[cameras.front.parameters\]"),
        (f'T_base_camera = {ROWS}\nhand_frame = "h"', "expected T_hand_camera with it"),
    ],
)
def test_a_camera_in_two_places_is_refused(tmp_path: Path, text: str, message: str) -> None:
    if "base_frame" in text:
        text = text.replace("base_frame", 'hand_frame = "h"\nbase_frame')
    with pytest.raises(RigError, match=message):
        read_rig(rig(tmp_path, with_parameters(text)))


def test_setting_a_camera_adds_its_tables_and_keeps_everything_else(tmp_path: Path) -> None:
    path = rig(tmp_path)
    matrix = [
        [1.0, 0.0, 0.0, 0.5],
        [0.0, 1.0, 0.0, 0.0],
        [0.0, 0.0, 1.0, 0.0],
        [0.0, 0.0, 0.0, 1.0],
    ]
    changes = {"parameters": {"T_base_camera": matrix}, "options": {"serial": "1"}}
    set_camera(path, "front", changes)
    text = path.read_text()
    for line in GOOD.splitlines():
        assert line in text or "serial" in line
    entry = read_rig(path).cameras["front"]
    assert entry.parameters == {"T_base_camera": matrix} and entry.options == {"serial": "1"}
    set_camera(path, "front", {"parameters": {"fx": 1.5}}, without=("T_base_camera",))
    assert read_rig(path).cameras["front"].parameters == {"fx": 1.5}
    with pytest.raises(RigError, match=r"\[cameras.side\]: expected, got \['front'\]"):
        set_camera(path, "side", {})
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    "text",
    [
        "[robot]\ndriver = 'a:B'\n[cameras.front]\ndriver = 'x' # y\n[timing]\nlatency_ms = 1\n"
        "max_plan_age_ms = 9\n[cameras.front.parameters] # late\nfx = 1.0\n[cameras.side]\n"
        "driver = 'x'\n",
        "robot = {driver = 'a:B'}\ntiming = {latency_ms = 1, max_plan_age_ms = 9}\n[cameras]\n"
        "front = {driver = 'x', parameters = {fx = 1.0}}\n",
    ],
    ids=["scattered", "inline"],
)
def test_a_camera_is_set_in_whatever_form_of_toml(tmp_path: Path, text: str) -> None:
    path = rig(tmp_path, f"schema_version = 1\n{text}")
    changes = {"parameters": {"cx": 2.0}, "calibration": {"method": "park"}}
    set_camera(path, "front", changes)
    entry = read_rig(path).cameras["front"]
    assert entry.parameters == {"fx": 1.0, "cx": 2.0} and entry.calibration == {"method": "park"}
    assert path.read_text().count("#") == text.count("#")


def test_a_form_of_toml_that_cannot_be_kept_is_left_as_it_was(tmp_path: Path) -> None:
    text = (
        "schema_version = 1\nrobot.driver = 'a:B'\ntiming.latency_ms = 1\n"
        "timing.max_plan_age_ms = 9\n"
        "cameras.front.driver = 'x'\ncameras.front.parameters.fx = 1.0\n"
    )
    path = rig(tmp_path, text)
    with pytest.raises(RigError, match=r"Write by hand, under \[cameras.front\]: .*'park'"):
        set_camera(path, "front", {"calibration": {"method": "park"}})
    assert path.read_text() == text
