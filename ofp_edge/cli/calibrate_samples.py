"""`ofp-edge calibrate samples`: calibration samples that cover what the robot sees."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from ofp_edge.cli.output import Document, Force, Output, add_command
from ofp_edge.extras import require
from ofp_edge.files import check_output_file, sha256_bytes, write_bytes

KEYS = (
    "file", "policy", "source", "source_sha256", "samples", "episodes", "held_out",
    "held_out_episodes", "coverage", "size", "sha256",
)  # fmt: skip


def samples(
    output: Output,
    sources: Annotated[
        list[Path],
        typer.Argument(
            metavar="SOURCE...",
            help="Dataset or mapping file, or several; or the file of run --record-calibration.",
        ),
    ],
    policy: Annotated[
        Path, typer.Option("--policy", help="Policy folder: its encoder says what is alike.")
    ],
    out: Annotated[Path, typer.Option("-o", "--output", help="File to write, .npz.")],
    count: Annotated[
        int, typer.Option("--samples", help="Observation windows; fewer where 4 MB hold fewer.")
    ] = 128,
    seed: Annotated[int, typer.Option("--seed", help="Of candidates and held-out windows.")] = 0,
    force: Force = False,
) -> Document:
    """Choose calibration samples for coverage, apart from the episodes that check them."""
    check_output_file(out, force=force)
    for module in ("torch", "safetensors"):
        require(module, "quantize")
    from ofp_edge.calibration.choose import LIMIT_BYTES, check_unseen, choose_samples
    from ofp_edge.policy.folder import load_policy

    opened = load_policy(policy)
    with output.progress("choosing") as progress:
        found = choose_samples(sources, opened, count, seed, progress)
    check_unseen(found, opened, sources)
    data = found.to_bytes()
    write_bytes(out, data)
    known, held = found.samples, found.held_out
    episodes = len(set(known.episode.tolist()))
    apart = len(set(held.episode.tolist()))
    cover, full = found.coverage, f"{LIMIT_BYTES / 1e6:g} MB is the limit, or the rest are copies"
    say = output.console.print
    say(f"{len(known)} samples of {episodes} episodes, chosen among {cover.candidates} windows")
    say(f"{len(held)} held-out windows of {apart} other episodes, to check them by")
    say(
        f"distance to the nearest sample: largest {cover.largest:.3g}, mean {cover.mean:.3g} "
        f"(at random: {cover.random_largest:.3g}, {cover.random_mean:.3g})"
    )
    if len(known) < count:
        say(f"fewer than {count}: {full if len(known) < cover.candidates else 'there are no more'}")
    say(f"{len(data) / 1e6:.2f} MB written to {out}")
    return {
        "file": out,
        "policy": policy,
        "source": found.source,
        "source_sha256": found.source_sha256,
        "samples": len(known),
        "episodes": episodes,
        "held_out": len(held),
        "held_out_episodes": apart,
        "coverage": asdict(cover),
        "size": len(data),
        "sha256": sha256_bytes(data),
    }


def add(app: typer.Typer) -> None:
    """Register the command in its group."""
    add_command(app, "samples", samples, KEYS)
