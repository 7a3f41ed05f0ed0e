"""The rig: one TOML file a robot. What is plugged in, where the cameras are, and the latency L.

    schema_version = 1
    instruction = "open the door"        # of a policy that takes one, see `run --instruction`
    instruction_socket = "/run/ofp-edge/instruction"   # optional: another one during a run

    [robot]
    driver = "package.module:Class"      # built as Class(spec=..., **options)
    [robot.options]                      # anything the class takes, e.g. port = "/dev/ttyUSB0"

    [cameras.front]                      # the name the policy's spec asks for
    driver = "realsense"                 # realsense, recording, v4l2, or package.module:Class
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

tomlkit keeps a user's comments when ofp-edge writes a value back.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import tomlkit
from tomlkit.items import InlineTable

from ofp_edge.errors import RigError
from ofp_edge.files import write_bytes
from ofp_edge.rig.engine import EngineEntry, engine_entry
from ofp_edge.rig.realtime import RealtimeEntry, read_realtime
from ofp_edge.rig.safety import SafetyEntry, read_safety
from ofp_edge.spec import PolicySpec
from ofp_edge.toml import Table, parse_toml, read_toml

SCHEMA_VERSION = 1
MOST_CROSS_FADE_STEPS = 5


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
class Timing:
    """[timing]: the constant latency L, the age past which a plan is no longer followed, over how
    many control steps one plan fades into the next (None: the two plans' overlap, at most 5), how
    far apart the frames of one observation may have been taken, the latency of an episode's first
    plan (None: L), and how long after its command the robot moves: a command is the plan's action
    of so much later."""

    latency_ms: float
    max_plan_age_ms: float
    cross_fade_steps: int | None = None
    max_skew_ms: float = 100.0
    cold_latency_ms: float | None = None
    actuation_delay_ms: float = 0.0

    @property
    def delay_ns(self) -> int:
        """Return the robot's own delay in nanoseconds."""
        return round(self.actuation_delay_ms * 1e6)

    @property
    def cold_ms(self) -> float:
        """Return the latency of an episode's first plan."""
        return self.latency_ms if self.cold_latency_ms is None else self.cold_latency_ms

    def fade_steps(self, spec: PolicySpec) -> int:
        """Return cross_fade_steps, or its default: what is left of the old plan when the next one
        takes over, at most 5 steps."""
        if self.cross_fade_steps is not None:
            return self.cross_fade_steps
        passed = (self.latency_ms + self.actuation_delay_ms) / 1000 / spec.dt_s
        overlap = spec.plan_steps - spec.n_action_steps - math.ceil(passed - 1e-9)
        return max(0, min(MOST_CROSS_FADE_STEPS, overlap))


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

    def require_fits(self, spec: PolicySpec) -> None:
        """Check the rig against a policy's spec. Raises RigError naming field, expected and got."""
        for name in spec.cameras:
            if name not in self.cameras:
                have = sorted(self.cameras) or "no camera"
                raise RigError(
                    f"{self.path}: [cameras.{name}]: expected by the policy, got {have}."
                )
        delay_ms = self.timing.actuation_delay_ms
        whole = 1000 * (spec.plan_steps - spec.n_action_steps) * spec.dt_s
        why = (
            f"horizon {spec.plan_steps} - n_action_steps {spec.n_action_steps} at "
            f"{spec.control_hz:g} Hz"
        )
        if delay_ms > whole:
            raise RigError(
                f"{self.path}: [timing] actuation_delay_ms: expected at most {whole:g} ms ({why}), "
                f"got {delay_ms:g} ms."
            )
        less = f" - actuation_delay_ms {delay_ms:g}" if delay_ms else ""
        limit = whole - delay_ms
        times = {"latency_ms": self.timing.latency_ms, "cold_latency_ms": self.timing.cold_ms}
        for name, value in times.items():
            if value > limit:
                raise RigError(
                    f"{self.path}: [timing] {name}: expected at most {limit:g} ms "
                    f"({why}{less}), got {value:g} ms."
                )
        if self.timing.cold_ms < self.timing.latency_ms:
            raise RigError(
                f"{self.path}: [timing] cold_latency_ms: expected latency_ms = "
                f"{self.timing.latency_ms:g} at least, got {self.timing.cold_ms:g}."
            )
        limit = 1000 * spec.plan_steps * spec.dt_s - delay_ms
        if self.timing.max_plan_age_ms > limit:
            raise RigError(
                f"{self.path}: [timing] max_plan_age_ms: expected at most {limit:g} ms (a plan of "
                f"{spec.plan_steps} steps{less}), got {self.timing.max_plan_age_ms:g} ms."
            )
        if self.timing.fade_steps(spec) >= spec.plan_steps:
            raise RigError(
                f"{self.path}: [timing] cross_fade_steps: expected 0..{spec.plan_steps - 1} (less "
                f"than horizon), got {self.timing.cross_fade_steps}."
            )
        self.safety.require_fits(spec, str(self.path))


def read_rig(path: Path) -> Rig:
    """Parse and check a rig file. Raises RigError naming the entry that is wrong."""
    table = read_toml(path, RigError)
    version = table.take("schema_version", int)
    if version != SCHEMA_VERSION:
        raise RigError(f"{path}: schema_version: expected {SCHEMA_VERSION}, got {version}.")
    robot = table.sub("robot")
    cameras = table.sub("cameras", optional=True)
    timing = table.sub("timing")
    fade = (
        timing.count("cross_fade_steps", least=0) if "cross_fade_steps" in timing.values else None
    )
    rig = Rig(
        path,
        RobotEntry(robot.take("driver", str), robot.take("options", dict, {})),
        {name: _camera(cameras.sub(name), name) for name in list(cameras.values)},
        Timing(
            timing.positive("latency_ms", allow_zero=True),
            timing.positive("max_plan_age_ms"),
            fade,
            timing.positive("max_skew_ms", default=100.0),
            timing.positive("cold_latency_ms") if "cold_latency_ms" in timing.values else None,
            timing.positive("actuation_delay_ms", 0.0, allow_zero=True),
        ),
        engine_entry(table),
        read_safety(table.sub("safety", optional=True)),
        read_realtime(table.sub("realtime", optional=True)),
        table.take("instruction", str) if "instruction" in table.values else None,
        table.text("instruction_socket"),
    )
    for part in (robot, timing, table):
        part.nothing_left()
    return rig


def set_camera(
    path: Path, name: str, changes: dict[str, dict[str, Any]], *, without: tuple[str, ...] = ()
) -> None:
    """Write entries of [cameras.<name>.<table>] into a rig file; keep everything else, comments
    too.

    changes: by table, e.g. {"parameters": {"fx": 615.3}}. A 4 x 4 list is written a row a line.
    without: entries of `parameters` to take out. Raises RigError when there is no such camera or
    the file would not be what was wanted; it is then as it was.
    """
    require_camera(read_rig(path), name)
    document = parse_toml(path, RigError)
    wanted = document.unwrap()
    for table, values in changes.items():
        for part in (document, wanted):
            camera: Any = part["cameras"][name]
            inline = isinstance(camera, InlineTable)
            if new := table not in camera:
                camera[table] = tomlkit.inline_table() if inline else tomlkit.table()
            entries = camera[table]
            for key in without:
                if table == "parameters" and key in entries:
                    del entries[key]
            for key, value in values.items():
                _put(entries, key, value)
            if new and not inline and part is document:
                camera[table].add(tomlkit.nl())
    text = tomlkit.dumps(document)
    if tomlkit.parse(text).unwrap() != wanted:
        raise RigError(
            f"{path}: this file's order of tables can't be kept. Write by hand, under "
            f"[cameras.{name}]: {changes}"
        )
    write_bytes(path, text.encode())


def require_camera(rig: Rig, name: str) -> CameraEntry:
    """Return the rig's camera of this name. Raises RigError listing them."""
    if name not in rig.cameras:
        have = sorted(rig.cameras) or "no camera"
        raise RigError(f"{rig.path}: [cameras.{name}]: expected, got {have}.")
    return rig.cameras[name]


def _put(entries: Any, key: str, value: Any) -> None:
    """Set an entry of a table; numbers in a list of rows change in place, beside their comments."""
    is_rows = isinstance(value, list) and bool(value) and isinstance(value[0], list)
    old = entries.get(key)
    if is_rows and isinstance(old, list) and [_length(row) for row in old] == [4] * 4:
        for old_row, row in zip(old, value, strict=True):
            for column, number in enumerate(row):
                old_row[column] = number
    elif is_rows:
        array = tomlkit.array()
        for row in value:
            array.append(row)
        entries[key] = array.multiline(True)
    else:
        entries[key] = value


def _length(row: Any) -> int:
    return len(row) if isinstance(row, list) else 0


def _camera(table: Table, name: str) -> CameraEntry:
    frozen_after = None
    if (
        "frozen_after" in table.values
        and (frozen_after := table.count("frozen_after", least=0)) == 1
    ):
        raise RigError(
            f"{table.path}: {table.where('frozen_after')}: expected 0 (never) or 2 and "
            "more, got 1: every picture is its own first."
        )
    entry = CameraEntry(
        name,
        table.take("driver", str),
        table.positive("max_age_ms", default=200.0),
        table.take("options", dict, {}),
        _parameters(table.sub("parameters", optional=True)),
        table.take("calibration", dict, {}),
        frozen_after,
    )
    table.nothing_left()
    return entry


def _parameters(table: Table) -> dict[str, Any]:
    values = table.values
    for key, other in (("T_hand_camera", "T_base_camera"), ("hand_frame", "base_frame")):
        if key in values and other in values:
            raise RigError(
                f"{table.path}: {table.where(key)}: {other} is there too. A camera either stands "
                "(T_base_camera, base_frame) or is on the hand (T_hand_camera, hand_frame)."
            )
    if "hand_frame" in values and "T_base_camera" in values:
        raise RigError(
            f"{table.path}: {table.where('hand_frame')}: expected T_hand_camera with it."
        )
    if "T_hand_camera" in values:
        values["base_frame"] = values.pop("hand_frame", "hand")
        values["T_base_camera"] = values.pop("T_hand_camera")
    return values
