"""cuda-python and pycuda over the stand-in GPU, by the names that the runner uses."""

from __future__ import annotations

import enum
import threading
import types
from typing import Any

import numpy as np

from tests.runtime.tensorrt.standin import (
    GPU_SEES_HOST_AT,
    BrokenRule,
    Gpu,
    Graph,
    Recording,
    Stream,
)


def make_cudart(gpu: Gpu) -> types.ModuleType:
    """`cuda.bindings.runtime` over `gpu`."""
    rt: Any = types.ModuleType("cuda.bindings.runtime")

    class cudaError_t(enum.IntEnum):
        cudaSuccess = 0
        cudaErrorMemoryAllocation = 2
        cudaErrorStreamCaptureUnsupported = 900

    class cudaMemcpyKind(enum.IntEnum):
        cudaMemcpyHostToDevice = 1

    class cudaStreamCaptureMode(enum.IntEnum):
        cudaStreamCaptureModeThreadLocal = 1

    good, full = (cudaError_t.cudaSuccess,), (cudaError_t.cudaErrorMemoryAllocation, None)
    held: dict[int, np.ndarray] = {}

    def alloc_host(size: int, flags: int) -> Any:
        if flags != rt.cudaHostAllocMapped:
            raise BrokenRule("pinned: not mapped")
        if "pinned" in gpu.faults:
            return full
        array = np.zeros(size, np.uint8)
        held[array.ctypes.data] = array
        gpu.pin(array)
        return *good, array.ctypes.data

    def free_host(host: int) -> Any:
        held.pop(host, None)
        return good

    def copy(target: int, source: int, size: int, kind: Any, stream: Any) -> Any:
        gpu.by_handle(stream).copy(target, source, size)
        return good

    def begin(stream: Stream, mode: Any) -> Any:
        stream.captured = Recording()
        return good

    def end(stream: Stream) -> Any:
        work, stream.captured = stream.captured, None
        if work is None or "capture" in gpu.faults:
            return cudaError_t.cudaErrorStreamCaptureUnsupported, None
        return *good, work

    def launch(graph: Graph, stream: Stream) -> Any:
        if not graph.alive or graph.stale:
            raise BrokenRule("graph: an address changed after recording, or it was destroyed")
        for work in graph.work:
            stream.put(work)
        return good

    def instantiate(work: Any, flags: int) -> Any:
        graph = Graph(work)
        gpu.__dict__.setdefault("graphs", []).append(graph)
        return *good, graph

    def destroy(graph: Graph) -> Any:
        graph.alive = False
        return good

    def properties(_: int) -> Any:
        major, minor = gpu.capability
        return *good, types.SimpleNamespace(name=b"Orin", major=major, minor=minor)

    def wait(stream: Stream) -> Any:
        stream.wait()
        return good

    def close(stream: Stream) -> Any:
        del gpu.streams[stream.handle]
        return good

    def free(address: int) -> Any:
        gpu.free(address)
        return good

    def open_stream(flags: int) -> Any:
        if flags != rt.cudaStreamNonBlocking:
            raise BrokenRule("stream: waits for the default stream")
        return *good, gpu.stream()

    rt.cudaError_t, rt.cudaMemcpyKind = cudaError_t, cudaMemcpyKind
    rt.cudaStreamCaptureMode = cudaStreamCaptureMode
    rt.cudaHostAllocMapped, rt.cudaStreamNonBlocking = 2, 1
    rt.cudaSetDevice = lambda _: good
    rt.cudaGetDeviceProperties = properties
    rt.cudaStreamCreateWithFlags = open_stream
    rt.cudaHostAlloc, rt.cudaFreeHost = alloc_host, free_host
    rt.cudaHostGetDevicePointer = lambda host, flags: (*good, host + GPU_SEES_HOST_AT)
    rt.cudaMalloc = lambda n: full if "allocate" in gpu.faults else (*good, gpu.allocate(n))
    rt.cudaFree, rt.cudaMemcpyAsync = free, copy
    rt.cudaStreamSynchronize, rt.cudaStreamDestroy = wait, close
    rt.cudaStreamBeginCapture, rt.cudaStreamEndCapture = begin, end
    rt.cudaGraphInstantiate, rt.cudaGraphLaunch = instantiate, launch
    rt.cudaGraphDestroy, rt.cudaGraphExecDestroy = lambda g: good, destroy
    return rt


def make_pycuda(gpu: Gpu) -> types.ModuleType:
    """`pycuda.driver` over `gpu`; a thread without a pushed context may do nothing."""
    driver: Any = types.ModuleType("pycuda.driver")

    class Error(Exception):
        pass

    def needs_context() -> None:
        if not gpu.current[threading.get_ident()]:
            raise BrokenRule("context: none is current in this thread")

    class Context:
        def push(self) -> None:
            gpu.current[threading.get_ident()] += 1

        @staticmethod
        def pop() -> None:
            needs_context()
            gpu.current[threading.get_ident()] -= 1

    class Device:
        def __init__(self, number: int) -> None:
            self.number = number

        def retain_primary_context(self) -> Context:
            return Context()

        def name(self) -> str:
            return "Orin"

        def compute_capability(self) -> tuple[int, int]:
            return gpu.capability

    class PyStream:
        def __init__(self, flags: int) -> None:
            needs_context()
            if flags != 1:
                raise BrokenRule("stream: waits for the default stream")
            self._stream = gpu.stream()
            self.handle = self._stream.handle

        def synchronize(self) -> None:
            needs_context()
            self._stream.wait()

    class Allocation:
        def __init__(self, address: int) -> None:
            self.address = address

        def __int__(self) -> int:
            return self.address

        def free(self) -> None:
            gpu.free(self.address)

    class HostAllocation:  # what pycuda's arrays have as their base
        def __init__(self, memory: np.ndarray, address: int) -> None:
            self.memory, self.address = memory, address
            self.__array_interface__ = memory.__array_interface__

        def get_device_pointer(self) -> int:
            return self.address

    def pagelocked_empty(shape: Any, dtype: Any, order: str, mem_flags: int) -> Any:
        needs_context()
        if mem_flags != 2:
            raise BrokenRule("pinned: not mapped")
        if "pinned" in gpu.faults:
            raise Error("pagelocked_empty failed: out of memory")
        memory = np.zeros(shape, dtype, order)
        return np.asarray(HostAllocation(memory, gpu.pin(memory)))

    def mem_alloc(size: int) -> Allocation:
        needs_context()
        if "allocate" in gpu.faults:
            raise Error("cuMemAlloc failed: out of memory")
        return Allocation(gpu.allocate(size))

    def copy(address: int, array: Any, stream: PyStream) -> None:
        needs_context()
        stream._stream.copy(address, array.ctypes.data, array.nbytes)

    driver.Error, driver.Device, driver.Stream = Error, Device, PyStream
    driver.Context = Context
    driver.init = lambda: None
    driver.host_alloc_flags = types.SimpleNamespace(DEVICEMAP=2)
    driver.pagelocked_empty, driver.mem_alloc = pagelocked_empty, mem_alloc
    driver.memcpy_htod_async = copy
    return driver
