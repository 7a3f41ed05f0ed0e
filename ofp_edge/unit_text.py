"""How a unit is said: "1" is none."""

from __future__ import annotations


def stated(unit: str) -> str:
    """Return the unit, or "" where there is none."""
    return "" if unit == "1" else unit


def scaled(unit: str, scale: float) -> str:
    """Return "1 = 0.05 m": what a number counts where it is a multiple of a scale."""
    return f"1 = {scale:g} {stated(unit)}".rstrip()
