"""`rig delay`: consent, wrong wishes, and servos on an emulated bus in real time."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from ofp_edge.bundle import open_bundle
from ofp_edge.cli import rig_delay
from ofp_edge.cli.main import build_app
from ofp_edge.errors import OfpError
from ofp_edge.fields import State
from ofp_edge.rig.file import read_rig
from ofp_edge.runtime.delay.measure import Wish, open_delay_loop
from ofp_edge.runtime.robots.emulated_bus import EmulatedBus
from ofp_edge.spec import ActionField, PolicySpec


@pytest.fixture
def so101(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    pytest.importorskip("scservo_sdk")
    pytest.importorskip("onnxruntime")
    serial = pytest.importorskip("serial")
    port = serial.Serial
    patient = {"write_timeout": 20.0}  # busy test machines
    monkeypatch.setattr(serial, "Serial", lambda *x, **o: port(*x, **{**o, **patient}))
    from ofp_edge.runtime.robots.so101 import JOINTS
    from tests.runtime.small_bundle import write_small_bundle

    bus = EmulatedBus()
    joint = {"drive_mode": 0, "homing_offset": 0, "range_min": 1000, "range_max": 3000}
    calibration = {n: {"id": i, **joint} for i, n in enumerate(JOINTS, 1)}
    (tmp_path / "arm.json").write_text(json.dumps(calibration))
    wide = (-100.0,) * 6, (100.0,) * 6
    state = State("state", (6,), "deg", "base", *wide)
    action = ActionField("joints", (6,), "deg", "base", "absolute", 1.0, *wide)
    spec = PolicySpec((state,), (action,), 1, 8, 4, 20.0)
    (tmp_path / "rig.toml").write_text(f"""
schema_version = 1
[robot]
driver = "ofp_edge.runtime.robots.so101:So101"
[robot.options]
port = "{bus.path}"
calibration = "{tmp_path / "arm.json"}"
timeout_ms = 400.0
max_age_ms = 20000.0
[timing]
latency_ms = 40.0
max_plan_age_ms = 300.0
[safety]
max_state_age_ms = 20000.0
max_stall_ms = 20000.0
""")
    yield bus, tmp_path / "rig.toml", write_small_bundle(tmp_path / "bundle", spec, {})
    bus.close()


@contextlib.contextmanager
def longest_stall() -> Iterator[list[float]]:
    """For how long, in seconds, a thread that asks for 5 ms was not woken."""
    longest, done = [0.0], threading.Event()

    def look() -> None:
        last_s = time.monotonic()
        while not done.wait(0.005):
            longest[0], last_s = max(longest[0], time.monotonic() - last_s), time.monotonic()

    thread = threading.Thread(target=look)
    thread.start()
    yield longest
    done.set()
    thread.join()


def invoke(*arguments: object) -> Any:
    return CliRunner().invoke(build_app(), ["rig", "delay", *map(str, arguments)])


def test_the_command_measures_servos_on_a_bus_and_says_the_line_for_the_rig(
    so101: Any, tmp_path: Path
) -> None:
    bus, rig, bundle = so101
    bus.dead_s = 0.060
    for _ in range(5):
        with longest_stall() as stalled_s:
            done = invoke(
                rig, "--bundle", bundle, "--joint", 2, "--move", "--repeats", 3,
                "--longest-ms", 200, "-o", tmp_path / "delay.json", "--json",
            )  # fmt: skip
        if done.exit_code == 0:
            break
        says = "the readings", "readings are stale", "commands went out and"
        assert done.exit_code == 1 and any(x in done.output for x in says), done.output
        assert not (tmp_path / "delay.json").exists()
        assert stalled_s[0] > 0.03, done.output
    else:
        pytest.skip("this machine stalls amid every motion: there is no number to be had")
    values = json.loads(done.stdout)
    assert set(values) == set(rig_delay.KEYS)
    assert values["delay_ms"] == pytest.approx(60, abs=50)  # a control step
    assert values["line"] == f"actuation_delay_ms = {round(values['delay_ms'])}"
    assert json.loads((tmp_path / "delay.json").read_text()) == values
    assert bus.get(3, 42) == bus.get(3, 56), "its own place is the goal of the stop"


def test_nothing_moves_without_consent(so101: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    bus, rig, bundle = so101
    done = invoke(rig, "--bundle", bundle)
    assert done.exit_code == 1 and bus.requests == 0
    assert "the robot would move: give --move, or answer at a terminal" in done.output
    monkeypatch.setattr(rig_delay, "_at_a_terminal", lambda: True)
    for said in ("", "no", "yes"):
        monkeypatch.setattr("rich.console.Console.input", lambda self, prompt, x=said: x)
        done = invoke(rig, "--bundle", bundle)
        assert done.exit_code == 1 and "not agreed to: nothing was moved" in done.output
    assert bus.requests == 0


@pytest.mark.parametrize(
    ("option", "value", "line"),
    [("--joint", 6, "--joint 6: expected 0..5"), ("--amplitude", 0, "a number that is not 0"),
     ("--amplitude", "nan", "a number that is not 0"), ("--repeats", 0, "expected 1..100"),
     ("--longest-ms", 20, "expected 50..5000")],
)  # fmt: skip
def test_a_wrong_wish_is_refused_before_anything_is_opened(
    so101: Any, option: str, value: object, line: str
) -> None:
    bus, rig, bundle = so101
    done = invoke(rig, "--bundle", bundle, "--move", option, value)
    assert done.exit_code == 1 and line in done.output and bus.requests == 0


def test_the_robot_is_closed_when_the_wish_can_not_be_met(so101: Any) -> None:

    bus, rig, bundle = so101
    wish = Wish(amplitude=99.0)
    with (
        pytest.raises(OfpError, match="--amplitude 99: from"),
        open_delay_loop(open_bundle(bundle).spec, read_rig(rig), wish),
    ):
        pass
    assert bus.get(1, 42) == 2048
