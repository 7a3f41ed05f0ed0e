"""Values reads a foreign configuration's entries and names those missing or of another type."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Any

from ofp_edge.errors import PolicyError
from ofp_edge.strict import shown

if TYPE_CHECKING:
    from torch import Tensor

_MOST_NUMBERS = 1 << 16
_LARGEST_WHOLE, _LARGEST_NUMBER = 1 << 31, 1e30


class Values:
    """Entries of a JSON object; a missing one is a PolicyError, not a default.

    It keeps which ones were looked at: what nobody reads may change what the network does.
    """

    def __init__(self, value: Any, what: str) -> None:
        if not isinstance(value, dict):
            raise PolicyError(f"{what}: expected an object, got {type(value).__name__}.")
        self.value, self.what = value, what
        self._read: set[str] = set()

    def __getitem__(self, key: str) -> Any:
        if key not in self.value:
            raise PolicyError(f"{self.what}: {key!r} is missing.")
        self._read.add(key)
        return self.value[key]

    def get(self, key: str, default: Any = None) -> Any:
        """Return an entry that may be missing."""
        return self[key] if key in self.value else default

    def flag(self, key: str) -> bool:
        """Return true or false, and take no text that would pass for true."""
        value = self[key]
        if type(value) is not bool:
            raise PolicyError(f"{self.what}: {key}: expected true or false, got {shown(value)}.")
        return value

    def require(self, key: str, only: Any) -> None:
        """An entry that, where it is there, may have one value, which is the one that is built."""
        got = self.get(key, only)
        if isinstance(got, bool) != isinstance(only, bool) or got != only:
            raise PolicyError(
                f"{self.what}: {key} {shown(got)} can't be imported, only {shown(only)} can. "
                "Export its network as a program: import --exported."
            )

    def require_all_read(self, without_effect: Collection[str] = ()) -> None:
        """PolicyError naming the first entry that was not read and is not known to be without
        effect on what the network answers."""
        if unread := sorted(set(self.value) - self._read - set(without_effect)):
            raise PolicyError(
                f"{self.what}: the setting {shown(unread[0])} is not understood, and may change "
                f"the chunks (its value is {shown(self.value[unread[0]])}). Take it out if it "
                "doesn't; else export the network as a program: import --exported."
            )

    def whole(self, key: str, *, least: int = 1) -> int:
        """A whole number of at least `least`."""
        value = self[key]
        if not _is_whole(value) and not (type(value) is int and value == least):
            raise PolicyError(f"{self.what}: {key}: expected a whole number, got {shown(value)}.")
        return int(value)

    def number(self, key: str) -> float:
        """Return a number."""
        value = self[key]
        if type(value) not in (int, float) or not abs(value) < _LARGEST_NUMBER:
            raise PolicyError(f"{self.what}: {key}: expected a number, got {shown(value)}.")
        return float(value)

    def wholes(self, key: str, *, count: int | None = None) -> tuple[int, ...]:
        """Return positive whole numbers, one or more; count: exactly so many."""
        value = self[key]
        fits = isinstance(value, (list, tuple)) and 0 < len(value) <= _MOST_NUMBERS
        if not fits or not all(map(_is_whole, value)) or count not in (None, len(value)):
            wanted = f"{count or 'a list of'} whole numbers"
            raise PolicyError(f"{self.what}: {key}: expected {wanted}, got {shown(value)}.")
        return tuple(value)

    def pair(self, key: str) -> tuple[int, int] | None:
        """Return two positive whole numbers, or None for null."""
        if self[key] is None:
            return None
        first, second = self.wholes(key, count=2)
        return first, second

    def text(self, key: str) -> str:
        """Return a text."""
        value = self[key]
        if not isinstance(value, str):
            raise PolicyError(f"{self.what}: {key}: expected a text, got {shown(value)}.")
        return value

    def texts(self, key: str) -> dict[str, str]:
        """Return texts by name."""
        found = Values(self[key], f"{self.what}, {key}")
        return {name: found.text(name) for name in found.value}

    def entries(self, key: str) -> list[Values]:
        """Return a list of objects."""
        value = self[key]
        if not isinstance(value, list):
            raise PolicyError(f"{self.what}: {key}: expected a list, got {shown(value)}.")
        return [Values(item, f"{self.what}, {key}[{i}]") for i, item in enumerate(value)]


def numbers(tensor: Tensor, what: str) -> tuple[float, ...]:
    """Return the values of a small tensor of finite numbers. Raises PolicyError."""
    if tensor.numel() > _MOST_NUMBERS or not tensor.isfinite().all():
        raise PolicyError(f"{what}: expected at most {_MOST_NUMBERS} finite numbers.")
    return tuple(tensor.flatten().float().tolist())


def _is_whole(value: Any) -> bool:
    return type(value) is int and 0 < value <= _LARGEST_WHOLE
