"""A folder of views: what was written is read, and each thing that is wrong in one is named."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

cv2 = pytest.importorskip("cv2")

from ofp_edge.calibration.views import FILE, View, find_all, write_views  # noqa: E402
from ofp_edge.errors import OfpError, SpecMismatch  # noqa: E402
from ofp_edge.lens import Lens  # noqa: E402
from ofp_edge.strict import read_as  # noqa: E402
from tests.calibration.rendered import HEIGHT, LENS, WIDTH, pose, setup  # noqa: E402

HAND = pose((0.3, 0.2, 0.1), (0.4, 0.5, 0.6))
MIRROR = [[-1.0, 0, 0, 0], [0, 1.0, 0, 0], [0, 0, 1.0, 0], [0, 0, 0, 1.0]]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """One view, without a board."""
    rng = np.random.default_rng(0)
    image = rng.integers(0, 255, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    depth = rng.integers(0, 65535, (HEIGHT, WIDTH), dtype=np.uint16)
    write_views(tmp_path, setup("eye-to-hand"), [View("000.png", image, depth, HAND)])
    return tmp_path


def edit(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    value = json.loads((folder / FILE).read_text())
    change(value)
    (folder / FILE).write_text(json.dumps(value))


def test_a_rendered_folder_comes_back(tmp_path: Path, boards: Any, pictures: Any) -> None:
    views = [View("000.png", *pictures[0], HAND), View("b.png", *pictures[1], HAND)]
    write_views(tmp_path, setup("eye-in-hand"), views)
    assert {p.name for p in tmp_path.iterdir()} == {
        FILE, "000.png", "000.depth.png", "b.png", "b.depth.png"
    }  # fmt: skip
    got = find_all(tmp_path)
    assert got.setup.to_json() == setup("eye-in-hand").to_json() and got.skipped == []
    np.testing.assert_array_equal(got.views[1].depth, pictures[1][1])
    np.testing.assert_allclose(got.views[0].T_base_hand, HAND, atol=1e-12)
    np.testing.assert_allclose(got.found[1].T_camera_board, boards[1], atol=0.005)


def test_a_picture_without_the_board_is_skipped_by_name(folder: Path) -> None:
    got = find_all(folder)
    assert got.views == [] and got.skipped[0][0] == "000.png"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda v: v.update(schema_version=2), "schema_version: expected 1, got 2"),
        (lambda v: v.update(extra=1), "extra: expected no such entry"),
        (lambda v: v.pop("board"), "board: expected an entry, got none"),
        (lambda v: v.update(mount="on the wall"), r"mount: expected one of \S+-hand, \S+-hand"),
        (lambda v: v.update(base_frame=""), "base_frame: expected a name"),
        (lambda v: v.update(views={}), "views: expected a list of entries"),
        (lambda v: v["board"].update(square_m=0.01), "marker side < square side"),
        (lambda v: v["lens"].pop("fx"), "lens.fx: expected an entry, got none"),
        (lambda v: v["lens"].update(fx="600"), "lens.fx: expected a number, got '600'"),
        (lambda v: v["lens"].update(width=640), r"view 1: 000.png, height and width: "),
        (lambda v: v["depth"].update(unit_m=0), "unit_m: expected metres"),
        (lambda v: v["depth"].update(T_image_depth=MIRROR), "expected a rotation, got a mirror"),
        (lambda v: v.update(depth=None), "view 1: depth: expected none"),
        (lambda v: v["views"][0].pop("T_base_hand"), "view 1: T_base_hand: expected 4 rows"),
        (lambda v: v["views"][0].update(T_base_hand=[[1]]), "T_base_hand: expected 4 rows"),
        (lambda v: v["views"][0].update(T_base_hand=MIRROR), "a mirror"),
        (lambda v: v["views"][0].update(T_base_hand="x"), "T_base_hand: expected 4 rows"),
        (lambda v: v["views"][0].update(image="../000.png"), "a file name in the folder"),
        (lambda v: v["views"][0].update(image="001.png"), "expected a file in the folder, got no"),
        (lambda v: v["views"][0].update(image=FILE), "expected a PNG or JPEG"),
        (lambda v: v["views"][0].update(pose=1), r"views\[0\].pose: expected no such entry"),
    ],
)  # fmt: skip
def test_each_wrong_entry_is_named(folder: Path, change: Any, message: str) -> None:
    edit(folder, change)
    with pytest.raises(OfpError, match=message) as caught:
        find_all(folder)
    assert str(caught.value).startswith(str(folder / FILE)) and "\n" not in str(caught.value)


def test_a_depth_picture_of_eight_bits_is_refused(folder: Path) -> None:
    cv2.imwrite(str(folder / "000.depth.png"), np.zeros((HEIGHT, WIDTH), np.uint8))
    with pytest.raises(OfpError, match=r"expected uint16 .*, got uint8"):
        find_all(folder)


def test_what_is_no_folder_of_views_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(OfpError, match="Run: ofp-edge calibrate record"):
        find_all(tmp_path / "none")
    with pytest.raises(OfpError, match="views.json does not exist"):
        find_all(tmp_path)
    (tmp_path / FILE).write_text("{")
    with pytest.raises(OfpError, match="not valid JSON"):
        find_all(tmp_path)


def test_the_lens_round_trips_and_may_leave_distortion_out() -> None:
    value = LENS.to_json()
    assert read_as(Lens, json.loads(json.dumps(value)), "", SpecMismatch) == LENS
    del value["model"], value["coefficients"]
    assert read_as(Lens, value, "", SpecMismatch) == LENS
