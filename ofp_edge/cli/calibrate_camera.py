"""`ofp-edge calibrate camera`: what a camera says of itself, and whether a board agrees."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ofp_edge.cli.output import Document, Output, add_command
from ofp_edge.errors import CameraError, CheckFailed, OfpError

if TYPE_CHECKING:
    from ofp_edge.calibration.camera_check import Check
    from ofp_edge.lens import Lens

KEYS = ("camera", "device", "parameters", "written", "views", "check", "ok")


def camera(
    output: Output,
    views: Annotated[
        Path | None, typer.Argument(help="Folder of views of the board, to check against.")
    ] = None,
    rig: Annotated[Path | None, typer.Option(help="The robot's rig file (TOML).")] = None,
    camera: Annotated[str | None, typer.Option(help="The camera's name in the rig.")] = None,
    write: Annotated[
        bool, typer.Option("--write", help="Write serial and intrinsics into the rig.")
    ] = False,
) -> Document:
    """Read a camera's intrinsics and extrinsics, and check them on a ChArUco board.

    With --rig and --camera the device is asked; with VIEWS the views' intrinsics (and depth) are
    held against the board: reprojection RMS in pixels.
    """
    if views is None and rig is None:
        raise OfpError("give a folder of views, or --rig and --camera.")
    if (rig is None) != (camera is None) or (write and rig is None):
        raise OfpError("--rig and --camera go together, and --write needs both.")
    values: Document = dict.fromkeys(KEYS)
    values |= {"camera": camera, "written": False, "ok": True}
    if views is not None:
        from ofp_edge.calibration.camera_check import check_camera, judge
        from ofp_edge.calibration.views import find_all

        seen = find_all(views)
        check = check_camera(seen)
        values |= {"views": views, "check": asdict(check)}
        _print_check(output, check)
        try:
            judge(check, seen.setup.lens)
        except CheckFailed as cause:
            values["ok"], output.exit_code = False, 1
            output.log.print(f"[bold red]failed:[/] {cause}", soft_wrap=True)
            return values
    if rig is not None and camera is not None:
        values |= _device(output, rig, camera, write)
    return values


def _device(output: Output, path: Path, name: str, write: bool) -> Document:
    from ofp_edge.calibration import record as live
    from ofp_edge.pose import rows
    from ofp_edge.rig.calibrated import read_for_calibration, set_camera

    entry = read_for_calibration(path, name).cameras[name]
    lens: Lens | None
    try:
        with live.started(live.open_whole(entry)) as eye:
            (lens, depth), serial = live.eyes(eye), live.serial_of(eye)
            if not live.has_color(eye):
                lens = None
    except CameraError as cause:  # as a rule: there is no colour sensor
        with live.started(live.open_whole(entry, color=False)) as eye:
            (_, depth), lens, serial = live.eyes(eye), None, live.serial_of(eye)
        output.log.print(f"without colour: {cause}", soft_wrap=True, markup=False)
    device = {
        "serial": serial,
        "depth": depth.lens.to_json(),
        "depth_unit_m": depth.unit_m,
        "color": None if lens is None else lens.to_json(),
        "T_color_depth": None if lens is None else rows(depth.T_image_depth),
    }
    of_policy = lens if lens is not None and live.shows_color(entry) else depth.lens
    intrinsics = {key: float(getattr(of_policy, key)) for key in ("fx", "fy", "cx", "cy")}
    _print_device(output, name, device, entry.parameters)
    if write:
        changes: dict[str, dict[str, Any]] = {"parameters": intrinsics}
        if entry.driver == "realsense" and serial is not None:
            changes["options"] = {"serial": serial}
        set_camera(path, name, changes)
        output.console.print(f"written into {path}", soft_wrap=True)
    return {"device": device, "parameters": {**entry.parameters, **intrinsics}, "written": write}


def _print_device(output: Output, name: str, device: Document, parameters: dict[str, Any]) -> None:
    from ofp_edge.pose import checked_pose, quaternion

    def lens(value: dict[str, Any]) -> str:
        focal = f"fx {value['fx']:.2f}, fy {value['fy']:.2f}, cx {value['cx']:.2f}"
        size = f"{value['width']} x {value['height']}"
        return f"{size}, {focal}, cy {value['cy']:.2f} px, {value['model']} {value['coefficients']}"

    def pose(value: Any) -> str:
        T = checked_pose(value, "pose")
        place = ", ".join(f"{1000 * x:.2f}" for x in T[:3, 3])
        turn = ", ".join(f"{x:.5f}" for x in quaternion(T))
        return f"position ({place}) mm, quaternion x y z w ({turn})"

    say = output.console.print
    say(f"camera {name}, serial {device['serial'] or 'none'}", soft_wrap=True)
    say(f"  depth: {lens(device['depth'])}; unit {device['depth_unit_m']:g} m", soft_wrap=True)
    if device["color"] is not None:
        say(f"  colour: {lens(device['color'])}", soft_wrap=True)
        say(
            f"  depth sensor in the colour sensor's frame: {pose(device['T_color_depth'])}",
            soft_wrap=True,
        )
    if "T_base_camera" in parameters:
        frame = parameters.get("base_frame", "base")
        where = pose(parameters["T_base_camera"])
        say(f"  in the rig, camera in {frame}: {where}", soft_wrap=True)
    else:
        say("  in the rig: no pose yet. Run: ofp-edge calibrate hand-eye", soft_wrap=True)


def _print_check(output: Output, check: Check) -> None:
    say, fitted = output.console.print, check.fitted
    say(
        f"{check.detections} corners in {check.views} views: {check.rms_px:.3f} px RMS "
        f"(worst {check.worst[0]}: {check.worst[1]:.3f} px)",
        soft_wrap=True,
    )
    parts = [
        f"{k} {getattr(fitted, k)[0]:.2f} ± {getattr(fitted, k)[1]:.2f}"
        for k in ("fx", "fy", "cx", "cy")
    ]
    say(f"best for these views: {', '.join(parts)} px, {fitted.rms_px:.3f} px RMS", soft_wrap=True)
    if check.depth_percent is None:
        say("depth: not measured")
    else:
        say(f"depth: {check.depth_percent:+.2f} % on the board, in {check.depth_views} views")


def add(app: typer.Typer) -> None:
    """Register the command."""
    add_command(app, "camera", camera, KEYS)
