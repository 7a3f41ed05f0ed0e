"""Names of fields, made of keys."""

from __future__ import annotations

import re
from collections.abc import Collection

_PREFIX = re.compile(r"^(observation\.images\.|observation[./]|obs/|state/|action/|vision/)")


def short(key: str) -> str:
    """observation.images.front -> front, obs/robot0_eef_pos -> robot0_eef_pos."""
    name = re.sub(r"/(rgb|colors)$", "", _PREFIX.sub("", key))
    return re.sub(r"\W+", "_", name).strip("_")


def unique(name: str, taken: Collection[str]) -> str:
    """A name that no other field has yet."""
    made, number = name, 1
    while made in taken:
        number += 1
        made = f"{name}_{number}"
    return made
