"""`ofp-edge train`: demonstrations in, a policy folder out."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from ofp_edge.cli.output import Document, Force, Output, add_command

KEYS = (
    "policy", "method", "preset", "steps", "loss", "validation_loss", "chunk_error", "best_step",
    "best_validation_loss", "parameters", "seconds", "resumed_from",
)  # fmt: skip


def train(
    output: Output,
    dataset: Annotated[Path, typer.Argument(help="Dataset folder (Zarr).")],
    policy: Annotated[Path, typer.Option("-o", "--output", help="Policy folder to write.")],
    method: Annotated[
        str | None,
        typer.Option(
            help="ofp, ofp-plus, flow, meanflow, diffusion. Default: ofp-plus, or the resumed one."
        ),
    ] = None,
    preset: Annotated[
        str | None,
        typer.Option(
            help="small, tiny, unet, transformer; with images rgb, resnet18: network and settings. "
            "Default: small."
        ),
    ] = None,
    steps: Annotated[
        int | None, typer.Option(help="Optimiser steps in all. Default: the preset's.")
    ] = None,
    batch_size: Annotated[
        int | None, typer.Option(help="Windows a step. Default: the preset's.")
    ] = None,
    learning_rate: Annotated[
        float | None, typer.Option(help="Peak of the schedule, per step. Default: the preset's.")
    ] = None,
    seed: Annotated[
        int | None, typer.Option(help="Of weights, batches and noise. Default: 0.")
    ] = None,
    checkpoint_every: Annotated[
        int, typer.Option(min=1, help="Optimiser steps between checkpoints.")
    ] = 500,
    validate_every: Annotated[
        int, typer.Option(min=1, help="Optimiser steps between validations on held-out episodes.")
    ] = 500,
    tensorboard: Annotated[
        Path | None, typer.Option(help="Write event files for TensorBoard here. Default: none.")
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the unfinished run in the output folder.")
    ] = False,
    init: Annotated[
        Path | None,
        typer.Option(help="Start from this policy's weights and normalisation. Default: random."),
    ] = None,
    rgb_weights: Annotated[
        Path | None,
        typer.Option(
            help="ResNet weights under torchvision's names (safetensors) for the image encoders. "
            "Default: random."
        ),
    ] = None,
    force: Force = False,
) -> Document:
    """Train a policy on a dataset; Ctrl-C keeps what was learned, --resume goes on.

    The output folder holds the last weights, best/ in it the policy of lowest validation loss.
    """
    from ofp_edge.extras import require

    # Before torch starts its threads: waiting ones that spin make a step 3 to 7 times slower as
    # soon as another process wants a core.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    require("torch", "train")
    require("safetensors", "train")
    if tensorboard is not None:
        require("tensorboard", "tensorboard")
    from ofp_edge.train.loop import train as run
    from ofp_edge.train.plan import Request, make_plan

    plan = make_plan(
        Request(dataset, policy, method, preset, steps, batch_size, learning_rate, seed, resume,
                init, force, rgb_weights)
    )  # fmt: skip
    config = plan.policy.config
    with output.progress(f"training {config.method}") as progress:
        result = run(
            plan, checkpoint_every=checkpoint_every, validate_every=validate_every,
            tensorboard=tensorboard, progress=progress,
        )  # fmt: skip
    if result.interrupted:
        output.console.print(
            f"stopped at step {result.step} of {config.training.settings.steps}; {policy} is "
            "usable as it is, --resume goes on"
        )
        raise KeyboardInterrupt
    best = result.best
    output.console.print(
        f"{policy}: {config.method}, preset {config.preset}, {result.parameters:,} parameters, "
        f"{result.step} steps in {result.seconds:.0f} s\n"
        f"loss {result.loss:.4f}; on {len(config.training.held_out)} held-out episodes: "
        f"{result.validation.loss:.4f}, chunk error {result.validation.chunk_error:.3f} "
        "(RMS, of the normalised range -1..1)"
        + (f"\nbest: step {best.step}, {best.loss:.4f}, in {policy / 'best'}" if best else "")
    )
    return {
        "policy": str(policy),
        "method": config.method,
        "preset": config.preset,
        "steps": result.step,
        "loss": result.loss,
        "validation_loss": result.validation.loss,
        "chunk_error": result.validation.chunk_error,
        "best_step": best.step if best else None,
        "best_validation_loss": best.loss if best else None,
        "parameters": result.parameters,
        "seconds": result.seconds,
        "resumed_from": result.resumed_from,
    }


def add(app: typer.Typer) -> None:
    """Register the command."""
    add_command(app, "train", train, KEYS)
