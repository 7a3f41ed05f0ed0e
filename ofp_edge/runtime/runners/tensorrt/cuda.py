"""CUDA behind one seam: pycuda, or cuda-python, which alone can record CUDA graphs.

Both use the device's primary context and a stream of their own that does not wait for the default
one. Small tensors lie in pinned host memory that the GPU reads and writes itself (an Orin is I/O
coherent); larger ones in device memory, copied on the stream.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, Protocol

from numpy.typing import NDArray

from ofp_edge.errors import OfpError
from ofp_edge.origin import install_line
from ofp_edge.runtime.runners.tensorrt.cuda_pycuda import PyCuda
from ofp_edge.runtime.runners.tensorrt.cuda_python import CudaPython

NAMES = ("cuda-python", "pycuda")
_MODULES = {"cuda-python": "cuda.bindings.runtime", "pycuda": "pycuda.driver"}
_CLASSES: dict[str, Callable[[Any], Cuda]] = {"cuda-python": CudaPython, "pycuda": PyCuda}


class Cuda(Protocol):
    """One CUDA device, one stream. `stream`: its handle. `graphs`: whether it can capture.

    Every failure is a RuntimeError with CUDA's own name for it.
    """

    name: str
    graphs: bool
    stream: int

    def current(self) -> AbstractContextManager[None]:
        """Let the calling thread use the device inside the block; leave nothing in the thread."""

    def device(self) -> tuple[str, tuple[int, int]]:
        """Return the GPU's name and compute capability."""

    def pinned(self, shape: tuple[int, ...], dtype: str) -> tuple[NDArray[Any], int]:
        """Return a zeroed page-locked host array, and the address under which the GPU sees it."""

    def allocate(self, size: int) -> int:
        """Allocate `size` bytes of device memory; return its address."""

    def to_device(self, address: int, array: NDArray[Any]) -> None:
        """Copy a pinned array to device memory, on the stream."""

    def synchronize(self) -> None:
        """Wait until the stream is done."""

    def begin_capture(self) -> None:
        """Record what is put on the stream from now on instead of doing it."""

    def end_capture(self) -> Any:
        """Return what was recorded, ready for `launch`."""

    def launch(self, graph: Any) -> None:
        """Put a recorded graph on the stream."""

    def close(self) -> None:
        """Release stream, memory and graphs."""


def open_cuda(name: str | None = None) -> Cuda:
    """Open the library asked for, or the first of NAMES that loads. OfpError says why none does."""
    reasons = []
    for candidate in NAMES if name is None else (name,):
        try:
            module = importlib.import_module(_MODULES[candidate])
            return _CLASSES[candidate](module)
        except (ImportError, RuntimeError) as cause:
            reasons.append(f"{candidate}: {' '.join(str(cause).split())}")
    raise OfpError(f"CUDA cannot be used ({'; '.join(reasons)}). Run: {install_line('jetson')}")
