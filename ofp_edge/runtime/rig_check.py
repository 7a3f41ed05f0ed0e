"""All that is wrong with a rig, at once: its file, against a bundle, and on this machine. Opens
nothing."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ofp_edge.bundle import Bundle
from ofp_edge.camera_parameters import CameraParameters
from ofp_edge.errors import CameraError, OfpError, RobotError
from ofp_edge.fields.text import told
from ofp_edge.origin import install_line
from ofp_edge.rig.file import CameraEntry, Rig, look_at_rig
from ofp_edge.runtime.cameras.open import arguments_of, find_camera, said_of
from ofp_edge.runtime.drivers import CAMERAS, ROBOTS, Driver
from ofp_edge.runtime.infer.engine_choice import choose_engine
from ofp_edge.runtime.plugin import check_arguments
from ofp_edge.runtime.robot import find_robot
from ofp_edge.runtime.session import make_controller
from ofp_edge.spec import Interface
from ofp_edge.toml import OPEN, Question

_PLACES = ("port", "device", "calibration", "path", "python")


@dataclass
class Checked:
    """What was found. asked: entries that are still open; wrong: a line each."""

    rig: Rig
    asked: list[Question]
    wrong: list[str] = field(default_factory=list)

    @contextmanager
    def gathering(self) -> Iterator[None]:
        """Take an OfpError raised inside as one of the lines."""
        try:
            yield
        except OfpError as cause:
            line = str(cause).removeprefix(f"{self.rig.path}: ")
            if line not in self.wrong:
                self.wrong.append(line)

    def all_of(self, checks: list[Callable[[], None]]) -> None:
        """Run every check; take what each says."""
        for check in checks:
            with self.gathering():
                check()


def check_rig(path: Path, bundle: Bundle | None) -> Checked:
    """Check a rig, against a bundle where one is given. Raises RigError where it is no TOML."""
    rig, asked, wrong = look_at_rig(path)
    found = Checked(rig, asked, [x.removeprefix(f"{path}: ") for x in wrong])
    _on_this_machine(found, None if bundle is None else bundle.spec)
    if bundle is None:
        return found
    spec = bundle.spec
    # A table that is open or wrong in itself would be called wrong once more.
    said = [*(x.where for x in asked), *found.wrong]
    tables = {re.split(r"[].]", line.lstrip("["), maxsplit=1)[0] for line in said}
    parts = zip(rig.fitting(spec), _parts(rig, spec), strict=True)
    found.all_of([check for check, table in parts if table not in tables])
    for name in spec.cameras:
        if name in rig.cameras:
            with found.gathering():
                _check_size(rig.cameras[name], bundle)
    if rig.instruction != OPEN:
        with found.gathering():
            told(spec.observations, rig.instruction)
    with found.gathering():
        choose_engine(bundle, rig)
    if not found.wrong and not asked:
        with found.gathering():
            make_controller(spec, rig, None)
    return found


def _parts(rig: Rig, spec: Any) -> list[str]:
    """The table that each of `rig.fitting`'s checks looks at."""
    count = len(rig.fitting(spec)) - len(spec.cameras) - 1
    return [*["cameras"] * len(spec.cameras), "timing", *["safety"] * count]


def _on_this_machine(found: Checked, spec: Interface | None) -> None:
    rig = found.rig
    if rig.robot.driver not in ("", OPEN):
        known = _known(ROBOTS, rig.robot.driver)
        with found.gathering():
            _require_installed(known, f"[robot] driver {rig.robot.driver}", RobotError)
            robot = find_robot(rig.robot)
            arguments = {"spec": spec, **rig.robot.options}
            check_arguments(robot, rig.robot.driver, arguments, RobotError)
            _require_places(known, rig.robot.options, "[robot.options]", RobotError)
            check: Callable[..., None] | None = getattr(robot, "check", None)
            if check is not None and spec is not None and OPEN not in rig.robot.options.values():
                check(spec, **rig.robot.options)
    for name, entry in rig.cameras.items():
        if entry.driver in ("", OPEN):
            continue
        known = _known(CAMERAS, entry.driver)
        with found.gathering():
            _require_installed(known, said_of(entry), CameraError)
            arguments = arguments_of(entry)
            check_arguments(find_camera(entry), said_of(entry), arguments, CameraError)
            _require_places(known, entry.options, f"[cameras.{name}.options]", CameraError)


def _known(drivers: tuple[Driver, ...], name: str) -> Driver | None:
    return next((x for x in drivers if x.driver == name), None)


def _require_installed(driver: Driver | None, what: str, error: type[OfpError]) -> None:
    if driver is not None and not driver.installed():
        raise error(f"{what}: it is not installed. Run: {install_line(driver.extra)}")


def _require_places(
    driver: Driver | None, options: dict[str, Any], where: str, error: type[OfpError]
) -> None:
    """The files and devices that a driver of ours is told of are there."""
    for key in _PLACES if driver is not None else ():
        value = options.get(key)
        if key == "device" and isinstance(value, int):
            value = f"/dev/video{value}"
        if isinstance(value, str) and "/" in value and not Path(value).exists():
            raise error(f"{where} {key}: {value} does not exist.")


def _check_size(entry: CameraEntry, bundle: Bundle) -> None:
    """A webcam's size is in the rig: what the observer would refuse, before it is opened."""
    size = [entry.options.get(key) for key in ("width", "height")]
    trained = bundle.manifest.cameras.get(entry.name)
    whole = all(isinstance(x, int) and x > 0 for x in size)
    if entry.driver != "v4l2" or trained is None or not whole:
        return
    live = CameraParameters.unknown(*size)  # type: ignore[arg-type]
    only_images = bundle.spec.only_images(entry.name)
    bundle.manifest.camera_tolerance.require(entry.name, trained, live, only_images=only_images)
