"""The history of validation over a run: every point of the curve, and the lowest one's weights.

validation.json   [{"step", "loss", "chunk_error"}, ...]
best/             the policy at the point of lowest loss, a whole policy folder
"""

from __future__ import annotations

import copy
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from torch import Tensor

from ofp_edge.errors import PolicyError
from ofp_edge.files import read_json, write_json
from ofp_edge.policy.folder import BEST, Policy, load_policy, save_policy
from ofp_edge.policy.network import PolicyNetwork
from ofp_edge.strict import read_as
from ofp_edge.train.validation import Validation

CURVE = "validation.json"


@dataclass(frozen=True)
class Point:
    """One validation of the averaged weights; it has loss and chunk_error as in Validation."""

    step: int
    loss: float
    chunk_error: float


@dataclass
class History:
    """The curve so far, and in `weights` a copy of those at its lowest point; a frozen encoder's,
    which has the same ones at every point, are left out."""

    points: list[Point] = field(default_factory=list)
    weights: dict[str, Tensor] = field(default_factory=dict)

    @property
    def best(self) -> Point | None:
        """The point of lowest loss, the first of equal ones."""
        return min(self.points, key=lambda point: point.loss, default=None)

    def at(self, step: int) -> Validation | None:
        """Return the validation at `step` if the curve ends there, else None."""
        if not self.points or self.points[-1].step != step:
            return None
        return Validation(self.points[-1].loss, self.points[-1].chunk_error)

    def add(
        self, step: int, found: Validation, network: PolicyNetwork, *, frozen: bool = False
    ) -> None:
        """Append a point; its weights are copied when none was lower. frozen: the encoder is."""
        self.points.append(Point(step, found.loss, found.chunk_error))
        if self.best is self.points[-1]:
            weights = network.state_dict().items()
            self.weights = {k: x.clone() for k, x in weights if not (frozen and _encodes(k))}

    def save(self, last: Policy, folder: Path) -> None:
        """Write curve and best/ into the folder of the policy `last` that is being made."""
        if self.best is None:
            return
        write_json(folder / CURVE, [asdict(point) for point in self.points])
        record = replace(last.config.training, step=self.best.step)
        frozen, encoder = not any(map(_encodes, self.weights)), last.network.encoder
        network = copy.deepcopy(last.network, {id(encoder): encoder} if frozen else {})
        network.load_state_dict(self.weights, strict=not frozen)
        (folder / BEST).mkdir()
        config = replace(last.config, training=record)
        save_policy(Policy(config, network, last.statistics), folder / BEST)


def _encodes(name: str) -> bool:
    return name.startswith("encoder.")


def load_history(folder: Path) -> History:
    """Read what `save` wrote; empty where nothing was validated yet. PolicyError on damage."""
    if not (folder / CURVE).exists():
        return History()
    values: Any = read_json(folder / CURVE, PolicyError)
    rows = values if isinstance(values, list) else []
    try:
        points = [
            read_as(Point, row, str(folder / CURVE), PolicyError, f"[{i}]")
            for i, row in enumerate(rows)
        ]
    except PolicyError as cause:
        points, why = [], str(cause)
    else:
        why = "no points."
    if not points:
        raise PolicyError(
            f"{folder / CURVE} is damaged: {why} Train anew, or start from its weights with --init."
        )
    return History(points, dict(load_policy(folder / BEST).network.state_dict()))
