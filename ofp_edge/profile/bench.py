"""The parts that the stages share while they are measured: the robot's own parts, and one
observation."""

from __future__ import annotations

import time

import numpy as np

from ofp_edge.bundle import Bundle
from ofp_edge.camera_parameters import CameraParameters
from ofp_edge.errors import CameraError
from ofp_edge.runtime.camera import Camera, Frame
from ofp_edge.runtime.chunk import Chunk
from ofp_edge.runtime.control.controller import Controller
from ofp_edge.runtime.infer.inference import Inference
from ofp_edge.runtime.observer import Observation, Observer
from ofp_edge.runtime.robot import RobotState

PATIENCE_S = 10.0
"""How long frames that can be acted upon are waited for."""


class SyntheticCamera:
    """A camera without hardware that gives a new random frame, of the right size and plausible
    depth, at every look."""

    def __init__(self, parameters: CameraParameters, seed: int = 0) -> None:
        self.parameters = parameters
        rng = np.random.default_rng(seed)
        size = (8, parameters.height, parameters.width)
        metres = rng.uniform(0.3, 1.5, size)
        self._frames = np.minimum(metres / parameters.depth_unit_m, 65535).astype(np.uint16)
        self._colors = rng.integers(0, 256, (*size, 3), dtype=np.uint8)
        self._sequence = 0

    def start(self) -> None:
        """Start nothing."""

    def read(self, timeout_ms: float) -> Frame:
        """Return the next of a few frames, captured just now."""
        self._sequence += 1
        i = self._sequence % len(self._frames)
        return Frame(self._frames[i], self._colors[i], time.monotonic_ns(), self._sequence)

    def close(self) -> None:
        """Close nothing."""


class Bench:
    """Robot state somewhere in its range, cameras as given, the bundle's own engines.

    `real_cameras` says whether the frames come from the rig; their age counts only then.
    """

    def __init__(
        self,
        bundle: Bundle,
        inference: Inference,
        cameras: dict[str, Camera],
        observer: Observer,
        *,
        real_cameras: bool,
    ) -> None:
        spec = bundle.spec
        self.spec, self.inference, self.observer = spec, inference, observer
        self.cameras, self.real_cameras = cameras, real_cameras
        self.controller = Controller(spec, 0, spec.plan_steps * spec.dt_ns)
        rng = np.random.default_rng(0)
        self.state = RobotState(0, {f.name: f.synthetic(rng, ()) for f in spec.states})
        self.seen: Observation | None = None
        self.chunk: Chunk | None = None
        self.t_ns = 0
        self.frame_age_ns = 0

    def wait_for_frames(self) -> None:
        """Return as soon as each camera has a frame that a run would act upon: one that comes too
        late on a busy machine is left for the next. Raises CameraError after ten seconds."""
        deadline, late_before = time.monotonic() + PATIENCE_S, self.observer.counters.stale
        while not self.observer.poll(time.monotonic_ns, 100.0):
            if time.monotonic() > deadline:
                late = self.observer.counters.stale - late_before
                came = f"{late} came, each older than its camera's max_age_ms" if late else "none"
                raise CameraError(
                    f"{', '.join(self.cameras)}: no frame to act upon in {PATIENCE_S:g} s: {came}. "
                    "Check the cable, and max_age_ms in the rig."
                )

    def next_round(self) -> None:
        """Move one control step on."""
        self.t_ns += self.spec.n_action_steps * self.spec.dt_ns
