"""Whether an episode's task was done, by the signals that its files hold."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray


def success_of(values: NDArray[Any]) -> bool | None:
    """Whether an episode's own success flag was ever set; None for what is no flag."""
    flags = _flag(values)
    return None if flags is None or not flags.size else bool(flags.any())


def successes_by_signals(
    rewards: Iterable[NDArray[Any] | None], dones: Iterable[NDArray[Any] | None]
) -> tuple[bool | None, ...]:
    """Success of each episode by what an environment said in it, () where that decides nothing.

    A reward of 0 and 1 is 1 where the task is done. `dones` are set at success, at an episode's
    end or at both, and files do not say which: set in the last frame alone they decide nothing.
    A signal that is 0 in every episode is none.
    """
    flags = [_flag(x) for x in rewards]
    if all(x is not None for x in flags) and any(x.any() for x in flags if x is not None):
        return tuple(bool(x.any()) for x in flags if x is not None)
    ends = [_flag(x) for x in dones]
    if not ends or not all(x is not None and x.size for x in ends):
        return ()
    known = [None if x is None else _by_done(x) for x in ends]
    told = any(x is not None and x.any() for x in ends) and any(x is not None for x in known)
    return tuple(known) if told else ()


def _by_done(flags: NDArray[Any]) -> bool | None:
    if not flags.any():
        return False
    return True if flags[:-1].any() else None


def _flag(values: NDArray[Any] | None) -> NDArray[Any] | None:
    if values is None:
        return None
    flat = np.asarray(values).reshape(-1)
    plain = flat.dtype.kind in "biuf" and np.isin(flat, (0, 1)).all()
    return flat if plain else None
