"""The robot interface that the loop expects; a rig's [robot] entry becomes a robot."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from ofp_edge.errors import RobotError
from ofp_edge.rig.file import RobotEntry
from ofp_edge.runtime.plugin import build, load_class, require_methods
from ofp_edge.spec import Interface


@dataclass(frozen=True)
class RobotState:
    """One reading of the robot.

    t_ns: when it was true, whole nanoseconds of time.monotonic_ns(); a robot that stops answering
    is known by it, so it must not be the time of the call. values: every "state" observation field
    of the spec by name, (D,) float32 in the field's unit; not written again.
    """

    t_ns: int
    values: dict[str, NDArray[np.float32]]


DRIVERS = {"ros2": "ofp_edge.runtime.ros2.remote:Ros2Robot"}
"""The short names of robots that ship; any other one is package.module:Class."""


@dataclass(frozen=True)
class Outcome:
    """The state of an episode: `success` once reached stays; `over` when it may be reset."""

    success: bool
    over: bool


class Robot(Protocol):
    """A robot. All methods are called from the control thread alone and must return fast.

    The class named in the rig is built as `Class(spec=PolicySpec, **options)`, or by `calibrate
    record` with an Interface that has no actions. Building it must move nothing: when the process
    that drove the robot is gone, another one builds it anew and calls `state`, `stop` and `close`
    (supervisor/process.py). A class whose robot comes to rest by itself when its process is gone
    says so by a class attribute `stops_by_itself = True`, and is not built anew. A robot whose
    driver would have to clip has an attribute `goal_range`: the lowest and the highest place
    (action_dim,) that it can be told, in the actions' units; nothing else is sent to it. One with
    an attribute `foresees`, True, is an AheadRobot. One with `joint_names` names the numbers of
    fields of that many in the log. Any method may raise RobotError (one line),
    which stops the loop.
    """

    def state(self) -> RobotState:
        """Return the newest state; called once a tick, before `send`."""
        ...

    def send(self, action: NDArray[np.float32]) -> None:
        """Execute `action` (action_dim,) in raw units for one control step; return at once."""
        ...

    def stop(self) -> None:
        """Come to a safe stop and stay there. Idempotent; also called after an error. Returning
        confirms it: a command that did not reach the robot is an error here, or in `close`."""
        ...

    def close(self) -> None:
        """Stop, and release the hardware. Idempotent. Raises RobotError when the stop can't be
        confirmed."""
        ...


class AheadRobot(Robot, Protocol):
    """A robot whose controller takes more than the next command, and follows them by itself."""

    foresees: bool

    def send_ahead(
        self, action: NDArray[np.float32], coming: NDArray[np.float32] | None, tick_ns: int,
        t_obs_ns: int | None,
    ) -> None:  # fmt: skip
        """Instead of `send`: also take the commands (n, action_dim) of the control steps after the
        tick `tick_ns`, in place of those that it had; None: these hold. t_obs_ns: when what they
        were made from was seen, None for a hold."""
        ...


@runtime_checkable
class EpisodicRobot(Robot, Protocol):
    """A robot that can start over by itself: a simulator or a test rig."""

    def reset(self, seed: int) -> None:
        """Begin a new episode; the same seed gives the same beginning. Ends a stop."""
        ...

    def outcome(self) -> Outcome:
        """Return how the running episode stands."""
        ...


ROBOT_METHODS = ("state", "send", "stop", "close")


def find_robot(entry: RobotEntry) -> type[Any]:
    """Return the class of a rig's robot. Raises RobotError, one line, when it cannot be used."""
    found = load_class(DRIVERS.get(entry.driver, entry.driver), RobotError)
    require_methods(found, entry.driver, ROBOT_METHODS, RobotError)
    return found


def build_robot(found: type[Any], entry: RobotEntry, spec: Interface) -> Robot:
    """Build an instance of it. RobotError when its options do not fit or it can't be reached."""
    robot: Robot = build(found, entry.driver, {"spec": spec, **entry.options}, RobotError)
    return robot


def goal_range_of(robot: Robot, spec: Interface) -> tuple[list[float], list[float]] | None:
    """What the robot can be told, (action_dim,) each; None where it does not say. RobotError where
    it says something else than numbers."""
    ends = getattr(robot, "goal_range", None)
    if ends is None:
        return None
    try:
        low, high = (np.asarray(end, np.float64) for end in ends)
    except (TypeError, ValueError):
        raise RobotError(f"goal_range: expected two arrays of numbers, got {ends!r}.") from None
    if low.shape != (spec.action_dim,) or high.shape != low.shape or not (low < high).all():
        raise RobotError(
            f"goal_range: expected low < high, {spec.action_dim} numbers each, got {low.tolist()} "
            f"and {high.tolist()}."
        )
    return low.tolist(), high.tolist()


def open_robot(entry: RobotEntry, spec: Interface) -> Robot:
    """Build the robot of a rig. Raises RobotError, one line, when its class cannot be used."""
    return build_robot(find_robot(entry), entry, spec)
