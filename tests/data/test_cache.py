"""What the network sees, mapped from a disk: the same as in memory, whatever happens meanwhile."""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ofp_edge.data.cache import access as access_module
from ofp_edge.data.cache import build as build_module
from ofp_edge.data.cache import room
from ofp_edge.data.cache.access import Access
from ofp_edge.data.cache.entry import DONE, VALUES, entries
from ofp_edge.data.dataset import Dataset
from ofp_edge.data.open import open_dataset
from ofp_edge.errors import DatasetError
from tests.data.foreign import FIXTURES, LAYOUTS, copied, one_line
from tests.synthetic import write_synthetic_dataset

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def rgb(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_synthetic_dataset(tmp_path_factory.mktemp("d") / "rgb.zarr", obs="rgb")


def mapped(folder: Path, **changes: Any) -> Access:
    return replace(Access(folder / "cache", "always", workers=1), **changes)


def is_mapped(values: Any) -> bool:
    return isinstance(values, np.memmap)


def same(one: Dataset, other: Dataset) -> None:
    assert one.sha256 == other.sha256 and one.fields.keys() == other.fields.keys()
    for name, values in one.fields.items():
        assert values.dtype == other.fields[name].dtype
        np.testing.assert_array_equal(values, other.fields[name])
    np.testing.assert_array_equal(one.action, other.action)


@pytest.mark.parametrize("name", sorted(LAYOUTS))
def test_every_layout_gives_the_same_values_mapped(tmp_path: Path, name: str) -> None:
    held = open_dataset(FIXTURES / name, Access(None, "never"))
    found = open_dataset(FIXTURES / name, mapped(tmp_path))
    same(held, found)
    large = [f.name for f in held.interface.observations if not f.joined]
    assert all(is_mapped(found.fields[x]) for x in large)


def test_ours_too_and_made_by_several_processes(tmp_path: Path, rgb: Path) -> None:
    held = open_dataset(rgb, Access(None, "never"))
    found = open_dataset(rgb, mapped(tmp_path, workers=2))
    same(held, found)
    assert is_mapped(found.fields["rgb_front"]) and not is_mapped(held.fields["rgb_front"])


def test_it_is_made_once_and_anew_when_anything_that_shapes_it_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[str] = []
    real = build_module.build

    def build(entry: Any, about: Any, *rest: Any) -> None:
        made.append(about.field)
        real(entry, about, *rest)

    monkeypatch.setattr(access_module, "build", build)
    path = copied("diffusion-policy.zarr", tmp_path)
    first = open_dataset(path, mapped(tmp_path))
    count = len(made)
    same(first, open_dataset(path, mapped(tmp_path)))
    assert count > 0 and len(made) == count
    image = next(f for f in first.interface.observations if f.kind == "rgb")
    (tmp_path / "m.toml").write_text(mapping_of(path, "rgb", {"shape": (3, 20, 20)}))
    assert open_dataset(tmp_path / "m.toml", mapped(tmp_path)).fields[image.name].shape[-1] == 20
    assert len(made) == count + 1
    (path / "note").write_text("a file more: another dataset")
    open_dataset(path, mapped(tmp_path))
    assert len(made) == 2 * count + 1


def mapping_of(path: Path, kind: str, values: dict[str, Any]) -> str:
    from ofp_edge.data.guess import guess
    from ofp_edge.data.layouts import open_source
    from ofp_edge.data.mapping import mapping_text

    found = guess(open_source(path))
    observations = tuple(
        replace(x, values={**x.values, **values}) if x.values["kind"] == kind else x
        for x in found.observations
    )
    return mapping_text(replace(found, observations=observations), path.with_name("m.toml"))


def test_what_fits_into_memory_is_held_there(
    tmp_path: Path, rgb: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    access = mapped(tmp_path, when="large")
    assert not is_mapped(open_dataset(rgb, access).fields["rgb_front"])
    size = open_dataset(rgb, access).fields["rgb_front"].nbytes
    monkeypatch.setattr(access_module, "memory_left", lambda: 2 * size)
    assert is_mapped(open_dataset(rgb, access).fields["rgb_front"])


def test_two_at_once_wait_for_each_other(tmp_path: Path, rgb: Path) -> None:
    found: list[Dataset] = []
    threads = [
        threading.Thread(target=lambda: found.append(open_dataset(rgb, mapped(tmp_path))))
        for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    same(found[0], found[1])
    same(found[0], found[2])


OPEN = """
import sys
from pathlib import Path
from ofp_edge.data.cache.access import Access
from ofp_edge.data.frames import Frames
from ofp_edge.data.open import open_dataset
real = Frames.blocks
def blocks(self, source, episode, length):
    print(episode, flush=True)
    if episode == int(sys.argv[3]):
        __import__("time").sleep(600)
    return real(self, source, episode, length)
Frames.blocks = blocks
open_dataset(Path(sys.argv[1]), Access(Path(sys.argv[2]), "always", workers=1))
"""


def test_a_kill_costs_the_episode_that_was_being_made(tmp_path: Path, rgb: Path) -> None:
    words = [sys.executable, "-c", OPEN, str(rgb), str(tmp_path / "cache")]
    with subprocess.Popen([*words, "2"], cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        while (line := process.stdout.readline()).strip() != "2":
            assert line
        process.send_signal(signal.SIGKILL)
    (entry,) = entries(tmp_path / "cache")
    assert entry.done().tolist()[:3] == [2, 2, 0]
    done = subprocess.run([*words, "-1"], cwd=ROOT, capture_output=True, text=True, check=True)
    episodes = done.stdout.split()
    assert "0" not in episodes[: episodes.index("2")]  # of the first field, what was there stays
    same(open_dataset(rgb, Access(None, "never")), open_dataset(rgb, mapped(tmp_path)))


def test_a_worker_that_is_killed_is_said_and_the_next_call_goes_on(
    tmp_path: Path, rgb: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "rgb.zarr"
    shutil.copytree(rgb, path)

    def killing(done: int, total: int, note: str = "") -> None:
        for process in multiprocessing.active_children() if done else ():
            process.kill()

    monkeypatch.setattr(build_module, "_POLL_S", 0.01)
    try:
        open_dataset(path, mapped(tmp_path, workers=2, progress=killing))
    except DatasetError as cause:
        assert "was killed" in str(cause) and "--workers" in str(cause)
    same(open_dataset(path, Access(None, "never")), open_dataset(path, mapped(tmp_path)))


def test_a_value_that_is_no_number_late_in_the_data_is_named_and_the_rest_stays(
    tmp_path: Path,
) -> None:
    import zarr

    path = copied("dp3.zarr", tmp_path)
    clouds: Any = zarr.open_group(str(path), mode="r+")["data/point_cloud"]
    box = {"low": (-9.0,) * 3, "high": (9.0,) * 3}  # else the clouds are read for their range
    (tmp_path / "m.toml").write_text(mapping_of(path, "points", box))
    clouds[-1, 0, 0] = np.nan
    with pytest.raises(DatasetError) as caught:
        open_dataset(tmp_path / "m.toml", mapped(tmp_path))
    one_line(caught, "NaN", "episode")
    (part,) = [x.done() for x in entries(tmp_path / "cache") if not x.done().all()]
    assert part[-1] == 0 and part[:-1].all()


@pytest.mark.parametrize("free", [1 << 20, (1 << 30) + 1000])
def test_a_full_disk_is_said_before_anything_is_made(
    tmp_path: Path, rgb: Path, monkeypatch: pytest.MonkeyPatch, free: int
) -> None:
    class Usage:
        pass

    Usage.free = free  # type: ignore[attr-defined]
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage)
    with pytest.raises(DatasetError) as caught:
        open_dataset(rgb, mapped(tmp_path, limit_bytes=1 << 40))
    one_line(caught, "free on the disk", "--cache")
    assert not entries(tmp_path / "cache")


def test_a_disk_that_fills_up_meanwhile_is_said(
    tmp_path: Path, rgb: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*args: Any) -> None:
        raise OSError(28, os.strerror(28))

    with monkeypatch.context() as patched:
        patched.setattr(os, "posix_fallocate", full)
        with pytest.raises(DatasetError) as caught:
            open_dataset(rgb, mapped(tmp_path))
        one_line(caught, "No space left", "--cache")
    same(open_dataset(rgb, Access(None, "never")), open_dataset(rgb, mapped(tmp_path)))


def test_the_longest_unused_entries_go_and_those_in_use_stay(tmp_path: Path, rgb: Path) -> None:
    paths = []
    for number in range(3):
        paths.append(tmp_path / f"{number}.zarr")
        shutil.copytree(rgb, paths[-1])
        (paths[-1] / "note").write_text(str(number))
    first = open_dataset(paths[0], mapped(tmp_path))
    size = sum(room.size_of(x) for x in entries(tmp_path / "cache"))
    open_dataset(paths[1], mapped(tmp_path))
    time.sleep(0.01)
    limit = 2 * size + size // 4
    third = open_dataset(paths[2], mapped(tmp_path, limit_bytes=limit))
    assert sum(room.size_of(x) for x in entries(tmp_path / "cache")) <= limit + size // 4
    same(open_dataset(rgb, Access(None, "never")), replace(third, sha256=hash_of(rgb)))
    np.testing.assert_array_equal(first.fields["rgb_front"], third.fields["rgb_front"])
    with pytest.raises(DatasetError) as caught:
        (tmp_path / "1.zarr" / "note").write_text("anew")
        open_dataset(paths[1], mapped(tmp_path, limit_bytes=limit // 2))
    one_line(caught, "in use", "--cache-gb")


def hash_of(path: Path) -> str:
    return open_dataset(path, Access(None, "never")).sha256


@pytest.mark.parametrize("damage", ["short", "about", "done"])
def test_a_damaged_entry_is_made_anew(tmp_path: Path, rgb: Path, damage: str) -> None:
    held = open_dataset(rgb, Access(None, "never"))
    open_dataset(rgb, mapped(tmp_path))
    for entry in entries(tmp_path / "cache"):
        if damage == "short":
            os.truncate(entry.path / VALUES, 100)
        elif damage == "done":
            (entry.path / DONE).write_bytes(b"")
        else:
            (entry.path / "about.json").write_text(json.dumps({"dataset": 3}))
    same(held, open_dataset(rgb, mapped(tmp_path)))


def test_a_cloud_without_a_point_in_its_box_is_refused_mapped_too(tmp_path: Path) -> None:
    path = write_synthetic_dataset(tmp_path / "points.zarr")
    import zarr

    depth = next(x for x in (path / "data").iterdir() if x.name.startswith("depth"))
    array: Any = zarr.open_group(str(path), mode="r+")[f"data/{depth.name}"]
    array[:] = 1  # nearer than any box
    for _ in range(2):
        with pytest.raises(DatasetError) as caught:
            open_dataset(path, mapped(tmp_path))
        one_line(caught, "no frame", "depth all 0")
