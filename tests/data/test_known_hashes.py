"""A dataset is hashed once, and any change of a file is noticed."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ofp_edge.data import known_hashes
from ofp_edge.data.known_hashes import forget, known_sha256
from ofp_edge.files import sha256_file, sha256_folder


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache folder of the test's own, and files that count as settled at once."""
    monkeypatch.setenv("OFP_EDGE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(known_hashes, "_SETTLED_S", -3600)
    return tmp_path / "cache" / "hashes"


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the files that were hashed."""
    names: list[str] = []

    def count(path: Path) -> str:
        names.append(path.name)
        return sha256_file(path)

    monkeypatch.setattr(known_hashes, "sha256_file", count)
    return names


def made(folder: Path) -> Path:
    for name in ("a", "b/c", "b/é", "d"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(name.encode() * 100)
    return folder


@pytest.mark.usefixtures("cache")
def test_a_set_is_hashed_once_and_as_ever(tmp_path: Path, hashed: list[str]) -> None:
    data = made(tmp_path / "data")
    assert known_sha256(data) == sha256_folder(data) and sorted(hashed) == ["a", "c", "d", "é"]
    hashed.clear()
    assert known_sha256(data) == sha256_folder(data) and hashed == []
    assert known_sha256(data / "a") == sha256_file(data / "a") == known_sha256(data / "a")
    assert hashed == ["a"]


def grown(file: Path) -> None:
    with file.open("ab") as stream:
        stream.write(b"x")


def rewritten(file: Path) -> None:
    data = bytearray(file.read_bytes())
    data[0] ^= 1
    file.write_bytes(data)


def rewritten_at_the_same_time(file: Path) -> None:
    before = file.stat()
    rewritten(file)
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))


def replaced(file: Path) -> None:
    other, before = file.with_name("other"), file.stat()
    other.write_bytes(file.read_bytes()[::-1])
    os.utime(other, ns=(before.st_atime_ns, before.st_mtime_ns))
    other.replace(file)


@pytest.mark.usefixtures("cache")
@pytest.mark.parametrize("change", [grown, rewritten, rewritten_at_the_same_time, replaced])
def test_what_changed_is_hashed_again_and_nothing_else(
    tmp_path: Path, hashed: list[str], change: Callable[[Path], None]
) -> None:
    data = made(tmp_path / "data")
    before = known_sha256(data)
    time.sleep(0.05)  # a tick of the file system's clock, which in use _SETTLED_S waits for
    change(data / "b" / "c")
    hashed.clear()
    assert known_sha256(data) == sha256_folder(data) != before and hashed == ["c"]


@pytest.mark.usefixtures("cache")
def test_files_that_come_go_or_are_renamed_change_the_hash(tmp_path: Path) -> None:
    data = made(tmp_path / "data")
    seen = {known_sha256(data)}
    (data / "new").write_bytes(b"")
    seen.add(known_sha256(data))
    (data / "a").rename(data / "z")
    seen.add(known_sha256(data))
    (data / "d").unlink()
    seen.add(known_sha256(data))
    assert len(seen) == 4 and known_sha256(data) == sha256_folder(data)


def test_a_file_that_has_just_changed_is_not_remembered(
    tmp_path: Path, cache: Path, hashed: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(known_hashes, "_SETTLED_S", 3600)
    data = made(tmp_path / "data")
    for _ in range(2):
        hashed.clear()
        assert known_sha256(data) == sha256_folder(data) and len(hashed) == 4
    assert not cache.exists()


@pytest.mark.usefixtures("cache")
def test_a_file_that_changes_while_it_is_hashed_is_not_remembered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = made(tmp_path / "data")

    def meddled(path: Path) -> str:
        found = sha256_file(path)
        grown(path)
        return found

    with monkeypatch.context() as patched:
        patched.setattr(known_hashes, "sha256_file", meddled)
        known_sha256(data)
    assert known_sha256(data) == sha256_folder(data)


def test_whoever_doubts_forgets(tmp_path: Path, cache: Path, hashed: list[str]) -> None:
    data = made(tmp_path / "data")
    known_sha256(data)
    assert len(list(cache.iterdir())) == 1
    forget(data)
    assert not list(cache.iterdir())
    hashed.clear()
    known_sha256(data)
    assert len(hashed) == 4


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", '{"version": 2, "files": {"a": []}}', '{"version": 1, "files": {"a": "x"}}'],
)
def test_a_damaged_memory_is_no_memory(tmp_path: Path, cache: Path, text: str) -> None:
    data = made(tmp_path / "data")
    known_sha256(data)
    (memory,) = cache.iterdir()
    memory.write_text(text)
    assert known_sha256(data) == sha256_folder(data)
    assert set(json.loads(memory.read_text())["files"]) == {"a", "b/c", "b/é", "d"}


def test_a_folder_that_cannot_be_written_costs_only_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = made(tmp_path / "data")
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.delenv("OFP_EDGE_CACHE")
    for place in (tmp_path / "file", Path("relative")):
        monkeypatch.setenv("XDG_CACHE_HOME", str(place))
        monkeypatch.setenv("HOME", str(place))
        assert known_sha256(data) == sha256_folder(data)
    assert not Path("relative").exists()


@pytest.mark.usefixtures("cache")
def test_two_at_once_remember_one_of_both(tmp_path: Path) -> None:
    data = made(tmp_path / "data")
    found: list[str] = []

    def hashing(*args: Any) -> None:
        found.extend(known_sha256(data) for _ in range(20))

    threads = [threading.Thread(target=hashing) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(found) == {sha256_folder(data)} and len(found) == 40


@pytest.mark.usefixtures("cache")
def test_odd_names_links_and_order_are_those_of_the_plain_hash(tmp_path: Path) -> None:
    data = made(tmp_path / "data")
    for name in ("b-c", "b.d", "b/e/f", ".hidden/x", " a", os.fsdecode(b"\xff\xfe"), "[v2]", "A"):
        (data / name).parent.mkdir(parents=True, exist_ok=True)
        (data / name).write_bytes(os.fsencode(name))
    (data / "link").symlink_to("a")
    (data / "gone").symlink_to("nowhere")
    (data / "loop").symlink_to(data)
    os.mkfifo(data / "pipe")
    assert known_sha256(data) == sha256_folder(data)
    (tmp_path / "linked").symlink_to(data)
    assert known_sha256(tmp_path / "linked") == sha256_folder(data)
    (data / "link").unlink()
    assert known_sha256(tmp_path / "linked") == sha256_folder(data)
