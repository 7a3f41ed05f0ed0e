"""What `eval` was given: read, or refused in a line before anything runs."""

from __future__ import annotations

from typing import Literal

from ofp_edge.errors import OfpError, UnknownName
from ofp_edge.strict import shown

_OWN_OR_OTHER = ("own", "other")


def own_or_other(option: str, value: str | None) -> Literal["own", "other"]:
    """Return what a control was given: "own" by default. Raises UnknownName."""
    if value not in (None, *_OWN_OR_OTHER):
        raise UnknownName(option, str(value), _OWN_OR_OTHER)
    return "other" if value == "other" else "own"


def count_of(episodes: str | None) -> int:
    """Return how many episodes are asked for: 100 by default. Raises OfpError."""
    if episodes is None:
        return 100
    if not (episodes.isascii() and episodes.isdecimal()):
        raise OfpError(
            f"--episodes {episodes}: expected how many; numbers of episodes are --dataset's."
        )
    return int(episodes)


def own_task(trained_on: str | None) -> str:
    """Return the policy's own task. Raises OfpError where there is no simulator of it."""
    from ofp_edge.sim.tasks import TASKS

    if trained_on is None or trained_on not in TASKS:
        known = f"it was trained on {shown(trained_on)}, " if trained_on else ""
        raise not_one(f"neither: {known}no simulated task is the policy's own")
    return trained_on


def not_one(got: str) -> OfpError:
    """Return the error of a command line with neither or both of --task and --dataset."""
    return OfpError(
        f"expected one of --task (simulated episodes) and --dataset (recorded ones), got {got}."
    )


def refuse(why: str, **given: object) -> None:
    """Refuse options that would be ignored: None is one that is not given."""
    for name, value in given.items():
        if value is not None:
            raise OfpError(f"--{name.replace('_', '-')}: {why}. Leave it out.")
