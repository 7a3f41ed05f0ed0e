"""The check of the interpreter: 3.10 to 3.13 are supported, and training needs 3.11."""

from __future__ import annotations

import platform
import sys

from ofp_edge.doctor.findings import Finding


def check(version: tuple[int, int] = sys.version_info[:2]) -> Finding:
    """Compare the running Python with the supported ones."""
    detail = f"{platform.python_version()} on {platform.machine()}, {sys.executable}"
    if version > (3, 13):
        return Finding(
            "python", "warn", f"{detail}: not tried yet", "Use Python 3.10, 3.11, 3.12 or 3.13."
        )
    if version == (3, 10):
        return Finding("python", "ok", f"{detail}: runs policies; training needs 3.11")
    return Finding("python", "ok", detail)
