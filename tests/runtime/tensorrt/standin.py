"""A stand-in for an Orin's GPU: TensorRT, cuda-python and pycuda by name, ONNX Runtime inside.

It computes what the engine would and enforces what NVIDIA documents of the order of calls: work is
only done when the stream is waited for, addresses are the GPU's and not the host's, a capture
follows an enqueue, nothing is allocated in a steady state. Whatever breaks a rule is a BrokenRule.
It says nothing about speed, and nothing it measures is ever printed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import numpy as np

GPU_SEES_HOST_AT = 1 << 50  # a mapped array's device address is not its host address


class BrokenRule(Exception):
    """The runner did what the documentation forbids."""


class Gpu:
    """Memory, one clock of work, and the faults that a test may ask for.

    faults: "deserialize", "context", "address", "execute", "capture", "pinned", "allocate",
    "build", "parse", "start": that call then fails as the real library does.
    """

    def __init__(self) -> None:
        self.faults: set[str] = set()
        self.memory: dict[int, np.ndarray] = {}
        self.pinned: dict[int, int] = {}  # host address -> bytes
        self.streams: dict[int, Stream] = {}
        self.current: Counter[int] = Counter()  # by thread, contexts that pycuda has pushed
        self.steady = False
        self.builds = 0
        self.version = "10.3.0"
        self.capability = (8, 7)
        self.off_by = 0.0  # every output of an engine is so far from right
        self._next = 1 << 40

    def allocate(self, size: int) -> int:
        self._not_steady()
        self._next += 4096 + size
        self.memory[self._next] = np.zeros(size, np.uint8)
        return self._next

    def pin(self, array: np.ndarray) -> int:
        self._not_steady()
        host = array.ctypes.data
        self.pinned[host] = array.nbytes
        address = host + GPU_SEES_HOST_AT
        self.memory[address] = array.reshape(-1).view(np.uint8)
        return address

    def buffer(self, address: int, size: int) -> np.ndarray:
        if address not in self.memory:
            raise BrokenRule("address: not one the GPU knows")
        if self.memory[address].nbytes < size:
            raise BrokenRule("address: fewer bytes than the tensor has")
        return self.memory[address][:size]

    def free(self, address: int) -> None:
        if any(stream.queue for stream in self.streams.values()):
            raise BrokenRule("free: work is pending on a stream")
        del self.memory[address]

    def stream(self) -> Stream:
        self._not_steady()
        made = Stream(self)
        self.streams[made.handle] = made
        return made

    def by_handle(self, handle: int) -> Stream:
        if int(handle) not in self.streams:
            raise BrokenRule("stream: the default stream, or one that is not open")
        return self.streams[int(handle)]

    def _not_steady(self) -> None:
        if self.steady:
            raise BrokenRule("steady: allocates in a step")
        if any(stream.captured is not None for stream in self.streams.values()):
            raise BrokenRule("capture: allocates while recording")


class Stream:
    """Work waits in `queue` until it is waited for; while recording it goes to `captured`."""

    def __init__(self, gpu: Gpu) -> None:
        self.gpu, self.handle = gpu, 0x5000 + len(gpu.streams)
        self.queue: list[Callable[[], None]] = []
        self.captured: Recording | None = None
        self.enqueued: set[int] = set()  # contexts that ran outside a capture

    def __int__(self) -> int:
        return self.handle

    def put(self, work: Callable[[], None]) -> None:
        (self.queue if self.captured is None else self.captured).append(work)

    def copy(self, address: int, host: int, size: int) -> None:
        if host not in self.gpu.pinned:
            raise BrokenRule("copy: from memory that is not page-locked")
        source = self.gpu.memory[host + GPU_SEES_HOST_AT][:size]
        target = self.gpu.buffer(address, size)
        self.put(lambda: np.copyto(target, source))

    def wait(self) -> None:
        if self.captured is not None:
            raise BrokenRule("capture: waits while recording")
        while self.queue:
            self.queue.pop(0)()


class Recording(list[Callable[[], None]]):
    """Recorded work, and the contexts that took part."""

    def __init__(self) -> None:
        super().__init__()
        self.contexts: set[int] = set()


class Graph:
    """Recorded work; good as long as no address of its contexts has changed since."""

    def __init__(self, work: Recording) -> None:
        self.work, self.alive, self.stale = work, True, False
