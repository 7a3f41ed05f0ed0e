"""All that is wrong with a rig, at once: its file, against a bundle, and on this machine. Opens
nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from ofp_edge.bundle import Bundle
from ofp_edge.errors import CameraError, OfpError, RobotError
from ofp_edge.fields.text import told
from ofp_edge.origin import install_line
from ofp_edge.rig.file import CameraEntry, Rig, is_of, look_at_rig
from ofp_edge.runtime.cameras.open import arguments_of, find_camera, said_of
from ofp_edge.runtime.drivers import CAMERAS, ROBOTS, Driver
from ofp_edge.runtime.infer.engine_choice import choose_engine
from ofp_edge.runtime.plugin import check_arguments
from ofp_edge.runtime.rig_cameras import require_alike, require_buildable, require_parameters
from ofp_edge.runtime.rig_options import is_open, misfits
from ofp_edge.runtime.robot import find_robot
from ofp_edge.runtime.run_files import make_controller
from ofp_edge.spec import Interface, PolicySpec
from ofp_edge.toml import OPEN, Question

_FILES = ("calibration", "path")
_PLACES = ("port", "device", "python", *_FILES)


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
    if bundle is not None:
        _against(found, bundle)
    spec = None if bundle is None else bundle.spec
    _robot(found, spec)
    for entry in rig.cameras.values():
        _camera(found, entry)
    if bundle is not None:
        with found.gathering():
            choose_engine(bundle, rig)
    return found


def _against(found: Checked, bundle: Bundle) -> None:
    """What the file says, against the bundle: of a table that is open or wrong in itself nothing
    more is said."""
    rig, spec = found.rig, bundle.spec
    said = [*map(str, found.asked), *found.wrong]
    found.all_of(
        [
            check
            for check, table in zip(rig.fitting(spec), _tables(rig, spec), strict=True)
            if not any(is_of(x, table) or x.startswith(f"{table.split('.')[0]}:") for x in said)
            or (table.startswith("cameras.") and table.removeprefix("cameras.") in rig.cameras)
        ]
    )
    entries = [rig.cameras[name] for name in spec.cameras if name in rig.cameras]
    found.all_of([partial(require_alike, entry, bundle) for entry in entries])
    if rig.instruction != OPEN:
        with found.gathering():
            told(spec.observations, rig.instruction)
    if not found.wrong and not found.asked:
        with found.gathering():
            make_controller(spec, rig, None)


def _tables(rig: Rig, spec: PolicySpec) -> list[str]:
    """The table that each of `rig.fitting`'s checks looks at; "" of one that never repeats what
    the file's own reading says: of [safety] itself."""
    limits = [f"safety.limits.{name}" for name in rig.safety.limits]
    box = ["safety.workspace"] if rig.safety.workspace is not None else []
    return [*(f"cameras.{name}" for name in spec.cameras), "timing", "", *limits, *box]


def _robot(found: Checked, spec: Interface | None) -> None:
    entry = found.rig.robot
    if entry.driver in ("", OPEN):
        return
    known, where, before = _known(ROBOTS, entry.driver), "[robot.options]", len(found.wrong)
    with found.gathering():
        robot = find_robot(entry)
        fit = _options(found, robot, entry.options, where, RobotError)
        with found.gathering():
            check_arguments(robot, entry.driver, {"spec": spec, **fit}, RobotError)
        whole = len(found.wrong) == before and not is_open(entry.options)
        lacks = _places(found, known, entry.options, where, RobotError)
        check: Callable[..., None] | None = getattr(robot, "check", None)
        whole = whole and not set(_FILES) & lacks  # what is plugged in is no matter of a check
        if check is not None and spec is not None and whole:
            check(spec, **entry.options)
    with found.gathering():
        _require_installed(known, f"[robot] driver {entry.driver}", RobotError)


def _camera(found: Checked, entry: CameraEntry) -> None:
    if entry.driver in ("", OPEN):
        return
    known, where = _known(CAMERAS, entry.driver), f"[cameras.{entry.name}.options]"
    with found.gathering():
        factory = find_camera(entry)
        fit = _options(found, factory, entry.options, where, CameraError)
        with found.gathering():
            arguments = {**arguments_of(entry), **fit}
            check_arguments(factory, said_of(entry), arguments, CameraError)
        with found.gathering():
            require_parameters(entry)
        with found.gathering():
            require_buildable(entry, factory, fit)
        _places(found, known, entry.options, where, CameraError)
    with found.gathering():
        _require_installed(known, said_of(entry), CameraError)


def _options(
    found: Checked,
    factory: Callable[..., Any],
    options: dict[str, Any],
    where: str,
    error: type[OfpError],
) -> dict[str, Any]:
    """Take a line for each option of another kind than the driver's; return the options, OPEN in
    place of those."""
    wrong = misfits(factory, options)
    for key, why in wrong.items():
        with found.gathering():
            raise error(f"{where} {key}: {why}.")
    return {**options, **dict.fromkeys(wrong, OPEN)}


def _known(drivers: tuple[Driver, ...], name: str) -> Driver | None:
    return next((x for x in drivers if x.driver == name), None)


def _require_installed(driver: Driver | None, what: str, error: type[OfpError]) -> None:
    if driver is not None and not driver.installed():
        raise error(f"{what}: it is not installed. Run: {install_line(driver.extra)}")


def _places(
    found: Checked,
    driver: Driver | None,
    options: dict[str, Any],
    where: str,
    error: type[OfpError],
) -> set[str]:
    """Take a line for each file and device that a driver of ours is told of and that is not there;
    return those options. A device's name without a slash may be known to its driver alone."""
    lacks = set()
    for key in _PLACES if driver is not None else ():
        value = options.get(key)
        if key == "device" and isinstance(value, int):
            value = f"/dev/video{value}"
        if not isinstance(value, str) or value == OPEN:
            continue
        if (key in _FILES or "/" in value) and not Path(value).exists():
            lacks.add(key)
            with found.gathering():
                raise error(f"{where} {key}: {value} does not exist.")
    return lacks
