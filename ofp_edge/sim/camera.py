"""SimulatedCamera shows the world through the RealSense SDK, read by the class that reads a
D435."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ofp_edge.errors import CameraError, OfpError, UnknownName
from ofp_edge.runtime.camera import Clock, Frame
from ofp_edge.runtime.cameras.realsense import RealSenseCamera
from ofp_edge.runtime.cameras.software import SoftwareSource
from ofp_edge.sim.open import shared_world
from ofp_edge.sim.render import Renderer, open_renderer
from ofp_edge.sim.world import SeenWorld
from ofp_edge.spec import ObservationField

_DELIVERY_MS = 2000.0  # the SDK hands a frame over in microseconds; this only bounds a hang


class SimulatedCamera(RealSenseCamera):
    """A camera that renders the world, pushes the frames through `rs.software_device`, and reads
    them back.

    A frame is due whenever the world has moved, and once in each control step when it stands still;
    its capture time is the clock's when it was rendered. On time.monotonic_ns a thread renders,
    like a camera; on any other clock (evaluation) `read` renders what is due and returns at once.

    In a rig, driver is "ofp_edge.sim.camera:SimulatedCamera" and name is one of the task's views.
    The options are task, world (shared with the robot by name), seed, color (needs OpenGL), size
    (height and width in pixels, by default the view's), depth_by (egl, osmesa, rays) and record_to
    (a .db3 file). The parameters, T_base_camera and so on, are given where the rig's own are to
    differ from the task's.
    """

    def __init__(
        self,
        name: str,
        clock: Clock,
        parameters: Mapping[str, Any],
        *,
        task: str,
        world: str = "demo",
        seed: int = 0,
        color: bool = False,
        size: tuple[int, int] | None = None,
        depth_by: str | None = None,
        record_to: str | None = None,
    ) -> None:
        seen = shared_world(world, task, seed)
        if not isinstance(seen, SeenWorld):
            raise OfpError(f"{task} can't be seen by a camera: it has no views.")
        self._world = seen
        views = self._world.task.views
        if name not in views:
            raise UnknownName(f"camera of {task}", name, views)
        if size is not None and not _is_size(size):
            raise CameraError(
                f"camera {name!r}: option size: expected [height, width] in pixels, got {size!r}."
            )
        self._view = views[name].sized(size)
        self._depth_by = depth_by
        truth = self._view.parameters()
        pose = [list(row) for row in truth.T_base_camera]
        known = {"base_frame": truth.base_frame, "T_base_camera": pose}
        self._software = SoftwareSource(
            truth, self._world.task.control_hz, color, Path(record_to) if record_to else None
        )
        # Both streams share one viewpoint: aligning would only blacken what has no depth.
        super().__init__(name, self._software, clock, {**known, **parameters}, align=False)
        self._frame_ns = round(1e9 / self._world.task.control_hz)
        self._renderer: Renderer | None = None
        self._played: Sequence[Frame] = ()
        self._playing_since_ns: int | None = None
        self._thread: threading.Thread | None = None
        self._stopping = threading.Event()
        self._failed: BaseException | None = None

    @property
    def depth_by(self) -> str | None:
        """The way depth is rendered: egl, osmesa or rays; None before the first frame."""
        return self._renderer.by if self._renderer else None

    def play(self, frames: Sequence[Frame]) -> None:
        """From the next look on, deliver the depth and colour of these frames instead of what the
        world looks like: one in each control step, and the last one again and again. An empty
        sequence ends it. Raises CameraError on another size.
        """
        size = self._view.height, self._view.width
        for frame in frames:
            if frame.depth.shape != size or (self._software.color and frame.color is None):
                colored = "no colour" if frame.color is None else "colour"
                raise CameraError(
                    f"camera {self.name!r}: expected frames ({size[0]}, {size[1]})"
                    f"{' with colour' if self._software.color else ''}, "
                    f"got {frame.depth.shape}, {colored}."
                )
        self._played, self._playing_since_ns = frames, None

    def start(self) -> None:
        """Begin; see Camera."""
        super().start()
        self._number, self._seen_version, self._seen_ns = 0, -1, 0
        self._stopping.clear()
        if self._clock is time.monotonic_ns:
            self._thread = threading.Thread(target=self._run, name=f"sim-{self.name}", daemon=True)
            self._thread.start()

    def read(self, timeout_ms: float) -> Frame | None:
        """Read; see Camera. On a simulated clock it never waits, because time does not pass
        meanwhile."""
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
        """Render the world in its present state and push the frame."""
        self._seen_version, self._seen_ns = self._world.version, self._clock()
        color: NDArray[np.uint8] | None
        if self._played:
            if self._playing_since_ns is None:
                self._playing_since_ns = self._seen_ns
            steps = round((self._seen_ns - self._playing_since_ns) / self._frame_ns)
            frame = self._played[min(steps, len(self._played) - 1)]
            depth, color = frame.depth, frame.color
        else:
            if self._renderer is None:
                self._renderer = open_renderer(self._world, self._view, self._depth_by)
            depth, color = self._renderer.render(self._software.color)
        self._number += 1
        self._software.push(depth, color, self._seen_ns, self._number)

    def _run(self) -> None:
        """Run in the rendering thread, which owns the GL context."""
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


def _is_size(value: Any) -> bool:
    pair = isinstance(value, (list, tuple)) and [type(x) for x in value] == [int, int]
    return pair and min(value) > 0


def start_cameras(
    task: str, fields: Sequence[ObservationField], clock: Clock, *, color: bool = False,
    depth_by: str | None = None, world: str | None = None,
) -> dict[str, SimulatedCamera]:  # fmt: skip
    """Start the cameras that these fields name.

    A camera from which only an image is made renders in that image's size. `color` applies to all
    of them. `world` names the world that they look at, by default the task's.
    """
    cameras: dict[str, SimulatedCamera] = {}
    for name in dict.fromkeys(f.camera for f in fields if f.camera is not None):
        seen = {f.stream: f for f in fields if f.camera == name}
        image = seen.get("color")
        size = None
        if image is not None and "depth" not in seen:
            _, height, width = image.shape
            size = height, width
        cameras[name] = SimulatedCamera(
            name,
            clock,
            {},
            task=task,
            world=world or task,
            size=size,
            depth_by=depth_by,
            color=color or image is not None,
        )
        cameras[name].start()
    return cameras
