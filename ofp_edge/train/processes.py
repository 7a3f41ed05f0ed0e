"""The processes that train together: a single one, or those that a launcher started.

    torchrun --nproc-per-node 2 -m ofp_edge train ...      on CPUs
    accelerate launch -m ofp_edge train ...                on GPUs, one or more

Hugging Face Accelerate finds the others, places the network and averages gradients (DDP). Without a
launcher it is not even imported, and training runs on the CPU. Two processes on CPUs (gloo) are
tested; one GPU has been tried (scripts/gpu-check), several have not.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, TypeVar, cast

import torch
from torch import Tensor, nn

from ofp_edge.errors import OfpError
from ofp_edge.extras import require

T = TypeVar("T")
_LAUNCHED = ("WORLD_SIZE", "ACCELERATE_MIXED_PRECISION")  # set by torchrun, accelerate launch


class Processes:
    """A group of `count`; this one is number `rank`. Number 0 leads: it alone writes and reports.

    Every method but `close` is called by all processes at the same point, and waits for the others.
    """

    def __init__(self, accelerator: Any = None) -> None:
        self._accelerator = accelerator
        self.rank: int = accelerator.process_index if accelerator else 0
        self.count: int = accelerator.num_processes if accelerator else 1
        self.device: torch.device = accelerator.device if accelerator else torch.device("cpu")

    @property
    def here(self) -> int:
        """The number of them on this computer."""
        stated = os.environ.get("LOCAL_WORLD_SIZE", "")
        return min(self.count, int(stated)) if stated.isdecimal() and int(stated) else self.count

    @property
    def leads(self) -> bool:
        """Whether this is number 0."""
        return self.rank == 0

    def prepare(self, losses: nn.Module, optimizer: torch.optim.Optimizer) -> nn.Module:
        """Put both on the device, in place; return what averages gradients in backward()."""
        if self._accelerator is None:
            return losses
        return cast(nn.Module, self._accelerator.prepare(losses, optimizer)[0])

    def mean(self, values: Tensor) -> Tensor:
        """Average over the processes: from a mean over each one's rows, the mean over all."""
        if self.count == 1:
            return values
        return cast(Tensor, self._accelerator.reduce(values, "mean"))

    def any(self, wish: bool) -> bool:
        """Say whether any process wishes it."""
        if self.count == 1:
            return wish
        wishes = self._accelerator.reduce(torch.tensor(float(wish), device=self.device), "sum")
        return bool(wishes.item() > 0)

    def agree(self, work: Callable[[], T]) -> T:
        """Run `work` everywhere. An OfpError in one is raised in all; in number 0, the first."""
        if self.count == 1:
            return work()
        result, error = None, None
        try:
            result = work()
        except OfpError as cause:
            error = cause
        lines = self._exchange().gather_object([str(error) if error else ""])
        if error is not None:
            raise error
        for rank, line in enumerate(lines):
            if line:
                raise OfpError(f"process {rank}: {line}")
        return cast(T, result)

    def led(self, work: Callable[[], T]) -> T:
        """Run `work` in number 0; its result, or OfpError, is everyone's."""
        result = self.agree(lambda: work() if self.leads else None)
        if self.count > 1:
            result = self._exchange().broadcast_object_list([result])[0]
        return cast(T, result)

    def close(self) -> None:
        """Leave the group, at the end of a run that went well."""
        if self._accelerator is not None:
            self._accelerator.end_training()

    def _exchange(self) -> Any:
        return require("accelerate", "train").utils


ALONE = Processes()


def joined_processes() -> Processes:
    """Join what the launcher started; ALONE without one.

    Raises MissingExtra, and OfpError on a launcher's mode that is not plain data parallelism.
    """
    if not any(name in os.environ for name in _LAUNCHED):
        return ALONE
    accelerate = require("accelerate", "train")
    # Where there is no GPU, Accelerate must be told: it would run N processes, each for itself.
    accelerator = accelerate.Accelerator(
        cpu=not torch.cuda.is_available(), mixed_precision="no", gradient_accumulation_steps=1
    )
    mode = str(accelerator.distributed_type.value)
    if mode not in ("NO", "MULTI_CPU", "MULTI_GPU"):
        raise OfpError(
            f"accelerate was started in mode {mode}: expected plain data parallelism (MULTI_GPU, "
            "MULTI_CPU). Run `accelerate config` again, or give `accelerate launch --multi_gpu`."
        )
    return Processes(accelerator)
