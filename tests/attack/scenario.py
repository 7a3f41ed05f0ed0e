"""What a schedule is run on, drawn from a seed: a policy's interface, and a rig with its limits.

Everything that the oracle knows of the limits stands here as numbers; the code under test gets them
as a rig file, as a user would write it.
"""

from __future__ import annotations

import functools
import os
import tempfile
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import tomlkit
from numpy.typing import NDArray

from ofp_edge.fields import State
from ofp_edge.rig.file import Rig, read_rig
from ofp_edge.spec import ActionField, PolicySpec

CONTROL_HZ = (10.0, 20.0, 30.0, 50.0)
_DEFAULT_M_S = 0.25  # docs/safety.md: a field that moves a point and names no velocity
MS = 1e6
_MEMORY = "/dev/shm"


@dataclass(frozen=True)
class Part:
    """One action field as the oracle sees it; of one thing, numbers in `unit`.

    reach: half the width of the range it works in. columns: its place in the action vector.
    state: the state field and first value that say where it is. limits: what the rig says.
    """

    action: ActionField
    columns: slice
    reach: float
    state: tuple[str, int]
    limits: dict[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return self.action.name

    @property
    def size(self) -> int:
        return self.action.shape[0]

    @property
    def is_point(self) -> bool:
        """Its rates are lengths of vectors."""
        return self.action.unit in ("m", "m/s") and self.size == 3

    def length(self, value: NDArray[np.float64]) -> float:
        """Of a point that of the vector, of anything else its largest number."""
        return float(np.linalg.norm(value) if self.is_point else np.abs(value).max())

    @property
    def physical_speed(self) -> float:
        """What the robot itself can do, said in the rig or not, unit/s."""
        return 2.0 * self.reach

    @property
    def max_velocity(self) -> float | None:
        given = self.limits.get("max_velocity")
        return _DEFAULT_M_S if given is None and self.is_point else given

    @property
    def measured(self) -> bool:
        """Whether the rig says where its position is read."""
        return "measured" in self.limits


@dataclass(frozen=True)
class Scenario:
    """A policy and its rig. smooth: the plans are a policy's; otherwise anything at all."""

    spec: PolicySpec
    parts: tuple[Part, ...]
    timing: dict[str, Any]
    safety: dict[str, Any]
    smooth: bool

    @property
    def dt_ns(self) -> int:
        return round(1e9 / self.spec.control_hz)

    @property
    def latency_ns(self) -> int:
        return round(self.timing["latency_ms"] * MS)

    @property
    def max_plan_age_ns(self) -> int:
        return round(self.timing["max_plan_age_ms"] * MS)

    @property
    def max_state_age_ns(self) -> int:
        return round(self.safety["max_state_age_ms"] * MS)

    def rig(self) -> Rig:
        """The rig as it is read from its file."""
        limits = {part.name: part.limits for part in self.parts if part.limits}
        document = {
            "schema_version": 1,
            "robot": {"driver": "none:None"},
            "timing": self.timing,
            "safety": {**self.safety, **({"limits": limits} if limits else {})},
        }
        path = Path(_folder().name) / "rig.toml"
        path.write_text(tomlkit.dumps(document))
        return read_rig(path)

    def without(self, names: frozenset[str]) -> Scenario:
        """Without these limits ("hand.max_jerk", "workspace"): for smaller failures."""
        parts = tuple(
            replace(
                part,
                limits={k: v for k, v in part.limits.items() if f"{part.name}.{k}" not in names},
            )
            for part in self.parts
        )
        safety = {k: v for k, v in self.safety.items() if k not in names}
        return replace(self, parts=parts, safety=safety)

    def limit_names(self) -> list[str]:
        """What `without` takes, one by one."""
        names = [f"{p.name}.{k}" for p in self.parts for k in p.limits if "measured" not in k]
        return [*names, *(k for k in self.safety if k == "workspace")]


@functools.cache
def _folder() -> tempfile.TemporaryDirectory[str]:
    """One for all rigs of this process, in memory: a busy disk takes longer than a schedule."""
    return tempfile.TemporaryDirectory(dir=_MEMORY if os.path.isdir(_MEMORY) else None)


def draw_scenario(seed: int) -> Scenario:
    """Any robot, any combination of limits."""
    rng = np.random.default_rng([seed, 1])
    hz = float(rng.choice(CONTROL_HZ))
    actions, reaches, states, start = _fields(rng)
    horizon = int(rng.integers(4, 25))
    start_index = int(rng.integers(0, 3)) if rng.random() < 0.2 else 0
    steps = horizon - start_index
    n_action = int(rng.integers(1, steps))
    spec = PolicySpec(
        (
            State("state", (start,), "1", "base", (-9.0,) * start, (9.0,) * start),
            State("tip", (3,), "m", "base", (-9.0,) * 3, (9.0,) * 3),
        ),
        tuple(actions),
        1 if rng.random() < 0.8 else 2,
        horizon,
        n_action,
        hz,
        start_index,
    )
    parts, column = [], 0
    for action, reach, state in zip(actions, reaches, states, strict=True):
        size = action.shape[0]
        part = Part(action, slice(column, column + size), reach, state)
        parts.append(replace(part, limits=_limits(rng, part, 1 / hz)))
        column += size
    return Scenario(
        spec, tuple(parts), _timing(rng, spec), _safety(rng, 1e3 / hz), bool(rng.random() < 0.6)
    )


def _fields(
    rng: np.random.Generator,
) -> tuple[list[ActionField], list[float], list[tuple[str, int]], int]:
    actions, reaches, states, start = [], [], [], 0
    for name in ("hand", "arm", "grip")[int(rng.integers(0, 3)) :][: int(rng.integers(1, 3))]:
        kind = str(rng.choice(["absolute", "delta", "velocity"]))
        size = {"hand": 3, "arm": int(rng.integers(1, 7)), "grip": 1}[name]
        reach = {"hand": 0.6, "arm": 2.0, "grip": 1.0}[name]
        unit = {"hand": "m", "arm": "rad", "grip": "1"}[name]
        hold, scale, low, high = None, 1.0, -reach, reach
        if kind != "absolute":
            hold, low, high = 0.0, -1.0, 1.0
            scale = float(rng.uniform(0.5, 2.0) * reach) * (1.0 if kind == "velocity" else 0.05)
            unit = f"{unit}/s" if kind == "velocity" else unit
        elif rng.random() < 0.5:
            scale = float(rng.choice([0.01, 0.5, 3.0]))
            low, high = low / scale, high / scale
        if rng.random() < 0.1:
            scale = -scale
        actions.append(
            ActionField(
                name,
                (size,),
                unit,
                "base",
                kind,
                scale,
                (low,) * size,
                (high,) * size,
                hold,  # type: ignore[arg-type]
                "nearest" if name == "grip" and rng.random() < 0.5 else "linear",
            )
        )
        reaches.append(reach)
        states.append(("state", start))
        start += size
    return actions, reaches, states, start + int(rng.integers(0, 3))


def _limits(rng: np.random.Generator, part: Part, dt_s: float) -> dict[str, Any]:
    """Any combination; numbers in which a limit and a period fit each other, mostly."""
    if rng.random() < 0.1:
        return {}
    speed = float(part.reach * rng.choice([0.2, 0.5, 1.5]))
    force = speed / dt_s / float(rng.choice([1.5, 4.0, 12.0]))
    found: dict[str, Any] = {}
    if rng.random() < 0.7:
        found["measured"], found["measured_offset"] = part.state
    if rng.random() < 0.6:
        found["max_velocity"] = speed
    if rng.random() < 0.6:
        found["max_acceleration"] = force
    if rng.random() < 0.4:
        found["max_jerk"] = force / dt_s / float(rng.choice([1.0, 3.0, 8.0]))
    if "measured" in found and part.action.kind == "absolute" and rng.random() < 0.5:
        found["max_lead"] = float(part.reach * rng.choice([0.03, 0.1, 0.4]))
    if "measured" in found and rng.random() < 0.6:
        found["physical_speed"] = part.physical_speed
    if "measured" in found and rng.random() < 0.3:
        found["max_first_step"] = float(part.reach * rng.choice([0.1, 0.5]))
    boxed = "measured" in found or part.action.kind == "absolute"
    if boxed and rng.random() < 0.5:
        low, high = (part.reach * rng.uniform(0.3, 1.3, part.size) for _ in range(2))
        found["position_low"], found["position_high"] = (-low).tolist(), high.tolist()
    return found


def _timing(rng: np.random.Generator, spec: PolicySpec) -> dict[str, Any]:
    dt_ms = 1e3 / spec.control_hz
    latency = float(rng.uniform(0, min(4, spec.plan_steps - spec.n_action_steps)))
    if rng.random() < 0.4:
        latency = float(round(latency))
    age = float(rng.uniform(latency + spec.n_action_steps, spec.plan_steps))
    timing = {"latency_ms": latency * dt_ms, "max_plan_age_ms": age * dt_ms}
    if rng.random() < 0.5:
        timing["cross_fade_steps"] = int(rng.integers(0, min(6, spec.plan_steps)))
    return timing


def _safety(rng: np.random.Generator, dt_ms: float) -> dict[str, Any]:
    safety: dict[str, Any] = {
        "max_state_age_ms": float(dt_ms * rng.choice([1.5, 3.0, 10.0])),
        "max_cut_in_a_row": int(rng.choice([2, 25, 10_000])),
    }
    if rng.random() < 0.3:
        safety["workspace"] = {"measured": "tip", "low": [-0.5] * 3, "high": [0.5] * 3}
        if rng.random() < 0.5:
            safety["workspace"]["physical_speed"] = 2.0
    if rng.random() < 0.3:
        safety["max_bridged_ticks"] = int(rng.integers(0, 4))
    return safety
