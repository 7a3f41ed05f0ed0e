"""The RealSense SDK: it is imported once with its usage telemetry off, and its errors take one
line."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import Any

from ofp_edge.errors import CameraError
from ofp_edge.extras import require


def realsense() -> Any:
    """Return the module pyrealsense2. Raises MissingExtra, with the pip line, when it is not
    installed."""
    os.environ["RS2_RUM_CLOUD_ENABLED"] = "0"  # read at import, from 2.59 on
    return require("pyrealsense2", "realsense")


@contextlib.contextmanager
def one_line_errors(camera: str, todo: str) -> Iterator[None]:
    """Turn what the SDK raises (RuntimeError) into CameraError with a remedy."""
    try:
        yield
    except RuntimeError as cause:
        raise CameraError(f"camera {camera!r}: {cause}. {todo}") from None
