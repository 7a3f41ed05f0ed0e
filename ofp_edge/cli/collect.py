"""`ofp-edge collect`: demonstrations from a simulated task."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ofp_edge.cli.expert import read_expert
from ofp_edge.cli.output import Document, Force, Output, add_command
from ofp_edge.errors import UnknownName

if TYPE_CHECKING:
    from ofp_edge.sim.fields import Observe

KEYS = ("dataset", "task", "observations", "episodes", "steps", "failed", "depth_by", "seconds")
_OBSERVATIONS: tuple[Observe, ...] = ("depth", "rgb", "state")


def collect(
    output: Output,
    task: Annotated[str, typer.Argument(help="Simulated task, e.g. metaworld/door-open.")],
    dataset: Annotated[Path, typer.Option("-o", "--output", help="Dataset folder to write.")],
    expert: Annotated[
        Path | None,
        typer.Option(
            help="Who shows a task of the Adroit hand: a policy of mjrl (door-v0.pickle of "
            "hand_dapg); nothing in it is executed."
        ),
    ] = None,
    n: Annotated[int, typer.Option("-n", "--episodes", help="Successful episodes to keep.")] = 50,
    obs: Annotated[
        str,
        typer.Option(
            help="depth: hand and depth camera; rgb: hand and colour cameras (needs OpenGL); "
            "state: everything, goal too."
        ),
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
    image_size: Annotated[
        tuple[int, int],
        typer.Option(min=1, help="Height and width of the images of --obs rgb, pixels."),
    ] = (48, 64),
    force: Force = False,
) -> Document:
    """Collect demonstrations of a simulated task from its scripted expert, or a given one."""
    observe = next((known for known in _OBSERVATIONS if known == obs), None)
    if observe is None:
        raise UnknownName("--obs", obs, _OBSERVATIONS)
    from ofp_edge.sim.collect import collect_demonstrations

    with output.progress("collecting") as progress:
        done = collect_demonstrations(
            task,
            n,
            dataset,
            expert=None if expert is None else read_expert(expert),
            observe=observe,
            noise=noise,
            wander=wander,
            seed=seed,
            color=color,
            image_size=image_size,
            force=force,
            progress=progress,
        )
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
