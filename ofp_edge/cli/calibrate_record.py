"""`ofp-edge calibrate record`: views of the board, with the hand's pose at each."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ofp_edge.cli.calibrate_board import (
    Dictionary,
    MarkerMm,
    SquareMm,
    Squares,
    make_board,
)
from ofp_edge.cli.output import Document, Force, Output, add_command
from ofp_edge.errors import OfpError, UnknownName
from ofp_edge.files import check_output, new_folder

KEYS = ("views", "camera", "mount", "count", "skipped", "spread_deg")


def record(
    output: Output,
    views: Annotated[Path, typer.Argument(help="Folder to write the views into.")],
    rig: Annotated[Path, typer.Option(help="The robot's rig file (TOML).")],
    camera: Annotated[str, typer.Option(help="The camera's name in the rig.")],
    mount: Annotated[
        str | None,
        typer.Option(
            help="eye-to-hand: the camera stands, the hand holds the board. eye-in-hand: the hand "
            "carries the camera. Default: no robot, for `calibrate camera` alone."
        ),
    ] = None,
    count: Annotated[int, typer.Option(help="Views to take.")] = 20,
    squares: Squares = "7x5",
    square_mm: SquareMm = 36.0,
    marker_mm: MarkerMm = None,
    dictionary: Dictionary = "4x4_50",
    base_frame: Annotated[
        str, typer.Option(help="Name of the frame of the robot's base.")
    ] = "base",
    hand_frame: Annotated[str, typer.Option(help="Name of the frame of its hand.")] = "hand",
    robot: Annotated[
        str | None, typer.Option(help="package.module:Class in place of the rig's driver.")
    ] = None,
    force: Force = False,
) -> Document:
    """Record views of a ChArUco board: move the robot (or the board), press Enter, again.

    The robot is only asked where its hand is (`hand_pose` in its state), never moved.
    """
    import contextlib

    from ofp_edge.calibration import record as live
    from ofp_edge.calibration.hand_eye import rotation_spread
    from ofp_edge.calibration.views import FILE, MOUNTS, write_views
    from ofp_edge.rig.calibrated import read_for_calibration
    from ofp_edge.rig.file import RobotEntry
    from ofp_edge.runtime.robot import open_robot

    if mount not in (None, *MOUNTS):
        raise UnknownName("mount", str(mount), MOUNTS)
    if count < 1:
        raise OfpError(f"--count {count}: expected 1 or more.")
    check_output(views, force=force, marker=FILE)
    board = make_board(squares, square_mm, marker_mm, dictionary)
    parsed = read_for_calibration(rig, camera)
    if mount is not None and robot in (None, parsed.robot.driver):
        parsed = read_for_calibration(rig, camera, robot=True)
    entry = parsed.cameras[camera]
    driver = RobotEntry(robot) if robot not in (None, parsed.robot.driver) else parsed.robot
    with contextlib.ExitStack() as stack:
        arm = None
        if mount is not None:
            arm = open_robot(driver, live.HAND_POSE)
            stack.callback(arm.close)
            live.hand_pose(arm)
        eye = stack.enter_context(live.started(live.open_whole(entry)))
        setup = live.new_setup(eye, board, mount, base_frame, hand_frame)
        recorder = live.Recorder(eye, arm, setup)
        live.record(recorder, count, lambda prompt: _ask(output, prompt), output.log.print)
    taken = recorder.views
    if not taken.views:
        raise OfpError("no view was taken; nothing was written.")
    with new_folder(views, force=force, marker=FILE) as folder:
        write_views(folder, setup, taken.views)
    hands = [view.T_base_hand for view in taken.views if view.T_base_hand is not None]
    spread = None
    if hands:
        import numpy as np

        spread = list(rotation_spread(np.array(hands)))
    output.console.print(f"{views}: {len(taken.views)} views", soft_wrap=True)
    return {
        "views": views,
        "camera": camera,
        "mount": mount,
        "count": len(taken.views),
        "skipped": [list(item) for item in taken.skipped],
        "spread_deg": spread,
    }


def _ask(output: Output, prompt: str) -> str:
    try:
        return output.log.input(prompt)
    except EOFError:
        raise OfpError("a keyboard is needed: standard input has ended.") from None


def add(app: typer.Typer) -> None:
    """Register the command."""
    add_command(app, "record", record, KEYS)
