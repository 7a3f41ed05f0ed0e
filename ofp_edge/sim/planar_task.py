"""The numbers of `planar/obstacle`: its geometry, the expert's manners, its fields. See
sim/planar.py."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ofp_edge.errors import OfpError
from ofp_edge.fields import State
from ofp_edge.spec import ActionField, ObservationField

if TYPE_CHECKING:
    from ofp_edge.sim.fields import Observe

STATE_DIM, ACTION_DIM = 6, 2
FRAME = "plane"


@dataclass(frozen=True)
class PlanarTask:
    """The numbers of the task, in metres; a pair gives the bounds of a uniform draw, or mean and
    spread.

    `step_m` is the way of an action of 1. `ahead_m` is the way from the start to the obstacle, and
    from there to the goal. `pass_m` is how far from the centre the expert passes it. `width_m` is
    the width of the bell. `noise` and `wander` are what `collect` does to the executed actions,
    unless its arguments say otherwise.
    """

    name: str = "planar/obstacle"
    control_hz: float = 20.0
    max_steps: int = 40
    noise: float = 0.1
    wander: int = 0
    step_m: float = 0.04
    radius_m: float = 0.03
    goal_m: float = 0.02
    right: float = 0.55
    ahead_m: tuple[float, float] = (0.12, 0.17)
    pass_m: tuple[float, float] = (0.08, 0.005)
    width_m: tuple[float, float] = (0.060, 0.068)
    peak_m: float = 0.008
    speed: tuple[float, float] = (0.78, 0.9)
    two_sided: bool = True
    noisy_axes: int = ACTION_DIM

    def observation_fields(
        self, observe: Observe, image_size: tuple[int, int]
    ) -> tuple[ObservationField, ...]:
        """Return the field `state` (6,): x, y of hand, obstacle and goal. OfpError for others."""
        if observe != "state":
            raise OfpError(f"{self.name} has no camera. Give --obs state.")
        low, high = (-1.0,) * STATE_DIM, (1.0,) * STATE_DIM
        return (State("state", (STATE_DIM,), "m", FRAME, low, high),)

    def action_fields(self) -> tuple[ActionField, ...]:
        """Return the field `hand` (2,): how far it moves in one step, where a raw 1.0 is
        `step_m`."""
        one = (1.0, 1.0)
        return (
            ActionField("hand", (2,), "m", FRAME, "delta", self.step_m, (-1.0, -1.0), one, 0.0),
        )
