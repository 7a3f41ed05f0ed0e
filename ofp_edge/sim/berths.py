r"""`planar/berths`: a point goes round a disc to one of three berths, which an instruction names.

[ * ] [   ] [   ]    Cameras alone show where disc and quay are; nothing but the words tells which
   \                 berth is meant, and nothing that is observed on which side the expert passes
    ( disc )         the disc. So a policy has to look, to be told, and to choose.
   /
start
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ofp_edge.errors import SpecMismatch
from ofp_edge.sim.berths_task import INSTRUCTIONS, BerthsTask
from ofp_edge.sim.planar import PlanarWorld
from ofp_edge.sim.world import PaintedWorld

_STREAM = 17
_WATER, _DISC, _QUAY, _SLOT, _HAND = (
    np.array(x, np.float32) for x in ((40, 70, 120), (200, 60, 50), (120, 110, 100),
                                      (230, 220, 90), (90, 220, 120))
)  # fmt: skip
_HAND_M, _SLOT_M, _DEEP_M = 0.012, 0.018, 0.03  # radii of hand and slot, half the quay's depth


class BerthsWorld(PlanarWorld, PaintedWorld):
    """A world with a quay of three berths; see the module."""

    task: BerthsTask

    def _reset(self, seed: int) -> None:
        super()._reset(seed)
        task, random = self.task, np.random.default_rng([seed, _STREAM])
        self._quay = self._obstacle + (
            random.uniform(-task.quay_m, task.quay_m),
            random.uniform(*task.ahead_m),
        )
        self._berth = int(random.integers(len(INSTRUCTIONS)))
        self._goal = self._slots()[self._berth]

    @property
    def instruction(self) -> str:
        """The berth that this episode is about, in words."""
        return INSTRUCTIONS[self._berth]

    def state(self, dim: int) -> NDArray[np.float32]:
        """The state (2,), the hand's place, or (6,): x, y of hand, obstacle and quay too."""
        if dim not in (2, 6):
            raise SpecMismatch("observation 'state', shape", "(2,) or (6,)", dim)
        return np.concatenate([self._hand, self._obstacle, self._quay])[:dim].astype(np.float32)

    def _slots(self) -> NDArray[np.float64]:
        """The places (3, 2) of the berths, from left to right."""
        offsets = self.task.berth_m * np.array([[-1.0, 0.0], [0.0, 0.0], [1.0, 0.0]])
        return self._quay + offsets

    def paint(self, places: NDArray[np.float64]) -> NDArray[np.float32]:
        """Paint water, disc, quay, slots and hand; see PaintedWorld."""
        colors = np.broadcast_to(_WATER, (len(places), 3)).copy()
        away = np.abs(places - self._quay)
        colors[(away[:, 0] < 1.5 * self.task.berth_m) & (away[:, 1] < _DEEP_M)] = _QUAY
        for slot in self._slots():
            colors[np.linalg.norm(places - slot, axis=1) < _SLOT_M] = _SLOT
        colors[np.linalg.norm(places - self._obstacle, axis=1) < self.task.radius_m] = _DISC
        colors[np.linalg.norm(places - self._hand, axis=1) < _HAND_M] = _HAND
        return colors
