"""`quantize --gate`: is the quantised policy as good as the float one? Checks, and their figures.

Open loop on the held-out windows of the policy's own calibration.npz, then closed loop over paired
episodes where the task can be simulated. What is compared are the two precisions of one folder.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ofp_edge.calibration.samples import FILE as SAMPLES
from ofp_edge.calibration.samples import read_samples
from ofp_edge.errors import MissingExtra, OfpError, PolicyError
from ofp_edge.evaluate.closed_loop import Choice, Job, run_jobs
from ofp_edge.evaluate.intervals import paired_difference
from ofp_edge.evaluate.seeds import gate_seeds
from ofp_edge.evaluate.smoothness import jerk, jerk_unit
from ofp_edge.files import sha256_file
from ofp_edge.policy.deployed import Deployed, deploy
from ofp_edge.policy.folder import load_policy
from ofp_edge.progress import Progress, silent
from ofp_edge.quantize.checks import check_error, check_ranges, check_samples, check_weights
from ofp_edge.quantize.chunk_errors import Chunks, action_errors, both_chunks
from ofp_edge.quantize.functions import Modules, build_functions
from ofp_edge.quantize.gate import Check, Gate, write_gate
from ofp_edge.quantize.inputs import calls
from ofp_edge.quantize.plan import FILE as PLAN_FILE
from ofp_edge.quantize.plan import Plan, read_plan
from ofp_edge.quantize.threads import one_thread
from ofp_edge.spec import PolicySpec

JERK_LIMIT = 1.25
"""The most that the chunks' jerk may be, as a multiple of the float policy's."""
SUCCESS_MARGIN = 0.03
"""The furthest below 0 that the 95 % interval of the difference in success may reach."""
EPISODES = 500
FEWEST_EPISODES = 100
"""The fewest episodes that, all without loss, show that less than 3 points are lost."""
CLOSED_LOOP = "closed-loop"


def run_gate(
    folder: Path,
    *,
    task: str | None = None,
    episodes: int = EPISODES,
    workers: int = 2,
    build: Callable[[Deployed, Plan], Modules] = build_functions,
    progress: Progress = silent,
) -> Gate:
    """Run every check of a quantised policy and write gate.json beside its plan.

    task: simulated, by default the policy's own. episodes: pairs in closed loop, on seeds that
    neither training, tuning nor evaluation uses; 0 leaves that part out. build: makes the quantised
    functions of the plan. Raises PolicyError when there is no plan, OfpError for too few episodes.
    """
    check_episodes(episodes)
    plan = read_plan(folder)
    if plan is None:
        raise PolicyError(f"{folder} has no {PLAN_FILE}: quantise it first.")
    policy = load_policy(folder)
    checks = _open_loop(folder, deploy(policy), plan, build)
    task = task or policy.config.task
    checks.append(_closed_loop(folder, plan, task, episodes, workers, progress))
    gate = Gate(sha256_file(folder / PLAN_FILE), tuple(checks))
    write_gate(gate, folder)
    return gate


def check_episodes(episodes: int) -> None:
    """Raise OfpError when `episodes` pairs prove nothing, or have no seeds; 0 leaves them out."""
    if episodes < 0 or 0 < episodes < FEWEST_EPISODES:
        raise OfpError(
            f"--episodes {episodes}: expected 0 or at least {FEWEST_EPISODES}: fewer can't show "
            f"that less than {100 * SUCCESS_MARGIN:g} points are lost."
        )
    if episodes:
        gate_seeds(episodes)


@one_thread()
def _open_loop(
    folder: Path, deployed: Deployed, plan: Plan, build: Callable[[Deployed, Plan], Modules]
) -> list[Check]:
    known = read_samples(folder / SAMPLES, deployed.spec)
    unseen, seed = known.held_out, plan.seed
    built = build(deployed, plan)
    chunks = both_chunks(deployed, built, unseen, seed)
    difference = chunks.other - chunks.exact
    errors = action_errors(deployed.spec, difference, plan.error_budget_percent)
    checks = [check_samples(known.samples)]
    if plan.precision == "int8":
        samples = calls(deployed, unseen, seed)
        example = {function: inputs[0] for function, inputs in samples.items()}
        checks.append(check_weights(deployed.modules, built, example))
        checks.append(check_ranges(deployed.modules, plan.layers, samples))
    checks.append(check_error(errors, plan.error_measured_on))
    checks.append(check_jerk(deployed.spec, chunks))
    return checks


def check_jerk(spec: PolicySpec, chunks: Chunks) -> Check:
    """Check the RMS jerk of the chunks themselves against the float policy's."""
    exact, other = _jerk(spec, chunks.exact), _jerk(spec, chunks.other)
    unit = jerk_unit(spec)
    if exact is None or other is None or exact == 0:
        return Check("jerk", None, "not run: no chunk has a jerk", {})
    ratio = other / exact
    return Check(
        "jerk",
        bool(ratio <= JERK_LIMIT),  # not `>`: a NaN must fail
        f"chunks at {other:.3g} {unit}, in float {exact:.3g}: {ratio:.3g} times, allowed "
        f"{JERK_LIMIT:g}",
        {"jerk": other, "float": exact, "unit": unit, "ratio": ratio, "limit": JERK_LIMIT},
    )


def _jerk(spec: PolicySpec, chunks: NDArray[np.float32]) -> float | None:
    found = [value for chunk in chunks if (value := jerk(chunk, spec)) is not None]
    return float(np.sqrt(np.mean(np.square(found)))) if found else None


def _closed_loop(
    folder: Path, plan: Plan, task: str | None, episodes: int, workers: int, progress: Progress
) -> Check:
    if episodes < 1 or task is None:
        why = "0 episodes asked for"
        if task is None:
            why = "the policy is not of one simulated task, and none was given: --task"
        return Check(CLOSED_LOOP, None, f"not run: {why}", {})
    jobs = [Job(folder, task, Choice(precision=p)) for p in ("fp32", plan.precision)]
    try:
        runs = run_jobs(jobs, gate_seeds(episodes), workers=workers, progress=progress)
    except MissingExtra as missing:
        return Check(CLOSED_LOOP, None, f"not run: {missing}", {})
    exact, other = ([episode.success for episode in run] for run in runs)
    return check_success(exact, other, task)


def check_success(exact: Sequence[bool], other: Sequence[bool], task: str) -> Check:
    """Check the quantised policy's success minus the float one's, over the same episodes.

    Where no pair was lost, a bootstrap knows no loss; the rule of three (Hanley and Lippman-Hand,
    JAMA 1983) does: at 95 %, less than 3 in that many.
    """
    difference, low, high = paired_difference(exact, other)
    if not any(a and not b for a, b in zip(exact, other, strict=True)):
        low = min(low, -3 / len(exact))
    return Check(
        CLOSED_LOOP,
        low >= -SUCCESS_MARGIN,
        f"{task}: {100 * np.mean(other):.1f} % success, in float {100 * np.mean(exact):.1f} %, "
        f"over {len(exact)} paired episodes; difference {100 * difference:+.1f} points, 95 % "
        f"{100 * low:+.1f} to {100 * high:+.1f}, allowed from {-100 * SUCCESS_MARGIN:+g}",
        {
            "task": task,
            "episodes": len(exact),
            "success": float(np.mean(other)),
            "float": float(np.mean(exact)),
            "difference": difference,
            "interval": [low, high],
            "margin": SUCCESS_MARGIN,
        },
    )
