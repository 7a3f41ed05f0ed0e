"""A policy's interface: what it refuses, and that it survives the way through JSON."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ofp_edge.errors import OfpError, SpecMismatch
from ofp_edge.spec import ActionField, Chunking, Interface, ObservationField, PolicySpec

STATE = ObservationField("hand", "state", (3,), "m", "base", (-1.0,) * 3, (1.0,) * 3)
POINTS = ObservationField(
    "points", "points", (3, 64), "m", "base", (-1.0, 0.0, 0.0), (1.0, 2.0, 1.0), camera="front"
)
RGB = ObservationField(
    "rgb", "rgb", (3, 48, 64), "1", "side", (0.0,) * 3, (1.0,) * 3, camera="side"
)
MOVE = ActionField("move", (3,), "mm", "base", "delta", 10.0, (-1.0,) * 3, (1.0,) * 3, hold=0.0)
GRIP = ActionField(
    "grip", (1,), "1", "gripper", "absolute", 1.0, (-1.0,), (1.0,), interpolation="nearest"
)
SPEC = PolicySpec((STATE, POINTS), (MOVE, GRIP), 2, 16, 8, 20.0)

NAMES = st.text("abcdefgh_0123456789", min_size=1, max_size=8)
FINITE = st.floats(-1e6, 1e6, allow_nan=False, allow_subnormal=False)


@st.composite
def ranges(draw: st.DrawFn, size: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
    low = draw(st.lists(FINITE, min_size=size, max_size=size))
    span = draw(st.lists(st.floats(0.5, 1e3, allow_subnormal=False), min_size=size, max_size=size))
    return tuple(low), tuple(a + b for a, b in zip(low, span, strict=True))


@st.composite
def specs(draw: st.DrawFn) -> PolicySpec:
    names = draw(st.lists(NAMES, min_size=3, max_size=6, unique=True))
    split = draw(st.integers(1, len(names) - 1))
    observations, actions = [], []
    for name in names[:split]:
        kind = draw(st.sampled_from(["state", "points", "rgb"]))
        if kind == "rgb":
            size = (3, draw(st.integers(1, 512)), draw(st.integers(1, 512)))
            observations.append(replace(RGB, name=name, shape=size))
        elif kind == "points":
            low, high = draw(ranges(3))
            shape: tuple[int, ...] = (3, draw(st.integers(1, 2048)))
            observations.append(
                ObservationField(name, "points", shape, "m", "base", low, high, camera="front")
            )
        else:
            length = draw(st.integers(1, 9))
            low, high = draw(ranges(length))
            observations.append(ObservationField(name, "state", (length,), "m", "b", low, high))
    for name in names[split:]:
        size = draw(st.integers(1, 7))
        low, high = draw(ranges(size))
        kind = draw(st.sampled_from(["absolute", "delta", "velocity"]))
        hold = None if kind == "absolute" else draw(FINITE)
        actions.append(
            ActionField(name, (size,), "rad", "base", kind, draw(FINITE), low, high, hold)
        )
    horizon = draw(st.integers(1, 64))
    return PolicySpec(
        tuple(observations), tuple(actions), draw(st.integers(1, 4)), horizon,
        draw(st.integers(1, horizon)), draw(st.floats(0.1, 1000, allow_subnormal=False)),
    )  # fmt: skip


@given(specs())
def test_json_gives_back_the_same_spec(spec: PolicySpec) -> None:
    again = PolicySpec.from_json(json.loads(json.dumps(spec.to_json())))
    assert again == spec
    spec.require_same(again, "round trip")


@given(specs())
def test_a_spec_is_its_interface_and_its_chunking(spec: PolicySpec) -> None:
    assert PolicySpec.of(spec.interface, spec.chunking) == spec
    assert Interface.from_json(json.loads(json.dumps(spec.interface.to_json()))) == spec.interface
    assert {**spec.interface.to_json(), **asdict(spec.chunking)} == spec.to_json()


def test_an_interface_alone_may_do_nothing_and_has_no_steps() -> None:
    asked = Interface((STATE,), ())
    assert asked.action_dim == 0 and not hasattr(asked, "dt_s")
    with pytest.raises(SpecMismatch, match="at least one observation and one action"):
        PolicySpec.of(asked, Chunking(1, 8, 4, 20.0))
    with pytest.raises(SpecMismatch, match=r"also \['horizon'\]"):
        Interface.from_json({**SPEC.interface.to_json(), "horizon": 1})


@given(specs())
def test_derived_sizes_follow_the_fields(spec: PolicySpec) -> None:
    assert len(spec.action_scale) == len(spec.action_units) == spec.action_dim
    assert spec.dt_ns == pytest.approx(1e9 / spec.control_hz, abs=0.5)
    assert len(set(spec.cameras)) == len(spec.cameras) <= 2


def test_figures_of_one_spec() -> None:
    assert SPEC.action_dim == 4
    assert SPEC.action_scale == (10.0, 10.0, 10.0, 1.0)
    assert SPEC.action_units == ("mm", "mm", "mm", "1")
    assert (SPEC.dt_s, SPEC.dt_ns) == (0.05, 50_000_000)
    assert SPEC.cameras == ("front",)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"n_action_steps": 17}, "n_action_steps: expected 1..16"),
        ({"n_action_steps": 0}, "n_action_steps"),
        ({"n_obs_steps": 0}, "n_obs_steps, control_hz: expected positive"),
        ({"control_hz": 0.0}, "n_obs_steps, control_hz"),
        ({"control_hz": float("nan")}, "n_obs_steps, control_hz"),
        ({"observations": ()}, "at least one observation"),
        ({"actions": ()}, "at least one observation and one action"),
        ({"observations": (STATE, STATE)}, "unique names"),
    ],
)
def test_a_spec_that_makes_no_sense_is_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecMismatch, match=message.replace(".", r"\.")):
        replace(SPEC, **change)


@pytest.mark.parametrize(
    ("field", "change", "message"),
    [
        (STATE, {"low": (0.0,)}, "low and high: expected 3 values"),
        (STATE, {"low": (1.0, -1.0, -1.0)}, "low < high"),
        (STATE, {"low": (float("nan"), -1.0, -1.0)}, "finite numbers"),
        (STATE, {"high": (float("inf"), 1.0, 1.0)}, "finite numbers"),
        (STATE, {"low": ("a", -1.0, -1.0)}, "finite numbers"),
        (STATE, {"camera": "front"}, "camera"),
        (STATE, {"kind": "touch"}, "kind: expected state, points, rgb"),
        (STATE, {"shape": (3, 4)}, "shape"),
        (STATE, {"shape": (0,)}, "shape: expected positive whole numbers"),
        (POINTS, {"camera": None}, "camera"),
        (POINTS, {"shape": (3,)}, "shape"),
        (POINTS, {"shape": (2, 64)}, r"shape: expected \(3, N\)"),
        (RGB, {"shape": (48, 64, 3)}, r"shape: expected \(3, H, W\)"),
        (RGB, {"shape": (3, 64)}, r"shape: expected \(3, H, W\)"),
        (RGB, {"high": (255.0,) * 3}, "range: expected 0..1 for rgb"),
        (RGB, {"camera": None}, "camera: expected one for points and rgb"),
        (RGB, {"origin": "hand"}, "origin: expected none for rgb"),
        (MOVE, {"kind": "sideways"}, "kind: expected absolute, delta or velocity"),
        (MOVE, {"hold": None}, "hold"),
        (GRIP, {"hold": 0.0}, "hold"),
        (MOVE, {"high": (0.5, 0.5)}, "low and high"),
    ],
)
def test_a_field_that_makes_no_sense_is_refused(
    field: Any, change: dict[str, Any], message: str
) -> None:
    with pytest.raises(SpecMismatch, match=message):
        replace(field, **change)


def broken(path: str, value: Any) -> dict[str, Any]:
    """SPEC as JSON with the entry at a dotted path replaced, or removed when value is `...`."""
    document = SPEC.to_json()
    *way, last = path.split(".")
    place: Any = document
    for step in way:
        place = place[int(step)] if step.isdigit() else place[step]
    if value is ...:
        del place[last]
    else:
        place[last] = value
    return document


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("horizon", ..., "without"),
        ("extra", 1, "also"),
        ("observations", {}, "a list"),
        ("observations", ["hand"], r"spec.observations\[0\]: expected an object, got str"),
        ("actions.1.kind", ..., r"spec.actions\[1\]: .*without \['kind'\]"),
        ("actions.0.colour", "red", r"spec.actions\[0\]: .*also \['colour'\]"),
        ("horizon", "16", "horizon: expected a whole number, got '16'"),
        ("horizon", None, "horizon: expected a whole number"),
        ("observations.0.shape", 3, "^spec: "),
        ("observations.0.shape", [], "shape: expected positive whole numbers"),
        ("observations.0.low", None, "^spec: "),
        ("actions.0.shape", "3", "shape: expected positive whole numbers"),
    ],
)
def test_json_that_is_no_spec_is_one_plain_error(path: str, value: Any, message: str) -> None:
    with pytest.raises(OfpError, match=message):
        PolicySpec.from_json(broken(path, value))


@pytest.mark.parametrize("value", [None, [], "spec", 3])
def test_anything_but_an_object_is_no_spec(value: Any) -> None:
    with pytest.raises(SpecMismatch, match="an object"):
        PolicySpec.from_json(value)


def test_a_difference_names_the_first_entry_that_differs() -> None:
    with pytest.raises(SpecMismatch, match="the dataset, horizon: expected 16, got 24"):
        SPEC.require_same(replace(SPEC, horizon=24, control_hz=10.0), "the dataset")
