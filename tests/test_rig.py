"""The rig file: what it may say, what each mistake is told, and that comments survive."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest
import tomlkit

from ofp_edge.errors import RigError
from ofp_edge.fields import Points, Rgb, State
from ofp_edge.rig.calibrated import set_camera
from ofp_edge.rig.file import look_at_rig, read_rig
from ofp_edge.spec import ActionField, PolicySpec

GOOD = """\
# my robot
schema_version = 1

[robot]
driver = "package.module:Arm"     # the arm on the left bench
[robot.options]
port = "/dev/ttyUSB0"

[cameras.front]
driver = "realsense"
[cameras.front.options]
serial = "839112060000"

[timing]
latency_ms = 50.0   # measured on Tuesday
max_plan_age_ms = 500.0
"""

IMAGE = Rgb("p", (3, 8, 8), "1", "front", (0.0,) * 3, (1.0,) * 3, "front")
POINTS = Points("p", (3, 8), "m", "base", (-1.0,) * 3, (1.0,) * 3, "front")
MOVE = ActionField("move", (3,), "m", "base", "delta", 1.0, (-1.0,) * 3, (1.0,) * 3, hold=0.0)
SPEC = PolicySpec((IMAGE,), (MOVE,), 1, 16, 8, 20.0)


def rig(tmp_path: Path, text: str = GOOD) -> Path:
    path = tmp_path / "rig.toml"
    path.write_text(text)
    return path


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


def test_a_missing_or_binary_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(RigError, match="nothing.toml does not exist"):
        read_rig(tmp_path / "nothing.toml")
    (tmp_path / "rig.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(RigError, match="not valid TOML"):
        read_rig(tmp_path / "rig.toml")


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


ROWS = "[[1.0, 0, 0, 0], [0, 1.0, 0, 0], [0, 0, 1.0, 0], [0, 0, 0, 1.0]]"


def test_points_need_the_camera_s_place_and_images_do_not(tmp_path: Path) -> None:
    spec = PolicySpec((POINTS,), (MOVE,), 1, 16, 8, 20.0)
    with pytest.raises(RigError, match=r"\[cameras.front.parameters\] lacks T_base_camera: points"):
        read_rig(rig(tmp_path)).require_fits(spec)
    read_rig(rig(tmp_path, with_parameters(f"T_base_camera = {ROWS}"))).require_fits(spec)


def with_parameters(text: str) -> str:
    return GOOD.replace("[timing]", f"[cameras.front.parameters]\n{text}\n[timing]")


def test_a_camera_on_the_hand_has_the_hand_for_its_base(tmp_path: Path) -> None:
    text = with_parameters(f"T_hand_camera = {ROWS}")
    got = read_rig(rig(tmp_path, text)).cameras["front"].parameters
    assert set(got) == {"T_base_camera", "base_frame"} and got["base_frame"] == "hand"
    named = with_parameters(f'T_hand_camera = {ROWS}\nhand_frame = "flange"')
    got = read_rig(rig(tmp_path, named)).cameras["front"].parameters
    assert got["base_frame"] == "flange"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (f"T_hand_camera = {ROWS}\nT_base_camera = {ROWS}", "T_base_camera is there too"),
        (f'T_hand_camera = {ROWS}\nbase_frame = "b"', r"\[cameras.front.parameters\]"),
        (f'T_base_camera = {ROWS}\nhand_frame = "h"', "expected T_hand_camera with it"),
    ],
)
def test_a_camera_in_two_places_is_refused(tmp_path: Path, text: str, message: str) -> None:
    if "base_frame" in text:
        text = text.replace("base_frame", 'hand_frame = "h"\nbase_frame')
    with pytest.raises(RigError, match=message):
        read_rig(rig(tmp_path, with_parameters(text)))


def test_setting_a_camera_adds_its_tables_and_keeps_everything_else(tmp_path: Path) -> None:
    path = rig(tmp_path)
    matrix = [
        [1.0, 0.0, 0.0, 0.5],
        [0.0, 1.0, 0.0, 0.0],
        [0.0, 0.0, 1.0, 0.0],
        [0.0, 0.0, 0.0, 1.0],
    ]
    changes = {"parameters": {"T_base_camera": matrix}, "options": {"serial": "1"}}
    set_camera(path, "front", changes)
    text = path.read_text()
    for line in GOOD.splitlines():
        assert line in text or "serial" in line
    entry = read_rig(path).cameras["front"]
    assert entry.parameters == {"T_base_camera": matrix} and entry.options == {"serial": "1"}
    set_camera(path, "front", {"parameters": {"fx": 1.5}}, without=("T_base_camera",))
    assert read_rig(path).cameras["front"].parameters == {"fx": 1.5}
    with pytest.raises(RigError, match=r"\[cameras.side\]: expected, got \['front'\]"):
        set_camera(path, "side", {})
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    "text",
    [
        "[robot]\ndriver = 'a:B'\n[cameras.front]\ndriver = 'x' # y\n[timing]\nlatency_ms = 1\n"
        "max_plan_age_ms = 9\n[cameras.front.parameters] # late\nfx = 1.0\n[cameras.side]\n"
        "driver = 'x'\n",
        "robot = {driver = 'a:B'}\ntiming = {latency_ms = 1, max_plan_age_ms = 9}\n[cameras]\n"
        "front = {driver = 'x', parameters = {fx = 1.0}}\n",
    ],
    ids=["scattered", "inline"],
)
def test_a_camera_is_set_in_whatever_form_of_toml(tmp_path: Path, text: str) -> None:
    path = rig(tmp_path, f"schema_version = 1\n{text}")
    changes = {"parameters": {"cx": 2.0}, "calibration": {"method": "park"}}
    set_camera(path, "front", changes)
    entry = read_rig(path).cameras["front"]
    assert entry.parameters == {"fx": 1.0, "cx": 2.0} and entry.calibration == {"method": "park"}
    assert path.read_text().count("#") == text.count("#")


def test_a_form_of_toml_that_cannot_be_kept_is_left_as_it_was(tmp_path: Path) -> None:
    text = (
        "schema_version = 1\nrobot.driver = 'a:B'\ntiming.latency_ms = 1\n"
        "timing.max_plan_age_ms = 9\n"
        "cameras.front.driver = 'x'\ncameras.front.parameters.fx = 1.0\n"
    )
    path = rig(tmp_path, text)
    with pytest.raises(RigError, match=r"Write by hand, under \[cameras.front\]: .*'park'"):
        set_camera(path, "front", {"calibration": {"method": "park"}})
    assert path.read_text() == text


@pytest.mark.parametrize("text", ["latency_ms = 400", "latency_ms = 0"])
def test_the_latency_may_reach_its_bounds(tmp_path: Path, text: str) -> None:
    read_rig(rig(tmp_path, GOOD.replace("latency_ms = 50.0", text))).require_fits(SPEC)


def test_a_folder_is_no_rig(tmp_path: Path) -> None:
    with pytest.raises(RigError, match="cannot be read"):
        read_rig(tmp_path)


def test_a_pipe_a_device_and_a_huge_file_are_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "zero").symlink_to("/dev/zero")
    rig(tmp_path)
    os.truncate(tmp_path / "rig.toml", 6 << 30)
    for name, said in (("pipe", "plain file"), ("zero", "plain file"), ("rig.toml", "at most")):
        with pytest.raises(RigError, match=said):
            read_rig(tmp_path / name)


@pytest.mark.parametrize(
    ("entry", "value"),
    [
        ("latency_ms", "1e300"), ("latency_ms", "9" * 400), ("latency_ms", "9" * 5000),
        ("max_skew_ms", "1e308"), ("max_skew_ms", "5e-324"), ("max_skew_ms", "nan"),
        ("cross_fade_steps", "9" * 30), ("cross_fade_steps", '"\\u001b[2J"'),
        ("cross_fade_steps", "[" + "0," * 9000 + "]"), ("max_skew_ms", "[" * 3000 + "]" * 3000),
    ],
)  # fmt: skip
def test_a_number_that_can_mean_nothing_is_one_short_line(
    tmp_path: Path, entry: str, value: str
) -> None:
    text = "\n".join(x for x in GOOD.splitlines() if not x.startswith(entry))
    with pytest.raises(RigError) as caught:
        read_rig(rig(tmp_path, f"{text}\n{entry} = {value}\n"))
    line = str(caught.value)
    assert line.isprintable() and len(line) < 400 + len(str(tmp_path))


@pytest.mark.parametrize("data", [b"\xff\xfe", b"a = 1\n\x00", b"[" * 999, b"a.b = 1\na = 2"])
def test_what_is_no_toml_is_one_line(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "rig.toml").write_bytes(data)
    with pytest.raises(RigError, match="is not valid TOML") as caught:
        read_rig(tmp_path / "rig.toml")
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("seed", range(12))
def test_collecting_what_is_wrong_judges_as_reading_does(tmp_path: Path, seed: int) -> None:
    """Entries changed, lost and put in at random: no trace, and wrong where reading refuses."""
    random, odd = Random(seed), ["?", "", 3, -1, 1e300, True, [], [1, 2], {}, {"a": "?"}, "x" * 300]
    texts = [x.read_text() for x in Path("examples").glob("rig*.toml")]
    for _ in range(10):
        document = tomlkit.parse(random.choice(texts)).unwrap()
        for _ in range(random.randint(1, 3)):
            table = random.choice(list(_tables(document)))
            key = random.choice([*table, "odd"])
            if random.random() < 0.2:
                table.pop(key, None)
            else:
                table[key] = random.choice(odd)
        path = rig(tmp_path, tomlkit.dumps(document))
        try:
            read_rig(path)
            refused = False
        except RigError:
            refused = True
        _, asked, wrong = look_at_rig(path)
        assert refused == bool(asked or wrong), (document, asked, wrong)


def _tables(document: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield document
    for value in document.values():
        if isinstance(value, dict):
            yield from _tables(value)
