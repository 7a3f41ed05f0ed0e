"""CUDA through pycuda and the CUDA driver: no CUDA graphs."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
from numpy.typing import NDArray

_NON_BLOCKING = 1  # CU_STREAM_NON_BLOCKING, for which pycuda has no name


class PyCuda:
    """A `Cuda` through pycuda. Takes the module `pycuda.driver`."""

    name = "pycuda"
    graphs = False

    def __init__(self, driver: Any) -> None:
        self._driver = driver
        self._try(driver.init)
        self._gpu = self._try(driver.Device, 0)
        self._current = _Current(self._try, self._try(self._gpu.retain_primary_context), driver)
        with self.current():
            self._stream = self._try(driver.Stream, _NON_BLOCKING)
        self.stream = int(self._stream.handle)
        self._memory: dict[int, Any] = {}

    def current(self) -> AbstractContextManager[None]:
        """Make the primary context the calling thread's inside the block; see `_Current`."""
        return self._current

    def device(self) -> tuple[str, tuple[int, int]]:
        """Return the GPU's name and compute capability."""
        major, minor = self._gpu.compute_capability()
        return str(self._gpu.name()), (int(major), int(minor))

    def pinned(self, shape: tuple[int, ...], dtype: str) -> tuple[NDArray[Any], int]:
        """Return a zeroed page-locked host array, and the address under which the GPU sees it."""
        flags = self._driver.host_alloc_flags.DEVICEMAP
        array: NDArray[Any] = self._try(
            self._driver.pagelocked_empty, shape, np.dtype(dtype), "C", flags
        )
        array[...] = 0
        return array, int(array.base.get_device_pointer())  # type: ignore[union-attr]

    def allocate(self, size: int) -> int:
        """Allocate `size` bytes of device memory; return its address."""
        memory = self._try(self._driver.mem_alloc, size)
        self._memory[int(memory)] = memory
        return int(memory)

    def to_device(self, address: int, array: NDArray[Any]) -> None:
        """Copy a pinned array to device memory, on the stream."""
        self._try(self._driver.memcpy_htod_async, address, array, self._stream)

    def synchronize(self) -> None:
        """Wait until the stream is done."""
        self._try(self._stream.synchronize)

    def begin_capture(self) -> None:
        """Raise: pycuda has no graphs."""
        raise RuntimeError("pycuda has no CUDA graphs")

    def end_capture(self) -> Any:
        """Raise: pycuda has no graphs."""
        raise RuntimeError("pycuda has no CUDA graphs")

    def launch(self, graph: Any) -> None:
        """Raise: pycuda has no graphs."""
        raise RuntimeError("pycuda has no CUDA graphs")

    def close(self) -> None:
        """Release stream and memory."""
        with self.current():
            self.synchronize()
            for memory in self._memory.values():
                memory.free()
        self._memory.clear()

    def _try(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """pycuda's own errors are no RuntimeErrors; these are, with the same text."""
        try:
            return function(*arguments)
        except self._driver.Error as cause:
            raise RuntimeError(f"CUDA: {' '.join(str(cause).split())}") from None


class _Current(AbstractContextManager[None]):
    """Pushes a context and pops it again. pycuda keeps a stack of them for each thread, and ends
    the whole process when a thread, or the interpreter, ends before its stack is empty."""

    def __init__(self, attempt: Callable[..., Any], context: Any, driver: Any) -> None:
        self._try, self._context, self._driver = attempt, context, driver

    def __enter__(self) -> None:
        self._try(self._context.push)

    def __exit__(self, *_: object) -> None:
        self._try(self._driver.Context.pop)
