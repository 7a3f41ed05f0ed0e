"""TensorRT's Python API: imported, its version checked, its messages kept for the errors.

Every function of this package takes the module as an argument, `trt`: 10.3 and 10.16 have all
the names that are used here. (TensorRT-RTX has those of the builder, and tests build with it.)
"""

from __future__ import annotations

import importlib
from collections import deque
from typing import Any

from ofp_edge.errors import BundleError, OfpError
from ofp_edge.runtime.jetson.identity import SUPPORTED, TENSORRT_LINES, version_line

_KEPT = 8


def import_tensorrt() -> Any:
    """Import `tensorrt` in a supported version. OfpError says where it comes from."""
    try:
        trt = importlib.import_module("tensorrt")
    except ImportError as cause:
        raise OfpError(
            f"TensorRT's Python module does not load ({cause}): it comes with JetPack (sudo "
            "apt-get install -y python3-libnvinfer; a virtual environment needs "
            "--system-site-packages). On another machine give --engine onnxruntime."
        ) from None
    if version_line(trt.__version__) not in TENSORRT_LINES:
        raise OfpError(f"TensorRT {trt.__version__} is not supported: expected {SUPPORTED}.")
    return trt


def start(trt: Any, kind: Any, log: Any) -> Any:
    """Make TensorRT's `kind`, Builder or Runtime. BundleError when it gives none."""
    try:
        return kind(log)
    except TypeError:  # what its bindings make of a null pointer: the reason is in the log
        raise BundleError(f"TensorRT {trt.__version__} does not start: {log.said()}.") from None


def make_log(trt: Any) -> Any:
    """Make a `trt.ILogger` that keeps the last warnings and errors; `said()` returns them."""

    class Log(trt.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.errors: deque[str] = deque(maxlen=_KEPT)
            self.warnings: deque[str] = deque(maxlen=_KEPT)

        def log(self, severity: Any, message: str) -> None:
            if severity in (trt.ILogger.INTERNAL_ERROR, trt.ILogger.ERROR):
                self.errors.append(" ".join(message.split()))
            elif severity == trt.ILogger.WARNING:
                self.warnings.append(" ".join(message.split()))

        def said(self) -> str:
            """Return the last errors in one line, and forget them."""
            text = "; ".join(self.errors) or "TensorRT gave no message"
            self.errors.clear()
            return text.rstrip(".")

    return Log()
