"""The rig: one TOML file a robot. What is plugged in, where the cameras are, and the latency L.

    schema_version = 1

    [robot]
    driver = "package.module:Class"      # built as Class(spec=..., **options)
    [robot.options]                      # anything the class takes, e.g. port = "/dev/ttyUSB0"

    [cameras.front]                      # the name the policy's spec asks for
    driver = "realsense"                 # realsense, recording, or package.module:Class
    max_age_ms = 200.0                   # an older frame is never acted upon
    [cameras.front.options]              # e.g. serial = "839112060000"
    [cameras.front.parameters]           # optional: this camera's own calibration
    T_base_camera = [[...], [...], [...], [...]]

    [timing]
    latency_ms = 50.0                    # L: what was seen at t_obs acts at t_obs + L
    max_plan_age_ms = 500.0              # an older plan is held, then stopped

tomlkit keeps a user's comments when ofp-edge writes a value back.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import tomlkit

from ofp_edge.errors import RigError
from ofp_edge.files import write_bytes
from ofp_edge.spec import PolicySpec
from ofp_edge.toml import Table, read_toml

SCHEMA_VERSION = 1


@dataclass(frozen=True)
class RobotEntry:
    """[robot]: the class that drives it and that class's own options."""

    driver: str
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class CameraEntry:
    """[cameras.<name>]: the class that reads it, its options, and what is known of its optics."""

    name: str
    driver: str
    max_age_ms: float = 200.0
    options: dict[str, Any] = field(default_factory=dict)
    parameters: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Timing:
    """[timing]: the constant latency L and the age past which a plan is no longer followed."""

    latency_ms: float
    max_plan_age_ms: float


@dataclass(frozen=True)
class Rig:
    """A parsed rig file."""

    path: Path
    robot: RobotEntry
    cameras: dict[str, CameraEntry]
    timing: Timing

    def require_fits(self, spec: PolicySpec) -> None:
        """Check the rig against a policy's spec; RigError names field, expected and got."""
        for name in spec.cameras:
            if name not in self.cameras:
                have = sorted(self.cameras) or "no camera"
                raise RigError(
                    f"{self.path}: [cameras.{name}]: expected by the policy, got {have}."
                )
        latency_steps = self.timing.latency_ms / 1000 / spec.dt_s
        if latency_steps > spec.horizon - spec.n_action_steps:
            limit = 1000 * (spec.horizon - spec.n_action_steps) * spec.dt_s
            raise RigError(
                f"{self.path}: [timing] latency_ms: expected at most {limit:g} ms "
                f"(horizon {spec.horizon} - n_action_steps {spec.n_action_steps} at "
                f"{spec.control_hz:g} Hz), got {self.timing.latency_ms:g} ms."
            )
        limit = 1000 * spec.horizon * spec.dt_s
        if self.timing.max_plan_age_ms > limit:
            raise RigError(
                f"{self.path}: [timing] max_plan_age_ms: expected at most {limit:g} ms "
                f"(a plan of {spec.horizon} steps), got {self.timing.max_plan_age_ms:g} ms."
            )


def read_rig(path: Path) -> Rig:
    """Parse and check a rig file; RigError names the entry that is wrong."""
    table = read_toml(path, RigError)
    version = table.take("schema_version", int)
    if version != SCHEMA_VERSION:
        raise RigError(f"{path}: schema_version: expected {SCHEMA_VERSION}, got {version}.")
    robot = table.sub("robot")
    cameras = table.sub("cameras", optional=True)
    timing = table.sub("timing")
    rig = Rig(
        path,
        RobotEntry(robot.take("driver", str), robot.take("options", dict, {})),
        {name: _camera(cameras.sub(name), name) for name in list(cameras.values)},
        Timing(
            timing.positive("latency_ms", allow_zero=True),
            timing.positive("max_plan_age_ms"),
        ),
    )
    for part in (robot, timing, table):
        part.nothing_left()
    return rig


def set_latency_ms(path: Path, latency_ms: float) -> None:
    """Write [timing] latency_ms back into a rig file; everything else, comments too, stays."""
    document = tomlkit.parse(path.read_text(encoding="utf-8"))
    document["timing"]["latency_ms"] = latency_ms
    write_bytes(path, tomlkit.dumps(document).encode())


def _camera(table: Table, name: str) -> CameraEntry:
    entry = CameraEntry(
        name,
        table.take("driver", str),
        table.positive("max_age_ms", default=200.0),
        table.take("options", dict, {}),
        table.take("parameters", dict, {}),
    )
    table.nothing_left()
    return entry
