"""What `train` and `distill` say of a run, before it and after it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ofp_edge.counted import counted

if TYPE_CHECKING:
    from ofp_edge.train.loop import TrainResult
    from ofp_edge.train.plan import Plan
    from ofp_edge.train.processes import Processes


def intention(plan: Plan, processes: Processes) -> str:
    """What the run will do, in a line."""
    from ofp_edge.fields.text import instructions_of

    config, settings, split = plan.policy.config, plan.settings, plan.dataset.split()
    line = (
        f"{config.method}, preset {config.preset}, {plan.policy.network.parameter_count:,} "
        f"parameters, on {plan.dataset.path}: {counted(len(split.train), 'episode')} with "
        f"{counted(len(plan.dataset.frames(split.train)), 'window')}, "
        f"{len(split.held_out)} held out; "
    )
    if told := instructions_of(config.spec.observations):
        line += f"told one of {len(told)} instructions; "
    if plan.state.step == settings.steps:
        return f"{line}its {settings.steps} steps are done, nothing is left to train"
    start = f"{plan.state.step} to {settings.steps}" if plan.state.step else f"{settings.steps}"
    shared = f", shared by {processes.count} processes" if processes.count > 1 else ""
    place = processes.device.type
    if mapped := plan.dataset.mapped:
        place += f"; mapped from the cache: {', '.join(mapped)}"
    return f"{line}steps: {start}, of {settings.batch_size} windows{shared}, on {place}"


def sources(plan: Plan) -> list[str]:
    """A line for each dataset of a mixture."""
    lines = []
    for dataset, share in zip(
        plan.dataset.parts, plan.policy.config.training.mixture, strict=False
    ):
        split = dataset.split()
        statistics = dataset.statistics(split.train)
        ranges = "; ".join(
            f"{f.name} {min(statistics[f.name].low):.3g} to {max(statistics[f.name].high):.3g}"
            for f in dataset.interface.actions
        )
        lines.append(
            f"{dataset.path}: {share.share:.1%} of the windows, "
            f"{counted(len(split.train), 'episode')}, "
            f"{len(split.held_out)} held out; {ranges}"
        )
    return lines


def outcome(plan: Plan, result: TrainResult) -> str:
    """What became of the run, in a line."""
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
        f"{loss}on {counted(len(config.training.held_out), 'held-out episode')}: "
        f"{result.validation.loss:.4f}, chunk error {result.validation.chunk_error:.3f} "
        "(RMS, of the normalised range -1..1)"
        + (f"\nbest: step {best.step}, {best.loss:.4f}, in {output / 'best'}" if best else "")
    )
