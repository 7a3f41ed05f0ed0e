"""The motion of a trial: a small smooth step of one joint, a rest, the way back, a rest."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ofp_edge.errors import OfpError
from ofp_edge.rig.safety import FieldLimits
from ofp_edge.spec import ActionField

SHORTEST_S = 0.4
_SPEED, _ACCELERATION, _JERK = 1.875, 5.774, 60.0  # of `smooth`, at most, for a way and a time of 1
_SHARE = 0.9  # of a limit: what is cut says less
_OWN = {"deg": 5.0, "rad": 0.09, "m": 0.02, "mm": 20.0, "normalised": 5.0}


def smooth(x: NDArray[Any]) -> NDArray[np.float64]:
    """Return 0 before 0, 1 from 1 on, and between them a way of the least jerk."""
    u = np.clip(np.asarray(x, np.float64), 0.0, 1.0)
    found: NDArray[np.float64] = u**3 * (10 - 15 * u + 6 * u**2)
    return found


@dataclass(frozen=True)
class Motion:
    """`repeats` trials of a step of `amplitude` (with sign), in the action field's unit, each
    `rise_s` out, `rest_s` there, `rise_s` back, `rest_s` there; `rest_s` before the first."""

    amplitude: float
    rise_s: float
    rest_s: float
    repeats: int

    @property
    def trial_s(self) -> float:
        """Return the seconds of one trial."""
        return 2 * (self.rise_s + self.rest_s)

    @property
    def whole_s(self) -> float:
        """Return the seconds of all of it."""
        return self.rest_s + self.repeats * self.trial_s

    def begins_s(self, trial: int) -> float:
        """Return when a trial's step begins."""
        return self.rest_s + trial * self.trial_s

    def places(self, t_s: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return how far from its beginning the joint should be at moments (n,)."""
        since = t_s - self.rest_s
        part = since % self.trial_s
        back = part - self.rise_s - self.rest_s
        share = smooth(part / self.rise_s) - smooth(back / self.rise_s)
        moving = (since >= 0) & (since < self.repeats * self.trial_s)
        return np.where(moving, self.amplitude * share, 0.0)


def own_amplitude(action: ActionField, joint: int) -> float:
    """Return the step's default for a joint of an action field. OfpError for a unit that says
    nothing."""
    unit = action.unit.split(",")[min(joint, action.unit.count(","))].strip().split("/")[0]
    names = {"metres": "m", "radians": "rad", "degrees": "deg"}
    found = _OWN.get(names.get(unit, unit))
    if found is None:
        raise OfpError(f"--amplitude: expected one, as {action.name}'s unit is {action.unit!r}.")
    return found


def motion(
    action: ActionField, joint: int, limits: FieldLimits, amplitude: float, dt_s: float,
    rest_s: float, repeats: int,
) -> Motion:  # fmt: skip
    """Return a motion that stays below the limits of its field, and a step of no less than 0.4 s.
    joint: of the field's numbers, from 0. amplitude: in the field's unit, not 0."""
    size, times = abs(amplitude), [SHORTEST_S]
    if limits.max_velocity is not None:
        times.append(_SPEED * size / (_SHARE * limits.max_velocity))
    if limits.max_acceleration is not None:
        times.append((_ACCELERATION * size / (_SHARE * limits.max_acceleration)) ** (1 / 2))
    if limits.max_jerk is not None:
        times.append((_JERK * size / (_SHARE * limits.max_jerk)) ** (1 / 3))
    if action.kind != "absolute":
        most = min(abs(action.low[joint]), abs(action.high[joint])) * abs(action.scale)
        speed = most / dt_s if action.kind == "delta" else most
        times.append(_SPEED * size / (_SHARE * speed) if speed > 0 else float("inf"))
    rise = max(times)
    if not rise <= 30:
        raise OfpError(
            f"--amplitude {amplitude:g}: within the limits of {action.name} it would take "
            f"{rise:.3g} s. Give a smaller one."
        )
    return Motion(amplitude, rise, rest_s, repeats)
