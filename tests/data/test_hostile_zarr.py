"""Zarr that would run code, leave its folder or fill the memory: refused from its metadata."""

from __future__ import annotations

import gzip
import json
import os
import pickle
import shutil
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import imagecodecs
import numcodecs
import numpy as np
import pytest
import zarr

from ofp_edge.data.open import open_dataset
from ofp_edge.data.zarr_codecs import CODECS, refusal
from ofp_edge.data.zarr_store import open_zarr
from ofp_edge.errors import DatasetError
from tests.data.foreign import FIXTURES, copied, one_line
from tests.hostile import read_apart
from tests.synthetic import write_synthetic_dataset

OPEN = "ofp_edge.data.open:open_dataset"


def tiny_dataset(path: Path) -> Path:
    return write_synthetic_dataset(path, obs="state", episodes=3, length=6)


class Runs:
    """Leaves a mark where it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> Any:
        return Path.touch, (self.mark,)


def change(file: Path, **values: Any) -> None:
    file.write_text(json.dumps({**json.loads(file.read_text()), **values}))


def with_pickle(path: Path, array: str, mark: Path, how: str) -> None:
    """The array's chunk becomes a pickle that runs, in one of the ways numcodecs would open it."""
    folder = path / array
    for chunk in folder.iterdir():
        if chunk.is_file() and not chunk.name.startswith("."):
            chunk.write_bytes(pickle.dumps([Runs(mark), "|O", (1,)]))
    shape = {"shape": [1], "chunks": [1]}
    pickled = {"id": "pickle", "protocol": 5}
    ways: dict[str, dict[str, Any]] = {
        "filter": {"dtype": "|O", "filters": [pickled], "compressor": None, **shape},
        "compressor": {"dtype": "|O", "filters": None, "compressor": pickled, **shape},
        "compressor of numbers": {"compressor": pickled},
        "json": {"dtype": "|O", "filters": [{"id": "json2"}], "compressor": None, **shape},
        "text": {"dtype": "<U9", "filters": None, "compressor": None},
        "structure": {"dtype": [["a", "|O"]], "filters": None, "compressor": None},
        "filter of numbers": {"filters": [pickled]},
    }
    change(folder / ".zarray", **ways[how])


@pytest.mark.parametrize(
    "how", ["filter", "compressor", "compressor of numbers", "json", "text", "structure",
            "filter of numbers"],
)  # fmt: skip
@pytest.mark.parametrize(
    "array", ["meta/episode_ends", "data/state", "data/unread", "deep/in/groups/x", "."]
)
def test_a_codec_that_runs_what_it_unpacks_is_refused(array: str, how: str, tmp_path: Path) -> None:
    for ours in (False, True):
        folder = tmp_path / str(ours)
        folder.mkdir()
        path = tiny_dataset(folder / "d.zarr") if ours else copied("dp3.zarr", folder)
        if array not in ("meta/episode_ends", "data/state"):
            root: Any = zarr.open_group(str(path), mode="r+")
            if array == ".":
                shutil.copy(path / "data/state/.zarray", path / ".zarray")
            else:
                root.create_array(array, data=np.zeros(3))
        mark = folder / "ran"
        with_pickle(path, array, mark, how)
        with pytest.raises(DatasetError) as caught:
            open_dataset(path)
        one_line(caught, ".zarray", "is not read")
        assert not mark.exists()


def test_a_codec_that_only_the_copy_of_the_metadata_names_is_never_looked_up(
    tmp_path: Path,
) -> None:
    path, mark = tiny_dataset(tmp_path / "d.zarr"), tmp_path / "ran"
    zarr.consolidate_metadata(str(path))
    about = json.loads((path / ".zmetadata").read_text())
    about["metadata"]["data/state/.zarray"]["filters"] = [{"id": "pickle"}]
    about["metadata"]["data/state/.zarray"]["dtype"] = "|O"
    (path / ".zmetadata").write_text(json.dumps(about))
    wanted = open_dataset(tiny_dataset(tmp_path / "same.zarr"))
    assert np.array_equal(open_dataset(path).action, wanted.action) and not mark.exists()


V3: dict[str, Callable[[dict[str, Any]], Any]] = {
    "type": lambda x: x.update(data_type="variable_length_bytes"),
    "type of an extension": lambda x: x.update(data_type={"name": "numpy.object"}),
    "codec": lambda x: x["codecs"].append({"name": "numcodecs.pickle", "configuration": {}}),
    "only codec": lambda x: x.update(codecs=["numcodecs.pickle"]),
    "codec that only a shard names": lambda x: x.update(
        codecs=[{"name": "sharding_indexed", "configuration": {
            "chunk_shape": [1], "codecs": [{"name": "numcodecs.pickle"}], "index_codecs": []}}]),
    "packed twice": lambda x: x["codecs"].extend([{"name": "gzip"}, {"name": "gzip"}]),
    "codecs": lambda x: x.update(codecs={"name": "bytes"}),
    "transformer": lambda x: x.update(storage_transformers=[{"name": "own"}]),
    "grid": lambda x: x.update(chunk_grid={"name": "own", "configuration": {}}),
    "no grid": lambda x: x.pop("chunk_grid"),
    "kind of node": lambda x: x.update(node_type="own"),
}  # fmt: skip


def format_3(path: Path, **options: Any) -> Path:
    root = zarr.open_group(str(path), mode="w", zarr_format=3)
    data, meta = root.create_group("data"), root.create_group("meta")
    state = np.arange(60, dtype=np.float32).reshape(20, 3)
    data.create_array("state", data=state, chunks=(7, 3), **options)
    data.create_array("action", data=state[:, :2], chunks=(7, 2), **options)
    meta.create_array("episode_ends", data=np.array([8, 20]))
    return path


@pytest.mark.parametrize("what", sorted(V3))
@pytest.mark.parametrize("array", ["data/state", "data/deep/in/x", "meta/episode_ends"])
def test_format_3_is_held_to_the_same_list(what: str, array: str, tmp_path: Path) -> None:
    path = format_3(tmp_path / "d.zarr")
    if not (path / array).exists():
        zarr.open_group(str(path), mode="r+").create_array(array, data=np.zeros(3))
    file = path / array / "zarr.json"
    about = json.loads(file.read_text())
    V3[what](about)
    file.write_text(json.dumps(about))
    with pytest.raises(DatasetError) as caught:
        open_dataset(path)
    one_line(caught, "zarr.json")


@pytest.mark.parametrize("codec", [None, "zstd", "gzip", "blosc", "crc32c"])
def test_format_3_in_plain_codecs_is_read(codec: str | None, tmp_path: Path) -> None:
    made: dict[str, Any] = {
        "zstd": zarr.codecs.ZstdCodec(), "gzip": zarr.codecs.GzipCodec(),
        "blosc": zarr.codecs.BloscCodec(), "crc32c": zarr.codecs.Crc32cCodec(),
    }  # fmt: skip
    path = format_3(tmp_path / "d.zarr", compressors=made[codec] if codec else None)
    zarr.consolidate_metadata(str(path))
    dataset = open_dataset(path)
    assert np.array_equal(dataset.fields["state"], np.arange(60).reshape(20, 3))
    assert dataset.episode_ends.tolist() == [8, 20]


PACKERS = {
    None: None, "blosc": numcodecs.Blosc(cname="lz4"), "zstd": numcodecs.Zstd(),
    "lz4": numcodecs.LZ4(), "zlib": numcodecs.Zlib(), "gzip": numcodecs.GZip(),
}  # fmt: skip


@pytest.mark.parametrize("codec", sorted(PACKERS, key=str))
@pytest.mark.parametrize("size", [0, 1, 100, 255, 256, 1000, 65791, 65792, 300_000])
def test_the_size_that_a_chunk_states_is_known_before_it_is_unpacked(
    codec: str | None, size: int
) -> None:
    size = max(size, int(codec in ("blosc", "lz4")))  # these pack nothing of no bytes
    for values in (np.zeros(size, np.uint8), np.random.default_rng(0).bytes(size)):
        packer = PACKERS[codec]
        data = bytes(values) if packer is None else bytes(packer.encode(values))
        assert refusal(codec, data, size) is None
        assert packer is None or refusal(codec, data, size + 1)
        assert not size or refusal(codec, data, size - 1)


def test_every_codec_that_is_read_knows_its_size_and_noise_is_refused() -> None:
    noise = np.random.default_rng(0).bytes(64)
    assert all(refusal(codec, noise, 1 << 20) for codec in CODECS)
    assert all(refusal(codec, b"", 1 << 20) for codec in CODECS)


def bomb(codec: str, size: int) -> bytes:
    """Some kilobytes that unpack to `size` zeros."""
    if codec == "gzip":
        return gzip.compress(bytes(size), 1)
    if codec == "zlib":
        return zlib.compress(bytes(size), 1)
    if codec == "gzip of members":
        return gzip.compress(bytes(size // 64), 1) * 64
    if codec == "image":
        small = bytearray(imagecodecs.jpeg2k_encode(np.zeros((8, 8), np.uint8)))
        at = small.index(b"\xff\x4f\xff\x51")
        small[at + 8 : at + 16] = (60_000).to_bytes(4, "big") * 2
        return bytes(small)
    if codec == "blosc states less":
        data = bytearray(numcodecs.Blosc(cname="zstd").encode(np.zeros(size, np.uint8)))
        data[4:8] = (64).to_bytes(4, "little")
        return bytes(data)
    packer = {"blosc": numcodecs.Blosc(cname="zstd", clevel=1), "zstd": numcodecs.Zstd(1),
              "lz4": numcodecs.LZ4()}[codec]  # fmt: skip
    return bytes(packer.encode(np.zeros(size, np.uint8)))


def test_a_chunk_that_unpacks_to_too_much_stays_packed(tmp_path: Path) -> None:
    paths = []
    for codec in ("gzip", "zlib", "gzip of members", "blosc", "blosc states less", "zstd", "lz4",
                  "image"):  # fmt: skip
        folder = tmp_path / codec
        folder.mkdir()
        path = copied("dp3.zarr", folder)
        name = "imagecodecs_jpeg2k" if codec == "image" else codec.split()[0]
        change(path / "data/state/.zarray", compressor={"id": name})
        (path / "data/state/0.0").write_bytes(bomb(codec, 1 << 27))
        paths.append(path)
    said = read_apart(OPEN, FIXTURES / "dp3.zarr", paths, growth_mib=40)
    assert all("data/state" in x and "damaged" in x for x in said), said


SIZES = {
    "a chunk of gigabytes": {"chunks": [1 << 40, 4]},
    "frames without files": {"shape": [10**12, 4], "chunks": [1, 4]},
    "frames without files, in large chunks": {"shape": [10**14, 4], "chunks": [10**6, 4]},
    "a wide frame": {"shape": [34, 10**12], "chunks": [1, 10**6]},
    "no end": {"shape": [34, 1 << 70]},
    "below 0": {"shape": [-34, 4]},
    "no chunk": {"chunks": [0, 4]},
    "many axes": {"shape": [1] * 40, "chunks": [1] * 40},
    "a text": {"shape": "34"},
}


def test_a_shape_that_its_files_do_not_have_is_refused(tmp_path: Path) -> None:
    paths = []
    for what, changes in SIZES.items():
        for array in ("data/state", "meta/episode_ends"):
            folder = tmp_path / what / array
            folder.mkdir(parents=True)
            paths.append(copied("dp3.zarr", folder))
            change(paths[-1] / array / ".zarray", **changes)
    said = read_apart(OPEN, FIXTURES / "dp3.zarr", paths)
    assert "read" not in said, said


def test_an_array_that_no_field_reads_costs_no_memory(tmp_path: Path) -> None:
    path, rows = tiny_dataset(tmp_path / "d.zarr"), 1 << 22
    folder = path / "data/more"
    folder.mkdir()
    about = {"zarr_format": 2, "shape": [rows, 1024], "chunks": [rows, 1], "dtype": "|u1",
             "compressor": {"id": "zstd"}, "filters": None, "order": "C",
             "fill_value": 0}  # fmt: skip
    (folder / ".zarray").write_text(json.dumps(about))
    chunk = bytes(numcodecs.Zstd(1).encode(np.zeros(rows, np.uint8)))
    for column in range(1024):  # 4 GiB, of files of some hundred bytes
        (folder / f"0.{column}").write_bytes(chunk)
    good = tiny_dataset(tmp_path / "good.zarr")
    (said,) = read_apart(OPEN, good, [path], memory_mib=3000)
    assert said == "read"


def test_links_and_devices_in_a_store_are_refused(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(bytes(34 * 4 * 4))

    def chunk(path: Path) -> Path:
        return path / "data/state/0.0"

    ways: dict[str, Callable[[Path], Any]] = {
        "a chunk outside": lambda p: (chunk(p).unlink(), chunk(p).symlink_to(tmp_path / "secret")),
        "a pipe": lambda p: (chunk(p).unlink(), os.mkfifo(chunk(p))),
        "a folder outside": lambda p: (
            shutil.move(p / "data/state", tmp_path / "moved"),
            (p / "data/state").symlink_to(tmp_path / "moved"),
        ),
        "metadata outside": lambda p: (
            shutil.copy(p / ".zgroup", tmp_path / "group"), (p / ".zgroup").unlink(),
            (p / ".zgroup").symlink_to(tmp_path / "group"),
        ),
    }  # fmt: skip
    paths = []
    for what, way in ways.items():
        (tmp_path / what).mkdir()
        paths.append(copied("dp3.zarr", tmp_path / what))
        way(paths[-1])
    said = read_apart(OPEN, FIXTURES / "dp3.zarr", paths)
    assert all("link" in x or "plain file" in x for x in said), said


def test_a_chunk_that_became_a_link_after_the_store_was_opened_is_not_followed(
    tmp_path: Path,
) -> None:
    path = copied("dp3.zarr", tmp_path)
    root = open_zarr(path, "data")
    secret = tmp_path / "secret"
    secret.write_bytes((path / "data/state/0.0").read_bytes())
    (path / "data/state/0.0").unlink()
    (path / "data/state/0.0").symlink_to(secret)
    with pytest.raises(DatasetError, match="leads out of"):
        root["data/state"][:]


@pytest.mark.parametrize("file", [".zgroup", ".zattrs", "data/state/.zarray"])
@pytest.mark.parametrize("text", ["", "[", "[]", "7", "[" * 5000, '{"a":' * 5000])
def test_damaged_metadata_is_one_line(file: str, text: str, tmp_path: Path) -> None:
    path = tiny_dataset(tmp_path / "d.zarr")
    (path / file).write_text(text)
    with pytest.raises(DatasetError) as caught:
        open_dataset(path)
    one_line(caught)


@pytest.mark.parametrize("file", [".zgroup", "data/.zgroup", "meta/.zgroup"])
@pytest.mark.parametrize("text", ['{"zarr_format": 1}', '{"zarr_format": []}', "{}"])
def test_a_group_of_another_format_is_one_line(file: str, text: str, tmp_path: Path) -> None:
    for path in (tiny_dataset(tmp_path / "d.zarr"), copied("dp3.zarr", tmp_path)):
        (path / file).write_text(text)
        with pytest.raises(DatasetError) as caught:
            open_dataset(path)
        one_line(caught)
