"""`ofp-edge calibrate hand-eye`: from recorded views to the camera's pose in the rig."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ofp_edge.cli.output import Document, Output, add_command
from ofp_edge.errors import OfpError

if TYPE_CHECKING:
    from ofp_edge.calibration.hand_eye import HandEye

KEYS = (
    "views", "mount", "count", "skipped", "camera", "rig", "written", "method", "T_base_camera",
    "T_hand_camera", "frames", "position_m", "quaternion_xyzw", "error_mm", "error_deg",
    "held_out_mm", "held_out_deg", "worst_view", "methods_apart_mm", "methods_apart_deg",
    "spread_deg", "answers",
)  # fmt: skip


def hand_eye(
    output: Output,
    views: Annotated[Path, typer.Argument(help="Folder of views, from `calibrate record`.")],
    rig: Annotated[Path, typer.Option(help="The robot's rig file (TOML); changed.")],
    camera: Annotated[str, typer.Option(help="The camera's name in the rig.")],
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the answer, change nothing.")
    ] = False,
) -> Document:
    """Find where a camera stands from views of a board, and write it into the rig.

    Six methods of OpenCV must agree to 3 mm and 0.5 deg, and the hand must have turned about two
    axes; else it is refused with the figures.
    """
    from ofp_edge.calibration.hand_eye import calibrate
    from ofp_edge.calibration.record import pose_for_rig
    from ofp_edge.calibration.views import FILE, find_all
    from ofp_edge.pose import quaternion, rows
    from ofp_edge.rig.calibrated import read_for_calibration, set_camera

    entry = read_for_calibration(rig, camera).cameras[camera]
    seen = find_all(views)
    setup = seen.setup
    if setup.mount is None:
        raise OfpError(f"{views / FILE}: these views have no robot poses. Record with --mount.")
    for name, why in seen.skipped:
        output.log.print(f"{name} does not count: {why}", markup=False, soft_wrap=True)
    in_hand = setup.mount == "eye-in-hand"
    hands = [view.T_base_hand for view in seen.views if view.T_base_hand is not None]
    found = calibrate(hands, [f.T_camera_board for f in seen.found], in_hand)
    pose = pose_for_rig(entry, found.X, setup.depth)
    frame = setup.hand_frame if in_hand else setup.base_frame
    keys = [("T_base_camera", "base_frame"), ("T_hand_camera", "hand_frame")]
    (key, frame_key), others = keys[in_hand], keys[not in_hand]
    worst = max(range(len(hands)), key=lambda i: found.held_out.by_view_mm[i])
    record = {
        "frames": f"camera optical frame (x right, y down, z forward) -> {frame}",
        "position_m": [float(x) for x in pose[:3, 3]],
        "quaternion_xyzw": quaternion(pose),
        "method": found.method,
        "error_mm": found.error_mm,
        "error_deg": found.error_deg,
        "held_out_mm": found.held_out.mm,
        "held_out_deg": found.held_out.deg,
        "methods_apart_mm": found.apart_mm,
        "methods_apart_deg": found.apart_deg,
    }
    if not dry_run:
        changes = {
            "parameters": {key: rows(pose), frame_key: frame},
            "calibration": _rounded({**record, "views": len(hands)}),
        }
        set_camera(rig, camera, changes, without=others)
    _print(output, found, record, seen.views[worst].name, worst)
    output.console.print(
        "nothing written" if dry_run else f"[cameras.{camera}] {key} written into {rig}",
        markup=False,
        soft_wrap=True,
    )
    return {
        "views": views,
        "mount": setup.mount,
        "count": len(hands),
        "skipped": [list(item) for item in seen.skipped],
        "camera": camera,
        "rig": rig,
        "written": not dry_run,
        key: rows(pose),
        others[0]: None,
        **record,
        "worst_view": seen.views[worst].name,
        "spread_deg": list(found.spread_deg),
        "answers": {name: rows(X) for name, X in found.answers.items()},
    }


def _rounded(record: dict[str, Any]) -> dict[str, Any]:
    """For people: figures of error to four digits."""
    return {
        key: float(f"{value:.4g}") if isinstance(value, float) else value
        for key, value in record.items()
    }


def _print(output: Output, found: HandEye, record: dict[str, Any], worst: str, index: int) -> None:
    say, held = output.console.print, found.held_out
    place = ", ".join(f"{x:.5f}" for x in record["position_m"])
    turn = ", ".join(f"{x:.6f}" for x in record["quaternion_xyzw"])
    spread = ", ".join(f"{x:.1f}" for x in found.spread_deg)
    lines = (
        f"{record['frames']}, by {found.method}:",
        f"  position ({place}) m, quaternion x y z w ({turn})",
        f"  one standard deviation: {found.error_mm:.2f} mm, {found.error_deg:.3f} deg",
        f"  board in held-out views: {held.mm:.2f} mm, {held.deg:.3f} deg RMS; worst {worst}: "
        f"{held.by_view_mm[index]:.2f} mm",
        f"  methods apart: {found.apart_mm:.2f} mm, {found.apart_deg:.3f} deg (at most 3 and 0.5)",
        f"  hand's rotations spread {spread} deg about three axes",
    )
    for line in lines:
        say(line, markup=False, soft_wrap=True)


def add(app: typer.Typer) -> None:
    """Register the command."""
    add_command(app, "hand-eye", hand_eye, KEYS)
