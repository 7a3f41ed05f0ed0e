"""The RealSense SDK: it is imported once with its usage telemetry off, and its errors take one
line."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ofp_edge.errors import CameraError
from ofp_edge.extras import require


def realsense() -> Any:
    """Return the module pyrealsense2. Raises MissingExtra, with the pip line, when it is not
    installed."""
    os.environ["RS2_RUM_CLOUD_ENABLED"] = "0"  # read at import, from 2.59 on
    return require("pyrealsense2", "realsense")


def sdk_context(camera: str) -> Any:
    """The SDK's list of devices. CameraError where the SDK can't begin, as without a home."""
    with one_line_errors(camera, home_remedy()):
        return realsense().context()


def home_remedy() -> str:
    """What to write where the SDK asks for a folder for its settings and this user has none."""
    try:
        Path.home()
    except RuntimeError:
        return "The SDK wants a home, and this user has none. Write: export HOME=/tmp"
    return "Can this user write into its home?"


@contextlib.contextmanager
def one_line_errors(camera: str, todo: str) -> Iterator[None]:
    """Turn what the SDK raises (RuntimeError) into CameraError with a remedy."""
    try:
        yield
    except RuntimeError as cause:
        raise CameraError(f"camera {camera!r}: {cause}. {todo}") from None
