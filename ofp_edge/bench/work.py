"""The work of one process: it collects a dataset, times a training, or trains and evaluates a unit.

Every function writes its own cells and can be killed at any time: when it is called again, it
continues.
"""

from __future__ import annotations

import math
import shutil
import tempfile
import time
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

import torch

from ofp_edge.bench import cells
from ofp_edge.bench.cells import Unit
from ofp_edge.bench.store import Cell, Store
from ofp_edge.bench.suite import Row, Suite, TaskEntry
from ofp_edge.data.open import open_dataset
from ofp_edge.errors import CheckFailed, OfpError
from ofp_edge.evaluate.choice import Choice
from ofp_edge.evaluate.closed_loop import Episode, Job, evaluation_seeds, run_episodes
from ofp_edge.evaluate.tune import tune_policy
from ofp_edge.evaluate.tuning import CHOSEN
from ofp_edge.files import remove_folder, sha256_file
from ofp_edge.policy.folder import load_policy
from ofp_edge.policy.methods import build_method
from ofp_edge.policy.weights import MODEL
from ofp_edge.sim.adroit import Expert
from ofp_edge.sim.collect import collect_demonstrations
from ofp_edge.train.loop import train
from ofp_edge.train.plan import make_plan
from ofp_edge.train.request import Request

TIMING_STEPS, TIMING_ROUNDS = 100, 5
_BLOCK = 50  # episodes between two writes of a cell: what a kill can cost
_OVERFLOWED = 1e300  # a few of them can still be added
_EPISODE = tuple(entry.name for entry in fields(Episode))


def collect(suite: Suite, store: Store, task: TaskEntry, expert: Expert | None = None) -> None:
    """Collect the task's demonstrations, of `expert` where the suite names one.

    Cells may come without their datasets, as published ones do: those are collected again, and
    OfpError is raised where they are no longer the same."""
    inputs = cells.dataset_inputs(suite, task)
    output = store.dataset(inputs)
    more: dict[str, Any] = {k: inputs[k] for k in ("noise", "wander") if k in inputs}
    if suite.image_size is not None:
        more["image_size"] = suite.image_size
    found = collect_demonstrations(
        task.name,
        task.demonstrations,
        output,
        expert=expert,
        observe=suite.observe,  # type: ignore[arg-type]
        force=output.exists(),
        **more,
    )
    values = {"steps": found.steps, "failed": found.failed, "seconds": found.seconds}
    sha256, before = open_dataset(output).sha256, store.read("dataset", inputs)
    if before is not None and before["sha256"] != sha256:
        remove_folder(output)
        raise OfpError(
            f"{task.name}: collected again, its demonstrations are not those of {store.root}'s "
            f"cells (SHA-256 {sha256[:12]}, expected {before['sha256'][:12]}): another simulator "
            "or processor. Begin anew in another folder."
        )
    store.write("dataset", inputs, {"sha256": sha256, **values})


def time_training(suite: Suite, store: Store, unit: Unit) -> None:
    """Measure the seconds that a step of a row and of the reference takes, side by side: of a few
    rounds the one whose ratio is the median.

    The seconds are the processor's, with one thread, so that the machine's other work counts for
    little: what shares a core slows both runs of a round.
    """
    torch.set_num_threads(1)
    inputs = cells.timing_inputs(suite, store, unit)
    if inputs is None:
        raise AssertionError(f"{unit}: timed before its dataset was there")
    units = unit, cells.reference_of(suite, unit)
    rounds: list[dict[str, float]] = []
    with tempfile.TemporaryDirectory(dir=store.root) as folder:
        for _ in range(TIMING_ROUNDS):
            took = {}
            for name, who in zip(("s_per_step", "reference_s_per_step"), units, strict=True):
                request = request_of(suite, store, who, Path(folder) / "p", TIMING_STEPS)
                took[name] = seconds_a_step(replace(request, seed=0, force=True))
            rounds.append(took)
    rounds.sort(key=lambda took: took["reference_s_per_step"] / took["s_per_step"])
    store.write("timing", inputs, dict(rounds[TIMING_ROUNDS // 2]))


def request_of(suite: Suite, store: Store, unit: Unit, output: Path, steps: int) -> Request:
    """Return the request for a unit's training, from the policy that it starts from, if any."""
    tasks = cells.tasks_of(suite, unit)
    dataset, *mixed = (store.dataset(cells.dataset_inputs(suite, task)) for task in tasks)
    request = Request(
        dataset,
        output,
        unit.method,
        suite.preset,
        steps=steps,
        seed=unit.seed,
        learning_rate=unit.task.learning_rate,
        options=unit.options or None,
        mixed=tuple(mixed),
        instructed=unit.row.together,
        **unit.row.augmentation,
    )
    if (start := cells.start_of(suite, unit)) is None:
        return request
    cell = cells.finished_training(suite, store, start)
    if cell is None:
        raise AssertionError(f"{unit}: trained before what it starts from")
    many = not build_method(start.method).jumps
    distill = many and build_method(unit.method).jumps
    return replace(request, init=store.root / cell["policy"], distill=distill)


def seconds_a_step(request: Request) -> float:
    """Return the seconds a step of a whole training of few steps, in which whatever starts late
    has its share."""
    marks: list[float] = []

    def mark(done: int, total: int, note: str = "") -> None:
        marks.append(time.process_time())  # every tenth step

    train(make_plan(request), progress=mark)
    tens = [after - before for before, after in zip(marks, marks[1:], strict=False)]
    # The first ten warm up and the last validate: their neighbours stand for them.
    return (tens[0] + sum(tens[:-1]) + tens[-2]) / (10 * (len(tens) + 1))


def train_and_evaluate(
    suite: Suite, store: Store, unit: Unit, episodes: dict[tuple[str, int], int]
) -> None:
    """Make the unit's policy, then for each (row, nfe) the start if it is tuned, at least so many
    episodes, and its modes."""
    torch.set_num_threads(1)
    training = _train(suite, store, unit)
    for row, nfe in cells.variants(unit):
        choice = Choice(nfe=nfe, cold=row.cold, guard=row.guard, **row.starts)
        if row.tuned:
            choice = replace(choice, **_tune(suite, store, unit, training, nfe))
        inputs = cells.episodes_inputs(suite, unit, training, row, nfe)
        job = Job(
            store.root / training["policy"],
            unit.task.name,
            choice,
            suite.evaluate.latency_ms,
            frames=row.frames,
            words=row.words,
        )
        _run_episodes(store, inputs, job, episodes[row.name, nfe])
        if cells.has_modes(unit, row):
            _measure_modes(suite, store, unit, training, row, nfe, choice)


def _train(suite: Suite, store: Store, unit: Unit) -> Cell:
    inputs = cells.training_inputs(suite, store, unit)
    if inputs is None:
        raise AssertionError(f"{unit}: trained before its dataset was there")
    cell, policy = store.read("training", inputs), store.policy(inputs)
    if cell and cell["finished"] and (policy / MODEL).exists():
        return cell
    if not cells.leads(suite, unit):
        raise OfpError(f"{policy} is gone: remove the work folder's cell of its training too.")
    request = request_of(suite, store, unit, policy, inputs["steps"])
    if cell and policy.exists():  # this code began it
        request = Request(request.dataset, policy, resume=True, mixed=request.mixed)
    else:
        store.write("training", inputs, {"finished": False})
        shutil.rmtree(policy, ignore_errors=True)  # other code made it
    plan, before, began = make_plan(request), memory_mib("VmRSS"), time.process_time()
    first = plan.state.step
    try:
        diverged = False
        if train(plan).interrupted:
            raise KeyboardInterrupt
    except CheckFailed:  # a result too: the last good checkpoint is what this method gives here
        if not (policy / MODEL).exists():
            raise
        diverged = True
    cpu_s = time.process_time() - began
    last = plan.history.points[-1]
    return store.write(
        "training",
        inputs,
        {
            "finished": True,
            "diverged": diverged,
            "sha256": sha256_file(policy / MODEL),
            "policy": str(policy.relative_to(store.root)),
            "steps": load_policy(policy).config.training.step,
            "seconds": plan.state.seconds,
            "cpu_s_per_step": cpu_s / max(1, plan.state.step - first),  # of this process
            "parameters": plan.state.network.parameter_count,
            "validation_loss": last.loss,
            "chunk_error": last.chunk_error,
            "memory_before_mib": before,
            "peak_memory_mib": memory_mib("VmHWM"),
        },
    )


def _tune(suite: Suite, store: Store, unit: Unit, training: Cell, nfe: int) -> dict[str, Any]:
    """What `tune` chooses of the start, as options."""
    inputs = cells.tuning_inputs(suite, unit, training, nfe)
    if (found := store.read("tuning", inputs)) is None:
        found = _tuned(suite, store, unit, training, inputs)
    warm = found["chosen"]["t_w"] is not None
    return {x: found["chosen"][x] for x in CHOSEN if warm or x == "noise_cold"}


def _tuned(suite: Suite, store: Store, unit: Unit, training: Cell, inputs: cells.Inputs) -> Cell:
    tuned = tune_policy(
        store.root / training["policy"],
        task=unit.task.name,
        episodes=inputs["episodes"],
        nfe=inputs["nfe"],
        workers=1,
        refinement=False,
        dry_run=True,
    )
    return store.write("tuning", inputs, {k: tuned.table[k] for k in ("warm", "refine", "chosen")})


def _run_episodes(store: Store, inputs: cells.Inputs, job: Job, wanted: int) -> None:
    cell = store.read("episodes", inputs) or {name: [] for name in _EPISODE}
    # The seed is the training's run number: every row runs the same episodes for a training seed.
    seeds = evaluation_seeds(inputs["seed"], wanted)
    while len(cell["seed"]) < wanted:
        done = len(cell["seed"])
        block = [asdict(e) for e in run_episodes(job, seeds[done : done + _BLOCK], workers=1)]
        columns = {
            name: [*cell[name], *map(_finite, (e[name] for e in block))] for name in _EPISODE
        }
        cell = store.write("episodes", inputs, columns)


def _finite(value: Any) -> Any:
    """Turn a jump or jerk that overflowed into a huge number: JSON has no infinity, and medians
    agree."""
    return _OVERFLOWED if isinstance(value, float) and not math.isfinite(value) else value


def _measure_modes(
    suite: Suite, store: Store, unit: Unit, training: Cell, row: Row, nfe: int, choice: Choice
) -> None:
    from ofp_edge.evaluate.modes import measure_modes

    inputs = cells.modes_inputs(suite, unit, training, row, nfe)
    if store.read("modes", inputs):
        return
    report = measure_modes(
        store.root / training["policy"],
        unit.task.name,
        chunks=inputs["chunks"],
        nfe=nfe,
        guard=row.guard,
        noise_cold=choice.noise_cold,
        cold_nfe=choice.cold_nfe,
    )
    shares = ("between", "left", "right")
    store.write(
        "modes",
        inputs,
        {
            **{name: getattr(report.shares, name) for name in shares},
            "demonstrations": {name: getattr(report.demonstrations, name) for name in shares},
        },
    )


def memory_mib(name: str) -> float:
    """Return the MiB that this process holds (VmRSS) or has held at most (VmHWM).

    getrusage's figure would be wrong: it survives an exec, and begins with the parent's.
    """
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith(f"{name}:"):
            return round(int(line.split()[1]) / 1024, 1)
    raise OfpError(f"/proc/self/status holds no {name}: the benchmark needs Linux.")
