"""Options that take several numbers with commas."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TypeVar

from ofp_edge.errors import OfpError

T = TypeVar("T", int, float)


def different_numbers(option: str, text: str, example: str) -> list[float]:
    """Return the numbers of "0,50,100" in order. OfpError where one is there twice, or is none."""
    return _different(option, text, example, "numbers", _number)


def different_whole_numbers(option: str, text: str, example: str) -> list[int]:
    """Return the numbers of "3,7" in order. OfpError where one is there twice, or is none."""
    return _different(option, text, example, "whole numbers", _whole_number)


def numbers(option: str, text: str, example: str) -> list[float]:
    """Return the numbers of "1,0.5", of which some may be equal, in order; OfpError."""
    found = _read(text, _number)
    if found is None:
        raise OfpError(f"{option} {text}: expected numbers with commas, as in {example}.")
    return found


def _different(
    option: str, text: str, example: str, what: str, number: Callable[[str], T]
) -> list[T]:
    found = _read(text, number)
    if found is None or len(set(found)) < len(found):
        raise OfpError(f"{option} {text}: expected different {what} with commas, as in {example}.")
    return found


def _read(text: str, number: Callable[[str], T]) -> list[T] | None:
    try:
        return [number(part.strip()) for part in text.split(",")]
    except ValueError:
        return None


def _number(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(text)
    return value


def _whole_number(text: str) -> int:
    if not (text.isascii() and text.isdecimal()):
        raise ValueError(text)
    return int(text)
