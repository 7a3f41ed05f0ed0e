"""What a policy may see: images, the first cloud and states; and why the rest is left."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from ofp_edge.data.guess.names import short, unique
from ofp_edge.data.guess.words import label, no_picture, tokens
from ofp_edge.data.mapping import Entry
from ofp_edge.data.pictures import picture
from ofp_edge.data.source import Key, Source
from ofp_edge.data.taken import LEFT, Taken
from ofp_edge.fields import Points, Rgb, State
from ofp_edge.fields.values import is_depth

_CLOUD = re.compile("point|pcd|cloud")
_IMAGE_PX, _MOST_POINTS, _WIDEST_STATE = 96, 512, 64
_VECTOR = "joint_action/vector"
_TARGETS = {"target", "targets", "desired", "setpoint", "reference"}
_GOAL = "a goal, which is known beforehand: a robot has to report it"


@dataclass
class Observations:
    """The fields of the observation, and the rows that say so."""

    entries: list[Entry] = field(default_factory=list)
    taken: list[Taken] = field(default_factory=list)

    @property
    def states(self) -> list[str]:
        """The keys taken as states."""
        return [x.key for x in self.entries if x.values["kind"] == State.kind]

    def add(self, key: str, values: Mapping[str, Any], told: str, why: str) -> None:
        """Take a key as a field."""
        name = unique(str(values["name"]), [x.name for x in self.entries])
        self.entries.append(Entry(key, {**values, "name": name}))
        self.taken.append(Taken(key, None, f"{told} {name}", why, name))


def observations(source: Source) -> Observations:
    """Guess the observation's fields: states, then images, then the cloud."""
    made = Observations()
    reasons = {key: _left(source, key, about) for key, about in source.keys.items()}
    free = [key for key, why in reasons.items() if why is None]
    for key in free:
        if len(source.keys[key].shape) < 2:
            plain = {"name": short(key), "kind": State.kind, "unit": "1", "frame": "unknown"}
            goal = {"goal", "goals"} & {*tokens(key)}
            made.add(key, plain, "state", _GOAL if goal else _numbers(source.keys[key]))
    for key in free:
        if (form := picture(source.keys[key])) is not None:
            camera = unique(short(key), [str(x.values.get("camera")) for x in made.entries])
            size = _shrunk(form.size)
            values = {"name": f"rgb_{camera}", "kind": Rgb.kind, "unit": "1", "frame": camera,
                      "camera": camera, "shape": (3, *size)}  # fmt: skip
            shrunk = f", shrunk to {size[0]} x {size[1]}" if size != form.size else ""
            why = f"an image {form.said}{shrunk}"
            made.add(key, values, "rgb", why)
    for key in free:
        if _is_cloud(key, source.keys[key]):
            if any(x.values["kind"] == Points.kind for x in made.entries):
                made.taken.append(Taken(key, None, LEFT, "a second cloud: name it in a mapping"))
                continue
            count = min(_MOST_POINTS, source.keys[key].shape[0])
            values = {"name": "points", "kind": Points.kind, "unit": "m", "frame": "unknown",
                      "camera": "cloud", "shape": (3, count)}  # fmt: skip
            made.add(key, values, "points", f"a cloud by its name, {count} points of it")
    made.taken += [Taken(key, None, LEFT, why) for key, why in reasons.items() if why is not None]
    return made


def told_alike(seen: Observations, same: Collection[str]) -> Observations:
    """Say of the states in `same` that they hold the action's very values, and leave those that are
    called a target: they are what was commanded."""
    made = Observations()
    for entry in seen.entries:
        if entry.key not in same or not {*tokens(entry.key)} & _TARGETS:
            made.entries.append(entry)
    kept = {x.key for x in made.entries}
    for row in seen.taken:
        if row.field is not None and row.key not in kept:
            row = Taken(row.key, None, LEFT, "a target with the action's very values: the answer")
        elif row.field is not None and row.key in same:
            row = replace(row, why=f"{row.why}; equals the action in every frame: the answer?")
        made.taken.append(row)
    return made


def _left(source: Source, key: str, about: Key) -> str | None:
    """Why a key is none; None for one that is."""
    width = about.shape[0] if about.shape else 1
    number = about.dtype.startswith(("float", "int", "uint", "bool"))
    form = picture(about)
    if why := label(key, width if len(about.shape) < 2 else 0, image=form is not None):
        return why
    if not number:
        return f"{about.dtype}, no numbers"
    if form is not None:
        if form.grey and no_picture(key):
            return "one channel, and by its name no camera's picture"
        return None if form.whole else f"an image {form.said}, of {about.dtype}: expected uint8"
    if len(about.shape) < 2:
        return _left_numbers(source, key, about, width)
    if _is_cloud(key, about):
        return None
    if is_depth(about.shape) and min(about.shape) > 6:
        return "depth: points of it need [camera.NAME] and a box low, high in a mapping"
    form_of = " x ".join(map(str, about.shape))
    return f"{form_of} numbers a frame: no image, and no cloud by its name"


def _left_numbers(source: Source, key: str, about: Key, width: int) -> str | None:
    if key.startswith(("joint_action/", "endpose/")) and key != _VECTOR:
        whole = _VECTOR in source.keys
        return f"{_VECTOR} holds all joints" if whole else "a mapping can name it"
    if _VECTOR in source.keys and key != _VECTOR:
        return f"{_VECTOR} is taken: a mapping can name it"
    if about.dtype.startswith(("uint", "bool")):
        return f"{about.dtype}: bytes or marks; a mapping can name it as a state"
    if width > _WIDEST_STATE:
        return (
            f"{width} numbers, more than the {_WIDEST_STATE} that a guess takes for a state; a "
            "mapping can name it"
        )
    return None


def _numbers(about: Key) -> str:
    width = about.shape[0] if about.shape else 1
    return f"{width} number{'s' if width > 1 else ''} a frame, no label by its name"


def _is_cloud(name: str, key: Key) -> bool:
    return len(key.shape) == 2 and key.shape[1] in (3, 6) and bool(_CLOUD.search(name))


def _shrunk(size: tuple[int, int]) -> tuple[int, int]:
    factor = max(1, round(max(size) / _IMAGE_PX))
    return max(1, size[0] // factor), max(1, size[1] // factor)
