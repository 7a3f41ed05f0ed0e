"""Compute how far an engine may be from torch: the tolerance of each precision, and its cap."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ofp_edge.errors import ParityError
from ofp_edge.policy.deployed import Deployed
from ofp_edge.quantize.plan import action_names, action_ranges
from ofp_edge.quantize.units import farthest
from ofp_edge.runtime.runners.check import per_dimension
from ofp_edge.targets.agreement import pairs_of
from ofp_edge.targets.built import Built
from ofp_edge.targets.golden import Golden, tolerance
from ofp_edge.targets.leave_out import word
from ofp_edge.targets.registry import checked_on


def _answered(engine: str) -> str:
    """The engine, and which one answered for it where it computes on the device alone."""
    by = checked_on(engine)
    return engine if by == engine else f"{engine} (answered here by {by})"


def limits(
    built: Sequence[Built], golden: Golden, deployed: Deployed, fraction: float,
    agreement: Mapping[str, Any],
) -> dict[tuple[str, str], dict[str, list[float]]]:  # fmt: skip
    """Return limits by precision and function, a list an output. ParityError beyond the cap.

    fraction: of each action's range, the most that two engines may differ by. agreement: of
    `measure_agreement`; an engine that is off is named with what that means for whole chunks.
    """
    found: dict[tuple[str, str], dict[str, list[float]]] = {}
    for item in built:
        found.setdefault((item.precision, item.function), {})  # of what is resident, none
        same = [b for b in built if (b.precision, b.function) == (item.precision, item.function)]
        depth = max(sum(b.exported.operations.values()) for b in same)
        for output, difference in item.difference.items():
            reference = golden.arrays[f"output/{item.function}/{item.precision}/{output}"]
            cap = _cap(output, reference, deployed, fraction)
            # Not `difference > cap`: a NaN must fail.
            if not np.all(difference <= cap):
                pairs = pairs_of(agreement, item.engine, item.precision)
                raise ParityError(
                    f"{_answered(item.engine)} {item.precision}, {item.function}: {output} differs "
                    f"from torch "
                    f"by {difference.max():.3g}, allowed {cap.min():.3g}; whole chunks by up to "
                    f"{farthest(pairs)}: no bundle was written. To compile the others: "
                    f"--leave-out {word(item.engine, item.precision)}"
                )
            limit = tolerance(
                np.max([b.difference[output] for b in same], axis=0),
                golden.wobble[item.function, item.precision, output],
                float(np.abs(reference).max()),
                depth,
                cap,
                half=item.precision == "fp16",
            )
            found[item.precision, item.function][output] = limit.tolist()
    return found


def half_unfit(golden: Golden, deployed: Deployed, fraction: float) -> str | None:
    """Say why the policy does not fit half precision; None if its golden chunks stay near float's.

    fraction: of each action's range, how far they may be off. Overflow shows as not finite.
    """
    chunks = [golden.arrays[f"output/act/{p}/chunk"] for p in ("fp16", "fp32")]
    off = per_dimension("chunk", chunks[0] - chunks[1], deployed.spec.action_dim)
    allowed = fraction * np.asarray(action_ranges(deployed.spec))
    if np.all(off <= allowed):
        return None
    bad = int(np.argmax(np.where(np.isfinite(off), off / allowed, np.inf)))
    name = action_names(deployed.spec)[bad]
    return f"{name} is {off[bad]:.3g} from fp32, allowed {allowed[bad]:.3g}"


def _cap(
    output: str, reference: NDArray[np.float32], deployed: Deployed, fraction: float
) -> NDArray[np.float64]:
    """`fraction` of the output's range, in its own units.

    chunk: of each action's range. chunk_normalised: the same distance, normalised; the strictest
    dimension. feature: of the span of the golden features, which is what `act` sees of it.
    """
    ranges = np.asarray(action_ranges(deployed.spec))
    if output == "chunk":
        return fraction * ranges
    if output == "chunk_normalised":
        scale = deployed.act.actions.slope.numpy().reshape(-1, len(ranges))[0]
        return np.asarray([fraction * float((ranges / np.abs(scale)).min())])
    return np.asarray([fraction * float(np.ptp(reference))])
