"""What a rig says of a camera, judged without opening it: by its driver, and against the training.

A driver of ours opens nothing when it is built, only when it is started, and so it is built.
Another one is asked, where it has a static method `check(name, **options)`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from ofp_edge.bundle import Bundle
from ofp_edge.camera_parameters import CameraParameters
from ofp_edge.errors import CameraError, OfpError, SpecMismatch
from ofp_edge.rig.file import CameraEntry
from ofp_edge.runtime.cameras.open import arguments_of, said_of
from ofp_edge.runtime.cameras.stated import place, require_stated, stated_parameters
from ofp_edge.runtime.plugin import build
from ofp_edge.runtime.rig_options import is_open
from ofp_edge.toml import OPEN

_PLAIN = ("v4l2", "realsense", "recording", "ros2", "rosbag2")  # building them opens nothing
_LENSLESS = {
    "v4l2": "a V4L2 camera does not",
    "ofp_edge.runtime.cameras.lerobot:LeRobotCamera": "LeRobot's cameras do not",
}


def require_parameters(entry: CameraEntry) -> None:
    """Raise CameraError where [cameras.NAME.parameters] can be no camera's. Only those of drivers
    of ours are known."""
    if entry.driver not in (*_PLAIN, *_LENSLESS):
        return
    known = set(CameraParameters.__dataclass_fields__)
    stated = {key: value for key, value in entry.parameters.items() if not is_open(value)}
    if unknown := sorted(set(stated) - known):
        raise CameraError(
            f"[cameras.{entry.name}.parameters] {unknown[0]}: unknown entry. Known: "
            f"{', '.join(sorted(known))}, T_hand_camera, hand_frame."
        )
    try:
        whole = {**CameraParameters.unknown(1, 1).to_json(), "base_frame": "base", **stated}
        CameraParameters.from_json(whole)
        if not is_open(entry.parameters):
            place(entry.parameters)
    except (SpecMismatch, TypeError, ValueError) as cause:
        raise CameraError(f"[cameras.{entry.name}.parameters]: {cause}") from None
    if entry.driver in _LENSLESS and not is_open(entry.parameters):
        require_stated(entry.name, entry.parameters, _LENSLESS[entry.driver])


def require_buildable(
    entry: CameraEntry, factory: Callable[..., Any], options: Mapping[str, Any]
) -> None:
    """Raise CameraError for what the driver refuses before it opens anything. options: those that
    are OPEN are left out, and so are parameters that are not whole."""
    takes = inspect.signature(factory).parameters
    anything = any(x.kind is x.VAR_KEYWORD for x in takes.values())
    given = {key: x for key, x in options.items() if x != OPEN and (anything or key in takes)}
    if entry.driver in _PLAIN:
        parameters = entry.parameters if _fine(entry) else {}
        arguments = {**arguments_of(replace(entry, options={}, parameters=parameters)), **given}
        if _binds(factory, arguments):
            try:
                build(factory, said_of(entry), arguments, CameraError)
            except (TypeError, ValueError) as cause:
                raise CameraError(f"{said_of(entry)}: {cause}. Check its options.") from None
        return
    check = inspect.getattr_static(factory, "check", None)
    if isinstance(check, staticmethod) and _binds(check.__func__, {"name": entry.name, **given}):
        check.__func__(entry.name, **given)


def require_alike(entry: CameraEntry, bundle: Bundle) -> None:
    """Raise SpecMismatch for what an observer would refuse of this camera, as far as the rig says
    it: a webcam's size and lens, the place of a camera that knows its lens."""
    trained = bundle.manifest.cameras.get(entry.name)
    if trained is None:
        return
    only_images = bundle.spec.only_images(entry.name)
    live = _live(entry, trained) or trained  # a silent rig fails only where any would
    bundle.manifest.camera_tolerance.require(entry.name, trained, live, only_images=only_images)


def _live(entry: CameraEntry, trained: CameraParameters) -> CameraParameters | None:
    """The camera's parameters as the rig states them; None where it does not, or they are wrong."""
    size = [entry.options.get(key) for key in ("width", "height")]
    stated = entry.parameters if _fine(entry) else {}
    if entry.driver == "v4l2" and all(type(x) is int and x > 0 for x in size):
        return stated_parameters(entry.name, stated, *size)  # type: ignore[arg-type]
    if entry.driver in _PLAIN and entry.driver != "v4l2" and "T_base_camera" in stated:
        return CameraParameters.from_json({**trained.to_json(), **place(stated)})
    return None


def _fine(entry: CameraEntry) -> bool:
    try:
        require_parameters(entry)
    except OfpError:
        return False
    return not is_open(entry.parameters)


def _binds(factory: Callable[..., Any], arguments: Mapping[str, Any]) -> bool:
    try:
        inspect.signature(factory).bind(**arguments)
    except TypeError:
        return False
    return True
