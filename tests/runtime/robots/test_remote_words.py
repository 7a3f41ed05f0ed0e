"""What a robot's own process says is held against the policy's spec before anything goes by it."""

import contextlib
import json
import struct
import time

import numpy as np
import pytest

from ofp_edge.errors import RobotError
from ofp_edge.runtime.robots.remote import RemoteRobot
from ofp_edge.runtime.robots.wire import WireError, encode, pair
from tests.runtime.standins import make_spec

STATE = np.zeros(4, np.float32)


@pytest.fixture
def hear(tmp_path):
    """RemoteRobot on a process that says these messages and no more."""
    made = []

    def said(*messages):
        lines = ["#!/bin/bash", "sleep 0.05"]
        for number, message in enumerate(messages):
            (tmp_path / str(number)).write_bytes(message)
            lines.append(f'cat "{tmp_path / str(number)}" >&"$3"')
        program = tmp_path / "python"
        program.write_text("\n".join([*lines, "read line <&0", ""]))
        program.chmod(0o755)
        made.append(RemoteRobot(make_spec(), robot="a:B", python=str(program), max_age_ms=1e9))
        return made[-1]

    yield said
    for robot in made:
        with contextlib.suppress(RobotError):
            robot.close()


def trouble(robot):
    for _ in range(2000):
        robot.state()
        time.sleep(0.005)
    pytest.fail("it said nothing")


def test_a_state_comes_as_float32_whatever_numbers_it_was(hear):
    robot = hear(encode("state", {"state": np.array([1, 2, 3, 4])}, t_ns=7))
    assert robot._newest.values["state"].dtype == np.float32 and robot._newest.t_ns == 7


@pytest.mark.parametrize(
    ("arrays", "values", "said"),
    [
        ({"state": STATE}, {"t_ns": "7"}, "t_ns: expected whole nanoseconds, got '7'|got 7"),
        ({"state": STATE}, {"t_ns": 1.5}, "t_ns"),
        ({"state": STATE}, {"t_ns": True}, "t_ns"),
        ({"state": STATE}, {"t_ns": 10**40}, "t_ns"),
        ({"state": STATE}, {}, "t_ns"),
        ({"state": STATE[:3]}, {"t_ns": 1}, r"expected shape \(4,\), got \(3,\)"),
        ({"state": STATE.reshape(2, 2)}, {"t_ns": 1}, "shape"),
        ({"sta\x1bte": STATE}, {"t_ns": 1}, "got none, only"),
    ],
)  # fmt: skip
def test_a_state_of_another_form_is_one_line(hear, arrays, values, said):
    with pytest.raises(RobotError, match=said) as caught:
        hear(encode("state", arrays, **values))
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    "message",
    [encode("error"), encode("error", line=["x"]), encode("error", line=" "), encode("dance"),
     b"junk", struct.pack("<I", 4) + json.dumps([1]).encode()],
)  # fmt: skip
def test_a_message_that_is_none_ends_it_with_a_line(hear, message):
    robot = hear(encode("state", {"state": STATE}, t_ns=1), message)
    with pytest.raises(RobotError) as caught:
        trouble(robot)
    assert "message" in str(caught.value) and str(caught.value).isprintable()


def test_the_last_words_of_its_process_move_no_cursor(hear):
    robot = hear(encode("state", {"state": STATE}, t_ns=1), encode("error", line="\x1b[2J" * 9999))
    with pytest.raises(RobotError) as caught:
        trouble(robot)
    assert str(caught.value).isprintable() and len(str(caught.value)) < 2000


@pytest.mark.parametrize("message", [encode("dance"), encode("action"), encode("supervisor")])
def test_its_process_refuses_what_is_no_order(message):
    from ofp_edge.runtime.robots.host import Host

    ours, theirs = pair()
    with ours, theirs:
        ours.send(message)
        with pytest.raises(WireError):
            Host(theirs)._take(None)
