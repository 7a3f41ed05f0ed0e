"""ExecuTorch by its official Python runtime; that runtime needs torch for its tensors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ofp_edge.bundle import Tensor
from ofp_edge.errors import BundleError
from ofp_edge.extras import require
from ofp_edge.quiet import captured_stderr
from ofp_edge.runtime.runners.buffers import Signature, allocate, require_signature

# torch's ScalarType numbers, which the program's metadata carries.
_DTYPES = {6: "float32", 5: "float16", 4: "int64"}


class ExecuTorchRunner:
    """See `Runner`. XNNPACK does the work, on a thread pool that all programs of a process share.

    The program reads the numpy arrays in place; its outputs are copied into the arrays, and the
    official runtime makes a few small Python objects a call.
    """

    def __init__(
        self,
        model: bytes,
        inputs: Sequence[Tensor],
        outputs: Sequence[Tensor],
        *,
        threads: int = 1,
    ) -> None:
        with captured_stderr() as said:
            torch: Any = require("torch", "executorch")
            library: Any = require("executorch.extension.pybindings._C", "executorch")
            # Not portable_lib: that brings the whole exporter, 5 seconds of imports.
            # Reports on the machine when asked for its size the first time: ask it here.
            if library._threadpool_get_thread_count() != threads:
                library._unsafe_reset_threadpool(threads)
            problem, method = "", None
            try:
                self._program = library._load_program_from_buffer(model)
                method = self._program.load_method("forward")
            except RuntimeError as cause:
                problem = str(cause)
        if method is None:
            text = " ".join(f"{problem} {said.last_line}".split())
            raise BundleError(f"executorch refuses the program: {text}")
        self._model = model  # the program points into these bytes
        meta = method.method_meta()
        require_signature(
            "executorch", "input", inputs,
            [_signature(meta.input_tensor_meta(i)) for i in range(meta.num_inputs())],
        )  # fmt: skip
        require_signature(
            "executorch", "output", outputs,
            [_signature(meta.output_tensor_meta(i)) for i in range(meta.num_outputs())],
        )  # fmt: skip
        self.inputs: dict[str, NDArray[Any]] = allocate(inputs)
        self.outputs: dict[str, NDArray[Any]] = allocate(outputs)
        self._arguments = [torch.from_numpy(array) for array in self.inputs.values()]
        self._results = list(self.outputs.values())
        self._method = method

    def warm_up(self, runs: int = 3) -> None:
        """Run a few times, so that no first call falls into the control loop."""
        for _ in range(runs):
            self.infer()

    def infer(self) -> None:
        """Fill `outputs` from `inputs`."""
        results = self._method(self._arguments, False)
        for array, result in zip(self._results, results):  # noqa: B905 (counted at load)
            np.copyto(array, result.numpy())

    def close(self) -> None:
        """Release the program."""
        del self._method, self._program, self._arguments


def _signature(item: Any) -> Signature:
    return None, tuple(item.sizes()), _DTYPES.get(item.dtype(), str(item.dtype()))
