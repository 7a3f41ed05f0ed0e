"""The cache in odd places and beside other programs: nothing of theirs is touched, none hangs."""

from __future__ import annotations

import errno
import fcntl
import os
import pickle
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ofp_edge.data.cache import access as access_module
from ofp_edge.data.cache import build as build_module
from ofp_edge.data.cache import room
from ofp_edge.data.cache.access import Access, Wanted
from ofp_edge.data.cache.entry import ABOUT, DONE, VALUES, entries
from ofp_edge.data.frames import Frames
from ofp_edge.data.mapping import Entry as Chosen
from ofp_edge.errors import DatasetError, MissingExtra, OfpError, SpecMismatch
from ofp_edge.fields import Rgb
from tests.data.foreign import one_line
from tests.disks import small_disk

FIELD = Rgb("rgb", (3, 4, 4), "1", "front", (0.0,) * 3, (1.0,) * 3, "front")
ENDS = [5, 8, 12]


class Made(Frames):
    """Frames of no files: each value tells its episode and frame."""

    def open(self) -> Any:
        return None

    def blocks(self, source: Any, episode: int, length: int) -> Iterator[Any]:
        for frame in range(length):
            yield np.full((1, *FIELD.shape), 10 * episode + frame, np.uint8)


def values(access: Access, name: str = "set", sha256: str = "a", **more: Any) -> Any:
    frames = more.get("frames") or made(Path("nowhere"))
    hashed: Callable[[], str] = more.get("hashed", lambda: sha256)
    wanted = Wanted(name, sha256, hashed, range(len(ENDS)), ENDS)
    return access.values(wanted, [frames])["rgb"]


def made(source: Path) -> Made:
    return Made(source, None, FIELD, Chosen("rgb", {"name": "rgb"}), None)


def held() -> Any:
    return values(Access(None, "never"))


@pytest.fixture
def mapped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Access:
    monkeypatch.setattr(room, "_SPARE_BYTES", 0)
    return Access(tmp_path / "cache", "always", workers=1)


def test_equal_data_of_another_name_are_mapped_while_the_first_are_in_use(mapped: Access) -> None:
    first = values(mapped, "a.zarr")
    waits: list[str] = []
    other = replace(mapped, progress=lambda done, total, note="": waits.append(note))
    np.testing.assert_array_equal(first, values(other, "b.zarr"))
    assert not waits and len(entries(mapped.folder or Path())) == 1


def test_folders_that_are_no_entries_are_neither_shown_nor_cleared(
    tmp_path: Path, mapped: Access
) -> None:
    theirs = [tmp_path / "cache" / "frames" / name for name in ("episode_0", "0" * 32)]
    for folder in theirs:
        folder.mkdir(parents=True)
        (folder / "image.png").write_bytes(b"precious")
    (tmp_path / "cache" / "frames" / ("1" * 32)).symlink_to(theirs[0])
    (tmp_path / "cache" / "frames" / f"{'1' * 32}.lock").touch()
    values(mapped)
    values(replace(mapped, limit_bytes=FIELD.bytes * 12 + 5000), sha256="b")
    for entry in entries(tmp_path / "cache"):
        assert entry.delete_unused()
    assert not entries(tmp_path / "cache")
    assert all((folder / "image.png").read_bytes() == b"precious" for folder in theirs)


def test_a_source_that_changes_while_it_is_read_leaves_nothing(mapped: Access) -> None:
    with pytest.raises(DatasetError) as caught:
        values(mapped, hashed=lambda: "b")
    one_line(caught, "changed while it was read")
    assert not any(x.about() for x in entries(mapped.folder or Path()))


def test_a_source_is_opened_anew_for_what_it_became(mapped: Access) -> None:
    opened: list[int] = []

    class Counted(Made):
        def open(self) -> Any:
            opened.append(1)

    frames = Counted(Path("nowhere"), None, FIELD, Chosen("rgb", {"name": "rgb"}), None)
    for sha256 in ("a", "b", "a"):
        values(mapped, sha256=sha256, frames=frames)
    assert len(opened) == 2


def test_an_episode_is_written_a_few_frames_at_a_time(
    mapped: Access, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []
    real = os.pwrite

    def pwrite(file: int, data: Any, at: int) -> int:
        sizes.append(len(data))
        return real(file, data, at)

    monkeypatch.setattr(os, "pwrite", pwrite)
    values(mapped)
    assert max(sizes) == FIELD.bytes


def test_a_cache_inside_the_dataset_is_refused(tmp_path: Path, mapped: Access) -> None:
    (tmp_path / "link").symlink_to(tmp_path)
    for source in (tmp_path, tmp_path / "link"):
        with pytest.raises(DatasetError) as caught:
            values(mapped, frames=made(source))
        one_line(caught, "lies in the dataset", "--cache")
    assert not (tmp_path / "cache").exists()
    beside = replace(mapped, folder=tmp_path / "cache")
    np.testing.assert_array_equal(values(beside, frames=made(tmp_path / "cach")), held())


def test_a_cache_that_is_a_file_is_said(tmp_path: Path, mapped: Access) -> None:
    (tmp_path / "cache").write_bytes(b"")
    for folder in (tmp_path / "cache", tmp_path / "cache" / "below"):
        with pytest.raises(DatasetError) as caught:
            values(replace(mapped, folder=folder))
        one_line(caught, "can't be used", "--cache")


def failing(number: int) -> Callable[..., Any]:
    def fail(*args: Any, **more: Any) -> Any:
        raise OSError(number, os.strerror(number))

    return fail


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS])
def test_a_disk_without_locks_is_said(
    mapped: Access, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    monkeypatch.setattr(fcntl, "flock", failing(number))
    with pytest.raises(DatasetError) as caught:
        values(mapped)
    one_line(caught, "can't be locked", "--cache")


@pytest.mark.parametrize("number", [errno.EOPNOTSUPP, errno.EINVAL])
def test_a_disk_that_sets_no_room_aside_serves(
    mapped: Access, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    monkeypatch.setattr(os, "posix_fallocate", failing(number))
    np.testing.assert_array_equal(values(mapped), held())


def test_a_limit_on_addresses_is_told_from_a_full_disk(
    mapped: Access, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(np, "memmap", failing(errno.ENOMEM))
    with pytest.raises(DatasetError) as caught:
        values(mapped)
    one_line(caught, "ulimit -v", "control group")


def test_a_disk_that_is_full_is_left_as_it_was(tmp_path: Path, mapped: Access) -> None:
    size = FIELD.bytes * ENDS[-1]
    with small_disk(tmp_path / "disk", size_bytes=-(-size // 4096) * 4096) as disk:
        free = shutil.disk_usage(disk).free
        with pytest.raises(DatasetError) as caught:
            values(replace(mapped, folder=disk / "c", limit_bytes=1 << 30), sha256="x")
        one_line(caught, "--cache")
        assert shutil.disk_usage(disk).free >= free - 4096 * 2


def test_a_disk_that_fills_up_midway_keeps_whole_episodes_and_goes_on(
    mapped: Access, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, seen = os.pwrite, []

    def pwrite(file: int, data: Any, at: int) -> int:
        seen.append(at)
        if len(seen) > 8:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(file, data, at)

    with monkeypatch.context() as patched:
        patched.setattr(os, "pwrite", pwrite)
        with pytest.raises(DatasetError) as caught:
            values(mapped)
    one_line(caught, "No space left", "stays")
    (entry,) = entries(mapped.folder or Path())
    assert entry.done().tolist() == [2, 0, 0]
    np.testing.assert_array_equal(values(mapped), held())


def test_what_is_whole_is_read_where_nothing_can_be_written(
    mapped: Access, monkeypatch: pytest.MonkeyPatch
) -> None:
    values(mapped)
    real = os.open

    def read_only(path: Any, flags: int, *rest: Any, **more: Any) -> int:
        if flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))
        return real(path, flags, *rest, **more)

    monkeypatch.setattr(os, "open", read_only)
    monkeypatch.setattr(os, "utime", failing(errno.EROFS))
    np.testing.assert_array_equal(values(mapped), held())


@pytest.mark.parametrize("damage", ["dtype", "mark"])
def test_an_odd_entry_is_made_anew(mapped: Access, damage: str) -> None:
    values(mapped)
    (entry,) = entries(mapped.folder or Path())
    if damage == "dtype":
        about = (entry.path / ABOUT).read_text().replace("uint8", "nonsense")
        (entry.path / ABOUT).write_text(about)
    else:
        (entry.path / DONE).write_bytes(b"\xff\x02\x02")
        with (entry.path / VALUES).open("r+b") as file:
            file.write(bytes([7] * 48))
    np.testing.assert_array_equal(values(mapped), held())


def test_what_is_left_unwhole_while_another_has_it_is_said_until_it_is_free(
    mapped: Access, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(access_module, "_POLL_S", 0.0)
    users = [values(mapped)]
    (entry,) = entries(mapped.folder or Path())
    (entry.path / DONE).unlink()
    notes: list[str] = []

    def told(done: int, total: int, note: str = "") -> None:
        notes.append(note)
        if len(notes) == 3:
            users.clear()

    np.testing.assert_array_equal(values(replace(mapped, progress=told)), held())
    assert notes[:3] == ["another process makes or clears it"] * 3


def test_fewer_processes_are_started_than_memory_has_room_for(
    mapped: Access, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(build_module, "memory_left", lambda: 900_000_000)
    monkeypatch.setattr(build_module, "ProcessPoolExecutor", failing(errno.EAGAIN))
    np.testing.assert_array_equal(values(replace(mapped, workers=16)), held())


def test_processes_that_share_a_computer_share_its_memory(
    mapped: Access, monkeypatch: pytest.MonkeyPatch
) -> None:
    access = replace(mapped, when="large")
    monkeypatch.setattr(access_module, "memory_left", lambda: 1000)
    assert not access.maps(400) and replace(access, sharers=2).maps(400)


@pytest.mark.parametrize(
    "error", [SpecMismatch("a", 1, 2, "Do."), MissingExtra("m", "data"), DatasetError("x")]
)
def test_every_error_reaches_the_process_that_asked(error: OfpError) -> None:
    again = pickle.loads(pickle.dumps(error))  # as concurrent.futures does
    assert type(again) is type(error) and str(again) == str(error) and vars(again) == vars(error)
