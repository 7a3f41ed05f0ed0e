"""`ofp-edge train`: demonstrations in, a policy folder out."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ofp_edge.cli.data_options import DataOptions
from ofp_edge.cli.output import Document, Force, Output, add_command, foreign, printable
from ofp_edge.errors import OfpError

if TYPE_CHECKING:
    from ofp_edge.train.loop import TrainResult
    from ofp_edge.train.plan import Plan, Request
    from ofp_edge.train.processes import Processes

KEYS = (
    "policy", "method", "preset", "steps", "loss", "validation_loss", "chunk_error", "best_step",
    "best_validation_loss", "parameters", "seconds", "resumed_from", "interrupted", "processes",
    "mapped", "data_wait_s",
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
    dataset: Annotated[Path, typer.Argument(help="Dataset of any layout, or a mapping file.")],
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
            "Default: small."
        ),
    ] = None,
    steps: Steps = None,
    batch_size: BatchSize = None,
    learning_rate: LearningRate = None,
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
    data: DataOptions = DataOptions(),  # noqa: B008  (options, each of a default of its own)
    force: Force = False,
) -> Document:
    """Train a policy on a dataset; Ctrl-C keeps what was learned, --resume goes on.

    The output folder holds the last weights, best/ in it the policy of lowest validation loss.

    More processes share each step's windows under `torchrun --nproc-per-node N -m ofp_edge train`
    (CPUs) or `accelerate launch -m ofp_edge train` (GPUs): the same run, up to rounding.
    """
    start_training(tensorboard)
    from ofp_edge.train.plan import Request

    request = Request(
        dataset,
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
        numbers(option or []),
        rgb_weights,
    )
    return perform(output, request, data, checkpoint_every, validate_every, tensorboard)


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
    checkpoint_every: int,
    validate_every: int,
    tensorboard: Path | None,
) -> Document:
    """Run what `train` or `distill` were asked for, and say what came of it."""
    from ofp_edge.train.loop import train as run
    from ofp_edge.train.plan import make_plan
    from ofp_edge.train.processes import joined_processes

    processes = joined_processes()
    if not processes.leads:
        output.mute()
    with output.progress("reading the data") as progress:
        access = processes.agree(lambda: data.access(request.dataset, progress, processes.here))
        plan = processes.agree(lambda: make_plan(request, access))
    mapped = plan.dataset.mapped
    config = plan.policy.config
    output.console.print(_intention(plan, processes), soft_wrap=True)
    if config.training.cloud_shift is not None:
        output.console.print(printable(config.training.cloud_shift), soft_wrap=True, markup=False)
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
            tensorboard=tensorboard,
            progress=progress,
        )
    processes.close()
    output.console.print(_outcome(plan, result), soft_wrap=True)
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
        "mapped": mapped,
        "data_wait_s": result.data_wait_s,
    }


def _intention(plan: Plan, processes: Processes) -> str:
    """What the run will do, in a line."""
    config, settings, split = plan.policy.config, plan.settings, plan.dataset.split()
    line = (
        f"{config.method}, preset {config.preset}, {plan.policy.network.parameter_count:,} "
        f"parameters, on {plan.dataset.path}: {len(split.train)} episodes with "
        f"{len(plan.dataset.frames(split.train)):,} windows, {len(split.held_out)} held out; "
    )
    if plan.state.step == settings.steps:
        return f"{line}its {settings.steps} steps are done, nothing is left to train"
    start = f"{plan.state.step} to {settings.steps}" if plan.state.step else f"{settings.steps}"
    shared = f", shared by {processes.count} processes" if processes.count > 1 else ""
    place = processes.device.type
    if mapped := plan.dataset.mapped:
        place += f"; mapped from the cache: {', '.join(mapped)}"
    return f"{line}steps: {start}, of {settings.batch_size} windows{shared}, on {place}"


def _outcome(plan: Plan, result: TrainResult) -> str:
    output, config, best = plan.request.output, plan.policy.config, result.best
    if result.interrupted:
        kept = "" if result.policy == output else f"; {output} is still the old one"
        return (
            f"stopped at step {result.step} of {config.training.settings.steps}; {result.policy} "
            f"is usable as it is, --resume goes on{kept}"
        )
    # A run that was finished before keeps neither its loss nor its time.
    took = "" if result.loss is None else f" in {result.seconds:.0f} s"
    loss = "" if result.loss is None else f"loss {result.loss:.4f}; "
    return (
        f"{output}: {config.method}, preset {config.preset}, {result.parameters:,} parameters, "
        f"{result.step} steps{took}\n"
        f"{loss}on {len(config.training.held_out)} held-out episodes: "
        f"{result.validation.loss:.4f}, chunk error {result.validation.chunk_error:.3f} "
        "(RMS, of the normalised range -1..1)"
        + (f"\nbest: step {best.step}, {best.loss:.4f}, in {output / 'best'}" if best else "")
    )


def numbers(options: list[str]) -> dict[str, float]:
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
