"""The findings that a check reports, and how all checks are found and run."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Literal

from ofp_edge.doctor import checks

Status = Literal["ok", "warn", "fail", "absent"]


@dataclass(frozen=True)
class Finding:
    """One thing that a check looked at.

    `status` is "ok", "warn" (it works and could be better), "fail" (it exists and does not work) or
    "absent" (it is missing, and only some need it). `remedy` is the command or step that mends it,
    or empty.
    """

    name: str
    status: Status
    detail: str
    remedy: str = ""

    def to_json(self) -> dict[str, str]:
        """Return plain JSON values."""
        return asdict(self)


def check_names() -> list[str]:
    """Return the files in doctor/checks, in alphabetical order."""
    return sorted(found.name for found in pkgutil.iter_modules(checks.__path__))


def run_checks() -> Iterator[Finding]:
    """Run every check; a check that raises is a bug and keeps its trace."""
    for name in check_names():
        found = importlib.import_module(f"{checks.__name__}.{name}").check()
        yield from found if isinstance(found, list) else [found]
