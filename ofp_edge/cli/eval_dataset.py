"""`ofp-edge eval --dataset`: predicted against recorded chunks, without a simulator."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ofp_edge.cli.comma_lists import different_whole_numbers
from ofp_edge.cli.output import Document, Output
from ofp_edge.errors import OfpError
from ofp_edge.evaluate.choice import Choice
from ofp_edge.files import write_bytes, write_json

MOST_SAMPLES = 100


def evaluate_recorded(
    output: Output,
    artefact: Path,
    dataset: Path,
    choice: Choice,
    *,
    keys: Sequence[str],
    nfe: str | None,
    episodes: str | None,
    samples: int | None,
    seed: int,
    result: Path | None,
) -> Document:
    """Hold `artefact` against recorded episodes; `keys` that are the simulator's are null."""
    from ofp_edge.evaluate.offline import measure_offline
    from ofp_edge.evaluate.offline_text import offline_table

    counts = None if nfe is None else different_whole_numbers("--nfe", nfe, "1,10")
    if samples is not None and not 1 <= samples <= MOST_SAMPLES:
        raise OfpError(f"--samples {samples}: expected 1..{MOST_SAMPLES}.")
    wanted = None if episodes is None else different_whole_numbers("--episodes", episodes, "3,7")
    began = time.monotonic()
    with output.progress("evaluating") as progress:
        found = measure_offline(
            artefact,
            dataset,
            choice,
            nfe=counts,
            episodes=wanted,
            samples=samples,
            seed=seed,
            progress=progress,
        )
    contestant = found.contestant
    values: dict[str, Any] = {
        **dict.fromkeys(keys),
        "evaluated": str(artefact),
        "kind": contestant.kind,
        "sha256": contestant.sha256,
        "trained_on": contestant.trained_on,
        "episodes": len(found.recorded.episodes),
        "nfe": contestant.nfe,
        "t_w": contestant.t_w,
        "warm_step": contestant.warm_step,
        "guard": choice.guard,
        "start": contestant.own_start,
        "engine": contestant.engine,
        "precision": contestant.precision,
        "seed": seed,
        "seconds": round(time.monotonic() - began, 3),
        "recorded": found.document,
    }
    if result is not None and result.suffix == ".html":
        from ofp_edge.evaluate.offline_page import render

        write_bytes(result, render(values, found).encode())
    elif result is not None:
        write_json(result, values)
    output.console.print(offline_table(values))
    return values
