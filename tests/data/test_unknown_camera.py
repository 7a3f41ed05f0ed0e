"""A camera that no file states: images ask for its aspect alone, points reach no robot."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from ofp_edge.camera_parameters import CameraParameters, CameraTolerance
from ofp_edge.data.alike import require_alike
from ofp_edge.data.guess import guess
from ofp_edge.data.layouts import open_source
from ofp_edge.data.mapping import mapping_text, read_mapping
from ofp_edge.errors import DatasetError, SpecMismatch
from ofp_edge.runtime.observer import Observer
from ofp_edge.spec import PolicySpec
from tests.data.foreign import FIXTURES
from tests.runtime.test_observer_rgb import SPEC as IMAGES
from tests.runtime.test_observer_rgb import Fixed, frame
from tests.synthetic import CAMERA, action_fields, points_field, state_field

UNKNOWN = CameraParameters.unknown(32, 24)
POINTS = PolicySpec((state_field(4), points_field()), action_fields(), 1, 8, 4, 20.0)
POSE = "[[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0.1], [0, 0, 0, 1]]"


def observer(spec: PolicySpec, trained: CameraParameters, live: CameraParameters) -> Observer:
    cameras = {name: Fixed(frame(0), live) for name in ("front", "side")}
    known = dict.fromkeys(cameras, trained)
    return Observer(spec, cameras, known, CameraTolerance(), dict.fromkeys(cameras, 10**9))


@pytest.mark.parametrize(
    ("trained", "live"),
    [
        (UNKNOWN, CAMERA),
        (CAMERA, UNKNOWN),
        (UNKNOWN, UNKNOWN),
        (UNKNOWN, CameraParameters.unknown(1280, 960)),
        (CameraParameters.unknown(848, 480), CameraParameters.unknown(1280, 720)),
        (CAMERA, replace(CAMERA, width=64, height=48, fx=64.0, fy=64.0, cx=31.5, cy=23.5)),
    ],
)
def test_images_ask_for_the_aspect_alone_where_one_side_states_nothing(
    trained: CameraParameters, live: CameraParameters
) -> None:
    observer(IMAGES, trained, live)


@pytest.mark.parametrize(
    ("trained", "live", "said"),
    [
        (UNKNOWN, CameraParameters.unknown(1280, 720),
         "aspect of its images: expected 32 x 24, .* got 1280 x 720. Set width = 32 and height"),
        (UNKNOWN, CameraParameters.unknown(16, 12), "image size: expected 32 x 24, or larger"),
        (CAMERA, replace(CAMERA, fx=40.0), "fx, px: expected 32 within 0.64, got 40"),
        (CAMERA, replace(CAMERA, width=64, height=48), "fx, px: expected 32 within 0.64, got 16"),
        (CAMERA, replace(CAMERA, base_frame="hand"), "frame: expected base, got hand"),
    ],
)  # fmt: skip
def test_images_ask_for_what_both_sides_state(
    trained: CameraParameters, live: CameraParameters, said: str
) -> None:
    with pytest.raises(SpecMismatch, match=said):
        observer(IMAGES, trained, live)


@pytest.mark.parametrize(
    ("trained", "live", "said"),
    [
        (UNKNOWN, replace(UNKNOWN, base_frame="base"), "training: expected its lens and place"),
        (UNKNOWN, UNKNOWN, "training: expected its lens and place.*ofp-edge policy set"),
        (CAMERA, UNKNOWN, "expected"),
    ],
)
def test_points_of_a_camera_that_nobody_states_are_refused(
    trained: CameraParameters, live: CameraParameters, said: str
) -> None:
    with pytest.raises(SpecMismatch, match=said):
        observer(POINTS, trained, live)


def test_points_are_never_made_of_a_place_that_nobody_states() -> None:
    with pytest.raises(SpecMismatch, match="'front', place: expected T_base_camera in"):
        points_field().preparation(UNKNOWN)


def test_a_unit_that_one_side_does_not_state_is_not_compared() -> None:
    (stated,) = (x for x in action_fields() if x.name == "move")
    blank = replace(stated, unit="1", frame="unknown")
    require_alike([stated], [blank], "action", exact=True, unstated=True)
    require_alike([blank], [stated], "action", exact=True, unstated=True)
    with pytest.raises(SpecMismatch, match="unit"):
        require_alike([stated], [blank], "action", exact=True)
    half = replace(stated, frame="unknown")  # its unit is stated, though its frame is not
    for one, other in ((stated, stated), (half, stated), (stated, half), (half, half)):
        require_alike([one], [other], "action", exact=True, unstated=True)
        with pytest.raises(SpecMismatch, match="unit: expected m, got mm"):
            require_alike([one], [replace(other, unit="mm")], "action", exact=True, unstated=True)
    require_alike([half], [blank], "action", exact=True, unstated=True)


@pytest.mark.parametrize(
    ("lines", "frame_name"),
    [
        (f"T_hand_camera = {POSE}", "hand"),
        (f'T_hand_camera = {POSE}\nhand_frame = "wrist"', "wrist"),
        (f"T_base_camera = {POSE}", "base"),
    ],
)
def test_a_mapping_states_a_camera_on_the_hand_as_a_rig_does(
    tmp_path: Path, lines: str, frame_name: str
) -> None:
    camera = read_mapping(written(tmp_path, lines)).cameras["front"]
    assert (camera.base_frame, camera.pose[2, 3]) == (frame_name, 0.1)


def test_a_camera_in_two_places_is_refused_in_a_mapping(tmp_path: Path) -> None:
    path = written(tmp_path, f"T_hand_camera = {POSE}\nT_base_camera = {POSE}")
    with pytest.raises(DatasetError, match=r"\[camera.front\]: T_hand_camera: T_base_camera is"):
        read_mapping(path)


def written(tmp_path: Path, lines: str) -> Path:
    path = tmp_path / "mapping.toml"
    text = mapping_text(guess(open_source(FIXTURES / "lerobot-v3.0")), path)
    lens = "width = 32\nheight = 24\nfx = 30.0\nfy = 30.0\ncx = 15.5\ncy = 11.5"
    path.write_text(f"{text}\n[camera.front]\n{lens}\n{lines}\n")
    return path
