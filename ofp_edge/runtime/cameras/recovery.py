"""A source that mends itself by a restart, then by a reset of the device, then ends with an error;
it never waits.

    streaming --silent for restart_after_ms--> restart --still silent--> hardware reset --> error

Each rung runs on a thread of its own, since stopping and starting a camera takes seconds. Meanwhile
there is no frame, and the loop decides what to do without one (finish the plan, hold, stop).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any, Protocol

from ofp_edge.errors import CameraError
from ofp_edge.runtime.cameras.sources import Source, Started
from ofp_edge.runtime.remarks import Remarks


class Resettable(Source, Protocol):
    """A source whose device can be reset."""

    def hardware_reset(self, camera: str) -> None:
        """Reset the device and wait until it is there again. Raises CameraError when it is
        not."""
        ...


class RecoveringSource:
    """A Source around one that may fall silent. It has one reader, like every source.

    `on_restart` is called in the reader's thread before the first frame after a mended outage,
    because numbers and clock start over. After the last rung `newest` raises CameraError that says
    what was tried.
    """

    stamps_on_clock = False

    def __init__(
        self,
        source: Resettable,
        remarks: Remarks,
        restart_after_ms: float,
        on_restart: Callable[[], None] = lambda: None,
    ) -> None:
        self.source, self.color = source, source.color
        self._on_restart = on_restart
        self._remarks, self._patience_s = remarks, restart_after_ms / 1000
        self._camera = ""
        self._rungs_tried = 0
        self._heard_s = 0.0
        self._mending: threading.Thread | None = None
        self._trouble = ""

    def start(self, camera: str) -> Started:
        """Start; see Source."""
        self._camera = camera
        started = self.source.start(camera)
        self._heard_s, self._rungs_tried = time.monotonic(), 0
        return started

    def newest(self, timeout_ms: float) -> Any | None:
        """Return the newest frameset; see Source."""
        deadline_s = time.monotonic() + timeout_ms / 1000
        if self._mending is not None:
            self._mending.join(max(0.0, timeout_ms / 1000))
            if self._mending.is_alive():
                return None
            self._mending = None
            self._heard_s = time.monotonic()
            self._on_restart()
        try:
            frame = self.source.newest(max(0.0, 1000 * (deadline_s - time.monotonic())))
        except RuntimeError as cause:  # the SDK raises this when the device has gone
            self._trouble, frame = str(cause), None
            self._heard_s = min(self._heard_s, time.monotonic() - self._patience_s)
        if frame is not None:
            self._heard_s, self._rungs_tried = time.monotonic(), 0
        elif time.monotonic() - self._heard_s >= self._patience_s:
            self._climb()
        return frame

    def close(self) -> None:
        """Close; see Source. A rung that is under way is waited for, because it holds the
        device."""
        if self._mending is not None:
            self._mending.join()
            self._mending = None
        self.source.close()

    def _climb(self) -> None:
        rungs: tuple[tuple[str, Callable[[], None]], ...] = (
            ("restart", self._restart),
            ("hardware reset", self._reset),
        )
        if self._rungs_tried == len(rungs):
            detail = f" ({self._trouble})" if self._trouble else ""
            raise CameraError(
                f"camera {self._camera!r}: no frames for {self._patience_s:g} s, nor after a "
                f"restart and a hardware reset{detail}. Check the cable and its USB port."
            )
        name, rung = rungs[self._rungs_tried]
        self._rungs_tried += 1
        self._remarks.say(name, f"no frames for {self._patience_s:g} s", again=True)
        self._mending = threading.Thread(target=self._try, args=(rung,), daemon=True)
        self._mending.start()

    def _try(self, rung: Callable[[], None]) -> None:
        try:
            rung()
        except (CameraError, RuntimeError) as cause:  # the next rung's turn
            self._trouble = str(cause)

    def _restart(self) -> None:
        self.source.close()
        self.source.start(self._camera)

    def _reset(self) -> None:
        self.source.close()
        self.source.hardware_reset(self._camera)
        self.source.start(self._camera)
