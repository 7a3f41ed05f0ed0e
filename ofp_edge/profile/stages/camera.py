"""The stage camera: how old a frame is when the loop gets it, from the rig's own camera."""

from __future__ import annotations

import time

from ofp_edge.profile.bench import Bench


class Stage:
    """A stage that polls without waiting; a round without a new frame uses the last one and
    measures nothing.

    Without a rig the frames are synthetic, and there is no camera to measure.
    """

    name, order, counts = "camera", 10, True

    def __init__(self, bench: Bench) -> None:
        self._bench = bench
        self._known: dict[str, int] = {}

    def measure(self) -> int | None:
        """Return the age of the oldest new frame at hand-over, in ns."""
        bench = self._bench
        if not bench.cameras:
            return None
        if not bench.observer.poll(time.monotonic_ns):
            bench.wait_for_frames()
        now_ns = time.monotonic_ns()
        seen = {name: frame.t_capture_ns for name, frame in bench.observer.frames.items()}
        if not bench.real_cameras or seen == self._known or not seen:
            return None
        self._known = seen
        bench.frame_age_ns = now_ns - min(seen.values())
        return bench.frame_age_ns
