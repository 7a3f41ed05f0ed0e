"""A folder of views for camera calibration: pictures, depth and robot poses; JSON and PNG alone.

views/
  views.json            what was seen by what; see docs/calibration.md
  000.png  000.depth.png   grey or colour; raw uint16 depth, where the camera gives it
  001.png  ...
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ofp_edge.calibration.board import Board, Finder, Found
from ofp_edge.errors import OfpError, SpecMismatch
from ofp_edge.extras import require
from ofp_edge.files import put_back, read_json, write_json
from ofp_edge.image_size import image_size
from ofp_edge.lens import Lens
from ofp_edge.outside import MEBIBYTE, read_plain
from ofp_edge.pose import Pose, checked_pose, rows
from ofp_edge.strict import read_as

SCHEMA_VERSION = 1
FILE = "views.json"
_LARGEST_PICTURE = 64 * MEBIBYTE
MOUNTS = ("eye-to-hand", "eye-in-hand")
"""How camera and robot are mounted: with eye-to-hand the camera stands and the hand holds the
board, with eye-in-hand the hand carries the camera and the board stands."""


@dataclass(frozen=True, eq=False)
class DepthSensor:
    """The depth sensor. `unit_m` is the metres of one raw unit; `T_image_depth` is its pose in the
    frame of the camera that took the pictures."""

    lens: Lens
    unit_m: float
    T_image_depth: Pose

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values, as views.json has them."""
        pose = rows(self.T_image_depth)
        return {"lens": self.lens.to_json(), "unit_m": self.unit_m, "T_image_depth": pose}


@dataclass(frozen=True)
class Setup:
    """What all views of a folder share. `mount` is one of MOUNTS, or None where no robot took
    part."""

    board: Board
    lens: Lens
    depth: DepthSensor | None = None
    mount: str | None = None
    base_frame: str = "base"
    hand_frame: str = "hand"

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values, as views.json has them."""
        return {
            "schema_version": SCHEMA_VERSION,
            "mount": self.mount,
            "base_frame": self.base_frame,
            "hand_frame": self.hand_frame,
            "board": self.board.to_json(),
            "lens": self.lens.to_json(),
            "depth": self.depth.to_json() if self.depth else None,
        }


@dataclass(frozen=True, eq=False)
class View:
    """One picture: uint8 (H, W) grey or (H, W, 3) RGB, its depth as raw uint16 (h, w) or None, and
    T_base_hand where there is a robot."""

    name: str
    image: NDArray[np.uint8]
    depth: NDArray[np.uint16] | None = None
    T_base_hand: Pose | None = None


@dataclass
class Views:
    """The board found in a folder's pictures. `skipped` lists (picture, why) of those that do not
    count."""

    setup: Setup
    views: list[View] = field(default_factory=list)
    found: list[Found] = field(default_factory=list)
    skipped: list[tuple[str, str]] = field(default_factory=list)

    def add(self, view: View, finder: Finder) -> str | None:
        """Add a view if the board is found in it, else say why not."""
        found = finder.find(view.image)
        if isinstance(found, str):
            self.skipped.append((view.name, found))
            return found
        self.views.append(view)
        self.found.append(found)
        return None


def find_all(path: Path) -> Views:
    """Read a folder and find the board in every picture. Raises OfpError that names what is
    wrong."""
    setup, entries = _read_setup(path)
    views = Views(setup)
    finder = Finder(setup.board, setup.lens)
    for number, entry in enumerate(entries, 1):
        try:
            view = _read_view(path, entry, setup)
        except SpecMismatch as cause:
            raise OfpError(f"{path / FILE}: view {number}: {cause}") from None
        views.add(view, finder)
    return views


def write_views(folder: Path, setup: Setup, views: list[View]) -> None:
    """Write views into an existing folder."""
    cv2 = require("cv2", "calibrate")
    entries = []
    for view in views:
        image = view.image if view.image.ndim == 2 else view.image[..., ::-1]
        entry: dict[str, Any] = {"image": view.name}
        pictures: dict[str, NDArray[Any]] = {view.name: image}
        if view.depth is not None:
            entry["depth"] = f"{Path(view.name).stem}.depth.png"
            pictures[entry["depth"]] = view.depth
        if view.T_base_hand is not None:
            entry["T_base_hand"] = rows(view.T_base_hand)
        for name, pixels in pictures.items():
            (folder / name).write_bytes(cv2.imencode(".png", pixels)[1].tobytes())
        entries.append(entry)
    write_json(folder / FILE, {**setup.to_json(), "views": entries})


@dataclass(frozen=True)
class _Depth:
    """`depth` of views.json."""

    lens: Lens
    unit_m: float
    T_image_depth: Any


@dataclass(frozen=True)
class _Entry:
    """A view of views.json: names of its pictures, and the hand."""

    image: str
    depth: str | None = None
    T_base_hand: Any = None


@dataclass(frozen=True)
class _File:
    """views.json."""

    schema_version: int
    mount: Literal["eye-to-hand", "eye-in-hand"] | None
    base_frame: str
    hand_frame: str
    board: Board
    lens: Lens
    depth: _Depth | None
    views: list[_Entry]


def _read_setup(path: Path) -> tuple[Setup, list[_Entry]]:
    put_back(path)
    if not path.is_dir():
        raise OfpError(f"{path} is not a folder of views. Run: ofp-edge calibrate record {path}")
    value = read_json(path / FILE)
    try:
        if isinstance(value, dict) and value.get("schema_version") != SCHEMA_VERSION:
            raise SpecMismatch("schema_version", SCHEMA_VERSION, value.get("schema_version"))
        said = read_as(_File, value, "", SpecMismatch)
        for name in ("base_frame", "hand_frame"):
            if not getattr(said, name):
                raise SpecMismatch(name, "a name", "''")
        return Setup(
            said.board, said.lens, _sensor(said.depth), said.mount, said.base_frame, said.hand_frame
        ), said.views
    except SpecMismatch as cause:
        raise OfpError(f"{path / FILE}: {cause}") from None


def _sensor(said: _Depth | None) -> DepthSensor | None:
    if said is None:
        return None
    if not 0 < said.unit_m < 1:
        raise SpecMismatch("depth, unit_m", "metres of one raw unit", repr(said.unit_m))
    return DepthSensor(said.lens, said.unit_m, checked_pose(said.T_image_depth, "T_image_depth"))


def _read_view(path: Path, entry: _Entry, setup: Setup) -> View:
    lens = setup.lens
    image = _read_picture(path, entry.image, np.uint8, (lens.height, lens.width))
    depth = pose = None
    if entry.depth is not None:
        if setup.depth is None:
            raise SpecMismatch("depth", "none, as the file says nothing of the sensor", "a picture")
        size = setup.depth.lens.height, setup.depth.lens.width
        depth = _read_picture(path, entry.depth, np.uint16, size)
    if setup.mount is not None:
        if entry.T_base_hand is None:
            raise SpecMismatch("T_base_hand", f"4 rows of 4 numbers ({setup.mount})", "nothing")
        pose = checked_pose(entry.T_base_hand, "T_base_hand")
    return View(entry.image, image, depth, pose)


def _read_picture(path: Path, name: str, dtype: type[Any], size: tuple[int, int]) -> NDArray[Any]:
    cv2 = require("cv2", "calibrate")
    if Path(name).name != name:
        raise SpecMismatch("picture", "a file name in the folder", repr(name))
    if not (path / name).is_file():
        raise SpecMismatch("picture", "a file in the folder", f"no {name}")
    data = read_plain(path / name, OfpError, _LARGEST_PICTURE, inside=path)
    said = image_size(data)
    if said is None:
        raise SpecMismatch(name, "a PNG or JPEG", f"{len(data)} bytes of something else")
    if said != size:  # checked before the memory is taken that the file states
        raise SpecMismatch(f"{name}, height and width", size, said)
    flag = cv2.IMREAD_UNCHANGED if dtype is np.uint16 else cv2.IMREAD_GRAYSCALE
    picture = cv2.imdecode(np.frombuffer(data, dtype=np.uint8), flag)
    if picture is None:
        raise SpecMismatch(name, "a PNG or JPEG", f"{len(data)} bytes of something else")
    if picture.dtype != dtype or picture.shape != size:
        got = f"{picture.dtype} {picture.shape}"
        raise SpecMismatch(f"{name}, height and width", f"{dtype.__name__} {size}", got)
    return np.asarray(picture)
