"""Files from outside: plain ones alone, in their folder, measured before they are read."""

from __future__ import annotations

import os
import socket
import tracemalloc
from pathlib import Path
from typing import Any

import pytest

from ofp_edge import outside
from ofp_edge.errors import DatasetError
from ofp_edge.outside import (
    open_plain,
    plain_tree,
    read_plain,
    require_closed,
    require_memory,
    require_plain,
    within,
)


def test_a_generous_limit_sets_no_memory_aside(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"abc")
    tracemalloc.start()
    try:
        assert read_plain(tmp_path / "f", DatasetError, 1 << 30) == b"abc"
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()
    assert read_plain(Path("/proc/self/status"), DatasetError, 1 << 20)  # its size is said to be 0


def one_line(caught: pytest.ExceptionInfo[DatasetError], *words: str) -> None:
    line = str(caught.value)
    assert "\n" not in line
    for word in words:
        assert word in line, line


def test_a_plain_file_is_read(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"abc")
    assert read_plain(tmp_path / "f", DatasetError, 3) == b"abc"
    assert read_plain(tmp_path / "f", DatasetError, 3, inside=tmp_path) == b"abc"


def test_a_pipe_a_socket_and_a_folder_are_never_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with socket.socket(socket.AF_UNIX) as end:
        end.bind(str(tmp_path / "s"))
        for name in (tmp_path / "pipe", tmp_path / "s", tmp_path):
            for read in (open_plain, require_plain):
                with pytest.raises(DatasetError) as caught:
                    read(name, DatasetError)
                one_line(caught, str(name))


def test_what_can_not_be_opened_is_one_line(tmp_path: Path) -> None:
    for name in ("absent", "a\0b", "x" * 300):
        with pytest.raises(DatasetError) as caught:
            read_plain(tmp_path / name, DatasetError, 10)
        one_line(caught, "cannot be read")


def test_a_file_without_permission_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> int:  # what every user but root gets
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(outside.os, "open", refuse)
    with pytest.raises(DatasetError) as caught:
        read_plain(tmp_path / "f", DatasetError, 10)
    one_line(caught, "Permission denied")


def test_a_large_file_is_refused_before_it_is_read(tmp_path: Path) -> None:
    with (tmp_path / "f").open("wb") as file:
        file.truncate(1 << 40)  # sparse
    with pytest.raises(DatasetError) as caught:
        read_plain(tmp_path / "f", DatasetError, 1 << 20)
    one_line(caught, "1099.5 GB", "1.0 MB")


def test_nothing_outside_its_folder_is_opened(tmp_path: Path) -> None:
    folder, other = tmp_path / "set", tmp_path / "other"
    (folder / "a").mkdir(parents=True)
    other.mkdir()
    (other / "f").write_bytes(b"secret")
    (folder / "f").write_bytes(b"ours")
    (folder / "file").symlink_to(other / "f")
    (folder / "folder").symlink_to(other)
    (folder / "a" / "up").symlink_to("../f")
    for name in ("file", "folder/f", "../other/f", str(other / "f"), "a/../../other/f"):
        with pytest.raises(DatasetError) as caught:
            read_plain(folder / name, DatasetError, 10, inside=folder)
        one_line(caught, "leads out of")
    assert read_plain(folder / "a" / "up", DatasetError, 10, inside=folder) == b"ours"
    (tmp_path / "link").symlink_to(folder)
    assert within(tmp_path / "link", tmp_path / "link" / "f", DatasetError) == folder / "f"


def hub(tmp_path: Path, name: str = "datasets--lab--set", commit: str = "0123abcd" * 5) -> Path:
    """The layout of Hugging Face's cache: a snapshot whose one file is a link to a blob."""
    repository = tmp_path / "hub" / name
    snapshot = repository / "snapshots" / commit
    (snapshot / "meta").mkdir(parents=True)
    (repository / "blobs").mkdir()
    (repository / "blobs" / "7f3a").write_bytes(b"ours")
    (snapshot / "meta" / "info.json").symlink_to("../../../blobs/7f3a")
    return snapshot


def test_a_snapshot_of_the_hub_has_its_files_among_its_own_blobs(tmp_path: Path) -> None:
    snapshot = hub(tmp_path)
    for folder in (snapshot, tmp_path / "link"):
        if folder != snapshot:
            folder.symlink_to(snapshot)
        read = read_plain(folder / "meta" / "info.json", DatasetError, 10, inside=folder)
        assert read == b"ours"
    require_closed(snapshot, DatasetError)


def test_a_snapshot_leads_nowhere_but_to_its_own_blobs(tmp_path: Path) -> None:
    snapshot, other = hub(tmp_path), hub(tmp_path, "models--lab--other")
    repository = snapshot.parents[1]
    (repository / "refs").write_bytes(b"main")
    (repository / "blobs" / "deep").mkdir()
    (repository / "blobs" / "deep" / "f").write_bytes(b"")
    for to in ("../../refs", "../../blobs/deep/f", "../../blobs", other / "meta" / "info.json"):
        (snapshot / "out").symlink_to(to)
        with pytest.raises(DatasetError, match="leads out of"):
            require_closed(snapshot, DatasetError)
        (snapshot / "out").unlink()


@pytest.mark.parametrize(
    ("name", "commit"), [("lab--set", "0123abcd" * 5), ("datasets--lab--set", "main")]
)
def test_what_only_looks_like_the_hubs_cache_is_none(
    tmp_path: Path, name: str, commit: str
) -> None:
    with pytest.raises(DatasetError, match="leads out of"):
        require_closed(hub(tmp_path, name, commit), DatasetError)


def test_a_folder_that_begins_alike_is_another_one(tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    (tmp_path / "set-2").mkdir()
    with pytest.raises(DatasetError):
        within(tmp_path / "set", tmp_path / "set-2", DatasetError)


def test_a_loop_of_links_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    with pytest.raises(DatasetError) as caught:
        read_plain(tmp_path / "a", DatasetError, 10, inside=tmp_path)
    one_line(caught, "cannot be read")


def test_a_tree_has_plain_files_alone(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "f").write_bytes(b"")
    assert [Path(x.path) for x in plain_tree(tmp_path, DatasetError)] == [tmp_path / "a/b/f"]
    os.mkfifo(tmp_path / "a" / "pipe")
    with pytest.raises(DatasetError, match="not a plain file"):
        list(plain_tree(tmp_path, DatasetError))
    (tmp_path / "a" / "pipe").unlink()
    (tmp_path / "a" / "loop").symlink_to(tmp_path)
    with pytest.raises(DatasetError, match="is a link"):
        list(plain_tree(tmp_path, DatasetError))


def test_a_folder_with_a_link_out_of_it_is_not_closed(tmp_path: Path) -> None:
    (tmp_path / "set" / "a").mkdir(parents=True)
    (tmp_path / "set" / "a" / "in").symlink_to("..")
    require_closed(tmp_path / "set", DatasetError)
    (tmp_path / "set" / "a" / "out").symlink_to(tmp_path)
    with pytest.raises(DatasetError, match="leads out of"):
        require_closed(tmp_path / "set", DatasetError)


def test_memory_that_is_not_there_is_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    require_memory(1000, "x", DatasetError)
    with pytest.raises(DatasetError, match="of memory needed"):
        require_memory(1 << 60, "x", DatasetError)
    monkeypatch.setattr(outside, "memory_left", lambda: 999)
    with pytest.raises(DatasetError, match="1000 bytes of memory needed, 999 bytes free"):
        require_memory(1000, "x", DatasetError)


def group(folder: Path, files: dict[str, str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name).write_text(text)


def left_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: str) -> int | None:
    """What is left where /proc/self/cgroup says so, and the groups lie below tmp_path."""
    real = open

    def opened(path: Any, *args: Any, **more: Any) -> Any:
        if str(path) == "/proc/self/cgroup":
            (tmp_path / "said").write_text(said)
            return real(tmp_path / "said", *args, **more)
        return real(path, *args, **more)

    monkeypatch.setattr(outside, "_GROUPS", tmp_path / "cgroup")
    monkeypatch.setattr("builtins.open", opened)
    return outside.memory_left()


def test_a_control_group_of_version_2_limits_with_those_above_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stat = "anon 300\nfile 500\nshmem 100\n"
    group(tmp_path / "cgroup/a", {"memory.max": "1000\n", "memory.current": "800\n",
                                 "memory.stat": stat})  # fmt: skip
    group(tmp_path / "cgroup/a/b", {"memory.max": "max\n", "memory.high": "700\n",
                                   "memory.current": "600\n", "memory.stat": stat})  # fmt: skip
    assert left_in(tmp_path, monkeypatch, "0::/a\n") == 600
    assert left_in(tmp_path, monkeypatch, "0::/a/b\n") == 500


@pytest.mark.parametrize("place", ["/docker/x", "/not/here"])
def test_a_control_group_of_version_1_limits_also_where_its_place_is_the_hosts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    stat = "cache 1\nshmem 1\ntotal_cache 500\ntotal_shmem 100\n"
    group(tmp_path / "cgroup/memory", {"memory.limit_in_bytes": "1000\n",
                                      "memory.usage_in_bytes": "800\n",
                                      "memory.stat": stat})  # fmt: skip
    assert left_in(tmp_path, monkeypatch, f"4:memory:{place}\n0::/init.scope\n") == 600
