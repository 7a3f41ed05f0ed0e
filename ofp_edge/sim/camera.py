"""SimulatedCamera: the world, seen through the RealSense SDK by the class that reads a D435."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ofp_edge.errors import CameraError, OfpError
from ofp_edge.runtime.camera import Clock, Frame
from ofp_edge.runtime.cameras.realsense import RealSenseCamera
from ofp_edge.runtime.cameras.software import SoftwareSource
from ofp_edge.sim.metaworld import MetaWorld
from ofp_edge.sim.render import Renderer, open_renderer
from ofp_edge.sim.world import shared_world

_DELIVERY_MS = 2000.0  # the SDK hands a frame over in microseconds; this only bounds a hang


class SimulatedCamera(RealSenseCamera):
    """Renders the world, pushes the frames through `rs.software_device`, and reads them back.

    A frame is due whenever the world has moved, and once a control step when it stands still; its
    capture time is the clock's when it was rendered. On time.monotonic_ns a thread renders, as a
    camera would; on any other clock (evaluation) `read` renders what is due and returns at once.

    In a rig: driver = "ofp_edge.sim.camera:SimulatedCamera", options task, world (shared with the
    robot by name), seed, color (needs OpenGL), depth_by (egl, osmesa, rays), record_to (a .db3
    file). parameters: T_base_camera and so on, where the rig's own are to differ from the task's.
    """

    def __init__(
        self, name: str, clock: Clock, parameters: Mapping[str, Any], *, task: str,
        world: str = "demo", seed: int = 0, color: bool = False, depth_by: str | None = None,
        record_to: str | None = None,
    ) -> None:  # fmt: skip
        seen = shared_world(world, task, seed)
        if not isinstance(seen, MetaWorld):
            raise OfpError(f"{task} can't be seen by a camera: only Meta-World's tasks can.")
        self._world = seen
        self._view = self._world.task.view
        self._depth_by = depth_by
        truth = self._view.parameters()
        pose = [list(row) for row in truth.T_base_camera]
        known = {"base_frame": truth.base_frame, "T_base_camera": pose}
        self._software = SoftwareSource(
            truth, self._world.task.control_hz, color, Path(record_to) if record_to else None
        )
        super().__init__(name, self._software, clock, {**known, **parameters})
        self._frame_ns = round(1e9 / self._world.task.control_hz)
        self._renderer: Renderer | None = None
        self._played: NDArray[np.uint16] | None = None
        self._thread: threading.Thread | None = None
        self._stopping = threading.Event()
        self._failed: BaseException | None = None

    @property
    def depth_by(self) -> str | None:
        """egl, osmesa or rays; None before the first frame."""
        return self._renderer.by if self._renderer else None

    def play(self, frames: NDArray[np.uint16] | None) -> None:
        """From now on deliver these depth frames (T, H, W) one by one, the last one again and
        again, instead of what the world looks like; None ends it. CameraError on another size."""
        if frames is not None:
            size = self._view.height, self._view.width
            if frames.ndim != 3 or frames.shape[1:] != size or not len(frames):
                raise CameraError(
                    f"camera {self.name!r}: expected frames (T, {size[0]}, {size[1]}), "
                    f"got {frames.shape}."
                )
        self._played, self._play_index = frames, 0

    def start(self) -> None:
        """Begin; see Camera."""
        super().start()
        self._number, self._seen_version, self._seen_ns = 0, -1, 0
        self._stopping.clear()
        if self._clock is time.monotonic_ns:
            self._thread = threading.Thread(target=self._run, name=f"sim-{self.name}", daemon=True)
            self._thread.start()

    def read(self, timeout_ms: float) -> Frame | None:
        """See Camera. On a simulated clock it never waits: time does not pass meanwhile."""
        if self._failed is not None:
            raise self._failed
        if self._thread is not None:
            return super().read(timeout_ms)
        if not self._due():
            return None
        self._produce()
        frame = super().read(_DELIVERY_MS)
        if frame is None:
            raise CameraError(f"camera {self.name!r}: the SDK did not hand a frame over.")
        return frame

    def close(self) -> None:
        """See Camera."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        else:
            self._free()
        super().close()

    def _due(self) -> bool:
        moved = self._world.version != self._seen_version
        return moved or self._clock() - self._seen_ns >= self._frame_ns

    def _produce(self) -> None:
        """Render the world as it is now and push it."""
        self._seen_version, self._seen_ns = self._world.version, self._clock()
        if self._played is None:
            if self._renderer is None:
                self._renderer = open_renderer(self._world, self._view, self._depth_by)
            depth, color = self._renderer.render(self._software.color)
        else:
            depth = self._played[min(self._play_index, len(self._played) - 1)]
            color = np.zeros((*depth.shape, 3), np.uint8) if self._software.color else None
            self._play_index += 1
        self._number += 1
        self._software.push(depth, color, self._seen_ns, self._number)

    def _run(self) -> None:
        """The rendering thread; it owns the GL context."""
        try:
            while not self._stopping.is_set():
                with self._world.changed:
                    left_s = (self._seen_ns + self._frame_ns - self._clock()) / 1e9
                    if self._world.version == self._seen_version and left_s > 0:
                        self._world.changed.wait(left_s)
                        continue
                self._produce()
        except BaseException as failure:  # handed to the reader, who must know
            self._failed = failure
        finally:
            self._free()

    def _free(self) -> None:
        if self._renderer is not None:
            self._renderer.close()
            self._renderer = None
