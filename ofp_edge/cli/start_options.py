"""The options that say how a chunk starts, of every command that makes chunks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import typer

from ofp_edge.start import Start


@dataclass(frozen=True)
class StartOptions:
    """How a chunk starts. None: as the policy or the bundle says."""

    noise_cold: Annotated[
        float | None,
        typer.Option(help="Noise of a start without a plan, 0..2. Default: the policy's own."),
    ] = None
    noise_warm: Annotated[
        float | None,
        typer.Option(help="Noise of a start from the last plan, 0..2. Default: the policy's own."),
    ] = None
    cold_nfe: Annotated[
        int | None,
        typer.Option(help="Evaluations of a start without a plan. Default: the policy's own."),
    ] = None

    def of(self, own: Start) -> Start:
        """Return the artefact's own start with what is given here. Raises OfpError."""
        return own.with_(self.noise_cold, self.noise_warm, self.cold_nfe)


OWN = StartOptions()
"""Everything as the artefact says."""
