"""`ofp-edge eval`: how often a policy or a bundle succeeds, through the robot's own path; without a
simulator, how near its plans are to recorded ones (eval_dataset.py)."""

from __future__ import annotations

import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ofp_edge.cli.comma_lists import different_numbers
from ofp_edge.cli.eval_given import (
    count_of,
    not_one,
    own_or_other,
    own_task,
    refuse,
)
from ofp_edge.cli.output import Document, Force, Output, add_command
from ofp_edge.cli.start_options import OWN, StartOptions
from ofp_edge.errors import OfpError
from ofp_edge.files import check_output_file, write_bytes, write_json

if TYPE_CHECKING:
    pass

KEYS = (
    "evaluated", "kind", "sha256", "task", "trained_on", "episodes", "success", "interval",
    "mean_steps", "chunk_boundary_jump", "jerk", "jerk_unit", "flips", "nfe", "t_w", "warm_step",
    "guard", "start", "engine", "precision", "frames", "words", "latency_ms", "by_latency", "seed",
    "first_seed", "failed_seeds", "faults", "workers", "seconds", "rig", "ticks", "limited",
    "refined", "recorded", "committed_steps", "cuts", "misses", "cross_fade_steps",
    "actuation_delay_ms", "robot_delay_ms", "instruction",
)  # fmt: skip


def evaluate(
    output: Output,
    artefact: Annotated[Path, typer.Argument(help="Policy or bundle folder.")],
    task: Annotated[
        str | None,
        typer.Option(help="Simulated task, e.g. metaworld/door-open. Default: the policy's own."),
    ] = None,
    dataset: Annotated[
        Path | None,
        typer.Option(
            help="In place of a task: hold the chunks against those of recorded episodes. Nothing "
            "moves."
        ),
    ] = None,
    episodes: Annotated[
        str | None,
        typer.Option(
            help="Unseen episodes to run. Default: 100. With --dataset their numbers, 3,7. "
            "Default: those that training held out; all, if that is unknown."
        ),
    ] = None,
    rig: Annotated[
        Path | None,
        typer.Option(
            help="Evaluate within this rig's limits and hand-over, at its L. Default: the "
            "simulator's own limits, the range of the actions."
        ),
    ] = None,
    nfe: Annotated[
        str | None,
        typer.Option(
            help="Network evaluations a chunk; a bundle takes 1, 2 (refined) or, with a rig, auto: "
            "refined where there is time. Default: 1; with method diffusion its training steps, "
            "100. With --dataset several: 1,10."
        ),
    ] = None,
    seed: Annotated[
        int,
        typer.Option(
            help="Run number; each has its own 10000 unseen episodes, with --dataset its noises."
        ),
    ] = 0,
    samples: Annotated[
        int | None,
        typer.Option(
            help="Noises that each chunk is made from, with --dataset. Default: 4, of a "
            "deterministic policy none."
        ),
    ] = None,
    latency_ms: Annotated[
        str | None,
        typer.Option(
            help="L in ms: what was seen at t acts at t + L. Several: 0,50,100. Default: the "
            "rig's, else 0."
        ),
    ] = None,
    robot_delay_ms: Annotated[
        float | None,
        typer.Option(
            help="How long after its command the simulated robot moves, whole control steps; the "
            "rig's actuation_delay_ms makes up for it. Default: 0."
        ),
    ] = None,
    precision: Annotated[
        str | None, typer.Option(help="fp32, fp16, int8 … Default: the artefact's own.")
    ] = None,
    engine: Annotated[
        str | None,
        typer.Option(help="onnxruntime, executorch. Default: the rig's, else the bundle's own."),
    ] = None,
    t_w: Annotated[
        float | None, typer.Option("--t-w", help="Warm start time, 0..1. Default: the policy's.")
    ] = None,
    warm_step: Annotated[
        str | None, typer.Option(help="On from a warm start: jump or mean. Default: the policy's.")
    ] = None,
    t_refine: Annotated[
        float | None,
        typer.Option(
            "--t-refine", help="Refine in a second evaluation from this time, 0..1: a policy only."
        ),
    ] = None,
    cold: Annotated[bool, typer.Option("--cold", help="Start every chunk from noise.")] = False,
    guard: Annotated[
        int,
        typer.Option(help="Noises a cold start chooses among, 3 or more: costs so many chunks."),
    ] = 1,
    starts: StartOptions = OWN,
    no_committed: Annotated[
        bool,
        typer.Option(
            "--no-committed",
            help="Do not tell a policy that was trained with it which actions are committed.",
        ),
    ] = False,
    frames: Annotated[
        str | None,
        typer.Option(
            help="own, or other: play another episode's camera frames, as a control. Default: own."
        ),
    ] = None,
    words: Annotated[
        str | None,
        typer.Option(
            help="own, or other: tell it another of its instructions, as a control. Default: own."
        ),
    ] = None,
    instruction: Annotated[
        str | None,
        typer.Option(
            help="What the policy is told in every episode, of its list. Default: the task's own "
            "words, or else its name."
        ),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(help="Processes; the result does not depend on it. Default: 2."),
    ] = None,
    result: Annotated[
        Path | None,
        typer.Option(
            "-o", "--output", help="Also write the JSON document here; FILE.html: a page instead."
        ),
    ] = None,
    video: Annotated[
        Path | None, typer.Option(help="Also film the first episodes: FILE.mp4.")
    ] = None,
    video_episodes: Annotated[
        int | None, typer.Option(help="Episodes that --video shows. Default: 1.")
    ] = None,
    force: Force = False,
) -> Document:
    """Evaluate a policy or a bundle over unseen simulated episodes, or against recorded ones.

    With --dataset the chunks are held against those that were recorded: the error of each joint and
    of each step, beside plans that see nothing, of one evaluation beside more.
    """
    if result is not None:
        check_output_file(result, force=force)
    from ofp_edge.evaluate.choice import Choice

    choice = Choice(
        engine=engine,
        precision=precision,
        t_w=t_w,
        warm_step=warm_step,
        cold=cold,
        t_refine=t_refine,
        guard=guard,
        committed=not no_committed,
        **asdict(starts),
    )
    if dataset is not None:
        from ofp_edge.cli.eval_dataset import evaluate_recorded

        if task is not None:
            raise not_one("both")
        refuse(
            "with --dataset nothing is simulated",
            rig=rig,
            latency_ms=latency_ms,
            robot_delay_ms=robot_delay_ms,
            no_committed=no_committed or None,
            frames=frames,
            words=words,
            instruction=instruction,
            workers=workers,
            video=video,
            video_episodes=video_episodes,
        )
        return evaluate_recorded(
            output,
            artefact,
            dataset,
            choice,
            keys=KEYS,
            nfe=nfe,
            episodes=episodes,
            samples=samples,
            seed=seed,
            result=result,
        )
    refuse("with --task every chunk is made once", samples=samples)
    played, told = own_or_other("--frames", frames), own_or_other("--words", words)
    if told == "other" and instruction is not None:
        raise OfpError("--words other: leave out --instruction, which is what the policy is told.")
    if video is not None:
        from ofp_edge.evaluate.video import check_video

        check_video(video, force=force)
    from ofp_edge.bundle import MANIFEST
    from ofp_edge.evaluate.closed_loop import Job, evaluation_seeds, run_jobs
    from ofp_edge.evaluate.contestant import open_contestant
    from ofp_edge.evaluate.episode import check_schedule
    from ofp_edge.evaluate.report import document, table
    from ofp_edge.rig.file import read_rig
    from ofp_edge.runtime.infer.sampler import read_nfe

    limits = None if rig is None else read_rig(rig)
    own_latency = "0" if limits is None else str(limits.timing.latency_ms)
    latencies = different_numbers(
        "--latency-ms", own_latency if latency_ms is None else latency_ms, "0,50,100"
    )
    evaluations = read_nfe(nfe)
    if evaluations == "auto" and limits is None:
        raise OfpError("--nfe auto: expected --rig: its L says when there is time to refine.")
    entry = None if limits is None or engine or precision else limits.engine
    if entry is not None and (artefact / MANIFEST).exists():
        choice = replace(choice, engine=entry.name, precision=entry.precision)  # as `run` would
    if evaluations == "auto":
        choice = replace(choice, if_time=True)
    else:
        choice = replace(choice, nfe=evaluations)
    workers = 2 if workers is None else workers
    seeds = evaluation_seeds(seed, count_of(episodes))
    began = time.monotonic()
    contestant = open_contestant(artefact, choice)  # a mistake is told before workers start
    first_ns = contestant.inference.slowest_act_ns
    contestant.close()
    task = task or own_task(contestant.trained_on)
    jobs = [
        Job(
            artefact,
            task,
            choice,
            latency,
            played,
            words=told,
            instruction=instruction,
            rig=limits,
            refine_first_ns=first_ns,
            robot_delay_ms=robot_delay_ms or 0.0,
        )
        for latency in latencies
    ]
    for job in jobs:
        check_schedule(job, contestant.spec)
    if contestant.trained_on not in (None, task):
        warning = f"warning: trained on {contestant.trained_on}, evaluated on {task}."
        output.log.print(warning, soft_wrap=True)
    with output.progress("evaluating") as progress:
        runs = run_jobs(jobs, seeds, workers=workers, progress=progress)
    values = document(jobs, contestant, runs, seed, workers, time.monotonic() - began)
    if result is not None and result.suffix == ".html":
        from ofp_edge.evaluate.page import render

        write_bytes(result, render(values).encode())
    elif result is not None:
        write_json(result, values)
    if video is not None:
        from ofp_edge.evaluate.video import film

        film(jobs[0], seeds[: max(1, video_episodes or 1)], video)
    output.console.print(table(values))
    return values


def add(app: typer.Typer) -> None:
    """Register the command."""
    add_command(app, "eval", evaluate, KEYS)
