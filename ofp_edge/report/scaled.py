"""What a number counts where it is a multiple of a scale."""

from __future__ import annotations


def scaled(unit: str, scale: float) -> str:
    """Return "1 = 0.05 m", or "1 = 0.05" where there is no unit (that is "1")."""
    return f"1 = {scale:g}{'' if unit in ('', '1') else f' {unit}'}"
