"""Runs a TensorRT engine: addresses set once, one stream, a CUDA graph where there are graphs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ofp_edge.errors import BundleError, EngineError
from ofp_edge.functions import Tensor
from ofp_edge.runtime.runners.buffers import Signature, require_signature
from ofp_edge.runtime.runners.engine import Sources
from ofp_edge.runtime.runners.tensorrt.api import start
from ofp_edge.runtime.runners.tensorrt.cuda import Cuda

# Up to here the GPU reads an input from host memory itself: it is read once. An image is read by
# many threads, so it is copied first. To be measured on a device (doctor --certify says both).
MAPPED_BYTES = 64 << 10


class TensorRTRunner:
    """A `Runner` of TensorRT. Built by `engine.TensorRT`; `plan` is bytes whose hash was checked.

    addresses: on the device, of the outputs that stay there; they are in no host array. bound: see
    `Engine.runner`; both runners wait for the GPU at each call, so their streams need no order.
    graph: the CUDA graph, once `warm_up` has recorded it; `why_no_graph` says why there is none.
    Deserialising runs native code of the plan: only plans built on this device come here.
    """

    def __init__(
        self,
        trt: Any,
        log: Any,
        cuda: Cuda,
        plan: bytes,
        inputs: Sequence[Tensor],
        outputs: Sequence[Tensor],
        bound: Sources | None = None,
        *,
        mapped_bytes: int = MAPPED_BYTES,
    ) -> None:
        self._cuda, self._log = cuda, log
        self.inputs: dict[str, NDArray[Any]] = {}
        self.outputs: dict[str, NDArray[Any]] = {}
        self.addresses: dict[str, int] = {}
        self._copies: list[tuple[int, NDArray[Any]]] = []
        self.graph: Any = None
        self.why_no_graph: str | None = None if cuda.graphs else f"{cuda.name} has no CUDA graphs"
        with cuda.current():
            self._open(trt, plan, inputs, outputs)
            self._place(inputs, outputs, bound or {}, mapped_bytes)

    def warm_up(self, runs: int = 3) -> None:
        """Run a few times, record the CUDA graph, and run that."""
        for _ in range(max(1, runs)):  # the first enqueue allocates; it must not be recorded
            self.infer()
        if self.graph is None and self.why_no_graph is None:
            with self._cuda.current():
                self._record()
            self.infer()

    def infer(self) -> None:
        """Fill `outputs` from `inputs`; wait for the GPU. EngineError carries its message."""
        try:
            with self._cuda.current():
                if self.graph is not None:
                    self._cuda.launch(self.graph)
                else:
                    self._enqueue()
                self._cuda.synchronize()
        except RuntimeError as cause:
            raise EngineError(" ".join(str(cause).split())) from None

    def close(self) -> None:
        """Release everything; the arrays stay readable until they are dropped."""
        with self._cuda.current():
            self._cuda.synchronize()
            self.graph = None
            del self._context, self._engine, self._runtime
            self._cuda.close()

    def _open(
        self, trt: Any, plan: bytes, inputs: Sequence[Tensor], outputs: Sequence[Tensor]
    ) -> None:
        self._runtime = start(trt, trt.Runtime, self._log)
        self._engine = self._runtime.deserialize_cuda_engine(plan)
        if self._engine is None:
            raise BundleError(f"TensorRT {trt.__version__} refuses the engine: {self._log.said()}.")
        for side, expected in (("input", inputs), ("output", outputs)):
            got = _signatures(trt, self._engine, side)
            order = {tensor.name: i for i, tensor in enumerate(expected)}
            got.sort(key=lambda item: order.get(str(item[0]), len(order)))
            require_signature("tensorrt", side, expected, got)
        self._context = self._engine.create_execution_context()
        if self._context is None:
            raise BundleError(f"TensorRT {trt.__version__} gives no context: {self._log.said()}.")

    def _place(
        self, inputs: Sequence[Tensor], outputs: Sequence[Tensor], bound: Sources, mapped_bytes: int
    ) -> None:
        for name, (source, output) in bound.items():
            self._set_address(name, source.addresses[output])  # type: ignore[attr-defined]
        for tensor in (x for x in inputs if not x.resident):
            array, address = self._cuda.pinned(tensor.shape, tensor.dtype)
            if array.nbytes > mapped_bytes:
                address = self._cuda.allocate(array.nbytes)
                self._copies.append((address, array))
            self.inputs[tensor.name] = array
            self._set_address(tensor.name, address)
        for tensor in outputs:
            if tensor.resident:
                size = tensor.size * np.dtype(tensor.dtype).itemsize
                address = self.addresses[tensor.name] = self._cuda.allocate(size)
            else:
                self.outputs[tensor.name], address = self._cuda.pinned(tensor.shape, tensor.dtype)
            self._set_address(tensor.name, address)

    def _enqueue(self) -> None:
        for address, array in self._copies:
            self._cuda.to_device(address, array)
        if not self._context.execute_async_v3(self._cuda.stream):
            raise RuntimeError(f"TensorRT: {self._log.said()}")

    def _record(self) -> None:
        """Leaves `graph` as it is when something refuses: the engine then runs without one."""
        try:
            self._cuda.begin_capture()
            try:
                self._enqueue()
            except RuntimeError:
                self._end_quietly()
                raise
            self.graph = self._cuda.end_capture()
        except RuntimeError as cause:
            self.why_no_graph = str(cause)

    def _end_quietly(self) -> None:
        try:
            self._cuda.end_capture()
        except RuntimeError:
            pass  # a capture that failed is over all the same

    def _set_address(self, name: str, address: int) -> None:
        if not self._context.set_tensor_address(name, address):
            raise BundleError(f"TensorRT takes no address for {name!r}: {self._log.said()}.")


def _signatures(trt: Any, engine: Any, side: str) -> list[Signature]:
    dtypes = {
        trt.DataType.FLOAT: "float32",
        trt.DataType.HALF: "float16",
        trt.DataType.INT64: "int64",
    }
    wanted = trt.TensorIOMode.INPUT if side == "input" else trt.TensorIOMode.OUTPUT
    found: list[Signature] = []
    for i in range(engine.num_io_tensors):
        name = engine.get_tensor_name(i)
        if engine.get_tensor_mode(name) == wanted:
            dtype = engine.get_tensor_dtype(name)
            shape = tuple(int(n) for n in engine.get_tensor_shape(name))
            found.append((name, shape, dtypes.get(dtype, str(dtype))))
    return found
