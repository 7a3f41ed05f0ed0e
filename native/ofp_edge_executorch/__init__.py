"""ExecuTorch programs on numpy arrays, computed by XNNPACK; torch is not needed.

    program = Program(open("act.pte", "rb").read(), threads=1)
    program.inputs[0][:] = ...
    program.run()
    program.outputs[0]

The library beside this file (src/runner.cpp) is plain C to the outside, so one wheel serves every
Python version. It and ExecuTorch's own libraries are loaded when this module is imported: an
OSError then says which of them is missing or does not fit this machine.
"""

from __future__ import annotations

import ctypes
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

_DTYPES = {
    0: "uint8",
    1: "int8",
    2: "int16",
    3: "int32",
    4: "int64",
    5: "float16",
    6: "float32",
    7: "float64",
    11: "bool",
}  # fmt: skip  (torch's ScalarType numbers, which programs carry)
_ALIGNMENT = 64  # of every buffer: a cache line
_MARGIN = 128  # XNNPACK may read that far past a buffer's end


class ExecuTorchError(RuntimeError):
    """What ExecuTorch refused, in one line. `code` is its Error, or 1000 and up for ours."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code


class Program:
    """One loaded program. `inputs` and `outputs` are its tensors in order: write, `run`, read.

    program: a .pte file's content; not needed any more once this returns. threads: the caller's
    among them; 1 starts no thread at all, and all programs of more threads that are open at a time
    share one pool and must agree. The arrays are C-contiguous, stay the same, and outlive `close`.
    One thread at a time; that another one also calls is answered by an error. Raises
    ExecuTorchError.
    """

    inputs: tuple[NDArray[Any], ...]
    outputs: tuple[NDArray[Any], ...]

    def __init__(self, program: bytes, threads: int = 1) -> None:
        self._id = ctypes.c_int64(0)
        if threads < 1:
            raise ValueError(f"threads: expected 1 or more, got {threads}.")
        _check(_library.ofp_load(program, len(program), threads, ctypes.byref(self._id)))
        self._run, self._close = _library.ofp_run, _library.ofp_close
        try:
            self.inputs = self._bound(0)
            self.outputs = self._bound(1)
        except BaseException:
            self.close()
            raise

    def run(self) -> None:
        """Fill `outputs` from `inputs`. The interpreter is free for other threads meanwhile."""
        if code := self._run(self._id):
            _check(code)

    def close(self) -> None:
        """Release the program; `run` is an error from then on. May be called again."""
        self._close(self._id)

    def __del__(self) -> None:
        if hasattr(self, "_close"):
            self.close()

    def _bound(self, output: int) -> tuple[NDArray[Any], ...]:
        count = ctypes.c_size_t()
        _check(_library.ofp_count(self._id, output, ctypes.byref(count)))
        arrays = []
        for index in range(count.value):
            array = self._array(output, index)
            _check(_library.ofp_bind(self._id, output, index, array.ctypes.data, array.nbytes))
            arrays.append(array)
        return tuple(arrays)

    def _array(self, output: int, index: int) -> NDArray[Any]:
        dtype, rank, nbytes = ctypes.c_int(), ctypes.c_size_t(), ctypes.c_size_t()
        sizes = (ctypes.c_int64 * 16)()
        _check(
            _library.ofp_tensor(
                self._id, output, index, ctypes.byref(dtype), ctypes.byref(rank), sizes,
                ctypes.byref(nbytes),
            )
        )  # fmt: skip
        if dtype.value not in _DTYPES:
            raise ExecuTorchError(0x11, f"a tensor of ScalarType {dtype.value} has no numpy dtype")
        return _aligned(tuple(sizes[: rank.value]), np.dtype(_DTYPES[dtype.value]))


def _aligned(shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Zeros at a multiple of 64 bytes, with the margin that XNNPACK may read behind them."""
    size = int(np.prod(shape)) * dtype.itemsize
    raw = np.zeros(size + _ALIGNMENT + _MARGIN, np.uint8)
    start = -raw.ctypes.data % _ALIGNMENT
    return raw[start : start + size].view(dtype).reshape(shape)


def _check(code: int) -> None:
    if code:
        raise ExecuTorchError(code, _library.ofp_message().decode(errors="replace"))


def _load() -> ctypes.CDLL:
    library = ctypes.CDLL(str(Path(__file__).parent / "libofp_edge_executorch.so"))
    pointer, size, number = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int64
    for name, arguments in {
        "ofp_initialize": [],
        "ofp_load": [ctypes.c_char_p, size, ctypes.c_int, pointer],
        "ofp_count": [number, ctypes.c_int, pointer],
        "ofp_tensor": [number, ctypes.c_int, size, *[pointer] * 4],
        "ofp_bind": [number, ctypes.c_int, size, pointer, size],
        "ofp_run": [number],
        "ofp_close": [number],
    }.items():
        function = getattr(library, name)
        function.argtypes, function.restype = arguments, ctypes.c_int
    for name in ("ofp_message", "ofp_version"):
        function = getattr(library, name)
        function.argtypes, function.restype = [], ctypes.c_char_p
    return library


_library = _load()
_check(_library.ofp_initialize())
__version__: str = _library.ofp_version().decode()
EXECUTORCH_VERSION = __version__.rpartition(".")[0]  # the fourth number is this wheel's own
