"""The numbers of `planar/berths`: what differs from `planar/obstacle`. See sim/berths.py."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ofp_edge.errors import OfpError
from ofp_edge.fields import Rgb, State, Text
from ofp_edge.sim.planar_task import FRAME, PlanarTask
from ofp_edge.sim.view import View
from ofp_edge.spec import ObservationField

if TYPE_CHECKING:
    from ofp_edge.sim.fields import Observe

INSTRUCTIONS = ("dock at the left berth", "dock at the middle berth", "dock at the right berth")
_FRONT = View((0.0, -0.42, 0.5), (0.0, 0.02, 0.0), fovy_deg=38.0)
_SIDE = View((0.45, 0.0, 0.5), (0.0, 0.02, 0.0), fovy_deg=38.0)


@dataclass(frozen=True)
class BerthsTask(PlanarTask):
    """The numbers of the task; see PlanarTask.

    `quay_m` bounds how far the quay's middle is to the side of the obstacle, `berth_m` is the way
    from one berth to the next. `front` and `side` are its views, from above.
    """

    name: str = "planar/berths"
    right: float = 0.5
    ahead_m: tuple[float, float] = (0.13, 0.17)
    quay_m: float = 0.08
    berth_m: float = 0.075
    front: View = _FRONT
    side: View = _SIDE

    @property
    def views(self) -> Mapping[str, View]:
        """The views by the cameras' names."""
        return {"front": self.front, "side": self.side}

    def observation_fields(
        self, observe: Observe, image_size: tuple[int, int]
    ) -> tuple[ObservationField, ...]:
        """Return the fields that a policy sees, the instruction last.

        With rgb `state` (2,) is the hand's place alone, beside `rgb_<camera>` (3, *image_size) for
        either camera; with state it is (6,): x, y of hand, obstacle and the quay's middle.
        """
        told = Text("instruction", choices=INSTRUCTIONS)
        if observe == "state":
            return self._state(6), told
        if observe == "depth":
            raise OfpError(f"{self.name} is flat: depth shows nothing. Give --obs rgb or state.")
        images = (
            Rgb(f"rgb_{name}", (3, *image_size), "1", name, (0.0,) * 3, (1.0,) * 3, camera=name)
            for name in self.views
        )
        return self._state(2), *images, told

    def _state(self, size: int) -> State:
        return State("state", (size,), "m", FRAME, (-1.0,) * size, (1.0,) * size)
