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

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import tomlkit
from tomlkit.exceptions import TOMLKitError

from ofp_edge.errors import RigError
from ofp_edge.files import write_bytes
from ofp_edge.spec import PolicySpec

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
    try:
        document = tomlkit.parse(path.read_text(encoding="utf-8")).unwrap()
    except FileNotFoundError:
        raise RigError(f"{path} does not exist.") from None
    except OSError as cause:
        raise RigError(f"{path} cannot be read: {cause.strerror}.") from None
    except (TOMLKitError, UnicodeDecodeError) as cause:
        raise RigError(f"{path} is not valid TOML: {cause}") from None
    table = _Table(path, "", document)
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


def _camera(table: _Table, name: str) -> CameraEntry:
    entry = CameraEntry(
        name,
        table.take("driver", str),
        table.positive("max_age_ms", default=200.0),
        table.take("options", dict, {}),
        table.take("parameters", dict, {}),
    )
    table.nothing_left()
    return entry


class _Table:
    """One TOML table being read: takes entries by name and type, then insists it is empty."""

    def __init__(self, path: Path, name: str, values: dict[str, Any]) -> None:
        self.path, self.name, self.values = path, name, dict(values)

    def take(self, key: str, kind: type[Any], default: Any = None) -> Any:
        if key not in self.values:
            if default is None:
                raise RigError(f"{self.path}: {self._where(key)}: missing.")
            return default
        value = self.values.pop(key)
        wanted = (int, float) if kind is float else kind
        if not isinstance(value, wanted) or (isinstance(value, bool) and kind is not bool):
            raise RigError(
                f"{self.path}: {self._where(key)}: expected {kind.__name__}, got {value!r}."
            )
        return value

    def positive(
        self, key: str, default: float | None = None, *, allow_zero: bool = False
    ) -> float:
        value = float(self.take(key, float, default))
        if not (0 < value < math.inf or (allow_zero and value == 0)):
            raise RigError(
                f"{self.path}: {self._where(key)}: expected a positive number, got {value!r}."
            )
        return value

    def sub(self, key: str, *, optional: bool = False) -> _Table:
        name = f"{self.name}.{key}" if self.name else key
        return _Table(self.path, name, self.take(key, dict, {} if optional else None))

    def nothing_left(self) -> None:
        if self.values:
            raise RigError(f"{self.path}: {self._where(next(iter(self.values)))}: unknown entry.")

    def _where(self, key: str) -> str:
        return f"[{self.name}] {key}" if self.name else key
