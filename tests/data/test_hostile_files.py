"""Datasets that lead to other files, or state more than there is: refused before it is opened."""

from __future__ import annotations

import io
import json
import os
import shutil
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import imagecodecs
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ofp_edge.data.layouts import open_source
from ofp_edge.data.layouts.hdf5 import opened
from ofp_edge.data.layouts.images import decode_image
from ofp_edge.data.open import open_dataset
from ofp_edge.errors import DatasetError
from ofp_edge.image_size import image_size
from tests.data.foreign import FIXTURES, copied, one_line
from tests.hostile import read_apart

OPEN = "ofp_edge.data.open:open_dataset"


def refused(path: Path, *words: str) -> None:
    with pytest.raises(DatasetError) as caught:
        open_dataset(path)
    one_line(caught, *words)


def secret(tmp_path: Path) -> Path:
    """A file that is no part of any dataset."""
    path = tmp_path / "secret"
    path.write_bytes(bytes(1 << 16))
    return path


def elsewhere(file: Any, tmp_path: Path, how: str, name: str) -> None:
    shape, dtype, values = file[name].shape, file[name].dtype, file[name][()]
    del file[name]
    if how == "external storage":
        file.create_dataset(name, shape, dtype, external=[(str(tmp_path / "secret"), 0, 1 << 16)])
    elif how == "external link":
        file[name] = h5py.ExternalLink(str(tmp_path / "other.hdf5"), "/x")
    elif how == "soft link":
        file["other"] = values
        file[name] = h5py.SoftLink("/other")
    else:
        layout = h5py.VirtualLayout(shape, dtype)
        layout[...] = h5py.VirtualSource(str(tmp_path / "other.hdf5"), "x", shape)
        file.create_virtual_dataset(name, layout)


HDF5 = {
    "robomimic.hdf5": ("", "data/demo_1/obs/robot0_eef_pos", "data/demo_0/actions"),
    "robotwin-raw": ("data/episode1.hdf5", "joint_action/vector", "joint_action/left_arm"),
    "robotwin-native": ("data/episode_0000001.hdf5", "state/left_arm_joint_states",
                        "data_format_version"),
}  # fmt: skip


@pytest.mark.parametrize("how", ["external storage", "external link", "soft link", "virtual"])
@pytest.mark.parametrize("layout", sorted(HDF5))
def test_hdf5_whose_bytes_lie_elsewhere(layout: str, how: str, tmp_path: Path) -> None:
    inside, *names = HDF5[layout]
    secret(tmp_path)
    with h5py.File(tmp_path / "other.hdf5", "w") as file:
        file["x"] = np.zeros(64, np.float32)
    for name in names:
        folder = tmp_path / name.replace("/", "-")
        folder.mkdir()
        path = copied(layout, folder)
        with h5py.File(path / inside if inside else path, "r+") as file:
            if file[name].shape == () and how != "soft link" and "link" not in how:
                continue  # one value has no such storage
            elsewhere(file, tmp_path, how, name)
        refused(path)


def test_a_whole_group_that_is_a_link(tmp_path: Path) -> None:
    path = copied("robomimic.hdf5", tmp_path)
    other = tmp_path / "other.hdf5"
    shutil.copy(path, other)
    with h5py.File(path, "r+") as file:
        del file["data"]
        file["data"] = h5py.ExternalLink(str(other), "/data")
    refused(path, "is a link")


@pytest.mark.parametrize("options", [
    {"compression": "gzip"}, {"compression": "gzip", "shuffle": True}, {"shuffle": True},
    {"compression": "gzip", "shuffle": True, "fletcher32": True}, {"fletcher32": True}, {},
])  # fmt: skip
@pytest.mark.parametrize("dtype", ["f4", "u1", "i8", "S7", "<f2", ">f8", "bool"])
def test_packed_arrays_are_read_as_hdf5_reads_them(
    options: Any, dtype: str, tmp_path: Path
) -> None:
    values = np.random.default_rng(0).integers(0, 2**15, (20, 5)).astype(dtype)
    with h5py.File(tmp_path / "x.hdf5", "w") as file:
        made = file.create_dataset("x", (20, 5), dtype, chunks=(6, 3), fillvalue=None, **options)
        made[:9], made[13:] = values[:9], values[13:]
        wanted = made[:]
    with opened(tmp_path / "x.hdf5") as read:
        array = read.array("x")
        assert np.array_equal(array.rows(0, 20), wanted)
        assert np.array_equal(array.rows(5, 14), wanted[5:14])
        assert np.array_equal(np.concatenate(list(array.blocks(3, 15))), wanted[3:18])
        assert array.rows(0, 1).dtype == wanted.dtype


def test_a_filter_that_is_not_read_is_named(tmp_path: Path) -> None:
    path = copied("robomimic.hdf5", tmp_path)
    with h5py.File(path, "r+") as file:
        values = file["data/demo_0/actions"][:]
        del file["data/demo_0/actions"]
        file.create_dataset("data/demo_0/actions", data=values, compression="lzf", chunks=True)
    refused(path, "data/demo_0/actions", "h5repack")


def hdf5_bomb(folder: Path, how: str) -> Path:
    path = copied("robomimic.hdf5", folder)
    with h5py.File(path, "r+") as file:
        name = "data/demo_0/actions"
        shape, dtype = file[name].shape, file[name].dtype
        del file[name]
        if how == "chunk":
            made = file.create_dataset(name, shape, dtype, chunks=shape, compression="gzip")
            made.id.write_direct_chunk((0, 0), zlib.compress(bytes(1 << 27), 1))
        elif how == "chunks without end":
            file.create_dataset(name, (10**12, *shape[1:]), dtype, chunks=(1, *shape[1:]))
        elif how == "wide":
            file.create_dataset(name, (shape[0], 10**12), dtype, chunks=(1, 1000))
        elif how == "a large chunk":
            file.create_dataset(name, (shape[0], 10**9), dtype, chunks=(1, 10**8),
                                compression="gzip")  # fmt: skip
        else:
            file.create_dataset(name, (shape[0],), "S2000000000", chunks=(1,))
    return path


def test_hdf5_that_unpacks_to_too_much(tmp_path: Path) -> None:
    ways = ("chunk", "chunks without end", "wide", "a large chunk", "text")
    paths = []
    for way in ways:
        (tmp_path / way).mkdir()
        paths.append(hdf5_bomb(tmp_path / way, way))
    said = read_apart(OPEN, FIXTURES / "robomimic.hdf5", paths, growth_mib=40)
    assert "read" not in said, said


def changed(path: Path, file: str = "meta/info.json", **values: Any) -> Path:
    about = json.loads((path / file).read_text())
    (path / file).write_text(json.dumps({**about, **values}))
    return path


@pytest.mark.parametrize("layout", ["lerobot-v3.0", "lerobot-v2.1"])
@pytest.mark.parametrize("entry", ["data_path", "video_path"])
@pytest.mark.parametrize(
    ("pattern", "said"),
    [
        ("{file_index:>1000000000}", "is no pattern"),
        ("{file_index:01000000000d}", "is no pattern"),
        ("{file_index.__class__}", "is no pattern"),
        ("{file_index!r}", "is no pattern"),
        ("{}", "is no pattern"),
        ("{nothing}", "stands for nothing"),
        ("../secret", "leads out of"),
        ("data/../../secret", "leads out of"),
        ("SECRET", "leads out of"),
        ("link", "leads out of"),
        ("folder/secret", "leads out of"),
        ("pipe", "not a plain file"),
        ("meta", "is a folder"),
        ("x\0y", "is missing"),
    ],
)
def test_lerobot_opens_nothing_outside_its_folder(
    layout: str, entry: str, pattern: str, said: str, tmp_path: Path
) -> None:
    pattern = pattern.replace("SECRET", str(secret(tmp_path)))
    path = changed(copied(layout, tmp_path), **{entry: pattern})
    (path / "link").symlink_to(tmp_path / "secret")
    (path / "folder").symlink_to(tmp_path)
    os.mkfifo(path / "pipe")
    refused(path, said)


def test_lerobot_in_a_folder_that_is_itself_a_link(tmp_path: Path) -> None:
    path = copied("lerobot-v2.1", tmp_path)
    (tmp_path / "link").symlink_to(path)
    assert open_source(tmp_path / "link").read("action", 1).shape == (9, 4)


@pytest.mark.parametrize(
    "values",
    [
        {"fps": 0}, {"fps": "20"}, {"fps": 1e300}, {"fps": -20}, {"fps": True}, {"features": []},
        {"features": {"action": 3}}, {"features": {"action": {"dtype": "float32"}}},
        {"features": {"action": {"dtype": "object", "shape": [4]}}},
        {"features": {"action": {"dtype": "float32", "shape": [10**12]}}},
        {"features": {"action": {"dtype": "float32", "shape": [10**6, 10**6]}}},
        {"features": {"action": {"dtype": "float32", "shape": [-4]}}},
        {"features": {"action": {"dtype": "video", "shape": [4]}}},
        {"features": {"action": {"dtype": ["float32"], "shape": [4]}}},
        {"chunks_size": 0}, {"chunks_size": "1"}, {"total_episodes": "3"},
        {"total_episodes": 10**15}, {"data_path": 3}, {"codebase_version": ["v3.0"]},
        {"codebase_version": None}, {"video_path": None},
    ],
)  # fmt: skip
@pytest.mark.parametrize("layout", ["lerobot-v3.0", "lerobot-v2.1"])
def test_entries_of_lerobot_that_are_of_another_type(
    layout: str, values: dict[str, Any], tmp_path: Path
) -> None:
    if layout == "lerobot-v3.0" and "chunks_size" in values and values["chunks_size"] == 0:
        values = {"chunks_size": -1}
    refused(changed(copied(layout, tmp_path), **values), str(tmp_path))


@pytest.mark.parametrize(
    "text",
    ["7", "[]", '{"episode_index": 0}', '{"episode_index": "0", "length": 3}', "{", "[" * 3000,
     '{"episode_index": 0, "length": 1e300}', '{"episode_index": 0, "length": -3}',
     '{"episode_index": 0, "length": 1000000000000}', '{"episode_index": 0.5, "length": 3}'],
)  # fmt: skip
def test_an_episode_of_another_form(text: str, tmp_path: Path) -> None:
    path = changed(copied("lerobot-v2.1", tmp_path), total_episodes=1)
    (path / "meta/episodes.jsonl").write_text(f"{text}\n")
    refused(path, "episodes")


def table_of(path: Path) -> tuple[Path, Any]:
    file = sorted((path / "data").rglob("*.parquet"))[0]
    return file, pq.read_table(file)


def with_images(folder: Path, item: Callable[[int], dict[str, Any]]) -> Path:
    """lerobot-v3.0 whose images are in the table, or in files that it names."""
    path = copied("lerobot-v3.0", folder)
    about = json.loads((path / "meta/info.json").read_text())
    del about["features"]["observation.images.wrist"]
    about["features"]["observation.images.front"]["dtype"] = "image"
    (path / "meta/info.json").write_text(json.dumps(about))
    file, table = table_of(path)
    rows = pa.array([item(i) for i in range(len(table))],
                    pa.struct([("bytes", pa.binary()), ("path", pa.string())]))  # fmt: skip
    pq.write_table(table.append_column("observation.images.front", rows), file)
    return path


PNG = imagecodecs.png_encode(np.full((48, 64, 3), 9, np.uint8))


def test_images_in_the_table_and_in_files_of_the_set_are_read(tmp_path: Path) -> None:
    for name, item in {"bytes": {"bytes": PNG, "path": None},
                       "path": {"bytes": None, "path": "images/0.png"}}.items():  # fmt: skip
        (tmp_path / name).mkdir()
        path = with_images(tmp_path / name, lambda _, item=item: item)
        (path / "images").mkdir()
        (path / "images/0.png").write_bytes(PNG)
        source = open_source(path)
        frames = source.read("observation.images.front", 1)
        assert frames.shape == (9, 48, 64, 3) and (frames == 9).all()


def bomb_png(height: int, width: int) -> bytes:
    """Of any size, and no bytes to speak of."""
    made = bytearray(PNG)
    made[16:24] = width.to_bytes(4, "big") + height.to_bytes(4, "big")
    made[29:33] = zlib.crc32(made[12:29]).to_bytes(4, "big")
    return bytes(made)


@pytest.mark.parametrize(
    ("item", "said"),
    [
        ({"path": "../secret"}, "leads out of"),
        ({"path": "SECRET"}, "leads out of"),
        ({"path": "link"}, "leads out of"),
        ({"path": "pipe"}, "not a plain file"),
        ({"path": "absent"}, "does not exist"),
        ({}, "bytes or path"),
        ({"bytes": b"II*\0nothing of a TIFF"}, "no PNG or JPEG"),
        ({"bytes": bomb_png(60_000, 60_000)}, "60000 x 60000, expected 64 x 48"),
        ({"bytes": bomb_png(48, 65)}, "65 x 48, expected 64 x 48"),
        ({"bytes": PNG[:40]}, "no PNG"),
        ({"bytes": imagecodecs.png_encode(np.zeros((48, 64), np.uint8))}, "expected colours"),
        ({"bytes": imagecodecs.png_encode(np.zeros((48, 64, 3), np.uint16))}, "expected colours"),
    ],
)
def test_images_of_lerobot_are_their_sets_own_and_of_their_size(
    item: dict[str, Any], said: str, tmp_path: Path
) -> None:
    if item.get("path") == "SECRET":
        item = {"path": str(secret(tmp_path))}
    path = with_images(tmp_path, lambda _: {"bytes": None, "path": None, **item})
    secret(tmp_path)
    (path / "link").symlink_to(tmp_path / "secret")
    os.mkfifo(path / "pipe")
    with pytest.raises(DatasetError) as caught:
        open_source(path).read("observation.images.front", 0)
    one_line(caught, "episode 0, observation.images.front, frame 0" if "path" not in item else "",
             said)  # fmt: skip


def test_a_table_of_more_rows_than_frames_is_not_read(tmp_path: Path) -> None:
    """A million equal rows are a few kilobytes."""
    path = copied("lerobot-v3.0", tmp_path)
    file, table = table_of(path)
    count = 10**6
    columns = {name: pa.nulls(count, table.schema.field(name).type) for name in table.column_names}
    columns["episode_index"] = pa.array(np.zeros(count, np.int64))
    pq.write_table(pa.table(columns), file)
    assert file.stat().st_size < 1 << 18
    (said,) = read_apart(OPEN, FIXTURES / "lerobot-v3.0", [path], growth_mib=60)
    assert "1000000 rows, expected at most 34" in said


def test_images_know_their_size_before_they_are_unpacked() -> None:
    rng = np.random.default_rng(0)
    for height, width in ((1, 1), (48, 64), (255, 257), (33, 1000)):
        frame = rng.integers(0, 256, (height, width, 3), np.uint8)
        for name in ("jpeg", "png", "jpeg2k", "jpegxl"):
            data = bytes(getattr(imagecodecs, f"{name}_encode")(frame))
            assert image_size(data) == (height, width), name
            assert image_size(data[:10]) is None or name == "jpeg"
        buffer = io.BytesIO(imagecodecs.jpegxl_encode(frame, usecontainer=True))
        assert image_size(buffer.getvalue()) == (height, width)
    assert image_size(imagecodecs.jpegxl_encode(np.zeros((3, 8, 8, 3), np.uint8))) is None
    assert image_size(b"") is None and image_size(b"\xff\xd8" + b"\xff" * 99) is None


def test_a_jpeg_of_many_pixels_is_refused() -> None:
    made = bytearray(imagecodecs.jpeg_encode(np.zeros((8, 8, 3), np.uint8)))
    at = made.index(b"\xff\xc0")
    made[at + 5 : at + 9] = b"\xff\xff" * 2
    with pytest.raises(DatasetError, match="an image of 65535 x 65535"):
        decode_image(bytes(made), "x", ("JPEG",))


@pytest.mark.parametrize(
    ("name", "folder"),
    [("robotwin-raw", "data"), ("lerobot-v3.0", "meta/episodes"),
     ("lerobot-v3.0", "meta/episodes/chunk-000")],
)  # fmt: skip
def test_a_folder_that_leads_out_is_not_even_listed(
    name: str, folder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, outside = copied(name, tmp_path), tmp_path / "outside"
    (path / folder).rename(outside)
    (path / folder).symlink_to(outside)
    looked_into: list[str] = []
    for name in ("scandir", "listdir"):

        def noting(real: Callable[[Any], Any]) -> Callable[[Any], Any]:
            def note(at: Any = ".") -> Any:
                looked_into.append(os.path.realpath(os.fsdecode(at)))
                return real(at)

            return note

        monkeypatch.setattr(os, name, noting(getattr(os, name)))
    refused(path, "leads out of")
    assert not [x for x in looked_into if x.startswith(str(outside))]
