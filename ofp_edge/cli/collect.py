"""`ofp-edge collect`: demonstrations from a simulated task."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ofp_edge.cli.output import Document, Force, Output, add_command
from ofp_edge.errors import UnknownName

KEYS = ("dataset", "task", "observations", "episodes", "steps", "failed", "depth_by", "seconds")
_OBSERVATIONS = ("depth", "state")


def collect(
    output: Output,
    task: Annotated[str, typer.Argument(help="Simulated task, e.g. metaworld/door-open.")],
    dataset: Annotated[Path, typer.Option("-o", "--output", help="Dataset folder to write.")],
    n: Annotated[int, typer.Option("-n", "--episodes", help="Successful episodes to keep.")] = 50,
    obs: Annotated[
        str, typer.Option(help="depth: hand and depth camera; state: everything, goal too.")
    ] = "depth",
    noise: Annotated[
        float | None,
        typer.Option(
            help="Noise on executed actions, raw units (1 = the largest action). Default: the "
            "task's, as a rule 0.3."
        ),
    ] = None,
    wander: Annotated[
        int | None,
        typer.Option(
            help="Most control steps an episode begins by going astray. Default: the task's, as a "
            "rule 8."
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of the first episode; the next count up.")] = 0,
    color: Annotated[
        bool, typer.Option("--color", help="Also store colour images (needs OpenGL).")
    ] = False,
    force: Force = False,
) -> Document:
    """Collect demonstrations of a simulated task from its scripted expert."""
    if obs not in _OBSERVATIONS:
        raise UnknownName("--obs", obs, _OBSERVATIONS)
    from ofp_edge.sim.collect import collect_demonstrations

    with output.progress("collecting") as progress:
        done = collect_demonstrations(
            task, n, dataset, observe="state" if obs == "state" else "depth", noise=noise,
            wander=wander, seed=seed, color=color, force=force, progress=progress,
        )  # fmt: skip
    depth = f", depth by {done.depth_by}" if done.depth_by else ""
    output.console.print(
        f"{done.dataset}: {done.episodes} demonstrations, {done.steps} steps in "
        f"{done.seconds:.0f} s{depth}. {done.failed} failed and were left out."
    )
    return {
        "dataset": str(done.dataset),
        "task": task,
        "observations": obs,
        "episodes": done.episodes,
        "steps": done.steps,
        "failed": done.failed,
        "depth_by": done.depth_by,
        "seconds": done.seconds,
    }


def add(app: typer.Typer) -> None:
    """Register the command."""
    add_command(app, "collect", collect, KEYS)
