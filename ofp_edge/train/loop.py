"""The training loop, from top to bottom: draw, losses, step, average, validate, checkpoint."""

from __future__ import annotations

import math
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch

from ofp_edge.errors import CheckFailed, OfpError
from ofp_edge.files import new_folder, remove_folder
from ofp_edge.policy.folder import MARKER, Policy, save_policy
from ofp_edge.progress import Progress, silent
from ofp_edge.train.compute import Compute
from ofp_edge.train.history import Point
from ofp_edge.train.memory import keep_freed_memory
from ofp_edge.train.mixed import batches_of
from ofp_edge.train.plan import Plan
from ofp_edge.train.processes import ALONE, Processes
from ofp_edge.train.scalars import scalars_to
from ofp_edge.train.signals import stop_wish
from ofp_edge.train.state import TrainState, save_state
from ofp_edge.train.step import Step
from ofp_edge.train.stream import streaming
from ofp_edge.train.validation import Validation, validate

_WORTH_SAYING = 0.05
_NO_RAMP = 10_000  # steps after which the average's decay is no longer ramped up
_TELL_S = 2.0  # steps that take longer are told of one by one


@dataclass(frozen=True)
class TrainResult:
    """The outcome of a run. policy: its folder. loss: running mean of the summed terms, None where
    no step was left to do. validation: of the last weights; best: the lowest point of the curve,
    None before the first. interrupted: stopped by a signal, resumable. data_wait_s: seconds of
    this call in which a step waited for data."""

    policy: Path
    step: int
    loss: float | None
    validation: Validation
    best: Point | None
    parameters: int
    seconds: float
    resumed_from: int | None
    interrupted: bool
    data_wait_s: float = 0.0


def train(
    plan: Plan,
    processes: Processes = ALONE,
    *,
    checkpoint_every: int = 500,
    validate_every: int = 500,
    workers: int = 0,
    compute: Compute = Compute(),  # noqa: B008  (frozen)
    tensorboard: Path | None = None,
    progress: Progress = silent,
) -> TrainResult:
    """Run a plan to its end, or to Ctrl-C or SIGTERM. Either way there is a usable policy: at the
    end in the output, before it a resumable one in the plan's `checkpoints`. The policy of lowest
    validation loss is in best/ below it.

    checkpoint_every, validate_every: optimiser steps; the last step does both. workers: threads
    that read windows ahead; the same ones for any number. compute: precision, compilation, parts
    of a batch. tensorboard: folder for event files.
    Raises MissingExtra without the latter's package, and CheckFailed when a loss or gradient is no
    longer finite; the last checkpoint stays. processes: each is called with a plan of its own, of
    the same request, and shares the batch; number 0 validates and writes.
    """
    keep_freed_memory()
    state, settings, spec = plan.state, plan.settings, plan.policy.config.spec
    if settings.batch_size % (processes.count * compute.accumulate):
        parts = f" in {compute.accumulate} parts each" if compute.accumulate > 1 else ""
        raise OfpError(
            f"--batch-size {settings.batch_size}: expected a multiple of "
            f"{processes.count * compute.accumulate}: it is shared by {processes.count} "
            f"processes{parts}."
        )
    state.generator.share(processes.rank, processes.count, processes.device)
    state.average.to(processes.device)
    compute = compute.on(processes.device, plan.method)
    plan.precision = compute.precision
    step = Step(plan.method, state, processes, compute)
    split = plan.dataset.split()
    batches = batches_of(plan.dataset, split.train, spec)
    held_out = batches_of(plan.dataset, split.held_out, spec)
    first, begun, seconds_before = state.step, time.monotonic(), state.seconds
    saved_at = first if plan.resumed_from is not None else None

    events = tensorboard if processes.leads else None
    with (
        scalars_to(events, first) as note,
        streaming(
            batches,
            settings.batch_size,
            plan.policy.config.training.seed,
            first,
            processes.rank,
            processes.count,
            workers,
        ) as stream,
        stop_wish() as wish,
    ):
        told_at = 0.0
        while state.step < settings.steps and not processes.any(wish.requested):
            done = plan.first_progress + (1 - plan.first_progress) * state.step / settings.steps
            for group in state.optimizer.param_groups:
                group["lr"] = learning_rate(plan, done)
            losses = step.gradients(batches, stream.next(), settings, done)
            norm = torch.nn.utils.clip_grad_norm_(
                state.network.parameters(), settings.gradient_clip
            ).item()
            # Equal in all processes, and so is what they decide by it.
            means: list[float] = processes.mean(torch.stack(list(losses.values()))).tolist()
            values: dict[str, float] = dict(zip(losses, means, strict=True))
            loss: float = sum(values.values())
            if not (math.isfinite(loss) and math.isfinite(norm)):
                what = "loss or its gradient"
                raise CheckFailed(_not_finite(state.step + 1, what, loss, saved_at, plan))
            state.optimizer.step()
            _follow(state, settings.ema_decay, ramped=plan.first_progress > 0)
            for name, value in values.items():
                before = state.losses.get(name, value)
                state.losses[name] = 0.98 * before + 0.02 * value
            state.step += 1
            state.seconds = seconds_before + time.monotonic() - begun
            last = state.step == settings.steps
            if state.step % validate_every == 0 or last:
                found = processes.led(lambda: validate(plan.method, state.average, held_out))
                if not (math.isfinite(found.loss) and math.isfinite(found.chunk_error)):
                    what = "validation loss"
                    raise CheckFailed(_not_finite(state.step, what, found.loss, saved_at, plan))
                plan.history.add(state.step, found, state.average, frozen=state.frozen)
                note({f"validation/{name}": x for name, x in asdict(found).items()}, state.step)
            if state.step % checkpoint_every == 0 and not last:
                processes.led(lambda: save_checkpoint(plan))
                saved_at = state.step
            took = time.monotonic() - begun
            tenth = state.step % 10 == 0 or last
            if tenth or took - told_at >= _TELL_S:
                line = _note(plan, (state.step - first) / took, stream.waited_s / took)
                progress(state.step, settings.steps, line)
                told_at = took
            if tenth:
                seen = {f"loss/{name}": value for name, value in values.items()}
                seen["gradient_norm"] = norm
                seen["learning_rate"] = state.optimizer.param_groups[0]["lr"]
                note(seen, state.step)
        interrupted = state.step < settings.steps
        if state.step > first or plan.resumed_from is None:
            processes.led(lambda: save_checkpoint(plan))
    validation = plan.history.at(state.step) or processes.led(
        lambda: validate(plan.method, state.average, held_out)
    )
    loss_now = sum(state.losses.values()) if state.losses else None
    return TrainResult(
        plan.checkpoints if interrupted else plan.request.output,
        state.step,
        loss_now,
        validation,
        plan.history.best,
        state.network.parameter_count,
        state.seconds,
        plan.resumed_from,
        interrupted,
        stream.waited_s,
    )


def learning_rate(plan: Plan, done: float) -> float:
    """Warm up linearly over the first steps, then follow a cosine down to 1 % at done = 1."""
    settings = plan.settings
    warm = min(1.0, (plan.state.step + 1) / max(1, settings.warmup_steps))
    return settings.learning_rate * warm * (0.01 + 0.99 * (1 + math.cos(math.pi * done)) / 2)


def save_checkpoint(plan: Plan) -> None:
    """Replace the folder of checkpoints, as a whole, with what resuming needs. At the end, write
    the output instead and remove the checkpoints."""
    state, config = plan.state, plan.policy.config
    record = replace(config.training, step=state.step, precision=plan.precision)
    config = replace(config, training=record)
    unfinished = state.step < plan.settings.steps
    output = plan.checkpoints if unfinished else plan.request.output
    force = plan.request.force or plan.begun
    with new_folder(output, force=force, marker=MARKER) as folder:
        policy = Policy(config, state.average, plan.policy.statistics)
        save_policy(policy, folder)
        plan.history.save(policy, folder)
        if unfinished:
            save_state(state, folder)
    plan.begun = True
    if output != plan.checkpoints and plan.checkpoints.exists():
        remove_folder(plan.checkpoints)


def _follow(state: TrainState, decay: float, *, ramped: bool) -> None:
    """Move the average towards the weights; early steps follow faster, unless weights are given."""
    age = state.step + (_NO_RAMP if ramped else 0)
    decay = min(decay, (1 + age) / (10 + age))
    with torch.no_grad():
        pairs = zip(state.average.parameters(), state.network.parameters(), strict=True)
        ours, theirs = zip(*(pair for pair in pairs if pair[1].requires_grad), strict=True)
        torch._foreach_lerp_(ours, theirs, 1 - decay)


def _note(plan: Plan, steps_per_s: float, waiting: float) -> str:
    points = plan.history.points
    held_out = f", held out {points[-1].loss:.4f}" if points else ""
    waits = f", {waiting:.0%} of the time waits for data" if waiting > _WORTH_SAYING else ""
    loss, left = sum(plan.state.losses.values()), plan.settings.steps - plan.state.step
    ends = time.strftime("%H:%M", time.localtime(time.time() + left / steps_per_s))
    return f"loss {loss:.4f}{held_out}, {steps_per_s:.1f} steps/s{waits}, ends at {ends}"


def _not_finite(step: int, what: str, loss: float, saved_at: int | None, plan: Plan) -> str:
    kept = (
        f"the checkpoint of step {saved_at} stays in {plan.checkpoints}"
        if saved_at is not None
        else "no checkpoint had been written"
    )
    return (
        f"the {what} is not finite at step {step} (loss {loss}): stopped; "
        f"{kept}. Try a lower --learning-rate."
    )
