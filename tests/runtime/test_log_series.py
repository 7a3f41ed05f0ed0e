"""A log of several files: bounded on disk and in memory, each file whole, read as one."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from mcap.exceptions import McapError
from mcap.reader import make_reader

from ofp_edge.errors import OfpError, OutputExists
from ofp_edge.runtime.log import file as log_file
from ofp_edge.runtime.log import series as log_series
from ofp_edge.runtime.log.file import LogFile
from ofp_edge.runtime.log.reader import LogReader, later_files
from ofp_edge.runtime.log.series import LogSeries, check_log
from ofp_edge.runtime.log.telemetry import McapLog

ROOT = Path(__file__).resolve().parents[2]
LIMIT = 2 << 20


def fill(series: LogSeries, rows: int, size: int = 5000, first: int = 1) -> None:
    data = json.dumps({"t_ns": 0, "what": "x" * size, "detail": "", "episode": 0}).encode()
    for number in range(first, first + rows):
        series.add("/event", number, number, number, data)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_the_files_stay_within_the_limit_and_the_first_one_and_the_newest_are_kept(
    tmp_path: Path,
) -> None:
    limit = 16 << 20
    series = LogSeries(tmp_path / "run.mcap", {"seed": 7}, limit)
    for first in range(1, 700, 10):
        fill(series, 10, size=50_000, first=first)
        assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= limit
    series.finish()
    kept = names(tmp_path)
    assert kept[-1] == "run.mcap" and len(kept) == series.files <= 18 and series.deleted > 15
    numbers = [int(name.split(".")[1]) for name in kept[:-1]]
    assert numbers == list(range(series.deleted + 2, series.deleted + 2 + len(numbers)))
    for path in tmp_path.iterdir():  # each is a whole MCAP file, with an index and our header
        with path.open("rb") as file:
            summary = make_reader(file).get_summary()
            assert summary is not None and summary.chunk_indexes
        assert LogReader(path).header["seed"] == 7
        assert list(LogReader(path).rows()) and LogReader(path).files == [path]


def test_memory_stays_flat_however_long_the_run(tmp_path: Path) -> None:
    series = LogSeries(tmp_path / "run.mcap", {}, LIMIT)
    fill(series, 300)
    tracemalloc.start()
    try:
        fill(series, 200, first=301)
        before = tracemalloc.get_traced_memory()[0]
        fill(series, 600, first=501)
        assert tracemalloc.get_traced_memory()[0] - before < 100_000
    finally:
        tracemalloc.stop()
    series.finish()


def test_a_file_ends_too_when_its_index_in_memory_grows_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_file, "_MOST_CHUNKS", 10)
    series = LogSeries(tmp_path / "run.mcap", {}, 1 << 30)
    for number in range(1, 27):
        fill(series, 1, size=10, first=number)
        series.flush()  # a chunk each, as every second of a slow run
    series.finish()
    assert names(tmp_path) == ["run.0002.mcap", "run.0003.mcap", "run.mcap"]


def test_the_first_file_stands_for_all_and_a_gap_is_told(tmp_path: Path) -> None:
    series = LogSeries(tmp_path / "run.mcap", {}, 8 * LIMIT)
    fill(series, 1000)
    series.finish()
    reader = LogReader(tmp_path / "run.mcap")
    assert len(reader.files) == series.files > 4 and not reader.left_out
    assert len(list(reader.rows())) == 1000 and reader.whole and sum(reader.missing.values()) == 0
    reader.files[2].unlink()
    reader = LogReader(tmp_path / "run.mcap")
    assert len(reader.files) == 2 and len(reader.left_out) == series.files - 3
    contiguous = len(list(reader.rows(all_files=False)))
    assert sum(reader.missing.values()) == 0
    assert contiguous < len(list(reader.rows())) == 1000 - reader.missing["/event"]


def test_only_files_of_the_same_run_are_read_and_only_a_runs_own_are_ever_deleted(
    tmp_path: Path,
) -> None:
    for path in (tmp_path / "run.0002.mcap", tmp_path / "run.0003.mcap"):
        single = LogSeries(path, {}, LIMIT)  # a log of its own that is called so
        fill(single, 3)
        single.finish()
    (tmp_path / "run.0004.mcap").write_bytes(b"somebody's")
    precious = {path: path.read_bytes() for path in tmp_path.iterdir()}
    check_log(tmp_path / "run.mcap", force=False)
    series = LogSeries(tmp_path / "run.mcap", {}, LIMIT)
    fill(series, 1000)
    series.finish()
    assert {path: path.read_bytes() for path in precious} == precious
    assert later_files(tmp_path / "run.mcap")[:3] == sorted(precious)
    rows = list(LogReader(tmp_path / "run.mcap").rows(all_files=False))
    assert len(rows) > 10


def test_a_new_run_replaces_the_whole_series_and_only_with_force(tmp_path: Path) -> None:
    series = LogSeries(tmp_path / "run.mcap", {}, 8 * LIMIT)
    fill(series, 500)
    series.finish()
    with pytest.raises(OutputExists):
        check_log(tmp_path / "run.mcap", force=False)
    (tmp_path / "run.mcap").rename(tmp_path / "elsewhere")
    with pytest.raises(OutputExists, match=r"run\.0002\.mcap"):
        check_log(tmp_path / "run.mcap", force=False)
    check_log(tmp_path / "run.mcap", force=True)
    LogSeries(tmp_path / "run.mcap", {}, LIMIT).finish()
    assert names(tmp_path) == ["elsewhere", "run.mcap"]


def test_what_stood_there_stays_until_the_new_log_has_its_header(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    LogSeries(tmp_path / "run.mcap", {"run": 1}, LIMIT).finish()

    def full(*args: Any, **options: Any) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(log_file.LogFile, "flush", full)
        with pytest.raises(OfpError, match=r"log .*run.mcap can't be written: the disk is full"):
            LogSeries(tmp_path / "run.mcap", {"run": 2}, LIMIT)
    assert LogReader(tmp_path / "run.mcap").header["run"] == 1
    assert names(tmp_path) == ["run.mcap"]
    series = LogSeries(tmp_path / "run.mcap", {"run": 2}, LIMIT)
    assert LogReader(tmp_path / "run.mcap").header["run"] == 2  # before its first row
    series.finish()


def test_a_disk_that_is_nearly_full_costs_the_oldest_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Usage:
        free = 1 << 40

    monkeypatch.setattr(log_series.shutil, "disk_usage", lambda path: Usage)
    series = LogSeries(tmp_path / "run.mcap", {}, 1 << 24)
    fill(series, 1000)
    assert series.deleted == 0
    Usage.free = 1 << 20
    fill(series, 200, first=1001)
    series.finish()
    assert names(tmp_path)[-1] == "run.mcap" and series.files == 2


LOGGING = """
import sys, time
from pathlib import Path
from ofp_edge.runtime.log.telemetry import McapLog
log = McapLog(Path(sys.argv[1]), {"seed": 7}, 2 << 20)
k = 0
print("ready", flush=True)
while True:
    for _ in range(int(sys.argv[2])):
        k += 1
        log.write("/event", k, t_ns=k, what="x" * 2000, detail="", episode=k)
    time.sleep(0.01)
"""


KILLED_AT_THE_END = """
import os
from ofp_edge.runtime.log.file import LogFile
LogFile.finish = lambda file: os.kill(os.getpid(), 9)
"""


def killed(path: Path, rows: int, enough: Any) -> None:
    words = [sys.executable, "-c", LOGGING, str(path), str(rows)]
    with subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stdout.readline()
        until = time.monotonic() + 60
        while not enough() and time.monotonic() < until:
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)


def test_at_no_moment_between_two_files_does_the_log_look_as_if_its_run_had_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    series, real, seen = LogSeries(tmp_path / "run.mcap", {}, 1 << 24), LogFile.finish, []

    def finish(file: LogFile) -> int:
        size = real(file)
        reader = LogReader(tmp_path / "run.mcap")
        list(reader.rows())
        seen.append(reader.whole)
        return size

    monkeypatch.setattr(LogFile, "finish", finish)
    fill(series, 1500)
    assert len(seen) >= 2 and not any(seen)
    series.finish()
    assert seen[-1]


def test_a_kill_leaves_every_file_whole_but_the_last_two_and_those_readable(tmp_path: Path) -> None:
    path = tmp_path / "run.mcap"
    killed(path, 20, lambda: len(later_files(path)) >= 3)
    reader = LogReader(path)
    rows = [row for _, row in reader.rows(all_files=False)]
    assert [row["episode"] for row in rows] == list(range(1, len(rows) + 1))
    assert len(list(reader.rows())) >= len(rows) and not reader.whole
    *earlier, before, last = later_files(path)
    for file in (path, *earlier):
        with file.open("rb") as stream:
            assert make_reader(stream).get_summary() is not None
    assert list(LogReader(before).rows())  # it ends once the next one has begun
    assert list(LogReader(last).rows()) or last.stat().st_size < 100_000


def test_a_kill_between_two_files_costs_what_had_not_left_the_process(tmp_path: Path) -> None:
    ended = f"{KILLED_AT_THE_END}{LOGGING}"
    words = [sys.executable, "-c", ended, str(tmp_path / "run.mcap"), "20"]
    assert subprocess.run(words, cwd=ROOT, capture_output=True).returncode == -signal.SIGKILL
    before, last = LogReader(tmp_path / "run.mcap").files
    with before.open("rb") as stream, pytest.raises(McapError):
        make_reader(stream).get_summary()
    reader = LogReader(tmp_path / "run.mcap")
    rows = [row["episode"] for _, row in reader.rows()]
    assert rows == list(range(1, len(rows) + 1)) and len(rows) > 20 and not reader.whole
    assert not list(LogReader(last).rows())


def test_a_kill_costs_a_slow_run_no_more_than_its_last_second(tmp_path: Path) -> None:
    path = tmp_path / "run.mcap"
    killed(path, 1, lambda: path.stat().st_size > 3000)  # far less than a chunk
    assert len(list(LogReader(path).rows())) >= 1


def test_a_last_chunk_whose_contents_a_loss_of_power_took_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "run.mcap"
    series = LogSeries(path, {}, 8 * LIMIT)
    fill(series, 60)
    series.flush()
    data = bytearray(path.read_bytes())
    data[-3000:] = bytes(3000)
    path.write_bytes(data)
    rows = list(LogReader(path).rows())
    assert 30 < len(rows) < 60
    series.finish()


def test_a_disk_that_fills_up_ends_the_log_and_says_so_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    log = McapLog(tmp_path / "run.mcap", {}, LIMIT, said.append)
    real = log_file.LogFile.flush

    def full(file: log_file.LogFile) -> None:
        if log.series.files > 2:
            raise OSError(28, os.strerror(28))
        real(file)

    monkeypatch.setattr(log_file.LogFile, "flush", full)
    for k in range(900):
        log.write("/event", k, t_ns=k, what="x" * 2000, detail="", episode=k)
    log.close()
    assert said == [log.trouble] and "the disk is full" in log.trouble
    kept = list(LogReader(tmp_path / "run.mcap").rows())
    assert len(kept) + log.lost == 900 and log.lost > 0
    monkeypatch.undo()
    log.close()


def test_a_disk_that_no_longer_answers_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import threading

    from ofp_edge.runtime.log import telemetry

    gate = threading.Event()
    monkeypatch.setattr(telemetry, "_END_S", 0.05)
    log = McapLog(tmp_path / "run.mcap", {}, LIMIT)
    monkeypatch.setattr(log.series, "add", lambda *args: gate.wait())
    for k in range(2000):
        log.write("/event", k, t_ns=k, what="", detail="", episode=k)
    log.close()
    assert log.trouble == "the disk does not answer"
    gate.set()
