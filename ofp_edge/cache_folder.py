"""The user's cache folder, where what could be worked out again is kept."""

from __future__ import annotations

import os
from pathlib import Path


def cache_folder() -> Path | None:
    """Return $OFP_EDGE_CACHE, else $XDG_CACHE_HOME/ofp-edge, else ~/.cache/ofp-edge; None without a
    home. It need not exist."""
    if os.path.isabs(own := os.environ.get("OFP_EDGE_CACHE", "")):
        return Path(own)
    stated = os.environ.get("XDG_CACHE_HOME", "")
    if os.path.isabs(stated):  # a relative one is to be ignored, says the XDG specification
        return Path(stated) / "ofp-edge"
    try:
        home = Path.home()
    except RuntimeError:
        return None
    return home / ".cache" / "ofp-edge" if home.is_absolute() else None
