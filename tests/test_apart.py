"""A call that would end this process ends a copy of it."""

from __future__ import annotations

import contextlib
import ctypes
import os
import time
import traceback

import pytest

from ofp_edge.apart import try_apart
from ofp_edge.errors import PolicyError


def crash() -> None:
    ctypes.string_at(0)


def fill() -> None:
    kept = []
    while True:
        kept.append(bytearray(1 << 27))


def turn() -> None:
    while True:
        time.sleep(0.01)


@pytest.mark.parametrize(
    ("function", "said"),
    [
        (crash, r"u\.pt2 ends the process that opens it \(SIGSEGV\)"),
        (os.abort, r"u\.pt2 ends the process that opens it \(SIGABRT\)"),
        (lambda: os._exit(3), r"\(exit code 3\)"),
        (fill, r"u\.pt2 takes more than 0\.2 GiB of memory"),
        (turn, r"u\.pt2 takes longer than 1 s"),
    ],
)
def test_what_ends_a_process_is_one_line(function: object, said: str) -> None:
    with pytest.raises(PolicyError, match=said) as caught:
        seconds = 1 if function is turn else 120
        try_apart(function, "u.pt2", PolicyError, seconds=seconds, memory=1 << 28)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)


def test_what_a_call_raises_is_left_to_the_call_itself() -> None:
    def wrong() -> None:
        print("said by the copy")
        raise ValueError("a bug")

    try_apart(wrong, "u.pt2", PolicyError)
    try_apart(lambda: None, "u.pt2", PolicyError)


def test_nothing_stays_behind() -> None:
    child = os.fork()
    if child == 0:  # it has no children of other tests
        code = 1
        try:
            handles = set(os.listdir("/proc/self/fd"))
            for function in (crash, lambda: None):
                with contextlib.suppress(PolicyError):
                    try_apart(function, "u.pt2", PolicyError)
            assert set(os.listdir("/proc/self/fd")) == handles
            with pytest.raises(ChildProcessError):
                os.waitpid(-1, os.WNOHANG)
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
