"""`ofp-edge rig new`: draft a rig for a bundle from what the bundle says and what is plugged in."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ofp_edge.cli.output import Document, Force, Output, add_command, foreign
from ofp_edge.errors import OfpError, UnknownName
from ofp_edge.files import check_output_file, write_bytes

if TYPE_CHECKING:
    from ofp_edge.rig.draft import Here
    from ofp_edge.runtime.plugged import Plugged
    from ofp_edge.spec import PolicySpec

KEYS = ("rig", "bundle", "robot", "cameras", "pictures", "open")


def new(
    output: Output,
    bundle: Annotated[Path, typer.Argument(help="Bundle that is to run on the robot.")],
    rig: Annotated[Path, typer.Option("-o", "--output", help="Rig file to write (TOML).")] = Path(
        "rig.toml"
    ),
    robot: Annotated[
        str | None,
        typer.Option(help="Driver, as `ofp-edge robots` lists it. Default: the one that fits."),
    ] = None,
    pictures: Annotated[
        bool,
        typer.Option(
            "--pictures/--no-pictures",
            help="Take a picture with every webcam, to tell them apart: RIG-cameraN.png beside it.",
        ),
    ] = True,
    force: Force = False,
) -> Document:
    """Draft a rig: drivers and devices that are plugged in, times and limits of the policy.

    What only you can know stands there as "?" with what belongs there; `rig check` lists it. No
    robot is opened.
    """
    from ofp_edge.bundle import open_bundle
    from ofp_edge.rig.draft import draft
    from ofp_edge.rig.file import look_at_rig

    check_output_file(rig, force=force)
    opened = open_bundle(bundle)
    here, seen = _here(output, opened.spec, robot, rig if pictures else None, force)
    check = f"ofp-edge rig check {shlex.quote(str(rig))} --bundle {shlex.quote(str(bundle))}"
    title = f"A rig for {bundle.name}. Run: {check}"
    write_bytes(rig, draft(opened.spec, opened.manifest.cameras, here, title=title).encode())
    drafted, asked, _ = look_at_rig(rig)
    output.console.print(foreign(f"{rig}: written, {len(asked)} entries are open"), soft_wrap=True)
    for question in asked:
        output.console.print(f"  {foreign(question)}", soft_wrap=True)
    return {
        "rig": rig,
        "bundle": bundle,
        "robot": here.robot or None,
        "cameras": {name: x.driver for name, x in drafted.cameras.items()},
        "pictures": seen,
        "open": [{"where": x.where, "about": x.about} for x in asked],
    }


def _here(
    output: Output, spec: PolicySpec, driver: str | None, beside: Path | None, force: bool
) -> tuple[Here, list[Path]]:
    """What is plugged in, and the pictures that were taken of it."""
    from ofp_edge.rig.draft import Device, Here
    from ofp_edge.runtime.plugged import realsense_devices, serial_ports, video_devices
    from ofp_edge.toml import OPEN

    ports = [x for x in serial_ports() if x.driver]
    fitting = [x for x in ports if x.driver == driver or (driver is None and _fits(x, spec))]
    robot = driver or (fitting[0].driver if fitting else "")
    options: dict[str, tuple[Any, str]] = {}
    for key in _required(output, robot):
        options[key] = (OPEN, _ABOUT.get(key, ""))
    if fitting and "port" in options:
        only = len(fitting) == 1
        said = ", ".join(f"{x.device} ({x.about})" for x in fitting)
        options["port"] = (fitting[0].device if only else OPEN, said)
    if robot.endswith(":So101") and not spec.actions[0].unit.startswith(("deg", "rad")):
        options["unit"] = (OPEN, "deg, rad or normalised (-100..100): as the training's data")
    webcams = [x for x in video_devices() if x.driver == "v4l2"]
    taken = _pictures(output, webcams, beside, force)
    cameras = [Device(x.device, x.about, taken[x.device].name if x.device in taken else "")
               for x in webcams]  # fmt: skip
    depth = [Device(x.device, x.about) for x in realsense_devices()]
    return Here(robot, options, cameras, depth), list(taken.values())


_ABOUT = {
    "calibration": "LeRobot's calibration file of this arm, beside this file",
    "robot": "package.module:Class, or a type of LeRobot's",
    "task": "the simulated task",
}


def _fits(port: Plugged, spec: PolicySpec) -> bool:
    """An SO-101 has six joints: a board like its own may drive something else."""
    return not port.driver.endswith(":So101") or spec.action_dim == 6


def _required(output: Output, driver: str) -> list[str]:
    """The options that a driver needs: of one of ours, or of a class that can be imported here."""
    from ofp_edge.rig.file import RobotEntry
    from ofp_edge.runtime.drivers import ROBOTS, Driver
    from ofp_edge.runtime.robot import find_robot

    if not driver:
        return []
    found = next((x for x in ROBOTS if x.driver == driver), None)
    if found is None and ":" not in driver:
        raise UnknownName("driver", driver, [x.driver for x in ROBOTS])
    if found is None:
        try:
            find_robot(RobotEntry(driver))
        except OfpError as cause:
            output.log.print(foreign(f"its options are not known here: {cause}"), soft_wrap=True)
            return []
        found = Driver(driver, "", driver)
    return [key for key, value in found.options().items() if value == "required"]


def _pictures(
    output: Output, webcams: list[Plugged], rig: Path | None, force: bool
) -> dict[str, Path]:
    """A picture of each webcam beside the rig, by device; a camera that gives none is said."""
    if rig is None or not webcams:
        return {}
    from ofp_edge.runtime.cameras.picture import take_picture

    found = {}
    paths = [rig.with_name(f"{rig.stem}-camera{number}.png") for number in range(len(webcams))]
    for path in paths:
        check_output_file(path, force=force)
    for path, device in zip(paths, webcams, strict=True):
        try:
            write_bytes(path, take_picture(device.device))
        except OfpError as cause:
            output.log.print(foreign(f"no picture of {device.device}: {cause}"), soft_wrap=True)
        else:
            found[device.device] = path
    return found


def add(app: typer.Typer) -> None:
    """Register the command."""
    add_command(app, "new", new, KEYS)
