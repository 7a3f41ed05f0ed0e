"""Outputs appear whole or not at all: errors, kills, full disks, and what --force may replace."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ofp_edge import durable, files
from ofp_edge.errors import OfpError, OutputExists, PolicyError
from ofp_edge.files import (
    canonical_json,
    check_output,
    new_folder,
    read_json,
    sha256_bytes,
    sha256_file,
    sha256_folder,
    write_bytes,
    write_json,
)
from tests.disks import small_disk

ROOT = Path(__file__).resolve().parents[1]
MARKER = "config.json"
OLD, NEW = '{"schema_version": 1, "is": "old"}', '{"schema_version": 1, "is": "new"}'


@pytest.fixture
def old(tmp_path: Path) -> Path:
    folder = tmp_path / "artefact"
    folder.mkdir()
    (folder / MARKER).write_text(OLD)
    (folder / "weights").write_text("old weights")
    return folder


def contents(folder: Path) -> dict[str, str]:
    return {
        p.relative_to(folder).as_posix(): p.read_text() for p in folder.rglob("*") if p.is_file()
    }


def test_a_folder_appears_when_the_block_ends_well(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "new"
    with new_folder(target, force=False, marker=MARKER) as partial:
        (partial / MARKER).write_text(NEW)
        assert not target.exists()
    assert contents(target) == {MARKER: NEW}
    assert target.stat().st_mode & 0o777 == 0o755
    assert [p.name for p in target.parent.iterdir()] == ["new"]


def test_an_error_in_the_block_leaves_the_old_folder_and_nothing_else(old: Path) -> None:
    before = contents(old)
    with pytest.raises(KeyError), new_folder(old, force=True, marker=MARKER) as partial:
        (partial / MARKER).write_text("half")
        raise KeyError("a bug")
    assert contents(old) == before
    assert list(old.parent.iterdir()) == [old]


def test_force_replaces_a_whole_artefact(old: Path) -> None:
    with new_folder(old, force=True, marker=MARKER) as partial:
        (partial / MARKER).write_text(NEW)
    assert contents(old) == {MARKER: NEW}
    assert list(old.parent.iterdir()) == [old]


def test_a_reader_never_sees_a_gap_while_an_artefact_is_replaced(old: Path) -> None:
    seen: set[str] = set()
    stop = threading.Event()

    def read() -> None:
        while not stop.is_set():
            try:
                seen.add((old / MARKER).read_text())
            except FileNotFoundError:
                seen.add("a gap")
            time.sleep(0)  # else it keeps the interpreter for 5 ms a call

    reader = threading.Thread(target=read)
    reader.start()
    try:
        for _ in range(200):
            with new_folder(old, force=True, marker=MARKER) as partial:
                (partial / MARKER).write_text(NEW)
    finally:
        stop.set()
        reader.join()
    assert seen <= {OLD, NEW}


def test_without_an_exchanging_rename_force_still_replaces(
    old: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(durable.ctypes, "CDLL", lambda *args, **options: object())
    with new_folder(old, force=True, marker=MARKER) as partial:
        (partial / MARKER).write_text(NEW)
    assert contents(old) == {MARKER: NEW}
    assert list(old.parent.iterdir()) == [old]


def test_an_output_that_exists_is_not_overwritten(old: Path) -> None:
    before = contents(old)
    with pytest.raises(OutputExists, match="--force"), new_folder(old, force=False, marker=MARKER):
        pass
    assert contents(old) == before


@pytest.mark.parametrize("what", ["unmarked folder", "file"])
def test_force_replaces_nothing_that_we_did_not_write(tmp_path: Path, what: str) -> None:
    target = tmp_path / "home"
    if what == "file":
        target.write_text("precious")
    else:
        target.mkdir()
        (target / "thesis.tex").write_text("precious")
    with pytest.raises(OfpError, match="--force replaces only what ofp-edge wrote"):
        check_output(target, force=True, marker=MARKER)
    with pytest.raises(OfpError), new_folder(target, force=True, marker=MARKER):
        pass
    assert "precious" in (target.read_text() if target.is_file() else contents(target).values())


def test_force_fills_an_empty_folder(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with new_folder(tmp_path / "empty", force=True, marker=MARKER) as partial:
        (partial / MARKER).write_text(NEW)
    assert contents(tmp_path / "empty") == {MARKER: NEW}


KILLED = """
import os, signal, sys
from pathlib import Path
from ofp_edge.files import new_folder, write_bytes
target = Path(sys.argv[1])
if sys.argv[2] == "folder":
    with new_folder(target, force=True, marker="config.json") as partial:
        (partial / "config.json").write_text("half")
        os.kill(os.getpid(), signal.SIGKILL)
else:
    os.fsync = lambda handle: os.kill(os.getpid(), signal.SIGKILL)
    write_bytes(target / "config.json", b"half")
"""


@pytest.mark.parametrize("kind", ["folder", "file"])
def test_a_kill_in_mid_write_leaves_the_old_artefact(old: Path, kind: str) -> None:
    before = contents(old)
    done = subprocess.run([sys.executable, "-c", KILLED, str(old), kind], cwd=ROOT)
    assert done.returncode == -signal.SIGKILL
    kept = {name: text for name, text in contents(old).items() if not name.endswith(".partial")}
    assert kept == before
    with new_folder(old, force=True, marker=MARKER) as partial:  # and the next try succeeds
        (partial / MARKER).write_text(NEW)
    assert contents(old) == {MARKER: NEW}


@pytest.fixture
def full_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 64 kB that is really full; without root, skipped (see the test below)."""
    with small_disk(tmp_path / "disk") as disk:
        yield disk


def test_a_full_disk_leaves_the_old_artefact_and_says_so_in_one_line(full_disk: Path) -> None:
    target = full_disk / "artefact"
    with new_folder(target, force=False, marker=MARKER) as partial:
        (partial / MARKER).write_text(OLD)
    with (
        pytest.raises(OfpError, match="the disk is full: .*artefact was not written") as caught,
        new_folder(target, force=True, marker=MARKER) as partial,
    ):
        (partial / "weights").write_bytes(b"\0" * 200_000)
    assert "\n" not in str(caught.value)
    with pytest.raises(OfpError, match="the disk is full"):
        write_bytes(target / MARKER, b"\0" * 200_000)
    assert contents(target) == {MARKER: OLD}
    assert [p.name for p in full_disk.iterdir()] == ["artefact"]


@pytest.mark.parametrize(
    ("code", "message"),
    [(errno.ENOSPC, "disk is full"), (errno.EDQUOT, "disk is full"), (errno.EROFS, "permission")],
)
def test_disk_errors_in_the_block_become_one_line(old: Path, code: int, message: str) -> None:
    with pytest.raises(OfpError, match=message), new_folder(old, force=True, marker=MARKER):
        raise OSError(code, os.strerror(code))
    assert contents(old)[MARKER] == OLD


def test_other_operating_system_errors_stay_what_they_are(old: Path) -> None:
    with pytest.raises(OSError, match="Input/output"), new_folder(old, force=True, marker=MARKER):
        raise OSError(errno.EIO, os.strerror(errno.EIO))


def test_written_files_are_whole_readable_and_leave_no_rest(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "a.json"
    write_json(path, {"a": [1, 2.5]})
    write_json(path, {"a": 2})
    assert read_json(path) == {"a": 2}
    assert path.stat().st_mode & 0o777 == 0o644
    assert list(path.parent.iterdir()) == [path]


def test_nan_is_not_json(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "a.json", {"a": float("nan")})
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ValueError, match="JSON"):
        canonical_json(float("inf"))


@pytest.mark.parametrize("data", [b"{", b"", b"\xff\xfe"])
def test_a_damaged_json_file_is_one_line_of_the_wanted_kind(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "a.json").write_bytes(data)
    with pytest.raises(PolicyError, match="a.json is not valid JSON"):
        read_json(tmp_path / "a.json", PolicyError)


def test_a_missing_json_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(PolicyError, match="nothing.json does not exist"):
        read_json(tmp_path / "nothing.json", PolicyError)


def test_canonical_json_does_not_depend_on_the_order_of_keys() -> None:
    assert canonical_json({"b": 1, "a": "ü"}) == canonical_json({"a": "ü", "b": 1})
    assert canonical_json({"b": 1, "a": "ü"}) == b'{"a":"\\u00fc","b":1}'


def test_hashes_are_sha256_of_the_bytes(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"abc")
    expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert sha256_file(path) == sha256_bytes(b"abc") == expected


def test_a_folders_hash_changes_with_names_and_contents(tmp_path: Path) -> None:
    folder = tmp_path / "f"
    folder.mkdir()
    (folder / "a").write_text("1")
    (folder / "b").write_text("2")
    seen = {sha256_folder(folder)}
    (folder / "b").write_text("3")
    seen.add(sha256_folder(folder))
    (folder / "b").rename(folder / "c")
    seen.add(sha256_folder(folder))
    (folder / "sub").mkdir()
    (folder / "c").rename(folder / "sub" / "c")
    seen.add(sha256_folder(folder))
    assert len(seen) == 4


def test_an_output_file_is_refused_before_the_work(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("old")
    with pytest.raises(OutputExists):
        files.check_output_file(tmp_path / "taken", force=False)
    files.check_output_file(tmp_path / "taken", force=True)
    with pytest.raises(OfpError, match="is a folder"):
        files.check_output_file(tmp_path, force=True)


def test_a_folder_below_a_file_is_one_line(old: Path) -> None:
    with pytest.raises(OfpError, match="cannot be made"):
        with new_folder(old / MARKER / "new", force=False, marker=MARKER):
            pass


def test_what_a_killed_writer_left_is_removed_and_a_living_one_is_not(tmp_path: Path) -> None:
    target, dead = tmp_path / "artefact", tmp_path / ".artefact.0123abcd.partial"
    dead.mkdir()
    with new_folder(target, force=False, marker=MARKER) as first:
        assert not dead.exists()
        (first / MARKER).write_text("first")
        with pytest.raises(ZeroDivisionError):
            with new_folder(target, force=False, marker=MARKER):
                assert first.is_dir()
                raise ZeroDivisionError
    assert contents(target) == {MARKER: "first"}
