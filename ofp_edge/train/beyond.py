"""States that go further than what a network knows: its own range is -1 to 1."""

from __future__ import annotations

import numpy as np

from ofp_edge.counted import counted
from ofp_edge.fields import State
from ofp_edge.normalize import STATE_BOUND, Affine
from ofp_edge.train.plan import Plan


def beyond(plan: Plan) -> list[str]:
    """Return a line for each state of each dataset, held-out episodes included, whose numbers lie
    further than STATE_BOUND half-ranges from the middle of the range that the policy knows. An
    imported network has a scale of its own, and none."""
    config = plan.policy.config
    lines: list[str] = []
    if config.network.kind is not None and not config.network.state_bound:
        return lines
    for dataset in plan.dataset.parts:
        split = dataset.split()
        seen = dataset.statistics((*split.train, *split.held_out))
        for field in config.spec.observations:
            if not isinstance(field, State):
                continue
            known, own = plan.policy.statistics[field.name], seen[field.name]
            ends = Affine.of(known).normalize(np.array([own.low, own.high]))  # (2, D)
            far = np.abs(ends).max(0)
            past = np.flatnonzero(far > STATE_BOUND * (1 + 1e-6))
            if not len(past):
                continue
            d = int(far.argmax())
            names = dataset.names.get(field.name, ())
            name = f"{field.name}[{d}]" + (f" ({names[d]})" if d < len(names) else "")
            then = "are cut off there" if config.network.state_bound else "are not cut off"
            lines.append(
                f"{dataset.path}: {counted(len(past), 'number')} of {field.name} "
                f"{'go' if len(past) > 1 else 'goes'} further than {STATE_BOUND:g} half-ranges "
                f"from the middle of what the network knows, and {then}; {name} furthest, "
                f"{far[d]:.3g}: {own.low[d]:.4g} to {own.high[d]:.4g}, known is {known.low[d]:.4g} "
                f"to {known.high[d]:.4g}. Demonstrate that it moves, or leave it out of the state"
            )
    return lines
