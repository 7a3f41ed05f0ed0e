"""[safety] of a rig: what the layer between policy and robot allows. Not safety-rated.

[safety]
max_state_age_ms = 200.0             # older words of the robot: stop
max_cut_in_a_row = 25                # so many limited commands one after the other: stop
stop_socket = "/run/ofp-edge/stop"   # optional: a datagram "stop" stops for good
stop_silence_ms = 500.0              # optional: so does silence, of a pendant that says "go"
max_stall_ms = 1000.0                # one tick (`send`, say) took longer: stop

[safety.limits.hand]                 # an action field; every entry is optional
measured = "state"                   # the state field that says where it is ...
measured_offset = 0                  # ... from this value on
position_low = [-0.4, 0.3, 0.02]     # a box, in the field's unit: a workspace, joint limits
position_high = [0.4, 0.9, 0.50]
max_velocity = 0.25                  # unit/s; of a position in metres the length of the vector
max_acceleration = 2.0               # unit/s^2
max_jerk = 40.0                      # unit/s^3
max_lead = 0.05                      # unit: how far a target may be from where it is
max_first_step = 0.05                # unit: the first target further off than this: stop

[safety.workspace]                   # optional: a measured position outside of it: stop
measured = "hand_pose"
low = [-0.5, 0.2, 0.0]
high = [0.5, 1.0, 0.6]
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from ofp_edge.errors import RigError
from ofp_edge.spec import ActionField, PolicySpec
from ofp_edge.toml import Table

DEFAULT_MAX_VELOCITY_M_S = 0.25
_RATES = ("max_velocity", "max_acceleration", "max_jerk", "max_lead", "max_first_step")


@dataclass(frozen=True)
class FieldLimits:
    """Of one action field, in its unit (per s, s^2, s^3); None: no such limit."""

    measured: str | None = None
    measured_offset: int = 0
    position_low: tuple[float, ...] | None = None
    position_high: tuple[float, ...] | None = None
    max_velocity: float | None = None
    max_acceleration: float | None = None
    max_jerk: float | None = None
    max_lead: float | None = None
    max_first_step: float | None = None


@dataclass(frozen=True)
class Workspace:
    """A box that a measured position may not leave, in the state field's unit."""

    measured: str
    low: tuple[float, ...]
    high: tuple[float, ...]


@dataclass(frozen=True)
class SafetyEntry:
    """[safety] of a rig; see the module."""

    max_state_age_ms: float = 200.0
    max_cut_in_a_row: int = 25
    stop_socket: str | None = None
    stop_silence_ms: float | None = None
    limits: dict[str, FieldLimits] = field(default_factory=dict)
    workspace: Workspace | None = None
    max_stall_ms: float = 1000.0

    def limits_of(self, action: ActionField) -> FieldLimits:
        """The limits of an action field. One that moves a point (unit m or m/s, three numbers) and
        names no velocity has 0.25 m/s."""
        limits = self.limits.get(action.name, FieldLimits())
        if limits.max_velocity is None and is_cartesian(action):
            return FieldLimits(**{**asdict(limits), "max_velocity": DEFAULT_MAX_VELOCITY_M_S})
        return limits

    def require_fits(self, spec: PolicySpec, where: str) -> None:
        """RigError, one line, where an entry fits neither an action nor a state of the policy."""
        actions = {f.name: f for f in spec.actions}
        states = {f.name: f.shape[0] for f in spec.observations if f.kind == "state"}
        for name, limits in self.limits.items():
            entry = f"{where}: [safety.limits.{name}]"
            if name not in actions:
                raise RigError(f"{entry}: expected an action of {sorted(actions)}, got {name!r}.")
            _check_field(entry, limits, actions[name], states)
        if self.workspace is not None:
            _check_box(f"{where}: [safety.workspace]", self.workspace.low, self.workspace.high)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values; `safety_from_json` is the inverse."""
        return asdict(self)


def is_cartesian(action: ActionField) -> bool:
    """Whether the field moves a point in space: its rates are then lengths of vectors."""
    return action.unit in ("m", "m/s") and action.shape[0] == 3


def safety_from_json(value: dict[str, Any]) -> SafetyEntry:
    """What `SafetyEntry.to_json` wrote, read back."""
    limits = {name: FieldLimits(**_tuples(x)) for name, x in value["limits"].items()}
    box = value["workspace"]
    return SafetyEntry(
        **{**value, "limits": limits, "workspace": box and Workspace(**_tuples(box))}
    )


def read_safety(table: Table) -> SafetyEntry:
    """The table [safety], which may be empty. RigError names the entry that is wrong."""
    limits = table.sub("limits", optional=True)
    box = table.sub("workspace", optional=True)
    socket = table.take("stop_socket", str, "") or None
    silence = table.positive("stop_silence_ms") if "stop_silence_ms" in table.values else None
    if silence is not None and socket is None:
        raise RigError(f"{table.path}: {table.where('stop_silence_ms')}: expected stop_socket.")
    entry = SafetyEntry(
        table.positive("max_state_age_ms", default=200.0),
        table.count("max_cut_in_a_row", 25),
        socket,
        silence,
        {name: _field(limits.sub(name)) for name in list(limits.values)},
        _workspace(box) if box.values else None,
        table.positive("max_stall_ms", default=1000.0),
    )
    table.nothing_left()
    return entry


def _field(table: Table) -> FieldLimits:
    values: dict[str, Any] = {
        key: table.positive(key) for key in _RATES if key in table.values
    } | {key: _numbers(table, key) for key in ("position_low", "position_high")
         if key in table.values}  # fmt: skip
    values["measured"] = table.take("measured", str, "") or None
    values["measured_offset"] = table.count("measured_offset", 0, least=0)
    table.nothing_left()
    return FieldLimits(**values)


def _workspace(table: Table) -> Workspace:
    box = Workspace(table.take("measured", str), _numbers(table, "low"), _numbers(table, "high"))
    table.nothing_left()
    return box


def _numbers(table: Table, key: str) -> tuple[float, ...]:
    values = table.take(key, list)
    if not values or not all(type(x) in (int, float) for x in values):
        raise RigError(f"{table.path}: {table.where(key)}: expected numbers, got {values!r}.")
    return tuple(float(x) for x in values)


def _check_field(
    entry: str, limits: FieldLimits, action: ActionField, states: dict[str, int]
) -> None:
    size = action.shape[0]
    low, high = limits.position_low, limits.position_high
    if (low is None) != (high is None):
        raise RigError(f"{entry}: expected position_low and position_high together.")
    if low is not None and high is not None:
        if len(low) != size:
            raise RigError(f"{entry} position_low: expected {size} numbers, got {len(low)}.")
        _check_box(entry, low, high)
    if limits.measured is not None:
        if limits.measured not in states:
            have = sorted(states) or "no state"
            raise RigError(f"{entry} measured: expected one of {have}, got {limits.measured!r}.")
        if limits.measured_offset + size > states[limits.measured]:
            raise RigError(
                f"{entry} measured_offset: {limits.measured!r} has {states[limits.measured]} "
                f"values, expected {limits.measured_offset + size} or more."
            )
    needs = [key for key in ("max_lead", "max_first_step") if getattr(limits, key) is not None]
    if low is not None and action.kind != "absolute":
        needs.append("position_low")
    if needs and limits.measured is None:
        raise RigError(f"{entry} {needs[0]}: expected `measured` with it.")
    if action.rotation in ("quaternion", "rot6d") and any(
        getattr(limits, key) is not None for key in _RATES
    ):
        raise RigError(f"{entry}: a {action.rotation}'s numbers can't be limited one by one.")


def _check_box(entry: str, low: tuple[float, ...], high: tuple[float, ...]) -> None:
    if len(low) != len(high) or not all(a < b for a, b in zip(low, high, strict=True)):
        raise RigError(f"{entry}: expected low < high, as many numbers each, got {low}, {high}.")


def _tuples(value: dict[str, Any]) -> dict[str, Any]:
    return {key: tuple(x) if isinstance(x, list) else x for key, x in value.items()}
