"""LeRobot's own arm behind our adapter and process boundary; run by `make test-interop`."""

import json
import time

import numpy as np
import pytest

pytest.importorskip("lerobot", reason="LeRobot has an environment of its own: make test-interop")

from ofp_edge.fields import State
from ofp_edge.runtime.robots.emulated_bus import EmulatedBus  # noqa: E402
from ofp_edge.runtime.robots.remote import RemoteRobot  # noqa: E402
from ofp_edge.runtime.robots.so101 import JOINTS, So101  # noqa: E402
from ofp_edge.spec import ActionField, PolicySpec  # noqa: E402

LOW, HIGH = 1000, 3000


def make_spec():
    wide = 180.0
    state = State("state", (6,), "deg", "base", (-wide,) * 6, (wide,) * 6)
    action = ActionField(
        "joints", (6,), "deg", "base", "absolute", 1.0, (-wide,) * 6, (wide,) * 6, None
    )
    return PolicySpec((state,), (action,), 1, 8, 4, 20.0)


def rest(bus):
    """Every servo at a place of its own, with nowhere to go: its torque may be on."""
    for servo in range(1, 7):
        for register in (42, 56):
            bus.put(servo, register, 1500 + 150 * servo)


def test_lerobots_arm_and_ours_read_and_write_the_same_numbers(tmp_path):
    joint = {"drive_mode": 0, "homing_offset": 0, "range_min": LOW, "range_max": HIGH}
    calibration = {name: {"id": i, **joint} for i, name in enumerate(JOINTS, 1)}
    (tmp_path / "arm.json").write_text(json.dumps(calibration))
    bus = EmulatedBus()
    for servo in range(1, 7):
        bus.put(servo, 9, LOW)
        bus.put(servo, 11, HIGH)
    rest(bus)
    options = {
        "robot": "lerobot.robots.so_follower:SOFollower",
        "config": {"port": bus.path, "id": "arm", "calibration_dir": str(tmp_path),
                   "use_degrees": True, "disable_torque_on_disconnect": False},
    }  # fmt: skip
    spec = make_spec()
    theirs = RemoteRobot(
        spec, robot="ofp_edge.runtime.robots.lerobot:LeRobot", options=options, max_age_ms=2000
    )
    seen = theirs.state().values["state"]
    goal = np.array([10, -20, 30, -40, 50, 60], np.float32)
    theirs.send(goal)
    deadline = time.monotonic() + 10
    while abs(theirs.state().values["state"] - goal).max() > 0.2 and time.monotonic() < deadline:
        time.sleep(0.01)
    reached = theirs.state().values["state"]
    ticks = [bus.get(servo, 42) for servo in range(1, 7)]
    theirs.close()
    rest(bus)
    ours = So101(spec, port=bus.path, calibration=str(tmp_path / "arm.json"), max_age_ms=2000)
    np.testing.assert_allclose(ours.state().values["state"], seen, atol=1e-3)
    ours.send(goal)
    deadline = time.monotonic() + 10
    while [bus.get(s, 42) for s in range(1, 7)] != ticks and time.monotonic() < deadline:
        time.sleep(0.01)
    np.testing.assert_allclose([bus.get(s, 42) for s in range(1, 7)], ticks, atol=1)
    np.testing.assert_allclose(reached, goal, atol=0.2)
    ours.close()
    bus.close()
