"""A robot that moves D after its command is sent the action of D later, and is where it should."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from ofp_edge.errors import OfpError, RigError
from ofp_edge.fields import State
from ofp_edge.runtime.control.controller import Controller
from ofp_edge.runtime.control.events import ChunkReady, PlannerFree, PlanStarted
from ofp_edge.runtime.log.rows import decided_of
from ofp_edge.spec import ActionField, PolicySpec
from tests.runtime.standins import DT, MS, make_chunk, make_spec

STATE = State("state", (1,), "deg", "base", (-99.0,), (99.0,))


def reference(t_ns: NDArray[np.int64] | int) -> NDArray[np.float32]:
    """Where the robot should be: a straight way, on which to be late is to be behind."""
    return np.asarray(np.asarray(t_ns) / 1e9, np.float32)


def spec_of(kind: Any) -> PolicySpec:
    hold = None if kind == "absolute" else 0.0
    action = ActionField("joint", (1,), "deg", "base", kind, 1.0, (-99.0,), (99.0,), hold)
    return PolicySpec((STATE,), (action,), 1, 14, 3, 20.0)


def followed(
    kind: Any, robot_ns: int, rig_ns: int, latency_ns: int, fade: int = 2, offset_ns: int = 0
) -> dict[int, NDArray[np.float32]]:
    """What acts when, on a robot of a delay: each command, `robot_ns` after it was sent. Every plan
    is the reference."""
    spec = spec_of(kind)
    controller = Controller(spec, latency_ns, 9 * DT, delay_ns=rig_ns, fade_steps=fade)
    found, heard = {}, []
    for k in range(40):
        command = controller.step(k * DT, heard)
        heard = []
        if command.kind == "act":
            assert command.action is not None
            found[k * DT + robot_ns] = command.action
        if command.order is not None and command.order.plan:
            t_obs = k * DT - offset_ns
            moments = t_obs + np.arange(spec.horizon + 1) * DT
            places = reference(moments)
            actions = places[:-1] if kind == "absolute" else np.diff(places)
            chunk = replace(make_chunk(spec, t_obs), actions=actions[:, None])
            heard = [PlanStarted(k * DT, t_obs), ChunkReady(chunk)]
        heard.append(PlannerFree())
    assert len(found) > 30
    return found


@pytest.mark.parametrize("offset", [0, 17])
@pytest.mark.parametrize("latency", [50, 130])
@pytest.mark.parametrize("delay", [0, 50, 80, 150])
def test_what_acts_at_a_moment_is_the_plans_action_of_that_moment(
    delay: int, latency: int, offset: int
) -> None:
    """The tracking error is that of a robot without a delay, whole control steps or not; without
    the entry the robot is behind by its delay."""
    times = delay * MS, latency * MS
    for t_ns, action in followed("absolute", times[0], times[0], times[1], 2, offset * MS).items():
        assert action[0] == pytest.approx(reference(t_ns), abs=1e-5)
    for t_ns, action in followed("absolute", times[0], 0, times[1], 2, offset * MS).items():
        assert action[0] == pytest.approx(reference(t_ns - times[0]), abs=1e-5)


def test_the_first_action_of_a_plan_is_the_one_that_acts_after_latency_and_delay() -> None:
    spec = make_spec(horizon=12, n_action_steps=3)
    controller = Controller(spec, 2 * DT, 9 * DT, delay_ns=3 * DT)
    controller.step(0, [PlanStarted(0, 0), ChunkReady(make_chunk(spec, 0))])
    assert controller.step(DT).kind == "hold", "it still takes over at t_obs + L"
    command = controller.step(2 * DT)
    assert (command.kind, command.index) == ("act", 5.0)


@pytest.mark.parametrize("fade", [0, 3])
@pytest.mark.parametrize(
    ("latency", "delay", "every"), [(2, 1, 3), (2, 3, 3), (0, 2, 2), (1.5, 2, 2), (1, 5, 1)]
)
def test_what_is_committed_is_what_acts_until_latency_and_delay_are_over(
    latency: float, delay: int, every: int, fade: int
) -> None:
    """Bit for bit: sent before the observation, and after it until the plan takes over."""
    spec = make_spec(horizon=16, n_action_steps=every)
    latency_ns = round(latency * DT)
    controller = Controller(
        spec, latency_ns, 11 * DT, delay_ns=delay * DT, fade_steps=fade, committed=True
    )
    rng, heard, acts, orders = np.random.default_rng(0), [], {}, {}
    for k in range(60):
        command = controller.step(k * DT, heard)
        heard = []
        if command.kind == "act":
            acts[k + delay] = command.action
        if command.order is not None and command.order.plan:
            orders[k] = controller.completed(command.order).ahead
            chunk = make_chunk(spec, k * DT)
            wild = rng.uniform(-1.2, 1.2, chunk.actions.shape).astype(np.float32)
            heard = [PlanStarted(k * DT, k * DT), ChunkReady(replace(chunk, actions=wild))]
        heard.append(PlannerFree())
    told = 0
    for k, ahead in orders.items():
        found = [] if ahead is None else ahead.committed(k * DT)
        assert len(found) in (0, int(np.ceil(latency)) + delay)
        for i, action in enumerate(found):
            if k + i in acts:
                np.testing.assert_array_equal(action, acts[k + i])
                told += 1
    assert told > 30


def test_a_delay_uses_up_the_horizon_and_one_that_is_too_long_is_refused() -> None:
    spec = make_spec(horizon=8, n_action_steps=4)
    Controller(spec, 2 * DT, 6 * DT, delay_ns=2 * DT)
    for latency, age, delay, line in (
        (2 * DT + 1, 6 * DT, 2 * DT, r"latency_ms: expected 0..100 .* - actuation_delay_ms\)"),
        (2 * DT, 6 * DT + 1, 2 * DT, "max_plan_age_ms: expected 300..300 .*actuation_delay_ms"),
        (0, 8 * DT, 4 * DT + 1, r"actuation_delay_ms: expected 0..200 "),
        (0, 8 * DT, -1, r"actuation_delay_ms: expected 0..200 "),
    ):
        with pytest.raises(RigError, match=line):
            Controller(spec, latency, age, delay_ns=delay)


def test_a_plan_too_short_for_its_age_and_the_delay_is_not_followed() -> None:
    spec = make_spec(horizon=8, n_action_steps=4)
    controller = Controller(spec, DT, 6 * DT, delay_ns=2 * DT)
    chunk = make_chunk(spec, 0)
    controller.step(0, [PlanStarted(0, 0), ChunkReady(replace(chunk, actions=chunk.actions[:7]))])
    assert controller.counters.refused == 1


@pytest.mark.parametrize("value", [-1.0, 1e10, float("nan")])
def test_a_log_whose_delay_can_not_be_is_refused(value: float) -> None:
    header = {
        "spec": make_spec().to_json(), "safety": {}, "latency_ms": 50.0, "max_plan_age_ms": 300.0,
        "cross_fade_steps": 0, "refine_first_ns": None, "actuation_delay_ms": value,
    }  # fmt: skip
    with pytest.raises(OfpError, match="actuation_delay_ms: expected"):
        decided_of(header, "log")
