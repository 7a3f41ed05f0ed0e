"""The evaluations of `act` that make a chunk: one step, one and a refining step, or a ladder.

    cold, one step     z = n_c eps                          a1 = z + (1 - 0) u(z, 0, 1)
    warm, one step     z = (1 - t_w) n_w eps + t_w a_warm   a1 = z + (1 - t_w) u(z, t_w, 1)
    refining step      z = (1 - t2) eps + t2 a1             a2 = z + (1 - t2) u(z, t2, 1)
    ladder             z = the last result                  z + (r - t) u(z, t, r)
    noisy ladder       z = the last result + sigma eps      (a diffusion policy's)
    deterministic      no z: `act` answers to the features alone, in one evaluation

n_c and n_w are the policy's `noise_cold` and `noise_warm` (start.py); 1 is what training knows.
A cold start may walk a ladder of `cold_nfe` steps where another chunk takes one.

`act` returns z + (r - t) u(z, t, r) as `chunk_normalised`, so every scheme is a list of rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from ofp_edge.errors import OfpError
from ofp_edge.manifest import TimeRow
from ofp_edge.start import FROM_COLD, Start, without_effect

_PLAIN = Start()
Nfe = int | Literal["auto"]
"""Network evaluations a chunk; "auto": 1, and the refining step where there is time for it."""


def read_nfe(text: str | None) -> Nfe | None:
    """Read the value of an option --nfe. Raises OfpError unless it is a whole number or "auto"."""
    if text is None or text == "auto":
        return text  # type: ignore[return-value]
    if not text.isdecimal():
        raise OfpError(f"--nfe {text}: expected a whole number or auto.")
    return int(text)


@dataclass(frozen=True)
class Step:
    """One evaluation: `row` names (t, r), None where there are none; `renoise` mixes fresh noise
    into the last result. noise: the standard deviation of what a first step draws."""

    row: TimeRow | None
    renoise: bool = False
    noise: float = 1.0


@dataclass(frozen=True)
class Scheme:
    """The evaluations of a cold and of a warm start; `warm` None never starts warm.

    The first step's row says how the first z is mixed: t of noise against the shifted last plan.
    refining: steps that may follow, if there is time. afresh: from noise, in as many evaluations as
    a warm start, after a plan that repeated itself (repeats.py); () never looks for one.
    """

    cold: tuple[Step, ...]
    warm: tuple[Step, ...] | None
    refining: tuple[Step, ...] = ()
    afresh: tuple[Step, ...] = ()

    @property
    def nfe(self) -> int:
        """Return the network evaluations a chunk takes, where it is not the first of an episode."""
        return len(self.cold if self.warm is None else self.warm)


def starting(steps: Sequence[Step], noise: float) -> tuple[Step, ...]:
    """Return the steps of a start whose first one draws this noise."""
    return (replace(steps[0], noise=noise), *steps[1:])


def shipped_scheme(
    time_rows: Sequence[TimeRow], nfe: Nfe = 1, start: Start = _PLAIN, *, warm: bool = True
) -> Scheme:
    """Return the schemes a bundle's time table allows: nfe 1, 2 with its refining row or "auto"; or
    its ladder. A cold start takes `start.cold_nfe` where that is more.

    No rows: a deterministic policy, which has one scheme. Raises OfpError for any other number: a
    bundle's times are constants fixed when it was compiled.
    """
    if not time_rows:
        start.require_plain()
        if nfe != 1:
            raise OfpError(without_effect(f"--nfe {nfe}"))
        return Scheme((Step(None),), None)
    from_cold = tuple(Step(row) for row in time_rows if row.name == FROM_COLD)
    if start.cold_steps() not in (1, len(from_cold)):
        possible = f"1 or {len(from_cold)}" if from_cold else "1"
        raise OfpError(
            f"--cold-nfe {start.cold_nfe}: expected {possible}, fixed when this bundle was "
            "compiled. Compile it again with another --cold-nfe."
        )
    if walked := tuple(Step(row) for row in time_rows if row.name == "ladder"):
        if nfe != len(walked):
            raise OfpError(
                f"--nfe {nfe}: this bundle walks {len(walked)} evaluations, fixed when it was "
                "compiled. Compile it again with another --nfe."
            )
        return Scheme(starting(walked, start.noise_cold), None)
    rows = {row.name: row for row in time_rows}
    if "cold" not in rows:
        raise OfpError(f"the time table has no row 'cold', only {sorted(rows)}.")
    if nfe not in (1, 2, "auto"):
        raise OfpError(
            f"--nfe {nfe}: a bundle takes 1 (one step) or 2 (one step and a refining one), as its "
            "(t, r) pairs are fixed when it is compiled. Evaluate the policy folder instead."
        )
    if nfe != 1 and "refine" not in rows:
        raise OfpError(f"--nfe {nfe}: this bundle ships no 'refine' time row. Use --nfe 1.")
    more = () if nfe == 1 else (Step(rows["refine"], renoise=True),)
    always = more if nfe == 2 else ()
    first = rows.get("warm") if warm else None
    cold = (Step(rows["cold"]), *always)
    quiet = first is not None and start.noise_warm < 1
    return Scheme(
        starting(from_cold if start.cold_steps() > len(cold) else cold, start.noise_cold),
        None if first is None else starting((Step(first), *always), start.noise_warm),
        more if nfe == "auto" else (),
        cold if quiet else (),
    )
