"""PolicySpec: what a policy sees and does (`Interface`) and in which steps (`Chunking`).

The interface is named, typed and carries units; it travels unchanged from the dataset to the policy
and the bundle, and every boundary checks it. A dataset has an interface and a rate, and no chunks.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, TypeVar

from ofp_edge.errors import SpecMismatch
from ofp_edge.fields import State
from ofp_edge.fields.field import ObservationField as ObservationField
from ofp_edge.fields.measured import Measured, check_range, check_shape
from ofp_edge.strict import Place, read_as, shown

ActionKind = Literal["absolute", "delta", "velocity"]
Interpolation = Literal["linear", "nearest"]
Rotation = Literal["quaternion", "rotvec", "rot6d"]
AnyInterface = TypeVar("AnyInterface", bound="Interface")
SLOWEST_HZ, FASTEST_HZ = 1e-3, 1e5
_MOST_OBSERVATIONS, _LONGEST_HORIZON = 1000, 100_000
_ROTATION_LENGTHS = {"quaternion": 4, "rotvec": 3, "rot6d": 6}


@dataclass(frozen=True)
class ActionField:
    """One part of the action vector, float32, shape (D,).

    `scale` turns a raw value into `unit`: a raw 1.0 is `scale` units (of movement, for a delta).
    `hold` is the raw value that means "stay": a number for delta and velocity, None ("the last
    value sent") for absolute. Discrete fields (grippers) interpolate "nearest". `rotation`: the
    form of a field that is one: "quaternion" (x, y, z, w), "rotvec" (axis times angle) or "rot6d"
    (two columns of the matrix), see ofp_edge/rotation.py.
    """

    name: str
    shape: tuple[int]
    unit: str
    frame: str
    kind: ActionKind
    scale: float
    low: tuple[float, ...]
    high: tuple[float, ...]
    hold: float | None = None
    interpolation: Interpolation = "linear"
    rotation: Rotation | None = None

    def __post_init__(self) -> None:
        check_shape(f"action {self.name!r}", self.shape)
        if self.kind not in ("absolute", "delta", "velocity"):
            raise SpecMismatch(
                f"action {self.name!r}, kind", "absolute, delta or velocity", self.kind
            )
        if (self.hold is None) != (self.kind == "absolute"):
            raise SpecMismatch(f"action {self.name!r}, hold", "a number unless absolute", self.hold)
        if not _finite(self.scale):
            raise SpecMismatch(f"action {self.name!r}, scale", "a number", repr(self.scale))
        if self.hold is not None and not _finite(self.hold):
            raise SpecMismatch(f"action {self.name!r}, hold", "a number", repr(self.hold))
        if self.interpolation not in ("linear", "nearest"):
            raise SpecMismatch(
                f"action {self.name!r}, interpolation", "linear or nearest", self.interpolation
            )
        check_range(f"action {self.name!r}", self.shape[0], self.low, self.high)
        if self.rotation is None:
            return
        if self.rotation not in _ROTATION_LENGTHS:
            expected = ", ".join(_ROTATION_LENGTHS)
            raise SpecMismatch(f"action {self.name!r}, rotation", expected, self.rotation)
        if self.shape[0] != (length := _ROTATION_LENGTHS[self.rotation]):
            raise SpecMismatch(f"action {self.name!r}, {self.rotation}", (length,), self.shape)


@dataclass(frozen=True)
class Interface:
    """The fields that a policy sees and does. Immutable; equality is field by field.

    `actions` is empty for a robot that is only asked for its state (`calibrate record`); datasets
    and policies have at least one.
    """

    observations: tuple[ObservationField, ...]
    actions: tuple[ActionField, ...]

    def __post_init__(self) -> None:
        if not self.observations:
            raise SpecMismatch("spec", "at least one observation", "none")
        names = [f.name for f in self.observations] + [f.name for f in self.actions]
        if len(set(names)) != len(names):
            raise SpecMismatch("spec, field names", "unique names", names)
        for item in self.observations:
            self._check_origin(item)

    def _check_origin(self, item: ObservationField) -> None:
        if not isinstance(item, Measured) or item.origin is None:
            return
        states = [f for f in self.observations if isinstance(f, State)]
        fits = [f.name for f in states if f.shape[0] >= 3 and f.frame == item.frame]
        if item.origin not in fits:
            expected = f"one of the state fields {fits} (3 values or more, frame {item.frame!r})"
            raise SpecMismatch(f"observation {item.name!r}, origin", expected, item.origin)

    @property
    def action_dim(self) -> int:
        """Return the length of one action vector: the action fields in order, concatenated."""
        return sum(field.shape[0] for field in self.actions)

    @property
    def action_scale(self) -> tuple[float, ...]:
        """Return `ActionField.scale` per action dimension."""
        return tuple(field.scale for field in self.actions for _ in range(field.shape[0]))

    @property
    def action_units(self) -> tuple[str, ...]:
        """Return `ActionField.unit` per action dimension."""
        return tuple(field.unit for field in self.actions for _ in range(field.shape[0]))

    @property
    def states(self) -> tuple[ObservationField, ...]:
        """Return the observations that the robot reports."""
        return tuple(f for f in self.observations if f.stream is None and not f.told)

    @property
    def cameras(self) -> tuple[str, ...]:
        """Return the names of the cameras the observations need, without repetition."""
        return tuple(dict.fromkeys(f.camera for f in self.observations if f.camera is not None))

    def only_images(self, camera: str) -> bool:
        """Return whether colour images alone are made of this camera: lens and place do not enter
        them."""
        seen = [f for f in self.observations if f.camera == camera]
        return all(f.stream == "color" and not f.places for f in seen)

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values; `from_json` is the inverse."""
        plain: dict[str, Any] = _plain(asdict(self))
        return plain

    @classmethod
    def from_json(cls: type[AnyInterface], value: Any) -> AnyInterface:
        """Read plain JSON strictly: unknown, missing or ill-typed entries raise SpecMismatch."""
        _check_keys(cls, value, "spec")
        for key, kind in (("observations", ObservationField), ("actions", ActionField)):
            if not isinstance(value[key], list):
                raise SpecMismatch(f"spec.{key}", "a list", type(value[key]).__name__)
            for number, item in enumerate(value[key]):
                found: type[Any] = kind
                if kind is ObservationField and isinstance(item, dict):
                    found = kind.class_of(item, Place("spec", f"{key}[{number}]", SpecMismatch))
                _check_keys(found, item, f"spec.{key}[{number}]")
                if not isinstance(shape := item["shape"], list):
                    where = f"spec: {key}[{number}].shape"
                    raise SpecMismatch(where, "positive whole numbers", shown(shape))
        return read_as(cls, value, "spec", SpecMismatch)

    def require_actions(self) -> None:
        """Raise SpecMismatch when there are no actions."""
        if not self.actions:
            raise SpecMismatch("spec", "at least one observation and one action", "none")


@dataclass(frozen=True)
class Chunking:
    """The steps in which a policy sees and acts.

    It sees the last `n_obs_steps` observations and predicts `horizon` actions, of which the first
    `n_action_steps` are executed before the next inference; one control step lasts `1 / control_hz`
    seconds. `start_index` is the predicted action that acts at the time of the observation: 0 for
    ours; policies from elsewhere begin their chunk with the oldest frame.
    """

    n_obs_steps: int
    horizon: int
    n_action_steps: int
    control_hz: float
    start_index: int = 0

    def __post_init__(self) -> None:
        for name in ("n_obs_steps", "horizon", "n_action_steps", "start_index"):
            if not isinstance(getattr(self, name), int):
                raise SpecMismatch(name, "a whole number", repr(getattr(self, name)))
        if not 0 <= self.start_index < self.horizon:
            raise SpecMismatch("start_index", f"0..{self.horizon - 1}", self.start_index)
        if not 1 <= self.n_action_steps <= self.plan_steps:
            what = "horizon - start_index" if self.start_index else "horizon"
            expected = f"1..{self.plan_steps} ({what})"
            raise SpecMismatch("n_action_steps", expected, self.n_action_steps)
        if self.n_obs_steps < 1 or not self.control_hz > 0:
            got = (self.n_obs_steps, self.control_hz)
            raise SpecMismatch("n_obs_steps, control_hz", "positive", got)
        if self.n_obs_steps > _MOST_OBSERVATIONS or self.horizon > _LONGEST_HORIZON:
            expected = f"at most {_MOST_OBSERVATIONS}, {_LONGEST_HORIZON}"
            got = (self.n_obs_steps, self.horizon)
            raise SpecMismatch("n_obs_steps, horizon", expected, got)
        require_rate(self.control_hz)

    @property
    def plan_steps(self) -> int:
        """Return the number of actions from the observation on: all but the leading ones."""
        return self.horizon - self.start_index

    @property
    def dt_s(self) -> float:
        """Return the seconds of one control step."""
        return 1.0 / self.control_hz

    @property
    def dt_ns(self) -> int:
        """Return the nanoseconds of one control step."""
        return round(1e9 / self.control_hz)


@dataclass(frozen=True)
class PolicySpec(Chunking, Interface):
    """A policy's whole spec: an Interface that has a Chunking, so it stands wherever either is
    asked for. Its JSON and its arguments are the interface's, then the chunking's. Immutable;
    equality is field by field."""

    def __post_init__(self) -> None:
        Interface.__post_init__(self)
        Chunking.__post_init__(self)
        self.require_actions()

    @staticmethod
    def of(interface: Interface, chunking: Chunking) -> PolicySpec:
        """Join an interface and its chunking."""
        return PolicySpec(**{**_entries(Interface, interface), **_entries(Chunking, chunking)})

    @property
    def interface(self) -> Interface:
        """Return the fields alone."""
        return Interface(**_entries(Interface, self))

    @property
    def chunking(self) -> Chunking:
        """Return the steps alone."""
        return Chunking(**_entries(Chunking, self))

    def require_same(self, other: PolicySpec, what: str) -> None:
        """Raise SpecMismatch naming the first entry in which `other` differs."""
        theirs = _entries(PolicySpec, other)
        for name, expected in _entries(PolicySpec, self).items():
            if expected != theirs[name]:
                raise SpecMismatch(f"{what}, {name}", expected, theirs[name])


def require_rate(control_hz: float) -> None:
    """Raise SpecMismatch when `control_hz` is no control rate."""
    if isinstance(control_hz, bool) or not SLOWEST_HZ <= control_hz <= FASTEST_HZ:
        raise SpecMismatch("control_hz", f"{SLOWEST_HZ:g}..{FASTEST_HZ:g} Hz", control_hz)


def _entries(kind: type[Any], value: Any) -> dict[str, Any]:
    """The entries of the dataclass `kind` that `value` has, which may have more."""
    return {field.name: getattr(value, field.name) for field in fields(kind)}


def _finite(value: object) -> bool:
    plain = isinstance(value, (int, float)) and not isinstance(value, bool)
    return plain and math.isfinite(value)  # type: ignore[arg-type]


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value


def _check_keys(kind: type[Any], value: Any, what: str) -> None:
    if not isinstance(value, dict):
        raise SpecMismatch(what, "an object", type(value).__name__)
    known = {field.name for field in fields(kind)}
    if extra := sorted(set(value) - known):
        raise SpecMismatch(what, f"the keys {sorted(known)}", f"also {shown(extra)}")
    optional = {"camera", "origin", "hold", "interpolation", "rotation", "start_index"}
    if missing := sorted(known - optional - set(value)):
        raise SpecMismatch(what, f"the keys {sorted(known)}", f"without {missing}")
