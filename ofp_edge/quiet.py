"""Keep what native libraries write to file descriptor 2 off the terminal without losing it."""

from __future__ import annotations

import contextlib
import ctypes
import os
import sys
import tempfile
from collections.abc import Iterator


class Captured:
    """`text` holds what was written, once the block has ended."""

    text: str = ""


@contextlib.contextmanager
def captured_stderr() -> Iterator[Captured]:
    """Capture the process's standard error for the length of the block: at load time only.

    Works on the descriptor, so output of C++ code is caught; whatever other threads write in the
    meantime is caught too.
    """
    captured = Captured()
    sys.stderr.flush()
    saved = os.dup(2)
    try:
        with tempfile.TemporaryFile() as file:
            os.dup2(file.fileno(), 2)
            # Bindings may print through Python's own stream, which need not lead to descriptor 2.
            stream = os.fdopen(os.dup(file.fileno()), "w", errors="replace")
            try:
                with contextlib.redirect_stderr(stream):
                    yield captured
            finally:
                stream.close()
                ctypes.CDLL(None).fflush(None)  # C libraries have buffers of their own
                os.dup2(saved, 2)
                file.seek(0)
                captured.text = file.read().decode(errors="replace")
    finally:
        os.close(saved)
