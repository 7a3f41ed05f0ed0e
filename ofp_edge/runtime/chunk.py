"""An action chunk: which action the robot takes at which moment.

Index 0 acts at `t_obs_ns`, index i at `t_obs_ns + i * dt_ns`; the last action lasts one more step.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Repeated:
    """Whether a plan repeats the one that it started warm from, and what is done about it
    (infer/repeats.py). near: the normalised plan that it and the `stayed` plans before it have
    stayed near; None: looked at none. tries: how often a standstill was left and came back, this
    time included; 0: not lately. owed: how many chunks from here on are made from more noise.
    followed: how many were followed since the last of those.
    """

    near: NDArray[np.float32] | None = None
    stayed: int = 0
    tries: int = 0
    owed: int = 0
    followed: int = 0

    @property
    def again(self) -> bool:
        """Whether the next chunk is to be made from more noise."""
        return self.owed > 0


NOT_REPEATED = Repeated()


@dataclass(frozen=True, eq=False)
class Chunk:
    """A plan of `horizon` actions made from one observation.

    t_obs_ns: capture time of that observation, monotonic ns. dt_ns: one control step.
    actions: (horizon, action_dim) float32, raw action units.
    normalised: the same plan in the policy's own scale, unclamped; the next warm start's source.
    (horizon, M): its actions may be wider than the robot's, which are the first action_dim.
    Both arrays belong to the chunk and are not written again. refined: one evaluation more was
    spent on it than on the chunk of the same observation that came before it. repeated: whether it
    is the plan that it started warm from again.
    """

    t_obs_ns: int
    dt_ns: int
    actions: NDArray[np.float32]
    normalised: NDArray[np.float32]
    refined: bool = False
    repeated: Repeated = NOT_REPEATED

    def index(self, t_ns: int) -> float:
        """Return (t - t_obs) / dt: below 0 before the plan begins; the last is horizon - 1."""
        return (t_ns - self.t_obs_ns) / self.dt_ns

    def at(self, t_ns: int, nearest: NDArray[np.bool_] | None = None) -> NDArray[np.float32]:
        """Return the action at `t_ns`: (action_dim,) float32, a new array.

        Linear between neighbours; where `nearest` ((action_dim,) bool) is set, the nearer one, the
        later of two equally near. The last action holds past its index. Raises ValueError before
        the plan begins.
        """
        index = self.index(t_ns)
        if index < 0:
            raise ValueError(f"chunk of t_obs {self.t_obs_ns} ns was asked for {t_ns} ns, earlier")
        last = len(self.actions) - 1
        low = min(int(index), last)
        part = index - low
        if low == last or part == 0.0:
            alone: NDArray[np.float32] = self.actions[low].copy()
            return alone
        a, b = self.actions[low], self.actions[low + 1]
        action: NDArray[np.float32] = a + np.float32(part) * (b - a)
        if nearest is not None:
            np.copyto(action, b if part >= 0.5 else a, where=nearest)
        return action

    def steps_to(self, t_obs_ns: int) -> int:
        """Return the control steps from this plan's observation to another one's, rounded."""
        return round((t_obs_ns - self.t_obs_ns) / self.dt_ns)

    def shifted_normalised(
        self, steps: int, out: NDArray[np.float32] | None = None
    ) -> NDArray[np.float32]:
        """Shift the normalised plan by `steps` control steps, padded with its last action.

        0 <= steps < horizon. (horizon, M) float32, into `out` if given.
        """
        horizon = len(self.normalised)
        if not 0 <= steps < horizon:
            raise ValueError(f"shift of {steps} steps: expected 0..{horizon - 1}")
        if out is None:
            out = np.empty_like(self.normalised)
        out[: horizon - steps] = self.normalised[steps:]
        out[horizon - steps :] = self.normalised[-1]
        return out
