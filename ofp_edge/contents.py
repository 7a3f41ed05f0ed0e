"""What a file is by its first bytes, and what to do with one that was taken for another.

For the line that refuses it. Names lie: a download that stopped, a pointer of Git LFS and a page of
HTML all bear the name of the file that was wanted.
"""

from __future__ import annotations

import io
import re
import zipfile
from pathlib import Path

POINTER = b"version https://git-lfs.github.com/spec/"
LARGEST_POINTER = 1024  # bytes; Git LFS writes about 130
PROGRAM, OLD_PROGRAM = "a torch.export program (.pt2)", "a torch.export program of an older torch"
HDF5, ONNX, TORCHSCRIPT = "an HDF5 file", "an ONNX graph", "a TorchScript program (torch.jit.save)"
_HEAD = 512
_TAR_AT, _ZIP = 257, b"PK\x03\x04"
_STARTS = (
    (POINTER, "a pointer of Git LFS, not the file: git lfs pull"),
    (b"\x89HDF\r\n\x1a\n", HDF5),
    (b"\x1f\x8b", "packed by gzip: unpack it with tar xzf or gunzip"),
    (b"\xfd7zXZ\x00", "packed by xz: unpack it with tar xJf or unxz"),
    (b"\x28\xb5\x2f\xfd", "packed by zstd: unpack it with unzstd"),
    (b"BZh", "packed by bzip2: unpack it with tar xjf or bunzip2"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive: unpack it with 7z x"),
    (b"PAR1", "a Parquet file: give the dataset's folder, the one with meta/info.json"),
    (b"\x93NUMPY", "a NumPy array"),
    (b"\x89MCAP0", "an MCAP log: convert it to one of these layouts first"),
    (b"#ROSBAG", "a ROS bag: convert it to one of these layouts first"),
    (b"SQLite format 3", "an SQLite database (a ROS 2 bag?): convert it to one of these first"),
    (b"RIFF", "a RIFF file (AVI, WebP)"),
    (b"\x89PNG", "a PNG picture"),
    (b"%PDF", "a PDF document"),
)
_PICKLES = tuple(bytes((0x80, version)) for version in range(2, 6))
_PAGES = (b"<!doctype", b"<html", b"<?xml", b"<head")
_IR_VERSIONS = range(3, 32)


def first_bytes(path: Path) -> bytes:
    """Return the start of a plain file; nothing where it can't be read."""
    try:
        with path.open("rb") as file:
            return file.read(_HEAD)
    except OSError:
        return b""


def told(path: Path) -> str | None:
    """Say what a file is, and what to do with it; None where its start does not tell."""
    if path.name.endswith((".incomplete", ".part", ".crdownload", ".download")):
        return "a download that did not end: download it again"
    head = first_bytes(path)
    if head.startswith(_ZIP):
        try:
            with zipfile.ZipFile(path) as archive:
                return zipped(archive.namelist(), str(path))
        except (zipfile.BadZipFile, OSError, ValueError, RuntimeError):
            return "a damaged zip archive: copy it again"
    return told_of(head)


def told_of(data: bytes) -> str | None:
    """Say what a file is by its bytes; as `told`. A zip archive needs all of them."""
    if not data:
        return "empty: copy or download it again"
    if data.startswith(_ZIP):
        try:
            with zipfile.ZipFile(io.BytesIO(data)) as archive:
                return zipped(archive.namelist(), "FILE")
        except (zipfile.BadZipFile, OSError, ValueError, RuntimeError):
            return "a damaged zip archive: copy it again"
    for start, what in _STARTS:
        if data.startswith(start):
            return what
    if data[_TAR_AT : _TAR_AT + 5] == b"ustar":
        return "a tar archive: unpack it with tar xf"
    if data.startswith(_PICKLES):
        return "a pickle (torch.save, pickle.dump), which is never executed"
    if re.fullmatch(rb"ET\d\d", data[4:8]):
        return "an ExecuTorch program (.pte), which is compiled already"
    if data[8:9] == b"{" and int.from_bytes(data[:8], "little") < 1 << 32:
        return "a safetensors file: weights without a network"
    if data.lstrip().lower().startswith(_PAGES):
        return "a web page, not the file: the download needs a login or another link"
    if (
        data[:1] == b"\x08"
        and len(data) > 2
        and data[1] in _IR_VERSIONS
        and data[2] in b"\x12\x1a:"
    ):
        return ONNX
    return None


def zipped(names: list[str], path: str) -> str:
    """Say what a zip archive holds; names: of its files. path: as it stands in the line."""
    inner = [name.partition("/")[2] for name in names]
    last = {name.rpartition("/")[2] for name in names}
    if "serialized_exported_program.json" in names:
        return OLD_PROGRAM
    if any(name.startswith("code/") for name in inner) or "constants.pkl" in inner:
        return TORCHSCRIPT
    if "data.pkl" in inner:
        return "a pickle (torch.save), which is never executed"
    if any(name.startswith("data/aotinductor/") for name in inner):
        return "a program compiled by AOTInductor"
    if any(name.startswith("models/") for name in inner):
        return PROGRAM
    if last & {".zgroup", ".zarray", "zarr.json"}:
        folder = path.removesuffix(".zip").removesuffix(".zarr") + ".zarr"
        return f"a zipped Zarr: unpack it and give the folder: unzip {path} -d {folder}"
    if any(name.endswith(".npy") for name in last):
        return "a NumPy archive (.npz)"
    return f"a zip archive: unpack it: unzip {path}"
