"""CUDA through cuda-python, NVIDIA's own bindings of the CUDA runtime: with CUDA graphs."""

from __future__ import annotations

import ctypes
import weakref
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
from numpy.typing import NDArray

_NOTHING = nullcontext()


class CudaPython:
    """A `Cuda` through cuda-python. Takes the module `cuda.bindings.runtime`."""

    name = "cuda-python"
    graphs = True

    def __init__(self, runtime: Any) -> None:
        self._rt = runtime
        self._device: list[int] = []
        self._graphs: list[Any] = []
        self._call(runtime.cudaSetDevice(0))
        flag = runtime.cudaStreamNonBlocking
        self._stream = self._call(runtime.cudaStreamCreateWithFlags(flag))
        self.stream = int(self._stream)
        self._to_device = runtime.cudaMemcpyKind.cudaMemcpyHostToDevice

    def current(self) -> AbstractContextManager[None]:
        """Do nothing: the CUDA runtime takes device 0's primary context in every thread."""
        return _NOTHING

    def device(self) -> tuple[str, tuple[int, int]]:
        """Return the GPU's name and compute capability."""
        found = self._call(self._rt.cudaGetDeviceProperties(0))
        name = found.name.decode() if isinstance(found.name, bytes) else str(found.name)
        return name.rstrip("\0"), (found.major, found.minor)

    def pinned(self, shape: tuple[int, ...], dtype: str) -> tuple[NDArray[Any], int]:
        """Return a zeroed page-locked host array, and the address under which the GPU sees it."""
        size = int(np.prod(shape)) * np.dtype(dtype).itemsize
        host = self._call(self._rt.cudaHostAlloc(size, self._rt.cudaHostAllocMapped))
        address = int(self._call(self._rt.cudaHostGetDevicePointer(host, 0)))
        memory = (ctypes.c_uint8 * size).from_address(int(host))
        weakref.finalize(memory, self._rt.cudaFreeHost, host)  # with the last array over it
        array: NDArray[Any] = np.frombuffer(memoryview(memory), dtype).reshape(shape)
        array[...] = 0
        return array, address

    def allocate(self, size: int) -> int:
        """Allocate `size` bytes of device memory; return its address."""
        address = int(self._call(self._rt.cudaMalloc(size)))
        self._device.append(address)
        return address

    def to_device(self, address: int, array: NDArray[Any]) -> None:
        """Copy a pinned array to device memory, on the stream."""
        data = array.ctypes.data
        self._call(
            self._rt.cudaMemcpyAsync(address, data, array.nbytes, self._to_device, self._stream)
        )

    def synchronize(self) -> None:
        """Wait until the stream is done."""
        self._call(self._rt.cudaStreamSynchronize(self._stream))

    def begin_capture(self) -> None:
        """Record what is put on the stream from now on instead of doing it."""
        mode = self._rt.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal
        self._call(self._rt.cudaStreamBeginCapture(self._stream, mode))

    def end_capture(self) -> Any:
        """Return what was recorded, ready for `launch`."""
        recorded = self._call(self._rt.cudaStreamEndCapture(self._stream))
        graph = self._call(self._rt.cudaGraphInstantiate(recorded, 0))
        self._call(self._rt.cudaGraphDestroy(recorded))
        self._graphs.append(graph)
        return graph

    def launch(self, graph: Any) -> None:
        """Put a recorded graph on the stream."""
        self._call(self._rt.cudaGraphLaunch(graph, self._stream))

    def close(self) -> None:
        """Release stream, memory and graphs."""
        self._call(self._rt.cudaStreamSynchronize(self._stream))
        for graph in self._graphs:
            self._call(self._rt.cudaGraphExecDestroy(graph))
        for address in self._device:
            self._call(self._rt.cudaFree(address))
        self._call(self._rt.cudaStreamDestroy(self._stream))

    def _call(self, result: tuple[Any, ...]) -> Any:
        """The value of a call, which gives (error, value …). RuntimeError names the error."""
        error, *values = result
        if error != self._rt.cudaError_t.cudaSuccess:
            raise RuntimeError(f"CUDA: {getattr(error, 'name', error)}")
        return values[0] if len(values) == 1 else tuple(values)
