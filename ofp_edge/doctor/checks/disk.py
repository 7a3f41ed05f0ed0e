"""The disk space where datasets, policies, bundles and logs go: the current folder."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from ofp_edge.doctor.findings import Finding

_LITTLE_MIB, _TOO_LITTLE_MIB = 2048, 64


def check(folder: Path | None = None) -> Finding:
    """Check free space and permission to write; the folder is the current one by default."""
    folder = folder or Path.cwd()
    free_mib = shutil.disk_usage(folder).free >> 20
    detail = f"{free_mib} MiB free in {folder}"
    if not os.access(folder, os.W_OK):
        return Finding("disk", "warn", f"{folder} can't be written to", "Give -o another folder.")
    if free_mib < _TOO_LITTLE_MIB:
        return Finding("disk", "fail", detail, f"Free at least {_TOO_LITTLE_MIB} MiB.")
    if free_mib < _LITTLE_MIB:
        return Finding("disk", "warn", detail, "Demonstrations with depth need about 2 GiB.")
    return Finding("disk", "ok", detail)
