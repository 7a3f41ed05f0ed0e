"""Leave out engines and precisions of a bundle that the user named: `--leave-out`."""

from __future__ import annotations

from collections.abc import Sequence

from ofp_edge.errors import OfpError, UnknownName
from ofp_edge.targets.registry import checked_on
from ofp_edge.targets.target import Target

Pair = tuple[str, str]  # engine, precision


def word(engine: str, precision: str) -> str:
    """Return the word by which `--leave-out` leaves out one precision of an engine."""
    return f"{engine}:{precision}"


def left_out_pairs(words: Sequence[str], of: Target, precisions: Sequence[str]) -> set[Pair]:
    """Return the pairs that `words` name, each "ENGINE" or "ENGINE:PRECISION".

    An engine that is built on the device goes with the one that stands in for it while compiling:
    nothing enters a bundle unchecked. Raises UnknownName, or OfpError when nothing would be left.
    """
    found: set[Pair] = set()
    for text in words:
        engine, _, precision = text.partition(":")
        if engine not in of.engines:
            raise UnknownName(f"engine of target {of.name}", engine, of.engines)
        if ":" in text and precision not in precisions:
            raise UnknownName(f"precision of target {of.name}", precision, precisions)
        found |= {(engine, p) for p in ([precision] if precision else precisions)}
    for engine in of.engines:
        found |= {(engine, p) for e, p in found if e == checked_on(engine)}
    if found == {(e, p) for e in of.engines for p in precisions}:
        raise OfpError("--leave-out leaves nothing of the bundle.")
    return found
