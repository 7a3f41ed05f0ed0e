"""A target's facts about itself. Data only: nothing here imports torch or an engine."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Target:
    """A kind of computer that bundles are built for.

    engines: what a bundle holds artefacts for, where they are installed, the preferred one first;
    each engine says for which targets it is, and `registry.target` asks them. float_precisions:
    those that every bundle holds. plan_precisions: those a policy's plan may ask for. unfit: other
    precisions, each with the reason. picks_fastest: the default is measured at compile time on this
    very machine; otherwise it is the plan's precision on the preferred engine. unsigned_integers:
    engines that want it get uint8 for int8 (unsigned.py).
    """

    name: str
    summary: str
    float_precisions: tuple[str, ...]
    plan_precisions: tuple[str, ...]
    unfit: dict[str, str]
    picks_fastest: bool = False
    unsigned_integers: bool = False
    engines: tuple[str, ...] = ()
