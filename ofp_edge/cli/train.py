"""`ofp-edge train`: demonstrations in, a policy folder out."""

from __future__ import annotations

import os
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ofp_edge.cli.comma_lists import numbers
from ofp_edge.cli.compute_options import ComputeOptions
from ofp_edge.cli.data_options import DataOptions
from ofp_edge.cli.output import Document, Force, Output, add_command, foreign, printable
from ofp_edge.cli.train_report import intention, outcome, sources
from ofp_edge.errors import OfpError

if TYPE_CHECKING:
    from ofp_edge.train.request import Request

KEYS = (
    "policy", "method", "preset", "steps", "loss", "validation_loss", "chunk_error", "best_step",
    "best_validation_loss", "parameters", "seconds", "resumed_from", "interrupted", "processes",
    "mixture", "precision", "mapped", "data_wait_s", "far",
)  # fmt: skip

# What `train` and `distill` ask alike.
PolicyOutput = Annotated[Path, typer.Option("-o", "--output", help="Policy folder to write.")]
Steps = Annotated[int | None, typer.Option(help="Optimiser steps in all. Default: the preset's.")]
BatchSize = Annotated[
    int | None, typer.Option(help="Windows a step, of all processes. Default: the preset's.")
]
LearningRate = Annotated[
    float | None, typer.Option(help="Peak of the schedule, per step. Default: the preset's.")
]
Draws = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="Draws of noise for each window of a step, which is encoded once. Default: the "
        "preset's.",
    ),
]
ColorJitter = Annotated[
    float | None,
    typer.Option(
        help="Brightness, contrast and saturation of images change by up to this share. Default: "
        "the preset's."
    ),
]
ShiftPx = Annotated[
    int | None,
    typer.Option(
        help="Images move by up to so many pixels along either axis. Default: the preset's."
    ),
]
Seed = Annotated[int | None, typer.Option(help="Of weights, batches and noise. Default: 0.")]
CheckpointEvery = Annotated[int, typer.Option(min=1, help="Optimiser steps between checkpoints.")]
ValidateEvery = Annotated[
    int, typer.Option(min=1, help="Optimiser steps between validations on held-out episodes.")
]
TensorBoard = Annotated[
    Path | None, typer.Option(help="Write event files for TensorBoard here. Default: none.")
]
MethodOption = Annotated[
    list[str] | None,
    typer.Option(help="One of the method's own numbers, as name=value. Repeatable."),
]


def train(
    output: Output,
    datasets: Annotated[
        list[Path],
        typer.Argument(
            metavar="DATASET...",
            help="Dataset of any layout, or a mapping file. Several are mixed.",
        ),
    ],
    policy: PolicyOutput,
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
            "Default: rgb where there are images, else small."
        ),
    ] = None,
    steps: Steps = None,
    batch_size: BatchSize = None,
    learning_rate: LearningRate = None,
    draws: Draws = None,
    color_jitter: ColorJitter = None,
    shift_px: ShiftPx = None,
    seed: Seed = None,
    checkpoint_every: CheckpointEvery = 500,
    validate_every: ValidateEvery = 500,
    tensorboard: TensorBoard = None,
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
    option: MethodOption = None,
    committed_steps: Annotated[
        int | None,
        typer.Option(
            help="Train with committed prefixes: as many first actions of a chunk, at most, may be "
            "decided already, so many control steps of latency. Default: 0, or --init's own."
        ),
    ] = None,
    horizon: Annotated[
        int | None,
        typer.Option(
            help="Actions of a chunk: `profile` says how many L needs. Default: preset's."
        ),
    ] = None,
    n_action_steps: Annotated[
        int | None,
        typer.Option(help="Actions of a chunk until the next one is asked for. Default: preset's."),
    ] = None,
    weights: Annotated[
        str | None,
        typer.Option(
            help="How often each dataset is drawn from, as 1,0.5. Default: by its windows."
        ),
    ] = None,
    instructed: Annotated[
        bool,
        typer.Option(
            "--instructed",
            help="Tell the policy each episode's task: one network for many, an instruction each.",
        ),
    ] = False,
    data: DataOptions = DataOptions(),  # noqa: B008  (options, each of a default of its own)
    compute: ComputeOptions = ComputeOptions(),  # noqa: B008
    force: Force = False,
) -> Document:
    """Train a policy on a dataset; Ctrl-C keeps what was learned, --resume goes on.

    The output folder holds the last weights, best/ in it the policy of lowest validation loss.

    More processes share each step's windows under `torchrun --nproc-per-node N -m ofp_edge train`
    (CPUs) or `accelerate launch -m ofp_edge train` (GPUs): the same run, up to rounding.
    """
    start_training(tensorboard)
    from ofp_edge.train.request import Request

    request = Request(
        datasets[0],
        policy,
        method,
        preset,
        steps,
        batch_size,
        learning_rate,
        seed,
        resume,
        init,
        force,
        named_numbers(option or []),
        rgb_weights,
        mixed=tuple(datasets[1:]),
        weights=None if weights is None else tuple(numbers("--weights", weights, "1,0.5")),
        committed_steps=committed_steps,
        instructed=instructed,
        horizon=horizon,
        n_action_steps=n_action_steps,
        draws=draws,
        color_jitter=color_jitter,
        shift_px=shift_px,
    )
    return perform(output, request, data, compute, checkpoint_every, validate_every, tensorboard)


def start_training(tensorboard: Path | None) -> None:
    """What must come before the first import of torch."""
    from ofp_edge.extras import require

    # Before torch starts its threads: waiting ones that spin make a step 3 to 7 times slower as
    # soon as another process wants a core.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    require("torch", "train")
    require("safetensors", "train")
    if tensorboard is not None:
        require("tensorboard", "tensorboard")


def perform(
    output: Output,
    request: Request,
    data: DataOptions,
    compute: ComputeOptions,
    checkpoint_every: int,
    validate_every: int,
    tensorboard: Path | None,
) -> Document:
    """Run what `train` or `distill` were asked for, and say what came of it."""
    from ofp_edge.train.beyond import beyond
    from ofp_edge.train.loop import train as run
    from ofp_edge.train.plan import make_plan
    from ofp_edge.train.processes import joined_processes

    computed = compute.settled()
    processes = joined_processes()
    if not processes.leads:
        output.mute()
    with output.progress("reading the data") as progress:
        paths = (request.dataset, *request.mixed)
        access = processes.agree(lambda: data.access(paths, progress, processes.here))
        plan = processes.agree(lambda: make_plan(request, access))
    mapped, far = plan.dataset.mapped, beyond(plan)
    config = plan.policy.config
    output.console.print(intention(plan, processes), soft_wrap=True)
    for line in sources(plan):
        output.console.print(line, soft_wrap=True, markup=False)
    if config.training.cloud_shift is not None:
        output.console.print(printable(config.training.cloud_shift), soft_wrap=True, markup=False)
    for line in far:
        output.log.print(f"[yellow]far:[/] {foreign(line)}", soft_wrap=True)
    for line in plan.dataset.guessed:
        output.console.print(f"guess: {line}", soft_wrap=True, markup=False)
    for line in plan.dataset.odd:
        output.log.print(f"[yellow]odd:[/] {foreign(line)}", soft_wrap=True)
    with output.progress(f"training {config.method}") as progress:
        result = run(
            plan,
            processes,
            checkpoint_every=checkpoint_every,
            validate_every=validate_every,
            workers=data.readers(mapped=bool(mapped)),
            compute=computed,
            tensorboard=tensorboard,
            progress=progress,
        )
    processes.close()
    output.console.print(outcome(plan, result), soft_wrap=True)
    if result.interrupted:
        output.exit_code = 130
    best = result.best
    return {
        "policy": str(result.policy),
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
        "interrupted": result.interrupted,
        "processes": processes.count,
        "mixture": [asdict(x) for x in config.training.mixture],
        "precision": plan.precision,
        "mapped": mapped,
        "data_wait_s": result.data_wait_s,
        "far": far,
    }


def named_numbers(options: list[str]) -> dict[str, float]:
    """`--option name=value` as a dictionary; OfpError."""
    values = {}
    for entry in options:
        name, _, value = entry.partition("=")
        try:
            values[name.strip()] = float(value)
        except ValueError:
            raise OfpError(
                f"--option {entry}: expected name=number, as in lambda_g=0.05."
            ) from None
    return values


def add(app: typer.Typer) -> None:
    """Register the command."""
    add_command(app, "train", train, KEYS)
