"""The rig: one TOML file a robot. What is plugged in, where the cameras are, and the latency L.

    schema_version = 1
    instruction = "open the door"        # of a policy that takes one, see `run --instruction`
    instruction_socket = "/run/ofp-edge/instruction"   # optional: another one during a run

    [robot]
    driver = "package.module:Class"      # built as Class(spec=..., **options); or ros2
    [robot.options]                      # anything the class takes, e.g. port = "/dev/ttyUSB0"

    [cameras.front]                      # the name the policy's spec asks for
    driver = "realsense"                 # realsense, recording, v4l2, ros2, rosbag2, or
                                         # package.module:Class
    max_age_ms = 200.0                   # an older frame is never acted upon
    frozen_after = 5                     # optional: so many equal pictures in a row, and none of
                                         # them is acted upon any more; 0: they may stay equal
    [cameras.front.options]              # e.g. serial = "839112060000"
    [cameras.front.parameters]           # optional: this camera's own calibration
    T_base_camera = [[...], [...], [...], [...]]   # optical frame -> base_frame ("base"), metres;
                                         # or T_hand_camera -> hand_frame ("hand"): on the hand
    fx = 615.3                           # fx, fy, cx, cy in pixels, where not as the device says
    [cameras.front.calibration]          # how it was found, for people; `calibrate` writes it

    [timing]
    latency_ms = 50.0                    # L: what was seen at t_obs acts at t_obs + L
    cold_latency_ms = 80.0               # optional: that of an episode's first plan, L or more
    actuation_delay_ms = 40.0            # optional: from a command to the robot's motion, see
                                         # docs/runtime.md; `rig delay` measures it
    max_plan_age_ms = 500.0              # an older plan is held, then stopped
    cross_fade_steps = 3                 # optional: control steps from one plan to the next
    max_skew_ms = 100.0                  # optional: how far apart two cameras' frames may be taken

    [safety]                             # optional: limits between policy and robot,
                                         # see ofp_edge/rig/safety.py
    [engine]                             # optional: engine.py; `profile --pick` writes it
    [realtime]                           # optional, see ofp_edge/rig/realtime.py

What calibration writes back: calibrated.py.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from ofp_edge.camera_parameters import stood
from ofp_edge.errors import RigError, SpecMismatch
from ofp_edge.rig.engine import EngineEntry, engine_entry
from ofp_edge.rig.realtime import RealtimeEntry, read_realtime
from ofp_edge.rig.safety import SafetyEntry, read_safety
from ofp_edge.rig.timing import Timing, read_timing
from ofp_edge.spec import PolicySpec
from ofp_edge.toml import OPEN, Question, Table, parse_toml, questions

SCHEMA_VERSION = 1
_FILES = {
    "recording": ("path",),
    "rosbag2": ("path",),
    "ofp_edge.runtime.robots.so101:So101": ("calibration",),
}
"""The options of our drivers that are files: relative ones lie beside the rig."""
_PLACELESS = ("realsense", "recording", "ros2", "rosbag2")  # drivers that know no pose


@dataclass(frozen=True)
class RobotEntry:
    """[robot]: the class that drives it and that class's own options."""

    driver: str
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class CameraEntry:
    """[cameras.<name>]: the class that reads it, its options, and its known optics.

    parameters: as camera classes take them. T_hand_camera and hand_frame of the file stand here as
    T_base_camera and base_frame: for a camera on the hand, the hand is its base. frozen_after: None
    is 5, and 0 for a camera that calls itself `noise_free`.
    """

    name: str
    driver: str
    max_age_ms: float = 200.0
    options: dict[str, Any] = field(default_factory=dict)
    parameters: dict[str, Any] = field(default_factory=dict)
    calibration: dict[str, Any] = field(default_factory=dict)
    frozen_after: int | None = None


@dataclass(frozen=True)
class Rig:
    """A parsed rig file."""

    path: Path
    robot: RobotEntry
    cameras: dict[str, CameraEntry]
    timing: Timing
    engine: EngineEntry | None = None
    safety: SafetyEntry = SafetyEntry()
    realtime: RealtimeEntry = RealtimeEntry()
    instruction: str | None = None
    instruction_socket: str | None = None

    def require_fits(self, spec: PolicySpec, *, simulated: bool = False) -> None:
        """Check the rig against a policy's spec. Raises RigError naming field, expected and got.

        simulated: its cameras stay closed, so where they stand does not matter.
        """
        for check in self.fitting(spec, simulated=simulated):
            check()

    def fitting(self, spec: PolicySpec, *, simulated: bool = False) -> list[Callable[[], None]]:
        """Return the checks against a policy's spec one by one: each raises RigError by itself."""
        checks = [partial(self._require_camera, spec, name, simulated) for name in spec.cameras]
        checks.append(partial(self.timing.require_fits, spec, self.path))
        parts = [replace(self.safety, limits={}, workspace=None)]
        parts += [replace(self.safety, limits={k: x}, workspace=None)
                  for k, x in self.safety.limits.items()]  # fmt: skip
        if self.safety.workspace is not None:
            parts.append(replace(self.safety, limits={}))
        return [*checks, *(partial(x.require_fits, spec, str(self.path)) for x in parts)]

    def _require_camera(self, spec: PolicySpec, name: str, simulated: bool) -> None:
        if name not in self.cameras:
            have = sorted(self.cameras) or "no camera"
            raise RigError(f"{self.path}: [cameras.{name}]: expected by the policy, got {have}.")
        entry = self.cameras[name]
        unplaced = entry.driver in _PLACELESS and "T_base_camera" not in entry.parameters
        if unplaced and not simulated and not spec.only_images(name):
            raise RigError(
                f"{self.path}: [cameras.{name}.parameters] lacks T_base_camera: points need the "
                "camera's pose in the robot's frame, 4 rows of 4 numbers, metres."
            )


def read_rig(path: Path) -> Rig:
    """Parse and check a rig file. Raises RigError naming the entry that is wrong."""
    document = parse_toml(path, RigError)
    if asked := questions(document):
        more = f" (and {len(asked) - 1} more)" if len(asked) > 1 else ""
        raise RigError(f"{path}: {asked[0]}{more}. `ofp-edge rig check {path}` lists what is open.")
    return _read(Table(path, "", document.unwrap(), RigError))


def is_of(line: str, table: str) -> bool:
    """Say whether a line on an entry ("[table.part] key: …") is of this table, or one inside it."""
    above, _, name = table.rpartition(".")
    return line.startswith(
        (f"[{table}]", f"[{table}.", f"[{above}] {name}:" if above else f"{name}:")
    )


def look_at_rig(path: Path) -> tuple[Rig, list[Question], list[str]]:
    """Return what a rig file holds, what in it is still open, and all that is wrong with it, a line
    each; the rig can be used where both are empty. Raises RigError where it is no TOML."""
    document = parse_toml(path, RigError)
    wrong: list[str] = []
    rig = _read(Table(path, "", document.unwrap(), RigError, wrong))
    return rig, questions(document), wrong


def _read(table: Table) -> Rig:
    path = table.path
    with table.collecting():
        stated = table.values.get("schema_version")
        version = table.take("schema_version", int)
        if version != SCHEMA_VERSION and type(stated) is int:  # else it has been said
            raise RigError(f"{path}: schema_version: expected {SCHEMA_VERSION}, got {version}.")
    robot = table.sub("robot")
    cameras = table.sub("cameras", optional=True)
    timing = table.sub("timing")
    engine, safety, realtime = None, SafetyEntry(), RealtimeEntry()
    found = {}
    for name in list(cameras.values):
        with table.collecting():
            found[name] = _camera(cameras.sub(name), name)
    with table.collecting():
        engine = engine_entry(table)
    with table.collecting():
        safety = read_safety(table.sub("safety", optional=True))
    with table.collecting():
        realtime = read_realtime(table.sub("realtime", optional=True))
    driver = robot.take("driver", str)
    rig = Rig(
        path,
        RobotEntry(driver, _beside(path, driver, robot.take("options", dict, {}))),
        found,
        read_timing(timing),
        engine,
        safety,
        realtime,
        table.take("instruction", str) if "instruction" in table.values else None,
        table.text("instruction_socket"),
    )
    for part in (robot, timing, table):
        part.nothing_left()
    return rig


def _beside(path: Path, driver: str, options: dict[str, Any]) -> dict[str, Any]:
    """The options of a driver of ours, its files' relative paths taken from the rig's folder."""
    return {
        key: str(path.parent / value)
        if key in _FILES.get(driver, ()) and isinstance(value, str) and value != OPEN
        else value
        for key, value in options.items()
    }


def _camera(table: Table, name: str) -> CameraEntry:
    frozen_after = table.count("frozen_after", least=0) if "frozen_after" in table.values else None
    with table.collecting():
        if frozen_after == 1:
            raise RigError(
                f"{table.path}: {table.where('frozen_after')}: expected 0 (never) or 2 and "
                "more, got 1: every picture is its own first."
            )
    driver = table.take("driver", str)
    entry = CameraEntry(
        name,
        driver,
        table.positive("max_age_ms", default=200.0),
        _beside(table.path, driver, table.take("options", dict, {})),
        _parameters(table.sub("parameters", optional=True)),
        table.take("calibration", dict, {}),
        frozen_after,
    )
    table.nothing_left()
    return entry


def _parameters(table: Table) -> dict[str, Any]:
    with table.collecting():
        try:
            return stood(table.values)
        except SpecMismatch as cause:
            raise RigError(f"{table.path}: {table.where(cause.what)}: {cause.todo}") from None
    return {}
