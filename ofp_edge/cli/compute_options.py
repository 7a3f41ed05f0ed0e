"""How training computes: options that `train` and `distill` share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, cast

import typer

if TYPE_CHECKING:
    from ofp_edge.train.compute import Compute, Precision


@dataclass(frozen=True)
class ComputeOptions:
    """The options, in the order of the help."""

    precision: Annotated[
        str,
        typer.Option(
            help="Of matrix products: float32, bfloat16, or auto: bfloat16 on a GPU that has it."
        ),
    ] = "auto"
    compile: Annotated[
        bool | None,
        typer.Option(
            "--compile/--no-compile", help="Compile the network (torch.compile). Default: on a GPU."
        ),
    ] = None
    accumulate: Annotated[
        int,
        typer.Option(help="Parts of each process's batch, computed one after the other: the same "
                     "steps, of less memory."),
    ] = 1  # fmt: skip

    def settled(self) -> Compute:
        """Return what was asked for. OfpError where that can't be."""
        from ofp_edge.train.compute import Compute

        return Compute(cast("Precision", self.precision), self.compile, self.accumulate)
