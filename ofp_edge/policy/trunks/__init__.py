"""Trunks, one file each: its sizes, a `TrunkConfig`, and the module made from them, `TRUNK`.

A new file here is a new kind; nothing else has to know of it.
"""

from __future__ import annotations

import importlib
import pkgutil

from ofp_edge.policy.trunks.trunk import Trunk


def find_trunks() -> dict[str, type[Trunk]]:
    """Return every kind of trunk that is installed, by its name in config.json."""
    names = sorted(found.name for found in pkgutil.iter_modules(__path__) if found.name != "trunk")
    trunks = [importlib.import_module(f"{__name__}.{name}").TRUNK for name in names]
    return {trunk.sizes.kind: trunk for trunk in trunks}
