"""A file is told by its first bytes, whatever it is called, and a pointer of Git LFS is refused."""

from __future__ import annotations

import io
import os
import tarfile
import zipfile
from pathlib import Path

import pytest

from ofp_edge.contents import LARGEST_POINTER, told, told_of
from ofp_edge.errors import DatasetError, PolicyError
from ofp_edge.outside import open_plain, read_plain, require_plain

POINTER = (
    b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"4d" * 32 + b"\nsize 12345\n"
)


def zip_of(*names: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in names:
            archive.writestr(zipfile.ZipInfo(name), "x")  # of no time: the same bytes ever after
    return buffer.getvalue()


def tar_of(name: str) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        archive.addfile(tarfile.TarInfo(name))
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (POINTER, "git lfs pull"),
        (b"", "empty"),
        (b"\x89HDF\r\n\x1a\n....", "an HDF5 file"),
        (b"\x1f\x8b\x08....", "tar xzf"),
        (tar_of("a"), "tar xf"),
        (b"\x80\x02}q\x00.", "a pickle"),
        (b"....ET12....", "an ExecuTorch program"),
        (b"\x30\0\0\0\0\0\0\0{}", "a safetensors file"),
        (b"\n<!DOCTYPE html><html>", "a web page"),
        (b"\x08\x0a\x12\x07pytorch", "an ONNX graph"),
        (zip_of("u/code/__torch__.py", "u/constants.pkl", "u/data.pkl"), "a TorchScript program"),
        (zip_of("u/data.pkl", "u/data/0"), "a pickle"),
        (zip_of("serialized_exported_program.json", "version"), "of an older torch"),
        (zip_of("u/models/model.json"), "a torch.export program"),
        (zip_of("data/.zgroup", "data/x/0"), "a zipped Zarr"),
        (zip_of("a/zarr.json"), "a zipped Zarr"),
        (zip_of("arr_0.npy"), "a NumPy archive"),
        (zip_of("readme.txt"), "a zip archive: unpack it"),
        (zip_of("readme.txt")[:40], "a damaged zip archive"),
    ],
)
def test_a_file_is_told_by_its_bytes(data: bytes, says: str, tmp_path: Path) -> None:
    path = tmp_path / "x.bin"
    path.write_bytes(data)
    assert says in str(told_of(data)) and says in str(told(path))


@pytest.mark.parametrize("data", [b"\0" * 600, b"plain text", b'{"a": 1}', b"\x00\x01\x02"])
def test_what_does_not_tell_is_not_guessed(data: bytes) -> None:
    assert told_of(data) is None


def test_a_download_that_did_not_end_is_told_by_its_name(tmp_path: Path) -> None:
    (tmp_path / "abc.incomplete").write_bytes(b"\x89HDF\r\n\x1a\n")
    assert "did not end" in str(told(tmp_path / "abc.incomplete"))


def test_a_pointer_of_git_lfs_is_refused_wherever_a_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(POINTER)
    with pytest.raises(PolicyError, match=r"model\.safetensors is a pointer of Git LFS.*lfs pull"):
        read_plain(path, PolicyError, 1 << 20)
    with pytest.raises(DatasetError, match="git lfs pull"):
        require_plain(path, DatasetError)
    path.write_bytes(POINTER + b" " * LARGEST_POINTER)  # too long to be one
    open_plain(path, PolicyError).close()


def test_a_link_to_nothing_says_where_it_leads(tmp_path: Path) -> None:
    link = tmp_path / "info.json"
    os.symlink("../../blobs/abc", link)
    with pytest.raises(
        DatasetError, match=r"info\.json is a link to \.\./\.\./blobs/abc, where no"
    ):
        read_plain(link, DatasetError, 1 << 20)
