"""Choose a run's engine, precision and threads: the user's choice, the rig's, or the bundle's."""

from __future__ import annotations

import os
from dataclasses import dataclass

from ofp_edge.boards.cpu import Board, boards, this_machine
from ofp_edge.bundle import Bundle
from ofp_edge.errors import BundleError, RigError
from ofp_edge.rig.file import Rig


@dataclass(frozen=True)
class EngineChoice:
    """The engine chosen. threads: the caller's among them. cpus: for its threads; empty: anywhere.

    note: what the user should know about it, one line; empty as a rule.
    """

    engine: str
    precision: str
    threads: int
    cpus: tuple[int, ...] = ()
    note: str = ""


def choose_engine(
    bundle: Bundle,
    rig: Rig | None,
    engine: str | None = None,
    precision: str | None = None,
    threads: int | None = None,
) -> EngineChoice:
    """Choose the named engine, else the rig's whole [engine], else the bundle's default with as
    many threads as its board's file says (one when it was compiled for no board of this kind).

    The rig's choice counts only where neither engine nor precision is named: it was measured as a
    pair. Raises UnknownName, RigError when the bundle does not hold what the rig asks for, or
    BundleError when it was built for another kind of machine.
    """
    _require_machine(bundle)
    entry = None if rig is None else rig.engine
    board = board_here(bundle)
    cpus = () if board is None else usable_cpus(board)
    if rig is None or entry is None or engine or precision:
        usual = 1 if board is None else min(board.threads, len(cpus) or 1)
        return EngineChoice(*bundle.choose(engine, precision), threads or usual, cpus)
    if (entry.name, entry.precision) not in bundle.engines():
        have = ", ".join(" ".join(pair) for pair in bundle.engines())
        raise RigError(
            f"{rig.path}: [engine]: {entry.name} {entry.precision} is not in the bundle ({have}). "
            f"Run: ofp-edge profile {bundle.path} --rig {rig.path} --pick"
        )
    note = ""
    if (measured := entry.picked.get("bundle")) not in (None, bundle.sha256):
        note = (
            f"{rig.path}: [engine] was measured for another bundle ({str(measured)[:12]}…); "
            "profile --pick measures this one"
        )
    return EngineChoice(entry.name, entry.precision, threads or entry.threads, cpus, note)


def _require_machine(bundle: Bundle) -> None:
    """Target host is the machine that compiled: its default was measured there."""
    built_on = bundle.manifest.provenance.get("machine")
    if bundle.manifest.target == "host" and built_on not in (None, this_machine()):
        raise BundleError(
            f"{bundle.path} was compiled for the {built_on} machine that made it (target host), "
            f"this one is {this_machine()}. Compile the policy with --target arm-cpu, or here."
        )


def board_here(bundle: Bundle) -> Board | None:
    """Return the board that the bundle was compiled for, if this machine can be one."""
    board = boards().get(bundle.manifest.board or "")
    return board if board is not None and board.machine == this_machine() else None


def usable_cpus(board: Board) -> tuple[int, ...]:
    """Return the board's CPUs that this process may use."""
    allowed = os.sched_getaffinity(0)
    return tuple(cpu for cpu in board.cpus if cpu in allowed)
