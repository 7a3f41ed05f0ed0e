"""Where an output may lie: links, devices, other artefacts, other writers, names, permissions."""

from __future__ import annotations

import errno
import os
import resource
import socket
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from ofp_edge import durable
from ofp_edge.errors import OfpError, OutputExists
from ofp_edge.files import (
    check_output,
    check_output_file,
    new_file,
    new_folder,
    remove_folder,
    write_bytes,
)
from tests.crashing import MARKER, NEW, OLD, contents
from tests.disks import small_disk

ROOT = Path(__file__).resolve().parents[1]


def fill(path: Path, text: str = NEW, *, force: bool = True) -> None:
    with new_folder(path, force=force, marker=MARKER) as partial:
        (partial / MARKER).write_text(text)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("there", [True, False])
def test_a_link_stays_and_what_it_leads_to_is_written(tmp_path: Path, there: bool) -> None:
    (tmp_path / "far").mkdir()
    for link, target in (("folder", "far/folder"), ("file", "far/file")):
        (tmp_path / link).symlink_to(target)
    if there:
        fill(tmp_path / "far" / "folder", OLD)
        (tmp_path / "far" / "file").write_text("old")
    fill(tmp_path / "folder")
    write_bytes(tmp_path / "file", b"new")
    assert (tmp_path / "folder").is_symlink() and (tmp_path / "file").is_symlink()
    assert contents(tmp_path / "far" / "folder") == {MARKER: NEW}
    assert contents(tmp_path / "far" / "file") == "new"
    assert names(tmp_path) == ["far", "file", "folder"]
    assert names(tmp_path / "far") == ["file", "folder"]


def test_a_link_to_what_is_not_ours_is_no_way_around_the_check(tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "thesis.tex").write_text("precious")
    (tmp_path / "link").symlink_to("home")
    with pytest.raises(OfpError, match="--force replaces only"):
        fill(tmp_path / "link")
    assert names(tmp_path) == ["home", "link"]


def test_a_link_to_itself_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to("loop")
    for write in (fill, lambda path: write_bytes(path, b"new")):
        with pytest.raises(OfpError, match="cannot be made"):
            write(tmp_path / "loop")


def make_fifo(path: Path) -> None:
    os.mkfifo(path)


def make_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as end:
        end.bind(str(path))


def make_device(path: Path) -> None:
    path.symlink_to("/dev/null")


@pytest.mark.parametrize("make", [make_fifo, make_socket, make_device])
def test_force_replaces_no_device_pipe_or_socket(
    tmp_path: Path, make: Callable[[Path], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # a socket's path is short
    path = Path("node")
    make(path)
    before = path.stat()
    for refused in (
        lambda: check_output_file(path, force=True),
        lambda: check_output_file(path, force=False),
        lambda: write_bytes(path, b"new"),
        lambda: check_output(path, force=True, marker=MARKER),
        lambda: fill(path),
    ):
        with pytest.raises(OfpError, match="not replaced|replaces only"):
            refused()
    assert (path.stat().st_ino, path.stat().st_mode) == (before.st_ino, before.st_mode)
    assert names(tmp_path) == ["node"] and stat.S_ISCHR(os.stat("/dev/null").st_mode)


def test_force_does_not_replace_somebody_elses_folder_with_a_file_of_the_markers_name(
    tmp_path: Path,
) -> None:
    other = tmp_path / "checkpoint"
    other.mkdir()
    (other / MARKER).write_text('{"architectures": ["GPT2LMHeadModel"]}')
    with pytest.raises(OfpError, match="holds no config.json of ofp-edge"):
        fill(other)
    assert "GPT2" in (other / MARKER).read_text()


@pytest.mark.parametrize("text", ["", "precious"])
def test_a_folder_that_was_made_meanwhile_is_not_replaced(tmp_path: Path, text: str) -> None:
    with pytest.raises(OutputExists):
        with new_folder(tmp_path / "out", force=False, marker=MARKER) as partial:
            (partial / MARKER).write_text(NEW)
            (tmp_path / "out").mkdir()
            (tmp_path / "out" / "thesis.tex").write_text(text)
    assert contents(tmp_path / "out") == {"thesis.tex": text}
    assert names(tmp_path) == ["out"]


@pytest.mark.parametrize("exchanges", [True, False])
def test_a_name_is_taken_only_where_nothing_has_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, exchanges: bool
) -> None:
    if not exchanges:
        monkeypatch.setattr(durable, "_renameat2", lambda old, new, flags: False)
    (tmp_path / "new").mkdir()
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileExistsError):
        durable.place(tmp_path / "new", tmp_path / "empty")
    durable.place(tmp_path / "new", tmp_path / "free")
    assert names(tmp_path) == ["empty", "free"]


def test_with_force_too_what_is_not_ours_by_the_end_stays(tmp_path: Path) -> None:
    path = tmp_path / "out"
    with pytest.raises(OfpError, match="--force replaces only"):
        with new_folder(path, force=True, marker=MARKER) as partial:
            (partial / MARKER).write_text(NEW)
            path.mkdir()
            (path / "thesis.tex").write_text("precious")
    assert contents(path) == {"thesis.tex": "precious"}


def test_a_file_keeps_its_permissions_and_a_new_one_takes_the_users(tmp_path: Path) -> None:
    (tmp_path / "rig.toml").write_text("old")
    (tmp_path / "rig.toml").chmod(0o640)
    write_bytes(tmp_path / "rig.toml", b"new")
    assert stat.S_IMODE((tmp_path / "rig.toml").stat().st_mode) == 0o640
    before = os.umask(0o077)
    try:
        write_bytes(tmp_path / "private.toml", b"new")
        fill(tmp_path / "private")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "private.toml").stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "private").stat().st_mode) == 0o700


def test_an_old_folder_that_was_made_read_only_leaves_no_rest(tmp_path: Path) -> None:
    fill(tmp_path / "out", OLD)
    (tmp_path / "out" / "deeper").mkdir()
    (tmp_path / "out" / "deeper").chmod(0o500)
    (tmp_path / "out").chmod(0o500)
    fill(tmp_path / "out")
    assert names(tmp_path) == ["out"] and contents(tmp_path / "out") == {MARKER: NEW}


def test_long_names_work_and_too_long_ones_are_one_line(tmp_path: Path) -> None:
    fill(tmp_path / ("a" * 255))
    write_bytes(tmp_path / ("ü" * 127), b"new")
    for write in (fill, lambda path: write_bytes(path, b"new")):
        with pytest.raises(OfpError, match="cannot be made: File name too long"):
            write(tmp_path / ("a" * 256))
    assert len(names(tmp_path)) == 2


NOBODY = """
import os, sys
from pathlib import Path
from ofp_edge.errors import OfpError
from ofp_edge.files import check_output, check_output_file, new_folder, write_bytes
path = Path(sys.argv[1])
if os.geteuid() == 0:
    os.setgroups([]); os.setgid(65534); os.setuid(65534)
def fill():
    with new_folder(path, force=True, marker="config.json"):
        raise AssertionError
for refused in (
    lambda: check_output(path, force=True, marker="config.json"),
    lambda: check_output_file(path, force=True), fill, lambda: write_bytes(path, b"new"),
):
    try:
        refused()
        sys.exit("not refused")
    except OfpError as error:
        assert str(error) == f"no permission to write {path}.", error
"""


def test_a_folder_that_may_not_be_written_is_one_line_before_the_work() -> None:
    with tempfile.TemporaryDirectory() as name:  # not pytest's, which are closed to nobody
        Path(name).chmod(0o755)
        closed = Path(name, "closed")
        closed.mkdir(mode=0o555)
        words = [sys.executable, "-c", NOBODY, str(closed / "out")]
        done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert names(closed) == []


def test_a_disk_that_is_mounted_at_the_output_or_read_only_is_one_line(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk") as disk:
        with pytest.raises(OfpError, match="disk cannot be made: Device or resource busy"):
            fill(disk)
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        for refused in (
            lambda: check_output(disk / "out", force=False, marker=MARKER),
            lambda: check_output_file(disk / "deep" / "out", force=False),
        ):
            with pytest.raises(OfpError, match="no permission to write"):
                refused()


def test_a_file_beyond_the_users_limit_is_one_line_and_leaves_the_old(tmp_path: Path) -> None:
    path = tmp_path / "out"
    write_bytes(path, b"old")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    try:
        with pytest.raises(OfpError, match="ulimit -f"):
            write_bytes(path, b"x" * 5000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert names(tmp_path) == ["out"] and contents(path) == "old"


def test_a_source_that_may_not_be_read_is_named_and_not_the_output(tmp_path: Path) -> None:
    with pytest.raises(OfpError, match=r"/data/x: Permission denied; .*out was not written"):
        with new_folder(tmp_path / "out", force=False, marker=MARKER):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), "/data/x")
    assert names(tmp_path) == []


def test_new_parents_go_again_where_nothing_was_written(tmp_path: Path) -> None:
    with pytest.raises(KeyError), new_folder(tmp_path / "a/b/c", force=False, marker=MARKER):
        raise KeyError
    with pytest.raises(KeyError), new_file(tmp_path / "a/b/c"):
        raise KeyError
    assert names(tmp_path) == []


def test_a_removed_folder_is_gone_and_a_missing_one_is_told(tmp_path: Path) -> None:
    fill(tmp_path / "out")
    remove_folder(tmp_path / "out")
    assert names(tmp_path) == []
    with pytest.raises(OfpError, match="No such file"):
        remove_folder(tmp_path / "out")
