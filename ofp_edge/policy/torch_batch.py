"""TorchBatch runs one module on a fixed number of rows; every row is a Runner of its own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from numpy.typing import NDArray
from torch import nn

from ofp_edge.functions import Tensor
from ofp_edge.policy.torch_runner import TorchRunner


class TorchBatch:
    """Runs `module` on all rows at once, always equally many, so that kernels are chosen alike.

    inputs, outputs: of one row, as for TorchRunner. wait: called by a row to get its answer; None:
    the row runs the batch itself. Several waiting rows share one `infer`.
    """

    def __init__(
        self, module: nn.Module, inputs: Sequence[Tensor], outputs: Sequence[Tensor], rows: int
    ) -> None:
        def wide(items: Sequence[Tensor]) -> list[Tensor]:
            return [Tensor(x.name, (rows, *x.shape[1:]), x.dtype) for x in items]

        self._runner = TorchRunner(module, wide(inputs), wide(outputs))
        self.rows = tuple(_Row(self, self._runner, i) for i in range(rows))
        self.wait: Callable[[], Any] | None = None

    def infer(self) -> None:
        """Answer every row."""
        self._runner.infer()

    def rows_are_alike(self) -> bool:
        """Say whether a row's answer is bit-identical wherever it stands and whatever is beside it.

        Matrix kernels may treat the last rows of a batch differently; tried on random inputs.
        """
        generator = torch.Generator().manual_seed(0)
        arrays = [torch.from_numpy(x) for x in self._runner.inputs.values()]
        kept = [x.clone() for x in arrays]
        for x in arrays:
            if x.shape[1] > 1:  # a single number is an index, not something to draw
                x.normal_(generator=generator)
        answers = self._answers()
        for x in arrays:
            x.copy_(x.roll(1, 0))  # every row one on, so some cross wherever two kernels meet
        moved = self._answers()
        alike = all(torch.equal(a.roll(1, 0), b) for a, b in zip(answers, moved, strict=True))
        for x, before in zip(arrays, kept, strict=True):
            x.copy_(before)
        return alike

    def _answers(self) -> list[torch.Tensor]:
        self.infer()
        return [torch.from_numpy(x.copy()) for x in self._runner.outputs.values()]


class _Row:
    """A Runner over one row of a batch."""

    def __init__(self, batch: TorchBatch, runner: TorchRunner, index: int) -> None:
        def row(arrays: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
            return {name: x[index : index + 1] for name, x in arrays.items()}

        self._batch = batch
        self.inputs, self.outputs = row(runner.inputs), row(runner.outputs)

    def warm_up(self, runs: int = 3) -> None:
        """Run a few times, alone."""
        for _ in range(runs):
            self._batch.infer()

    def infer(self) -> None:
        """Fill `outputs` from `inputs`, now or when the other rows have asked too."""
        (self._batch.wait or self._batch.infer)()

    def close(self) -> None:
        """Nothing is held."""
