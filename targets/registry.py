"""Look up targets by name. A target is a file here and one entry below."""

from __future__ import annotations

from dataclasses import replace

from ofp_edge.boards.cpu import Board, board, boards
from ofp_edge.boards.orin import OrinBoard, orin_board, orin_boards
from ofp_edge.errors import OfpError, UnknownName
from ofp_edge.quantize.recipes import RECIPES, Recipe, recipe
from ofp_edge.runtime.runners.table import ENGINES
from ofp_edge.targets import arm_cpu, host, jetson_orin
from ofp_edge.targets.target import Target

TARGETS: dict[str, Target] = {t.name: t for t in (arm_cpu.TARGET, host.TARGET, jetson_orin.TARGET)}


def target(name: str) -> Target:
    """Return the target with its engines. Raises UnknownName listing the targets."""
    if (known := {**boards(), **orin_boards()}.get(name)) is not None and name not in TARGETS:
        raise OfpError(f"{name} is a board: give --target {known.target} --board {name}.")
    if name not in TARGETS:
        raise UnknownName("target", name, TARGETS)
    engines = tuple(engine.name for engine in ENGINES.values() if name in engine.targets)
    return replace(TARGETS[name], engines=engines)


def checked_on(engine: str) -> str:
    """Return the engine that checks a program while compiling: itself, or for one built on the
    device alone the first that takes the same form. Nothing enters a bundle unchecked."""
    of = ENGINES[engine]
    if not of.on_device:
        return engine
    return next(x.name for x in ENGINES.values() if x.form == of.form and not x.on_device)


def boards_of(name: str) -> list[Board]:
    """Return the CPU boards that a target builds for."""
    return [b for b in boards().values() if b.target == name]


def orin_boards_of(name: str) -> list[OrinBoard]:
    """Return the Orin boards that a target builds for."""
    return [b for b in orin_boards().values() if b.target == name]


def board_for(target_name: str, board_name: str | None) -> Board | OrinBoard | None:
    """Return the board asked for, fit for the target. UnknownName, or OfpError when unfit."""
    if board_name is None:
        return None
    known = {*boards(), *orin_boards()}
    if board_name not in known:
        raise UnknownName("board", board_name, known)
    orin = board_name in orin_boards()
    chosen: Board | OrinBoard = orin_board(board_name) if orin else board(board_name)
    if chosen.target != target_name:
        names = [b.name for b in boards_of(target_name)]
        names += [b.name for b in orin_boards_of(target_name)]
        fitting = ", ".join(names) or "none"
        raise OfpError(
            f"board {board_name} is built for by --target {chosen.target}, not {target_name} "
            f"(boards of {target_name}: {fitting})."
        )
    return chosen


def unfit_reason(chosen: Target, of: Recipe) -> str | None:
    """Say why the target's engines don't run what the recipe makes; None when they do."""
    if of.precision in (*chosen.float_precisions, *chosen.plan_precisions):
        return None
    return chosen.unfit.get(of.precision, f"{' and '.join(chosen.engines)} cannot run it.")


def require_fit(target_name: str, recipe_name: str) -> None:
    """Refuse a recipe that the target cannot run. UnknownName, or OfpError with the reason."""
    chosen, of = target(target_name), recipe(recipe_name)
    if (reason := unfit_reason(chosen, of)) is not None:
        fitting = ", ".join(r.name for r in RECIPES.values() if unfit_reason(chosen, r) is None)
        raise OfpError(
            f"recipe {of.name} does not fit target {chosen.name}: {reason} Fitting: {fitting}."
        )
