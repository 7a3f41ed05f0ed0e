"""Optional dependencies, imported where they are used; a missing one names its pip line."""

from __future__ import annotations

import importlib
import importlib.util
from types import ModuleType

from ofp_edge.errors import MissingExtra


def require(module: str, extra: str) -> ModuleType:
    """Import `module`, or raise MissingExtra naming the line that installs the extra.

    An ImportError from inside an installed module is passed on unchanged: that is not "missing".
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as cause:
        if cause.name is not None and module.split(".")[0] == cause.name.split(".")[0]:
            raise MissingExtra(module.split(".")[0], extra) from None
        raise


def require_installed(module: str, extra: str) -> None:
    """Raise MissingExtra unless `module` is there; do not import it (some are slow, or print)."""
    if importlib.util.find_spec(module) is None:
        raise MissingExtra(module, extra)
