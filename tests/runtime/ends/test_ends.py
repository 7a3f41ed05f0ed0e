"""However a run ends, its robot is told to stop, and no process of the run is left behind."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.runtime.ends.processes import Run, until

APART = {"apart": True}
HASTY = {"patience_s": 1.5}  # what hangs is given up sooner


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Any]:
    runs = []

    def begin(sends: int = 2, **options: Any) -> Run:
        runs.append(Run(tmp_path, **options))
        runs[-1].wait_for("send", sends)
        return runs[-1]

    yield begin
    for run in runs:
        run.clear()


def require_rest(run: Run) -> None:
    """Nothing moves it after the last stop, and it is let go of."""
    words = run.words()
    assert words[-1] == "close" and "stop" in words, words
    assert "send" not in words[words.index("stop") :], words


# What is sent to whom, in that order; the run's exit code.
SIGNALS = {
    "Ctrl-C": ({}, "INT run", 0),
    "SIGTERM": ({}, "TERM run", 0),
    "SIGTERM, remote": (APART, "TERM run", 0),
    "SIGTERM to the robot's process alone": (APART, "TERM host", 1),
    "systemctl stop": (APART, "TERM run, TERM supervisor, TERM host", 0),
    "systemctl stop, a robot in the run": ({}, "TERM run, TERM supervisor", 0),
    "SIGHUP": ({}, "HUP run", 0),
    "SIGHUP, remote": (APART, "HUP run", 0),
    "Ctrl-\\": ({}, "QUIT run", 0),
    "Ctrl-Z": ({}, "TSTP run", 0),
    "the watchdog": (APART, "ABRT run, ABRT supervisor, ABRT host", -signal.SIGABRT),
    "the watchdog, a robot in the run": ({}, "ABRT run, ABRT supervisor", -signal.SIGABRT),
    "a crash": ({}, "SEGV run", -signal.SIGSEGV),
    "SIGKILL": ({}, "KILL run", -signal.SIGKILL),
    "SIGKILL, remote": (APART, "KILL run", -signal.SIGKILL),
    "SIGKILL of the robot's process": (APART, "KILL host", 1),
    "SIGKILL of both": (APART, "KILL host, KILL run", -signal.SIGKILL),
    "SIGKILL of the supervisor": ({}, "KILL supervisor", 1),
    "SIGSTOP of the robot's process": (APART, "STOP host", 1),
    "SIGSTOP": (HASTY, "STOP run", -signal.SIGKILL),
    "SIGSTOP, remote": (APART | HASTY, "STOP run", -signal.SIGKILL),
}
FAST = ("systemctl stop", "SIGKILL", "SIGKILL of the robot's process", "SIGSTOP")


@pytest.mark.parametrize(
    "options, sent, code",
    [pytest.param(*row, id=name, marks=() if name in FAST else pytest.mark.slow)
     for name, row in SIGNALS.items()],
)  # fmt: skip
def test_every_signal_to_every_process_ends_with_the_robot_at_rest(
    options: dict[str, Any], sent: str, code: int, start: Any
) -> None:
    run = start(**options)
    pids = [(name, run.pid(role)) for name, role in (pair.split() for pair in sent.split(", "))]
    for name, pid in pids:
        os.kill(pid, signal.Signals[f"SIG{name}"])
    assert run.end() == code, run.err.read_text()
    require_rest(run)


# What goes wrong by itself, what is sent then, and the run's exit code.
WRONG = {
    "a bug in the run": ("bug in camera", {}, "", 1),
    "a bug in the robot's driver": ("bug in send", {}, "", 1),
    "a bug in the robot's own process": ("bug in state", APART, "", 1),
    "a send that hangs": ("hang in send", HASTY, "", -signal.SIGKILL),
    "a send that hangs and SIGTERM": ("hang in send", HASTY, "TERM", -signal.SIGKILL),
    "a call that keeps the interpreter": ("hold the GIL", HASTY, "TERM", -signal.SIGKILL),
    "a send that hangs, remote": ("hang in send", APART, "INT", 1),
    "a stop that is refused once": ("no stop", {}, "TERM", 1),
    "a stop that is refused by its process": ("no stop", APART, "TERM", 1),
}


@pytest.mark.parametrize(
    "wrong, options, sent, code",
    [pytest.param(*row, id=name, marks=() if name == "a call that keeps the interpreter"
                  else pytest.mark.slow) for name, row in WRONG.items()],
)  # fmt: skip
def test_whatever_goes_wrong_ends_with_the_robot_at_rest(
    wrong: str, options: dict[str, Any], sent: str, code: int, start: Any
) -> None:
    run = start(3, wrong=wrong, **options)
    if sent:
        os.kill(run.pid("run"), signal.Signals[f"SIG{sent}"])
    assert run.end() == code, run.err.read_text()
    require_rest(run)
    if "bug" in wrong:
        assert "ZeroDivisionError: a bug of the" in run.err.read_text()


def test_a_stop_that_nobody_can_confirm_is_exit_code_3_and_a_line(start: Any) -> None:
    run = start(3, wrong="never stop")
    os.kill(run.pid("run"), signal.SIGTERM)
    assert run.end() == 3
    said = run.err.read_text()
    assert "could not be confirmed: the drive refuses. Opening it anew to stop it:" in said
    assert "Make sure that it stands still." in said


@pytest.mark.parametrize(
    "number", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)]
)
def test_a_second_signal_does_not_interrupt_the_stop_that_the_first_one_began(
    number: int, start: Any
) -> None:
    run = start(wrong="slow stop")
    os.kill(run.pid("run"), number)
    run.wait_for("stopping")
    os.kill(run.pid("run"), number)
    assert run.end() == 0, run.err.read_text()
    assert run.words()[-3:] == ["stopping", "stop", "close"]


@pytest.mark.parametrize(
    "wrong, options, sent, code",
    [("slow load", {}, "INT", 130),
     pytest.param("slow load", APART, "TERM", 143, marks=pytest.mark.slow),
     pytest.param("hang in load", HASTY, "INT", -signal.SIGKILL, marks=pytest.mark.slow),
     pytest.param("hang in load", APART | HASTY, "TERM", -signal.SIGKILL, marks=pytest.mark.slow)],
)  # fmt: skip
def test_a_signal_ends_the_opening_too_whether_it_can_be_interrupted_or_not(
    wrong: str, options: dict[str, Any], sent: str, code: int, start: Any
) -> None:
    run = start(0, wrong=wrong, **options)
    until(lambda: run.out.read_text() or run.process.poll() is not None)
    os.kill(run.pid("run"), signal.Signals[f"SIG{sent}"])
    assert run.end() == code, run.err.read_text()
    assert run.words()[-1] == "close"
    if code < 0:
        assert "the run hung (it had not stopped 1.5 s after SIG" in run.err.read_text()
        assert "stop" in run.words()


def test_a_dry_run_is_nothing_to_stop(start: Any) -> None:
    run = start(0, dry_run=True)
    until(lambda: run.out.read_text())
    until(lambda: len(run.alive()) == 1)  # its supervisor stands down
    os.kill(run.pid("run"), signal.SIGKILL)
    run.end()
    assert run.words() == ["open"]
