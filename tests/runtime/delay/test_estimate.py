"""A delay out of commands and readings: against robots whose dead time and lag are known."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from ofp_edge.errors import OfpError, RobotError
from ofp_edge.rig.safety import FieldLimits
from ofp_edge.runtime.delay.estimate import estimate
from ofp_edge.runtime.delay.motion import Motion, motion, own_amplitude, smooth
from ofp_edge.spec import ActionField

ROOT = Path(__file__).resolve().parents[3]


def load_methods() -> ModuleType:
    spec = importlib.util.spec_from_file_location("methods", ROOT / "scripts/delay_methods.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


METHODS = load_methods()


@pytest.mark.parametrize(
    ("dead", "lag", "noise", "tick", "hz", "within"),
    [
        (0, 0, 0, 0, 50, 8), (40, 0, 0, 0, 50, 8), (133, 0, 0.05, 0.088, 30, 10),
        (40, 30, 0, 0, 50, 4), (40, 30, 0.3, 0.5, 30, 20), (250, 60, 0.1, 0.2, 20, 10),
    ],
)  # fmt: skip
def test_dead_time_and_lag_add_up_to_the_delay(
    dead: int, lag: int, noise: float, tick: float, hz: float, within: float
) -> None:
    for seed in range(2):
        rng = np.random.default_rng(seed)
        sent, told, read, seen = METHODS.emulate(rng, dead, lag, noise, tick, hz)
        ns = [(x * 1e6).astype(np.int64) for x in (sent, read)]
        found = estimate(ns[0], told, ns[1], seen, 500.0)
        assert found.delay_ms == pytest.approx(dead + lag, abs=within)
        assert found.gain == pytest.approx(1, abs=0.05) and found.residual < noise + tick + 0.1
        if lag and noise == tick == 0:
            assert found.dead_ms == pytest.approx(dead, abs=10)


def test_the_fit_is_misled_less_than_a_threshold_and_a_correlation() -> None:
    """On some robots of the table in docs/robots.md, by the sum of their errors."""
    wrong = dict.fromkeys(METHODS.METHODS, 0.0)
    for robot in ("… at 20 Hz", "… noise 0.3", "dead 120, lag 80"):
        dead, lag, *rest = METHODS.ROBOTS[robot]
        for name, method in METHODS.METHODS.items():
            trial = METHODS.emulate(np.random.default_rng(1), dead, lag, *rest)
            wrong[name] += abs(method(trial) - dead - lag)
    assert wrong["fit"] < wrong["cross-correlation"] < wrong["threshold"] and wrong["fit"] < 12


def trial(dead: float = 40.0) -> list[np.ndarray]:
    sent, told, read, seen = METHODS.emulate(np.random.default_rng(0), dead, 0, 0.01, 0, 50)
    return [(sent * 1e6).astype(np.int64), told, (read * 1e6).astype(np.int64), seen]


def test_a_joint_that_stands_still_gives_an_error_and_no_number() -> None:
    sent, told, read, seen = trial()
    noise = np.random.default_rng(0).normal(0, 0.05, len(seen))
    for still in (np.zeros(len(seen)), noise, 0.1 * seen):
        with pytest.raises(RobotError, match="the joint did not move: commanded 5, measured 0"):
            estimate(sent, told, read, still, 500.0)


def test_readings_of_something_else_or_too_late_are_told() -> None:
    sent, told, read, seen = trial()
    wild = np.random.default_rng(0).normal(0, 3, len(seen))
    for other in (wild, -seen):
        with pytest.raises(RobotError, match="do not follow the commands"):
            estimate(sent, told, read, other, 500.0)
    with pytest.raises(RobotError, match="do not follow the commands"):
        estimate(*trial(400.0), 100.0)


def test_readings_that_repeat_are_left_out_and_most_of_them_refused() -> None:
    sent, told, read, seen = trial()
    for every, stale in ((2, False), (4, True)):
        index = np.arange(len(read)) // every * every
        if stale:
            with pytest.raises(RobotError, match="stale: 23 of 90 were new"):
                estimate(sent, told, read[index], seen[index], 500.0)
        else:
            found = estimate(sent, told, read[index], seen[index], 500.0)
            assert found.delay_ms == pytest.approx(40, abs=4)


def test_where_readings_come_at_ticks_alone_the_middle_of_equal_delays_is_said() -> None:
    sent = np.arange(0, 2_000_000_000, 50_000_000)
    told = smooth((sent / 1e9 - 0.5) / 0.4)
    seen = np.concatenate([[0, 0, 0], told[:-3]])  # each command shows three ticks later
    found = estimate(sent, told, sent, seen, 500.0)
    assert found.delay_ms == pytest.approx(125) and found.resolution_ms == pytest.approx(50)


FIELD = ActionField("joints", (2,), "deg", "base", "absolute", 1.0, (-90.0,) * 2, (90.0,) * 2)


def test_a_motion_keeps_below_the_limits_and_comes_back() -> None:
    limits = FieldLimits(max_velocity=10.0, max_acceleration=100.0, max_jerk=2000.0)
    found = motion(FIELD, 0, limits, 5.0, 0.001, 0.3, 2)
    t = np.arange(0, found.whole_s, 0.001)
    places = found.places(t)
    rates = [np.abs(np.diff(places, n)).max() / 0.001**n for n in (1, 2, 3)]
    assert rates[0] < 10 and rates[1] < 100 and rates[2] < 2000
    assert places.max() == 5.0 and places.min() == 0.0 and places[0] == places[-1] == 0.0
    free = motion(FIELD, 0, FieldLimits(), 5.0, 0.02, 0.3, 2)
    assert free.rise_s == 0.4
    short = Motion(-2.0, 0.1, 0.2, 3)
    assert short.places(np.array([short.begins_s(2) + 0.15]))[0] == -2.0
    assert short.places(np.array([short.whole_s, 99.0])).tolist() == [0.0, 0.0]


def test_a_delta_is_slow_enough_for_its_range() -> None:
    delta = ActionField("hand", (1,), "m", "b", "delta", 0.001, (-1.0,), (1.0,), hold=0.0)
    found = motion(delta, 0, FieldLimits(), 0.05, 0.05, 0.3, 1)
    step = np.abs(np.diff(found.places(np.arange(0, found.whole_s, 0.05)))).max()
    assert step <= 0.001
    with pytest.raises(OfpError, match=r"--amplitude 5: within the limits of hand it would take"):
        motion(delta, 0, FieldLimits(), 5.0, 0.05, 0.3, 1)


def test_the_amplitude_suits_the_unit() -> None:
    assert own_amplitude(FIELD, 1) == 5.0
    for unit, expected in (("m", 0.02), ("radians", 0.09), ("m, m, deg", 0.02)):
        field = ActionField("x", (3,), unit, "b", "absolute", 1.0, (-1.0,) * 3, (1.0,) * 3)
        assert own_amplitude(field, 0) == expected
    odd = ActionField("x", (1,), "furlong", "b", "absolute", 1.0, (-1.0,), (1.0,))
    with pytest.raises(OfpError, match="--amplitude: expected one, as x's unit is 'furlong'"):
        own_amplitude(odd, 0)
