"""Arrays from outside: what numpy writes comes back, and no header takes memory or runs."""

from __future__ import annotations

import io
import zipfile
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ofp_edge.arrays import DTYPES, array_of, read_npy, read_npz
from ofp_edge.errors import BundleError


def npy(array: Any) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def with_header(text: str, data: bytes = b"") -> bytes:
    header = text.encode() + b"\n"
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + data


@pytest.mark.parametrize("dtype", sorted(DTYPES))
@pytest.mark.parametrize("shape", [(), (0, 3), (5,), (2, 3), (2, 1, 3)])
@pytest.mark.parametrize("order", ["C", "F"])
def test_what_numpy_writes_comes_back(dtype: str, shape: tuple[int, ...], order: Any) -> None:
    values = np.arange(np.prod(shape, dtype=int)).reshape(shape)
    array = np.asarray(values.astype(dtype), order=order)
    got = read_npy(npy(array), "x", BundleError)
    assert got.dtype == array.dtype and got.shape == array.shape
    assert got.flags.c_contiguous and got.flags.writeable and np.array_equal(got, array)


@pytest.mark.parametrize(
    "text",
    [
        "{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000000,), }",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (4611686018427387904, 4), }",
        "{'descr': '|O', 'fortran_order': False, 'shape': (1,), }",
        "{'descr': '<U4', 'fortran_order': False, 'shape': (1,), }",
        "{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (1,), }",
        "{'descr': '>f4', 'fortran_order': False, 'shape': (1,), }",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (-1,), }",
        "{'descr': '<f4', 'fortran_order': False, 'shape': " + "(" * 3000 + ", }",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (" + "1" * 3000 + ",), }",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (1, 1, 1, 1, 1, 1, 1, 1, 1), }",
        "-" * 3000 + "1",
    ],
)
def test_another_header_is_one_line(text: str) -> None:
    with pytest.raises(BundleError) as caught:
        read_npy(with_header(text, bytes(4)), "golden.npz, 'a'", BundleError)
    assert str(caught.value).startswith("golden.npz, 'a'") and "\n" not in str(caught.value)
    assert len(str(caught.value)) < 300


@given(st.binary(max_size=80), st.integers(0, 90))
def test_damaged_bytes_are_one_line(noise: bytes, at: int) -> None:
    whole = npy(np.arange(6, dtype=np.float32).reshape(2, 3))
    for data in (noise, whole[:at], whole[:at] + noise + whole[at + len(noise) :]):
        try:
            read_npy(data, "x", BundleError)
        except BundleError:
            continue


@pytest.mark.parametrize("shape", [[2, 2], [-1], [True, 3], "3", None, [3.0], [3, 10**30]])
def test_a_shape_that_is_none_is_refused(shape: Any) -> None:
    with pytest.raises(BundleError):
        array_of(bytes(12), "<f4", shape, "x", BundleError)
    assert array_of(bytes(12), "<f4", [3, 1], "x", BundleError).shape == (3, 1)


def test_an_npz_comes_back_packed_or_not() -> None:
    arrays = {"a": np.arange(4.0), "input/b": np.zeros((2, 2), np.float32)}
    for save in (np.savez, np.savez_compressed):
        buffer = io.BytesIO()
        save(buffer, **arrays)
        got = read_npz(buffer.getvalue(), "x", BundleError, 1 << 20)
        assert set(got) == set(arrays)
        assert all(np.array_equal(got[name], arrays[name]) for name in arrays)


def test_a_packed_bomb_is_refused_before_it_is_unpacked(monkeypatch: pytest.MonkeyPatch) -> None:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, a=np.zeros(1 << 22, np.uint8))
    assert len(buffer.getvalue()) < 1 << 14
    monkeypatch.setattr(zipfile.ZipFile, "read", lambda *_: pytest.fail("it was unpacked"))
    with pytest.raises(BundleError, match="expected at most 1048576"):
        read_npz(buffer.getvalue(), "golden.npz", BundleError, 1 << 20)


def test_a_size_that_lies_gives_no_more_than_it_says() -> None:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, a=np.zeros(1 << 22, np.uint8))
    whole = buffer.getvalue()
    data = whole.replace(((1 << 22) + 128).to_bytes(4, "little"), (64).to_bytes(4, "little"))
    assert data != whole
    with pytest.raises(BundleError):
        read_npz(data, "golden.npz", BundleError, 1 << 20)


@given(st.integers(0, 400), st.integers(0, 255))
def test_a_damaged_npz_is_one_line(at: int, value: int) -> None:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, a=np.arange(9, dtype=np.float32))
    data = bytearray(buffer.getvalue())
    data[at % len(data)] = value
    try:
        read_npz(bytes(data), "x", BundleError, 1 << 20)
    except BundleError as cause:
        assert "\n" not in str(cause)
