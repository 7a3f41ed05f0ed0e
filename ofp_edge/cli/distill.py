"""`ofp-edge distill`: a policy of many steps and demonstrations in, a one-step policy out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ofp_edge.cli.compute_options import ComputeOptions
from ofp_edge.cli.data_options import DataOptions
from ofp_edge.cli.output import Document, Force, Output, add_command
from ofp_edge.cli.train import (
    KEYS,
    BatchSize,
    CheckpointEvery,
    ColorJitter,
    Draws,
    LearningRate,
    MethodOption,
    PolicyOutput,
    Seed,
    ShiftPx,
    Steps,
    TensorBoard,
    ValidateEvery,
    named_numbers,
    perform,
    start_training,
)


def distill(
    output: Output,
    start: Annotated[
        Path,
        typer.Argument(
            metavar="POLICY",
            help="Policy of many steps: method flow, or an imported diffusion one.",
        ),
    ],
    dataset: Annotated[Path, typer.Argument(help="Dataset folder with the same fields.")],
    policy: PolicyOutput,
    method: Annotated[
        str | None, typer.Option(help="ofp, ofp-plus, meanflow. Default: ofp-plus.")
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
    option: MethodOption = None,
    data: DataOptions = DataOptions(),  # noqa: B008  (options, each of a default of its own)
    compute: ComputeOptions = ComputeOptions(),  # noqa: B008
    force: Force = False,
) -> Document:
    """Distil a policy of many steps into one of one step, from its weights, on your data.

    Its time embedding is widened to (t, r); what is new starts as 0. An interrupted run goes on
    with `ofp-edge train DATASET -o POLICY --resume`.
    """
    start_training(tensorboard)
    from ofp_edge.train.request import Request

    request = Request(
        dataset,
        policy,
        method,
        None,
        steps,
        batch_size,
        learning_rate,
        seed,
        False,
        start,
        force,
        named_numbers(option or []),
        distill=True,
        draws=draws,
        color_jitter=color_jitter,
        shift_px=shift_px,
    )
    return perform(output, request, data, compute, checkpoint_every, validate_every, tensorboard)


def add(app: typer.Typer) -> None:
    """Register the command."""
    add_command(app, "distill", distill, KEYS)
