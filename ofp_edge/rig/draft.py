"""Draft a rig for a policy: what the policy and the machine say is filled in, the rest is open.

An open entry is `"?"` (toml.OPEN) with a comment that says what belongs there; no run begins with
one, and `rig check` lists them.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ofp_edge.camera_parameters import CameraParameters
from ofp_edge.fields.text import instructions_of
from ofp_edge.rig.horizon import longest_latency_ns, plan_ages_ns
from ofp_edge.rig.safety import DEFAULT_MAX_VELOCITY_M_S, is_cartesian
from ofp_edge.spec import ActionField, PolicySpec
from ofp_edge.toml import OPEN
from ofp_edge.unit_text import stated

_USUAL_LATENCY_MS, _USUAL_AGE_MS = 100.0, 500.0
_MOST_NAMED = 6
Line = tuple[str, Any, str]
"""An entry: key, value, and what is said beside it."""


@dataclass(frozen=True)
class Device:
    """Something plugged in. place: what a rig calls it; about: for people; shown: the file that
    shows a picture of it."""

    place: str
    about: str = ""
    shown: str = ""

    def __str__(self) -> str:
        words = [self.place, *([f"({self.about})"] if self.about else ())]
        return " ".join([*words, *([f"shown in {self.shown}"] if self.shown else ())])


@dataclass(frozen=True)
class Here:
    """What this machine has. robot: the driver that fits, "" where none is known; options: those of
    it that are known, the others OPEN, with what is said of each."""

    robot: str = ""
    options: Mapping[str, tuple[Any, str]] = field(default_factory=dict)
    webcams: Sequence[Device] = ()
    realsenses: Sequence[Device] = ()


def draft(
    spec: PolicySpec, cameras: Mapping[str, CameraParameters], here: Here, *, title: str
) -> str:
    """Return the text of a rig (TOML). title: its first line's words."""
    parts = [
        f"# {_printable(title)}\n# What is {_toml(OPEN)} is yours to say; no run begins before.\n"
    ]
    top: list[Line] = [("schema_version", 1, "")]
    if choices := instructions_of(spec.observations):
        top.append(("instruction", OPEN, f"one of {_listed([_toml(x) for x in choices])}"))
    parts.append(_lines(top))
    parts.append(_table("robot", [("driver", here.robot or OPEN, _robot_said(here))]))
    if here.options:
        parts.append(_table("robot.options", [(k, *x) for k, x in here.options.items()]))
    for name in spec.cameras:
        parts += _camera(spec, name, cameras[name], here)
    parts.append(_table("timing", _timing(spec)))
    for action in spec.actions:
        if lines := _limits(spec, action):
            parts.append(_table(f"safety.limits.{_key(action.name)}", lines))
    return "\n".join(parts)


def _robot_said(here: Here) -> str:
    return "" if here.robot else "`ofp-edge robots` lists them; your own: package.module:Class"


def _camera(spec: PolicySpec, name: str, trained: CameraParameters, here: Here) -> list[str]:
    driver, key = _driver(spec, name, here), _key(name)
    devices = here.webcams if driver == "v4l2" else here.realsenses
    same = [x for x in spec.cameras if _driver(spec, x, here) == driver]
    alone = devices[0] if len(devices) == 1 and len(same) == 1 else None
    said = "" if alone is not None else _listed([str(x) for x in devices]) or "none is plugged in"
    lines: list[Line] = []
    if driver == "v4l2":
        lines.append(("device", alone.place if alone else OPEN, said))
        aspect = "the training's pictures; larger ones of this aspect will do"
        lines += [("width", trained.width, aspect), ("height", trained.height, "")]
    else:
        if alone is None:  # the kernel does not know the serial that the SDK means
            lines.append(("serial", OPEN, f"`ofp-edge cameras` lists the serials; {said}"))
        lines += [("width", trained.width, "as in training"), ("height", trained.height, "")]
        if any(f.stream == "color" for f in spec.observations if f.camera == name):
            lines.append(("color", True, ""))
    parts = [
        _table(f"cameras.{key}", [("driver", driver, ""), ("max_age_ms", 200.0, "")]),
        _table(f"cameras.{key}.options", lines),
    ]
    if not spec.only_images(name):
        table = _table(f"cameras.{key}.parameters", [])
        parts.append(
            f"{table}# T_base_camera = 4 rows of 4: `ofp-edge calibrate hand-eye` writes it\n"
        )
    return parts


def _driver(spec: PolicySpec, name: str, here: Here) -> str:
    webcam = spec.only_images(name) and (here.webcams or not here.realsenses)
    return "v4l2" if webcam else "realsense"


def _timing(spec: PolicySpec) -> list[Line]:
    longest_ms = longest_latency_ns(spec) / 1e6
    latency_ms = float(int(min(_USUAL_LATENCY_MS, longest_ms)))
    least_ns, most_ns = plan_ages_ns(spec, round(latency_ms * 1e6))
    least_ms, most_ms = least_ns / 1e6, most_ns / 1e6
    age_ms = float(min(math.floor(most_ms), max(math.ceil(least_ms), _USUAL_AGE_MS)))
    if age_ms < least_ms:  # there is no whole number between the two
        age_ms = most_ms
    return [
        ("latency_ms", latency_ms, "L; ofp-edge profile measures what it must be"),
        ("max_plan_age_ms", age_ms, "an older plan is held, then the robot stops"),
    ]


def _limits(spec: PolicySpec, action: ActionField) -> list[Line]:
    """Limits of a field that moves; none for one that switches, or whose numbers are no lengths."""
    if action.interpolation == "nearest" or action.rotation in ("quaternion", "rot6d"):
        return []
    unit = action.unit.removesuffix("/s") if action.kind == "velocity" else action.unit
    fits = [f.name for f in spec.states if f.shape[0] >= action.shape[0]]
    alike = [f.name for f in spec.states if f.shape[0] == action.shape[0]]
    measured = next((x[0] for x in (alike, fits) if len(x) == 1), OPEN)
    lines: list[Line] = []
    if fits:
        which = f": {_listed(fits)}" if measured == OPEN else ""
        lines.append(("measured", measured, f"the state that says where the robot is{which}"))
    if is_cartesian(action):
        lines.append(("max_velocity", DEFAULT_MAX_VELOCITY_M_S, "m/s, the vector's length"))
    else:
        speed = f"{unit}/s: " if stated(unit) else ""
        lines.append(("max_velocity", OPEN, f"{speed}no command moves it faster"))
    if fits and action.kind == "absolute":
        way = f"{unit}: " if stated(unit) else ""
        said = f"{way}a first target further from the robot stops the run"
        lines.append(("max_first_step", OPEN, said))
    return lines


def _table(name: str, lines: Sequence[Line]) -> str:
    return f"[{name}]\n{_lines(lines)}"


def _lines(lines: Sequence[Line]) -> str:
    return "".join(
        f"{key} = {_toml(value)}{f'  # {_printable(said)}' if said else ''}\n"
        for key, value, said in lines
    )


def _listed(words: Sequence[str]) -> str:
    more = f" and {len(words) - _MOST_NAMED} more" if len(words) > _MOST_NAMED else ""
    return ", ".join(words[:_MOST_NAMED]) + more


def _printable(said: str) -> str:
    """What is said in a comment: a new line would begin an entry."""
    return "".join(x if x.isprintable() else "\ufffd" for x in said)


def _key(name: str) -> str:
    plain = name and all((x.isascii() and x.isalnum()) or x in "-_" for x in name)
    return name if plain else _toml(name)


def _toml(value: Any) -> str:
    """A text, number or truth value as TOML; JSON's forms are TOML's too, but for a raw DEL and the
    pairs of surrogates that stand for what lies outside of the basic plane."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
