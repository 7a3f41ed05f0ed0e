"""`ofp-edge log`: a run's log on one page, and a layout by which Foxglove draws it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ofp_edge.cli.output import Document, Force, Output, add_command, foreign
from ofp_edge.counted import counted
from ofp_edge.errors import OfpError
from ofp_edge.files import check_output_file, write_bytes, write_json

KEYS = (
    "log", "page", "layout", "seconds", "ticks", "held", "limited", "plans", "late_plans",
    "episodes", "cuts", "faults", "cameras", "names", "missing_rows", "whole",
)  # fmt: skip


def log(
    output: Output,
    log: Annotated[
        Path, typer.Argument(help="MCAP file that `run --log` wrote; of several, the first.")
    ],
    page: Annotated[
        Path | None,
        typer.Option("-o", "--output", help="HTML page to write; opens without a network."),
    ] = None,
    layout: Annotated[
        Path | None,
        typer.Option("--foxglove", help="Layout file (JSON) to write, to import in Foxglove."),
    ] = None,
    start: Annotated[
        float | None, typer.Option("--from", help="Seconds since the first tick.")
    ] = None,
    end: Annotated[float | None, typer.Option("--to", help="Seconds since the first tick.")] = None,
    force: Force = False,
) -> Document:
    """Show a run's log: state, wanted and sent commands, plans, latency, cuts, pictures, events.

    Prints a summary; -o writes a page of it. --from and --to show a part of the run.
    """
    from ofp_edge.runtime.log.foxglove import layout as layout_of
    from ofp_edge.runtime.log.page import render_run
    from ofp_edge.runtime.log.story import read_story

    for path in (page, layout):
        if path is not None:
            check_output_file(path, force=force)
    with output.progress("reading") as progress:
        story = read_story(log, progress)
    if start is not None or end is not None:
        first, last = start or 0.0, float("inf") if end is None else end
        if not 0 <= first <= last or end == float("inf"):
            raise OfpError(f"--from {first:g} --to {last:g}: expected 0 <= from <= to.")
        story = story.between(first, last)
    late = sum(1 for x in story.plans if x.due_ms is not None and x.ready_ms > x.due_ms)
    episodes = sum(1 for _, what, _ in story.events if what == "episode")
    faults = [detail for _, what, detail in story.events if what == "fault"]
    seconds = float(story.t_s[-1] - story.t_s[0])
    held, limited = story.kinds.count("hold"), int(story.cut.sum())
    say = output.console.print
    say(f"{len(story.kinds)} ticks in {seconds:.4g} s, {held} held, {limited} limited")
    say(f"{counted(len(story.plans), 'plan')}, {late} late; {counted(episodes, 'episode')}")
    for name, times in story.cuts.most_common():
        say(f"  cut by {foreign(name)}: {times}", soft_wrap=True)
    for fault in faults:
        say(f"  fault: {foreign(fault)}", soft_wrap=True)
    if story.missing_rows or not story.whole:
        end_said = "" if story.whole else "; it has no end"
        say(f"{story.missing_rows} rows are not in the log{end_said}", soft_wrap=True)
    if page is not None:
        write_bytes(page, render_run(story, log).encode())
        say(f"page {page}", soft_wrap=True)
    if layout is not None:
        write_json(layout, layout_of(story.spec, story.names, list(story.pictures)))
        say(f"layout {layout}", soft_wrap=True)
    return {
        "log": log,
        "page": page,
        "layout": layout,
        "seconds": seconds,
        "ticks": len(story.kinds),
        "held": held,
        "limited": limited,
        "plans": len(story.plans),
        "late_plans": late,
        "episodes": episodes,
        "cuts": dict(story.cuts),
        "faults": faults,
        "cameras": list(story.pictures),
        "names": story.names,
        "missing_rows": story.missing_rows,
        "whole": story.whole,
    }


def add(app: typer.Typer) -> None:
    """Register the command."""
    add_command(app, "log", log, KEYS)
