"""The table [safety] of a rig: what the layer between policy and robot allows. Not safety-rated.

[safety]
max_state_age_ms = 200.0             # a robot state older than this stops the run
max_cut_in_a_row = 25                # more limited commands in a row stop the run
max_bridged_ticks = 2                # more impossible readings in a row stop the run
stop_socket = "/run/ofp-edge/stop"   # optional: a datagram "stop" stops the run for good
stop_silence_ms = 500.0              # optional: so does the silence of a pendant that says "go"
max_stall_ms = 1000.0                # a tick (`send`, say) that takes longer stops the run

[safety.limits.hand]                 # an action field; every entry is optional
measured = "state"                   # the state field that says where the robot is ...
measured_offset = 0                  # ... from this value on
physical_speed = 1.5                 # unit/s that the robot itself can reach, pushed or not
position_low = [-0.4, 0.3, 0.02]     # a box, in the field's unit: a workspace, joint limits;
position_high = [0.4, 0.9, 0.50]     # the policy's range is already one for an absolute action
max_velocity = 0.25                  # unit/s; for a position in metres, the vector's length
max_acceleration = 2.0               # unit/s^2
max_jerk = 40.0                      # unit/s^3
max_lead = 0.05                      # unit: how far an absolute target may be from the robot
max_first_step = 0.05                # unit: a first target further off stops the run

[safety.workspace]                   # optional: a position measured outside it stops the run
measured = "hand_pose"
physical_speed = 2.0                 # optional, as above: the length of the vector
low = [-0.5, 0.2, 0.0]
high = [0.5, 1.0, 0.6]
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from ofp_edge.errors import RigError
from ofp_edge.rig.goal_range import GoalRange, by_field, narrowed, require_fits
from ofp_edge.spec import ActionField, PolicySpec
from ofp_edge.strict import read_as, shown
from ofp_edge.toml import LARGEST, OPEN, SMALLEST, Table

DEFAULT_MAX_VELOCITY_M_S = 0.25
HAND_POSE, HAND_POSE_SIZE = "hand_pose", 7
"""A state that a robot may report besides the policy's: x, y, z in metres, then a quaternion."""
_RATES = ("max_velocity", "max_acceleration", "max_jerk", "max_lead", "max_first_step")
_BOX = ("position_low", "position_high")
_WITH_MEASURED = ("max_lead", "max_first_step", "physical_speed")


@dataclass(frozen=True)
class FieldLimits:
    """The limits of one action field, in its unit (per s, s^2, s^3); None means no such limit."""

    measured: str | None = None
    measured_offset: int = 0
    position_low: tuple[float, ...] | None = None
    position_high: tuple[float, ...] | None = None
    max_velocity: float | None = None
    max_acceleration: float | None = None
    max_jerk: float | None = None
    max_lead: float | None = None
    max_first_step: float | None = None
    physical_speed: float | None = None


@dataclass(frozen=True)
class Workspace:
    """A box that a measured position may not leave, in the state field's unit."""

    measured: str
    low: tuple[float, ...]
    high: tuple[float, ...]
    physical_speed: float | None = None


@dataclass(frozen=True)
class SafetyEntry:
    """[safety] of a rig; see the module."""

    max_state_age_ms: float = 200.0
    max_cut_in_a_row: int = 25
    stop_socket: str | None = None
    stop_silence_ms: float | None = None
    limits: dict[str, FieldLimits] = field(default_factory=dict)
    workspace: Workspace | None = None
    max_bridged_ticks: int = 2
    max_stall_ms: float = 1000.0
    goal_ranges: dict[str, GoalRange] = field(default_factory=dict)

    def told_within(
        self, spec: PolicySpec, low: Sequence[float], high: Sequence[float]
    ) -> SafetyEntry:
        """This entry for a robot that can be told places from `low` to `high` (action_dim,), in the
        actions' units. OfpError, one line, where the policy or the rig's boxes lie outside."""
        entry = replace(self, goal_ranges=by_field(spec, low, high))
        for action in spec.actions:
            limits, what = entry.limits_of(action), f"[safety.limits.{action.name}] and the robot"
            if limits.position_low is not None and limits.position_high is not None:
                _check_box(what, limits.position_low, limits.position_high)
                if action.kind == "absolute":
                    field_ = narrowed(action, entry.goal_ranges[action.name])
                    _check_overlap(what, limits.position_low, limits.position_high, field_)
        return entry

    def narrowed(self, spec: PolicySpec) -> PolicySpec:
        """The spec whose absolute actions have the range that the robot can be told."""
        actions = [narrowed(action, self.goal_ranges.get(action.name)) for action in spec.actions]
        return replace(spec, actions=tuple(actions))

    def limits_of(self, action: ActionField) -> FieldLimits:
        """Return the limits of an action field. A field that moves a point (unit m or m/s, three
        numbers) and names no velocity gets 0.25 m/s."""
        limits = self.limits.get(action.name, FieldLimits())
        if limits.max_velocity is None and is_cartesian(action):
            limits = replace(limits, max_velocity=DEFAULT_MAX_VELOCITY_M_S)
        ends = self.goal_ranges.get(action.name)
        if ends is None or action.kind == "absolute" or limits.measured is None:
            return limits
        low = tuple(map(max, limits.position_low or ends.low, ends.low))
        high = tuple(map(min, limits.position_high or ends.high, ends.high))
        return replace(limits, position_low=low, position_high=high)

    def require_fits(self, spec: PolicySpec, where: str) -> None:
        """Raise RigError, one line, when an entry fits no action or state of the policy, or limits
        something that cannot be limited."""
        actions = {f.name: f for f in spec.actions}
        states = {f.name: f.shape[0] for f in spec.states}
        states.setdefault(HAND_POSE, HAND_POSE_SIZE)
        times = ("max_state_age_ms", "stop_silence_ms", "max_stall_ms")
        _check_numbers(f"{where}: [safety]", self, times)
        for key, least in (("max_cut_in_a_row", 1), ("max_bridged_ticks", 0)):
            if (count := getattr(self, key)) < least:
                raise RigError(f"{where}: [safety] {key}: expected {least} or more, got {count}.")
        require_fits(self.goal_ranges, spec, where, RigError)
        for name in self.limits:
            entry = f"{where}: [safety.limits.{name}]"
            if name not in actions:
                raise RigError(f"{entry}: expected an action of {sorted(actions)}, got {name!r}.")
            _check_field(entry, self.limits_of(actions[name]), actions[name], states)
        if (box := self.workspace) is not None:
            entry = f"{where}: [safety.workspace]"
            _check_numbers(entry, box, ("physical_speed",))
            _check_box(entry, box.low, box.high)
            _check_measured(entry, box.measured, 0, len(box.low), states)

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values; `safety_from_json` is the inverse."""
        value = asdict(self)
        if not self.goal_ranges:  # as before there were any
            del value["goal_ranges"]
        return value


def is_cartesian(action: ActionField) -> bool:
    """Return whether the field moves a point in space: its rates are then lengths of vectors."""
    return action.unit in ("m", "m/s") and action.shape[0] == 3


def safety_from_json(value: Any, what: str = "safety") -> SafetyEntry:
    """Read what `SafetyEntry.to_json` wrote; an entry that an older log lacks gets its default.
    Raises RigError, one line that begins with `what`, when it is anything else."""
    return read_as(SafetyEntry, value, what, RigError)


def read_safety(table: Table) -> SafetyEntry:
    """Read the table [safety], which may be empty. Raises RigError naming the wrong entry."""
    limits = table.sub("limits", optional=True)
    box = table.sub("workspace") if "workspace" in table.values else None
    socket = table.text("stop_socket")
    silence = table.positive("stop_silence_ms") if "stop_silence_ms" in table.values else None
    with table.collecting():
        if silence is not None and socket is None:
            raise RigError(f"{table.path}: {table.where('stop_silence_ms')}: expected stop_socket.")
    entry = SafetyEntry(
        table.positive("max_state_age_ms", default=200.0),
        table.count("max_cut_in_a_row", 25),
        socket,
        silence,
        {name: _field(limits.sub(name)) for name in list(limits.values)},
        None if box is None else _workspace(box),
        table.count("max_bridged_ticks", 2, least=0),
        table.positive("max_stall_ms", default=1000.0),
    )
    table.nothing_left()
    return entry


def _field(table: Table) -> FieldLimits:
    values: dict[str, Any] = {
        key: table.positive(key) for key in (*_RATES, "physical_speed") if key in table.values
    } | {key: _numbers(table, key) for key in _BOX if key in table.values}
    values["measured"] = table.text("measured")
    values["measured_offset"] = table.count("measured_offset", 0, least=0)
    table.nothing_left()
    return FieldLimits(**values)


def _workspace(table: Table) -> Workspace:
    speed = table.positive("physical_speed") if "physical_speed" in table.values else None
    low, high = _numbers(table, "low"), _numbers(table, "high")
    box = Workspace(table.take("measured", str), low, high, speed)
    table.nothing_left()
    return box


def _numbers(table: Table, key: str) -> tuple[float, ...]:
    stated = table.values.get(key)
    values: list[Any] = table.take(key, list)
    said = values is not stated or (table.found is not None and OPEN in values)
    with table.collecting():
        if all(type(x) in (int, float) and abs(x) <= LARGEST for x in values or [OPEN]):
            return tuple(float(x) for x in values)
        if not said:
            got = shown(values)
            raise RigError(f"{table.path}: {table.where(key)}: expected numbers, got {got}.")
    return ()


def _check_field(
    entry: str, limits: FieldLimits, action: ActionField, states: dict[str, int]
) -> None:
    size, absolute = action.shape[0], action.kind == "absolute"
    low, high = limits.position_low, limits.position_high
    _check_numbers(entry, limits, (*_RATES, "physical_speed"))
    if (low is None) != (high is None):
        raise RigError(f"{entry}: expected position_low and position_high together.")
    if low is not None and high is not None:
        if len(low) != size:
            raise RigError(f"{entry} position_low: expected {size} numbers, got {len(low)}.")
        _check_box(entry, low, high)
        if absolute:
            _check_overlap(entry, low, high, action)
    needs = [key for key in _WITH_MEASURED if getattr(limits, key) is not None]
    if low is not None and not absolute:
        needs.append("position_low")
    if limits.measured is not None:
        _check_measured(entry, limits.measured, limits.measured_offset, size, states)
    elif needs:
        raise RigError(f"{entry} {needs[0]}: expected `measured` with it.")
    if limits.max_lead is not None and not absolute:
        raise RigError(
            f"{entry} max_lead: a {action.kind} has no target that could lead; give "
            "position_low and position_high."
        )
    fast, most = limits.physical_speed, limits.max_velocity
    if fast is not None and most is not None and fast < most:
        raise RigError(
            f"{entry} physical_speed: expected max_velocity = {most:g} or more, got {fast:g}."
        )
    given = [key for key in (*_RATES, *_BOX) if getattr(limits, key) is not None]
    if given and action.rotation in ("quaternion", "rot6d"):
        raise RigError(f"{entry}: a {action.rotation}'s numbers can't be limited one by one.")
    if given and action.scale == 0:
        raise RigError(f"{entry}: the action's scale is 0: nothing of it could be limited.")


def _check_measured(entry: str, name: str, offset: int, size: int, states: dict[str, int]) -> None:
    if name not in states:
        raise RigError(f"{entry} measured: expected one of {sorted(states)}, got {name!r}.")
    if offset < 0 or offset + size > states[name]:
        what = "measured_offset" if offset else "measured"
        raise RigError(
            f"{entry} {what}: {name!r} has {states[name]} values, expected {offset + size} or more."
        )


def _check_box(entry: str, low: tuple[float, ...], high: tuple[float, ...]) -> None:
    pairs = list(zip(low, high, strict=False))
    whole = pairs and len(low) == len(high) and all(abs(x) <= LARGEST for x in (*low, *high))
    if not whole or not all(a < b for a, b in pairs):
        raise RigError(
            f"{entry}: expected finite low < high, as many numbers each, got {shown(low)}, "
            f"{shown(high)}."
        )


def _check_overlap(
    entry: str, low: tuple[float, ...], high: tuple[float, ...], action: ActionField
) -> None:
    for a, b, *ends in zip(low, high, action.low, action.high, strict=True):
        least, most = sorted(end * action.scale for end in ends)
        if a > most or b < least:
            raise RigError(
                f"{entry} position_low: {a:g}..{b:g} holds no place of the action's range "
                f"{least:g}..{most:g}."
            )


def _check_numbers(entry: str, values: object, keys: tuple[str, ...]) -> None:
    for key in keys:
        number = getattr(values, key)
        if number is not None and not SMALLEST <= number <= LARGEST:
            raise RigError(f"{entry} {key}: expected a positive number, got {number!r}.")
