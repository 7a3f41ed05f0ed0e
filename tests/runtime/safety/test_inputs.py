from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from ofp_edge.errors import RigError
from ofp_edge.runtime.safety.heartbeat import Heartbeat
from ofp_edge.runtime.safety.stop_input import StopInput

MS = 1_000_000


def listener(path: Path) -> socket.socket:
    found = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    found.bind(str(path))
    found.setblocking(False)
    return found


def said(found: socket.socket) -> list[str]:
    lines = []
    while True:
        try:
            lines.append(found.recv(200).decode())
        except BlockingIOError:
            return lines


def test_systemd_hears_ready_then_beats_no_faster_than_it_needs_then_stopping(
    tmp_path: Path,
) -> None:
    with listener(tmp_path / "notify") as systemd:
        heart = Heartbeat({"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "400000"})
        for k in range(21):  # 20 ms a tick
            heart.beat(k * 20 * MS)
        beats = said(systemd)
        assert beats[0] == "READY=1\nWATCHDOG=1" and beats[1:] == ["WATCHDOG=1"] * 4
        heart.close("60 s\nare over")
        heart.close()
        assert said(systemd) == ["STOPPING=1\nSTATUS=60 s are over"]


def test_without_systemd_or_for_another_process_there_is_no_watchdog(tmp_path: Path) -> None:
    Heartbeat({}).beat(0)
    with listener(tmp_path / "notify") as systemd:
        environment = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "1",
                       "WATCHDOG_PID": str(os.getpid() + 1)}  # fmt: skip
        heart = Heartbeat(environment)
        for k in range(5):
            heart.beat(k * 1000 * MS)
        assert said(systemd) == ["READY=1\nWATCHDOG=1"]


def test_a_socket_nobody_reads_never_makes_the_loop_wait(tmp_path: Path) -> None:
    with listener(tmp_path / "notify"):
        heart = Heartbeat({"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "4"})
        for k in range(3000):  # far more than its buffer takes
            heart.beat(k * MS)
    Heartbeat({"NOTIFY_SOCKET": str(tmp_path / "gone")}).beat(0)


def send(path: Path, text: bytes) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as out:
        out.sendto(text, str(path))


def test_stop_is_heard_among_other_words(tmp_path: Path) -> None:
    stop = StopInput(str(tmp_path / "stop"))
    assert stop.read(0) == ""
    send(tmp_path / "stop", b"go")
    assert stop.read(1) == ""
    send(tmp_path / "stop", b"go")
    send(tmp_path / "stop", b"Stop\n")
    assert stop.read(10**12) == "the stop input said stop"
    stop.close()
    stop.close()
    assert not (tmp_path / "stop").exists()


def test_silence_is_a_stop_where_it_is_asked_for(tmp_path: Path) -> None:
    stop = StopInput(str(tmp_path / "stop"), 500.0)
    assert stop.read(0) == "" and stop.read(500 * MS) == ""
    send(tmp_path / "stop", b"go")
    assert stop.read(600 * MS) == "" and stop.read(1100 * MS) == ""
    assert stop.read(1101 * MS) == "the stop input was silent for 501 ms"
    stop.close()


def test_the_socket_of_a_killed_run_is_taken_over_and_nothing_else(tmp_path: Path) -> None:
    listener(tmp_path / "stop").close()
    StopInput(str(tmp_path / "stop")).close()
    (tmp_path / "file").write_text("mine")
    with pytest.raises(RigError, match="stop_socket"):
        StopInput(str(tmp_path / "file"))
    assert (tmp_path / "file").read_text() == "mine"


def test_a_stop_behind_many_words_is_heard_at_the_next_tick(tmp_path: Path) -> None:
    stop = StopInput(str(tmp_path / "stop"))
    assert stop.read(0) == ""
    stop._datagrams._socket.close()
    stop._datagrams._socket = Full([*[b"go"] * 500, b"stop", b"go"])  # type: ignore[assignment]
    assert stop.read(1) == "the stop input said stop"
    assert stop.read(10**12) == "the stop input said stop", "once said, it stays said"
    stop.close()


def test_all_that_the_kernel_keeps_is_read_in_one_tick(tmp_path: Path) -> None:
    stop = StopInput(str(tmp_path / "stop"))
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as out:
        out.setblocking(False)
        out.connect(str(tmp_path / "stop"))
        with pytest.raises(BlockingIOError):
            for _ in range(100_000):
                out.send(b"go")
        assert stop.read(0) == "", "more than the kernel keeps: raise FLOOD"
        out.send(b"stop")
    assert stop.read(1) == "the stop input said stop"
    stop.close()


def test_a_flood_is_a_stop_since_one_might_be_behind_it(tmp_path: Path) -> None:
    stop = StopInput(str(tmp_path / "stop"))
    stop._datagrams._socket.close()
    stop._datagrams._socket = full = Full([b"go"] * 5000)  # type: ignore[assignment]
    assert "flooded: 1024 messages" in stop.read(0) and len(full.words) == 5000 - 1024
    stop.close()


@pytest.mark.parametrize("word", [b"stop\0", b" STOP now", b"stop\r\n", b"stopped"])
def test_whatever_begins_with_stop_is_one(word: bytes, tmp_path: Path) -> None:
    stop = StopInput(str(tmp_path / "stop"))
    send(tmp_path / "stop", word)
    assert stop.read(0)
    stop.close()


def test_a_stop_between_two_episodes_is_not_lost_and_words_there_are_no_silence(
    tmp_path: Path,
) -> None:
    stop = StopInput(str(tmp_path / "stop"), 500.0)
    assert stop.read(0) == ""
    send(tmp_path / "stop", b"go")
    assert stop.said() == ""
    assert stop.read(20_000 * MS) == ""
    send(tmp_path / "stop", b"stop")
    assert stop.said() and stop.read(20_001 * MS) == "the stop input said stop"
    stop.close()


def test_a_second_run_neither_takes_a_path_nor_deletes_it(tmp_path: Path) -> None:
    stop = StopInput(str(tmp_path / "stop"))
    with pytest.raises(RigError, match="another run listens there. Name another one, or end it."):
        StopInput(str(tmp_path / "stop"))
    send(tmp_path / "stop", b"stop")
    assert stop.read(0) == "the stop input said stop"
    stop.close()
    StopInput(str(tmp_path / "stop")).close()


def test_only_ones_own_socket_is_taken_away(tmp_path: Path) -> None:
    stop = StopInput(str(tmp_path / "stop"))
    (tmp_path / "stop").unlink()
    with listener(tmp_path / "stop"):
        stop.close()
        send(tmp_path / "stop", b"stop")
    (tmp_path / "real").write_text("mine")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    with pytest.raises(RigError, match="stop_socket"):
        StopInput(str(tmp_path / "link"))
    assert (tmp_path / "real").read_text() == "mine"


class Full:
    """A socket in which these words wait."""

    def __init__(self, words: list[bytes]) -> None:
        self.words = words

    def recv(self, size: int) -> bytes:
        if not self.words:
            raise BlockingIOError
        return self.words.pop(0)

    def close(self) -> None:
        pass
