"""Turn cameras and robot state into the arrays the policy sees, and drop what is too old to act on.

A frame is used when each stream of it that the policy sees is newer than the one before, not
frozen (pictures.py), at most `max_age_ns` old, not from the future, and within `max_skew_ns` of
every other camera's and stream's. Any other frame counts as absent.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ofp_edge.camera_parameters import CameraParameters, CameraTolerance
from ofp_edge.errors import CameraError, SpecMismatch
from ofp_edge.fields.field import Write
from ofp_edge.fields.text import told
from ofp_edge.runtime.control.marks import Mark, unmarked
from ofp_edge.runtime.pictures import FROZEN_AFTER, STREAM_NAMES, Pictures
from ofp_edge.runtime.remarks import Remarks
from ofp_edge.spec import PolicySpec

if TYPE_CHECKING:
    from ofp_edge.runtime.camera import Camera, Clock, Frame
    from ofp_edge.runtime.robot import RobotState


@dataclass
class ObserverCounters:
    """Counts of what was not used. `stale`: frames older than their limit when looked at; `absent`:
    looks without a frame; `repeated`: frames not newer than the one before, or with its number;
    `future`: captured later than now, as after a clock jump; `skewed`: frames dropped because
    another camera, or another of their streams, captured too much later; `frozen`: frames bit for
    bit equal to the ones before; `stateless`: looks at frames for which no robot state was near
    enough in time."""

    frames: int = 0
    stale: int = 0
    absent: int = 0
    repeated: int = 0
    future: int = 0
    skewed: int = 0
    frozen: int = 0
    stateless: int = 0

    def odd(self) -> str:
        """Say how many frames were not used, and why: "12 stale, 3 frozen", or nothing."""
        names = ("stale", "repeated", "future", "skewed", "frozen", "stateless")
        return ", ".join(f"{n} {name}" for name in names if (n := getattr(self, name)))


@dataclass(frozen=True, eq=False)
class Observation:
    """An observation at `t_obs_ns`: every observation field by name, in its spec's shape and dtype.

    The arrays are the observer's own and are overwritten by its next observation.
    """

    t_obs_ns: int
    arrays: dict[str, NDArray[Any]] = field(repr=False)


class Observer:
    """Polls the cameras a spec names and prepares observations. One thread.

    cameras: by the spec's names, started. trained: the parameters the policy was trained with.
    max_age_ns: per camera; a frame older than that is dropped, never acted upon.
    frozen_after: per camera, the number of equal pictures in a row that is too many, 0: unlimited;
    by default 5, or 0 for a camera that calls itself `noise_free`. instruction: text for a policy
    with a text field, until another is told; instruction_id: its place in the policy's list.
    max_skew_ns: how far apart the frames of one observation may have been taken; None: any time.
    Raises SpecMismatch when a camera is missing or differs by more than `tolerance`, or when there
    is an instruction and no field for it or the other way round; UnknownName for another one.
    """

    def __init__(
        self,
        spec: PolicySpec,
        cameras: Mapping[str, Camera],
        trained: Mapping[str, CameraParameters],
        tolerance: CameraTolerance,
        max_age_ns: Mapping[str, int],
        frozen_after: Mapping[str, int] | None = None,
        max_skew_ns: int | None = None,
        mark: Mark = unmarked,
        instruction: str | None = None,
    ) -> None:
        self.spec, self._mark = spec, mark
        self.instruction_id: int | None = None
        self.counters = ObserverCounters()
        self.max_skew_ns = max_skew_ns
        self._cameras = {name: cameras[name] for name in spec.cameras if name in cameras}
        self._max_age_ns = dict(max_age_ns)
        self._frames: dict[str, Frame] = {}
        self._pictures = {
            name: _pictures(spec, name, camera, (frozen_after or {}).get(name))
            for name, camera in self._cameras.items()
        }
        self._preparations: dict[str, Write] = {}
        self._colored = {f.camera for f in spec.observations if f.stream == "color"}
        for item in spec.observations:
            if item.camera is None:
                self._preparations[item.name] = item.preparation(None)
                continue
            if item.camera not in cameras:
                have = sorted(cameras) or "no camera"
                raise SpecMismatch("cameras", f"one named {item.camera!r}", have)
            live = cameras[item.camera].parameters
            if item.camera in trained:
                _require_alike(tolerance, spec, item.camera, trained[item.camera], live)
            self._preparations[item.name] = item.preparation(live)
        self._arrays: dict[str, NDArray[Any]] = {
            item.name: np.zeros(item.shape, dtype=item.dtype) for item in spec.observations
        }
        self.tell(instruction)

    def tell(self, instruction: str | None) -> None:
        """Show the policy this instruction from now on. Raises as building an observer does."""
        for item, number in told(self.spec.observations, instruction):
            self._arrays[item.name][...] = self.instruction_id = number

    def poll(self, clock: Clock, timeout_ms: float = 0.0, not_before_ns: int = 0) -> bool:
        """Take every camera's newest frame; return whether each has an unused, fresh one.

        Waits up to `timeout_ms`, all cameras together, for frames captured at `not_before_ns` or
        later; an earlier one will do when none comes. A silent camera may use up the wait, and the
        others' frames of that time are taken. A frame that is older than its camera's limit after
        the wait is dropped, and so is one captured later than `clock` says it is.
        """
        for name, camera in self._cameras.items():
            self._take(name, camera.read(0.0))
        deadline_ns = clock() + round(timeout_ms * 1e6)
        for name, camera in self._cameras.items() if timeout_ms > 0 else ():
            held = self._frames.get(name)
            if held is None or self._pictures[name].oldest_ns(held) < not_before_ns:
                left_ms = max(0.0, (deadline_ns - clock()) / 1e6)
                self._take(name, camera.read(min(left_ms, timeout_ms)))
        now_ns = clock()
        for name, pictures in self._pictures.items():
            held = self._frames.get(name)
            if held is None:
                self.counters.absent += 1
            elif pictures.late(held, now_ns, self._max_age_ns[name]):
                self.counters.stale += 1
                del self._frames[name]
            elif (ahead_ns := pictures.newest_ns(held) - now_ns) > 0:
                self.counters.future += 1
                pictures.remarks.say(
                    "from the future",
                    f"stamped {ahead_ns / 1e6:.3g} ms ahead of "
                    "the clock, which is time.monotonic_ns()'s",
                )
                del self._frames[name]
                pictures.forget()  # frames by a clock set right again are news
        self._drop_skewed()
        return len(self._frames) == len(self._cameras)

    def _drop_skewed(self) -> None:
        """Frames of one observation show one moment: one that lags behind has to be replaced."""
        if self.max_skew_ns is None or not self._frames:
            return
        newest = max(self._pictures[name].newest_ns(frame) for name, frame in self._frames.items())
        for name, frame in list(self._frames.items()):
            if newest - self._pictures[name].oldest_ns(frame) > self.max_skew_ns:
                self.counters.skewed += 1
                del self._frames[name]

    def drop_before(self, t_ns: int) -> bool:
        """Drop polled frames captured before `t_ns`; return whether every camera still has one."""
        self._frames = {
            name: frame
            for name, frame in self._frames.items()
            if self._pictures[name].oldest_ns(frame) >= t_ns
        }
        return len(self._frames) == len(self._cameras)

    def _take(self, name: str, frame: Frame | None) -> None:
        if frame is not None:
            self._mark("frame", frame)
            pictures = self._pictures[name]
            if not pictures.is_news(frame):
                self.counters.repeated += 1
                return
            if frame.color is None and name in self._colored:
                raise CameraError(
                    f"camera {name!r}: no colour in its frames, which the policy sees. "
                    f"Set color = true in [cameras.{name}.options]."
                )
            if pictures.is_frozen(frame):
                self.counters.frozen += 1
                return
            self.counters.frames += 1
            self._frames[name] = frame

    def prepare(self, state: RobotState, *, keep: bool = False) -> Observation:
        """Turn the polled frames into an observation, and use them up (unless `keep`): points from
        depth, images from colour, the state unchanged.

        t_obs_ns is the capture time of the oldest stream used, or the state's own without a camera.
        Raises SpecMismatch when the robot's state lacks a field or has another shape.
        """
        self._mark("prepare", None)
        t_obs_ns = self.t_obs_ns
        for item in self.spec.observations:
            out = self._arrays[item.name]
            seen: Any = state.values.get(item.name)
            if item.camera is not None:
                frame = self._frames[item.camera]
                seen = frame.color if item.stream == "color" else frame.depth
            if not item.told:
                self._preparations[item.name](seen, out)
        if not keep:
            self._frames.clear()
        made = Observation(state.t_ns if t_obs_ns is None else t_obs_ns, self._arrays)
        self._mark("prepared", made.t_obs_ns)
        return made

    @property
    def t_obs_ns(self) -> int | None:
        """Return the capture time of the oldest stream held; None without a camera."""
        held = self._frames.items()
        return min((self._pictures[name].oldest_ns(frame) for name, frame in held), default=None)

    @property
    def cameras(self) -> dict[str, Camera]:
        """Return the cameras it reads, by name."""
        return dict(self._cameras)

    @property
    def remarks(self) -> dict[str, Remarks]:
        """Return the remarks on each camera's frames, by the camera and by this observer."""
        return {name: pictures.remarks for name, pictures in self._pictures.items()}

    @property
    def frames(self) -> dict[str, Frame]:
        """Return the frame held for each camera."""
        return dict(self._frames)

    def forget(self) -> None:
        """Drop frames that were polled but not used, and forget earlier ones."""
        self._frames.clear()
        for pictures in self._pictures.values():
            pictures.forget()


def _pictures(spec: PolicySpec, name: str, camera: Camera, frozen_after: int | None) -> Pictures:
    seen = {f.stream for f in spec.observations if f.camera == name}
    streams = tuple(stream for stream in STREAM_NAMES if stream in seen)
    if frozen_after is None:
        frozen_after = 0 if getattr(camera, "noise_free", False) else FROZEN_AFTER
    remarks: Remarks = getattr(camera, "remarks", None) or Remarks()
    return Pictures(name, streams, frozen_after, remarks)


def _require_alike(
    tolerance: CameraTolerance,
    spec: PolicySpec,
    name: str,
    trained: CameraParameters,
    live: CameraParameters,
) -> None:
    try:
        tolerance.require(name, trained, live, only_images=spec.only_images(name))
    except SpecMismatch as cause:
        raise SpecMismatch(
            cause.what,
            cause.expected,
            cause.got,
            cause.todo
            or "The first is the policy's training camera, the second this rig's. Calibrate it "
            "(ofp-edge calibrate hand-eye), put it where it belongs, or train with this one.",
        ) from None
