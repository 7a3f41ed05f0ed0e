"""One step of training: losses and gradients of a batch, in one part or several."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from ofp_edge.errors import OfpError
from ofp_edge.policy.config import TrainingConfig
from ofp_edge.policy.methods.method import Method
from ofp_edge.policy.network import PolicyNetwork
from ofp_edge.policy.prefix import draw_prefix
from ofp_edge.policy.stray import stray
from ofp_edge.train.batches import Batches, Raw
from ofp_edge.train.compute import Compute
from ofp_edge.train.processes import Processes
from ofp_edge.train.state import TrainState


class Losses(nn.Module):
    """A method's losses as the one call by which Accelerate's data parallelism sees a step."""

    def __init__(self, method: Method, network: PolicyNetwork) -> None:
        super().__init__()
        self.method, self.network = method, network

    def forward(self, *inputs: Any) -> dict[str, Tensor]:
        """teacher and all that follows it in `Method.losses`."""
        return self.method.losses(self.network, *inputs)


class Step:
    """Computes gradients for a state. Draws are those of the whole batch, whatever the parts: a
    part takes every `accumulate`-th of a process's rows, as a process takes its own."""

    def __init__(
        self, method: Method, state: TrainState, processes: Processes, compute: Compute
    ) -> None:
        self._state, self._processes, self._compute = state, processes, compute
        compute.prepare(state.network, state.average)
        self._losses = processes.prepare(Losses(method, state.network), state.optimizer)

    def gradients(
        self, batches: Batches, raw: Raw, settings: TrainingConfig, progress: float
    ) -> dict[str, Tensor]:
        """Leave the batch's gradients in the network; return its mean losses, without gradient.

        OfpError where the memory of the device is too small: it says how many parts fit.
        """
        self._state.optimizer.zero_grad(set_to_none=True)
        try:
            return self._parts(batches, raw, settings, progress, self._compute.accumulate)
        except RuntimeError as cause:
            if not _is_full(cause):
                raise
        raise OfpError(self._too_large(batches, raw, settings, progress, len(raw[1]))) from None

    def _parts(
        self, batches: Batches, raw: Raw, settings: TrainingConfig, progress: float, count: int
    ) -> dict[str, Tensor]:
        generator, ours = self._state.generator, self._processes
        drawn = generator.get_state()
        sums: dict[str, Tensor] = {}
        try:
            for part in range(count):
                generator.set_state(drawn)
                generator.share(ours.rank + ours.count * part, ours.count * count, ours.device)
                own = [x[part::count] for x in raw[0]], raw[1][part::count]
                with self._averaged(last=part == count - 1):
                    observations, actions = batches.augmented(own, settings, generator)
                    with self._compute.casting(ours.device):
                        network = self._state.network
                        chunks = network.normalize_actions(actions)  # (B, H*A)
                        chunks = chunks.repeat(settings.draws, 1)
                        most = network.committed_steps
                        prefix = draw_prefix(chunks, network.spec, most, generator)
                        chunks, prefix = stray(network, chunks, prefix, generator)
                        losses = self._losses(
                            self._state.average,
                            observations,
                            chunks,
                            progress,
                            generator,
                            prefix,
                        )
                    total = torch.stack([x.float() for x in losses.values()]).sum() / count
                    total.backward()  # type: ignore[no-untyped-call]
                for name, value in losses.items():
                    mean = value.detach().float() / count
                    sums[name] = sums[name] + mean if name in sums else mean
        finally:
            generator.share(ours.rank, ours.count, ours.device)
        return sums

    def _averaged(self, *, last: bool) -> AbstractContextManager[None]:
        """Average gradients over the processes with the last part's alone."""
        apart = getattr(self._losses, "no_sync", None)
        found: AbstractContextManager[None] = nullcontext() if last or apart is None else apart()
        return found

    def _too_large(
        self, batches: Batches, raw: Raw, settings: TrainingConfig, progress: float, rows: int
    ) -> str:
        """Find by trying in how many parts the batch fits, and say it. A process among others only
        says what to try: they wait for its gradients, and would wait for ever."""
        what = f"a batch of {rows} windows does not fit into the memory of {self._processes.device}"
        count = self._compute.accumulate
        if self._processes.count > 1:
            return f"{what}: take --accumulate {2 * count}, or a smaller --batch-size."
        while (count := 2 * count) <= rows and rows % count == 0:
            self._state.optimizer.zero_grad(set_to_none=True)
            if self._processes.device.type == "cuda":
                torch.cuda.empty_cache()
            try:
                part = [x[::count] for x in raw[0]], raw[1][::count]
                self._parts(batches, part, settings, progress, 1)
            except RuntimeError as cause:
                if not _is_full(cause):
                    raise
                continue
            return (
                f"{what}: {rows // count} at once do. --accumulate {count} gives the same steps in "
                f"parts; --batch-size {settings.batch_size // count} gives smaller ones."
            )
        return f"{what}, nor does a smaller one. Take a smaller --preset."


def _is_full(cause: RuntimeError) -> bool:
    """Whether it says that memory is too small; a CPU's allocator has no type of its own for it."""
    return isinstance(cause, torch.OutOfMemoryError) or "can't allocate memory" in str(cause)
