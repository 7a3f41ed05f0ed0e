"""`ofp-edge rig delay`: how long after its command the robot moves, for the rig's
actuation_delay_ms."""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ofp_edge.cli.output import Document, Force, Output, add_command
from ofp_edge.errors import OfpError
from ofp_edge.files import check_output_file, write_json

if TYPE_CHECKING:
    from ofp_edge.runtime.delay.measure import DelayLoop, Wish
    from ofp_edge.spec import PolicySpec

KEYS = (
    "rig", "bundle", "driver", "joint", "field", "unit", "amplitude", "rise_s", "repeats",
    "control_hz", "delay_ms", "spread_ms", "dead_ms", "lag_ms", "resolution_ms", "trials", "line",
    "notes",
)  # fmt: skip
_MOST_REPEATS = 100


def delay(
    output: Output,
    rig: Annotated[Path, typer.Argument(help="The robot's rig file (TOML).")],
    bundle: Annotated[
        Path, typer.Option(help="A bundle for this robot: its actions, states and rate.")
    ],
    joint: Annotated[
        int, typer.Option(help="Which number of the action vector moves, from 0.")
    ] = 0,
    amplitude: Annotated[
        float | None,
        typer.Option(
            help="How far it moves, in the action's unit. Default: 5 degrees, 20 mm or alike."
        ),
    ] = None,
    repeats: Annotated[int, typer.Option(help="Trials, each a step out and one back.")] = 5,
    longest_ms: Annotated[
        float, typer.Option(help="The longest delay that would be found, and the rest.")
    ] = 500.0,
    move: Annotated[
        bool, typer.Option("--move", help="Move the robot without asking at the terminal.")
    ] = False,
    result: Annotated[
        Path | None, typer.Option("-o", "--output", help="Also write the JSON document here.")
    ] = None,
    force: Force = False,
) -> Document:
    """Measure how long after its command the robot moves, by small steps of one joint.

    It moves through the loop and the limits of `run`, and is stopped as there: Ctrl-C stops it.
    """
    if result is not None:
        check_output_file(result, force=force)
    from ofp_edge.bundle import open_bundle
    from ofp_edge.rig.file import read_rig
    from ofp_edge.runtime.control.stopping import stop_on_signals
    from ofp_edge.runtime.delay.joint import joint_of
    from ofp_edge.runtime.delay.measure import Wish, open_delay_loop, summary
    from ofp_edge.runtime.robot import find_robot

    spec, parsed = open_bundle(bundle).spec, read_rig(rig)
    wish = Wish(joint, amplitude, repeats, longest_ms)
    _check(wish)
    parsed.safety.require_fits(spec, str(rig))
    field = joint_of(spec, parsed.safety, joint).field
    find_robot(parsed.robot)
    _agree(output, wish, field.name, field.unit, rig, move=move)
    with (
        stop_on_signals() as stop,
        output.log.status(f"moving joint {joint}; Ctrl-C stops the robot"),
        open_delay_loop(spec, parsed, wish, stop) as loop,
    ):
        found = summary(loop.run(stop))
    values = _document(loop, spec, found)
    values.update(rig=rig, bundle=bundle, driver=parsed.robot.driver)
    if result is not None:
        write_json(result, {**values, "rig": str(rig), "bundle": str(bundle)})
    _show(output, values, rig)
    return values


def _check(wish: Wish) -> None:
    far = wish.amplitude
    if far is not None and not (math.isfinite(far) and far != 0):
        raise OfpError(f"--amplitude {far:g}: expected a number that is not 0.")
    if not 1 <= wish.repeats <= _MOST_REPEATS:
        raise OfpError(f"--repeats {wish.repeats}: expected 1..{_MOST_REPEATS}.")
    if not 50 <= wish.longest_ms <= 5000:
        raise OfpError(f"--longest-ms {wish.longest_ms:g}: expected 50..5000.")


def _agree(output: Output, wish: Wish, field: str, unit: str, rig: Path, *, move: bool) -> None:
    """Nothing moves before a person said so."""
    if move:
        return
    if not _at_a_terminal():
        raise OfpError("the robot would move: give --move, or answer at a terminal.")
    far = "a little" if wish.amplitude is None else f"by {wish.amplitude:g}"
    output.log.print(
        f"{rig}: number {wish.joint} of the action ({field}, {unit}) will move {far}, "
        f"{wish.repeats} times. Keep clear, and a hand on its power switch.",
        markup=False,
        soft_wrap=True,
    )
    try:
        answer = output.log.input("Type move to go on: ")
    except EOFError:
        answer = ""
    if answer.strip().lower() != "move":
        raise OfpError("not agreed to: nothing was moved.")


def _at_a_terminal() -> bool:
    return sys.stdin.isatty()


def _document(loop: DelayLoop, spec: PolicySpec, found: dict[str, Any]) -> Document:
    notes = []
    if found["spread_ms"] > max(10.0, 1e3 * spec.dt_s):
        notes.append(
            f"The trials lie {found['spread_ms']:.0f} ms apart: take a larger --amplitude, or look "
            "what else uses the computer or the robot's bus."
        )
    if found["resolution_ms"] > 10:
        half = found["resolution_ms"] / 2
        notes.append(
            f"Readings come at the ticks alone: any delay within {half:.0f} ms of this one would "
            "have shown the same."
        )
    return {
        "joint": loop.joint.index,
        "field": loop.joint.field.name,
        "unit": loop.joint.field.unit,
        "amplitude": loop.motion.amplitude,
        "rise_s": loop.motion.rise_s,
        "repeats": loop.motion.repeats,
        "control_hz": spec.control_hz,
        **found,
        "line": f"actuation_delay_ms = {round(found['delay_ms'])}",
        "notes": notes,
    }


def _show(output: Output, values: dict[str, Any], rig: Path) -> None:
    print_ = output.console.print
    print_(
        f"delay: {values['delay_ms']:.1f} ms, median of {values['repeats']} trials that lie "
        f"{values['spread_ms']:.1f} ms apart: dead time {values['dead_ms']:.1f} ms and lag "
        f"{values['lag_ms']:.1f} ms",
        soft_wrap=True,
    )
    for note in values["notes"]:
        print_(f"[yellow]note:[/] {note}", soft_wrap=True)
    print_(f"For [timing] in {rig}:  {values['line']}", markup=False, soft_wrap=True)


def add(app: typer.Typer) -> None:
    """Register the command."""
    add_command(app, "delay", delay, KEYS)
