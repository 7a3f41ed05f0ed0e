"""The rig file: what it may say, and what each mistake is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from ofp_edge.errors import RigError
from ofp_edge.fields import State
from ofp_edge.rig.file import read_rig
from ofp_edge.spec import PolicySpec
from tests.rig_text import GOOD, MOVE, SPEC, rig


def test_a_rig_is_read_with_its_defaults(tmp_path: Path) -> None:
    got = read_rig(rig(tmp_path))
    assert got.robot.driver == "package.module:Arm"
    assert got.robot.options == {"port": "/dev/ttyUSB0"}
    assert got.cameras["front"].options == {"serial": "839112060000"}
    assert got.cameras["front"].max_age_ms == 200.0
    assert (got.timing.latency_ms, got.timing.max_plan_age_ms) == (50.0, 500.0)
    got.require_fits(SPEC)


SAFETY = """
[safety]
max_state_age_ms = 100.0
stop_socket = "/run/stop"
stop_silence_ms = 300.0
[safety.limits.move]
max_velocity = 0.5
position_low = [0, 0, 0]
position_high = [1, 1, 1.5]
measured = "s"
[safety.workspace]
measured = "s"
low = [-1.0]
high = [1.0]
"""


def test_limits_are_read_and_a_field_that_moves_a_point_has_one_without(tmp_path: Path) -> None:
    got = read_rig(rig(tmp_path, GOOD + "cross_fade_steps = 3\n" + SAFETY))
    assert (got.safety.max_state_age_ms, got.safety.max_cut_in_a_row) == (100.0, 25)
    limits = got.safety.limits_of(MOVE)
    assert limits.max_velocity == 0.5 and limits.position_high == (1.0, 1.0, 1.5)
    assert got.safety.workspace is not None and got.timing.fade_steps(SPEC) == 3
    plain = read_rig(rig(tmp_path))
    assert plain.safety.limits_of(MOVE).max_velocity == 0.25
    assert plain.timing.fade_steps(SPEC) == 5, "the overlap of 16 - 8 - 1 steps, at most 5"
    assert plain.timing.fade_steps(SPEC, committed=True) == 0, "it goes on from what is committed"
    assert got.timing.fade_steps(SPEC, committed=True) == 3, "as the rig says"


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("[safety]\nmax_state_age_ms = 0\n", "max_state_age_ms: expected a positive"),
        ("[safety]\nmax_cut = 3\n", "max_cut: unknown entry"),
        ("[safety]\nstop_silence_ms = 3.0\n", "stop_silence_ms: expected stop_socket"),
        ('[safety.limits.move]\nposition_low = ["a"]\n', "position_low: expected numbers"),
        ("[safety.limits.move]\nspeed = 1\n", "speed: unknown entry"),
    ],
)
def test_a_wrong_limit_is_one_line(tmp_path: Path, text: str, what: str) -> None:
    with pytest.raises(RigError, match=what):
        read_rig(rig(tmp_path, GOOD + text))


def test_a_rig_without_cameras_fits_a_policy_that_needs_none(tmp_path: Path) -> None:
    head, _, rest = GOOD.partition("[cameras.front]")
    got = read_rig(rig(tmp_path, head + rest[rest.index("[timing]") :]))
    assert got.cameras == {}
    state = State("s", (3,), "m", "base", (-1.0,) * 3, (1.0,) * 3)
    got.require_fits(PolicySpec((state,), (MOVE,), 1, 16, 8, 20.0))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("schema_version = 1", "", "schema_version: missing"),
        ("schema_version = 1", "schema_version = 2", "schema_version: expected 1, got 2"),
        ("schema_version = 1", "schema_version = true", "schema_version: expected int, got True"),
        ('driver = "package.module:Arm"', "", r"\[robot\] driver: missing"),
        ('driver = "package.module:Arm"', "driver = 3", r"\[robot\] driver: expected str, got 3"),
        ("[robot.options]", "[robot.settings]", r"\[robot\] settings: unknown entry"),
        ("[robot]", "speed = 1\n[robot]", "speed: unknown entry"),
        ('driver = "realsense"', "", r"\[cameras.front\] driver: missing"),
        ('driver = "realsense"', 'driver = "x"\nfps = 30', r"\[cameras.front\] fps: unknown entry"),
        ('driver = "realsense"', 'driver = "x"\nmax_age_ms = 0', "max_age_ms: expected a positive"),
        ("[cameras.front]", "[cameras]\nback = 1\n[cameras.front]", r"\[?cameras\]? ?back"),
        ("latency_ms = 50.0", "latency_ms = -1", r"\[timing\] latency_ms: expected a positive"),
        ("latency_ms = 50.0", "latency_ms = nan", "latency_ms: expected a positive"),
        ("latency_ms = 50.0", 'latency_ms = "50"', "latency_ms: expected float, got '50'"),
        ("latency_ms = 50.0", "", r"\[timing\] latency_ms: missing"),
        *(
            (
                "latency_ms = 50.0",
                f"latency_ms = 50.0\nactuation_delay_ms = {value}",
                r"\[timing\] actuation_delay_ms: expected",
            )
            for value in ("-1", "nan", "inf", "'40'", "true", "1e300")
        ),
        ("max_plan_age_ms = 500.0", "max_plan_age_ms = 0", "max_plan_age_ms: expected a positive"),
        (
            "max_plan_age_ms = 500.0",
            "max_plan_age_ms = inf",
            "max_plan_age_ms: expected a positive",
        ),
        ("[timing]", "[timings]", "timing: missing"),
        ("schema_version = 1", "schema_version =", "is not valid TOML"),
    ],
)
def test_each_wrong_entry_is_named(tmp_path: Path, old: str, new: str, message: str) -> None:
    path = rig(tmp_path, GOOD.replace(old, new, 1))
    with pytest.raises(RigError, match=message) as caught:
        read_rig(path)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


def test_the_first_plan_may_have_a_latency_of_its_own(tmp_path: Path) -> None:
    assert read_rig(rig(tmp_path)).timing.cold_ms == 50.0
    longer = GOOD.replace("latency_ms = 50.0", "latency_ms = 50.0\ncold_latency_ms = 120")
    assert read_rig(rig(tmp_path, longer)).timing.cold_ms == 120.0


def test_a_robots_own_delay_is_read_and_leaves_less_to_fade(tmp_path: Path) -> None:
    assert read_rig(rig(tmp_path)).timing.delay_ns == 0
    late = GOOD.replace("latency_ms = 50.0", "latency_ms = 250.0\nactuation_delay_ms = 40.5")
    timing = read_rig(rig(tmp_path, late)).timing
    assert timing.delay_ns == 40_500_000
    at_once = GOOD.replace("latency_ms = 50.0", "latency_ms = 250.0")
    assert read_rig(rig(tmp_path, at_once)).timing.fade_steps(SPEC) == 3
    assert timing.fade_steps(SPEC) == 2


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("[cameras.front", "[cameras.wrist", r"\[cameras.front\]: expected by the policy, got"),
        ("latency_ms = 50.0", "latency_ms = 401", "expected at most 400 ms .* got 401 ms"),
        ("latency_ms = 50.0", "latency_ms = 50.0\ncold_latency_ms = 401", "cold_latency_ms: .*400"),
        (
            "latency_ms = 50.0",
            "latency_ms = 50.0\ncold_latency_ms = 49",
            "latency_ms = 50 at least",
        ),
        ("max_plan_age_ms = 500.0", "max_plan_age_ms = 801", "expected at most 800 ms"),
        (
            "latency_ms = 50.0",
            "latency_ms = 50.0\nactuation_delay_ms = 401",
            "actuation_delay_ms: expected at most 400 ms",
        ),
        (
            "latency_ms = 50.0",
            "latency_ms = 50.0\nactuation_delay_ms = 351",
            r"latency_ms: expected at most 49 ms .* - actuation_delay_ms 351\), got 50 ms",
        ),
        (
            "latency_ms = 50.0",
            "latency_ms = 50.0\nactuation_delay_ms = 301",
            r"max_plan_age_ms: expected at most 499 ms .* actuation_delay_ms 301\), got 500 ms",
        ),
    ],
)
def test_a_rig_that_does_not_fit_the_policy_says_expected_and_got(
    tmp_path: Path, old: str, new: str, message: str
) -> None:
    got = read_rig(rig(tmp_path, GOOD.replace(old, new)))
    with pytest.raises(RigError, match=message):
        got.require_fits(SPEC)


@pytest.mark.parametrize("text", ["latency_ms = 400", "latency_ms = 0"])
def test_the_latency_may_reach_its_bounds(tmp_path: Path, text: str) -> None:
    read_rig(rig(tmp_path, GOOD.replace("latency_ms = 50.0", text))).require_fits(SPEC)
