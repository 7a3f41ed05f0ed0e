"""An expert that a user has on disk: who shows a task that has none of its own."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ofp_edge.errors import SuiteError

if TYPE_CHECKING:
    from ofp_edge.bench.suite import Suite, TaskEntry
    from ofp_edge.imports.mjrl import MlpExpert


def read_expert(path: Path) -> MlpExpert:
    """Read mjrl's policy in a file. Raises MissingExtra, PolicyError."""
    from ofp_edge.extras import require

    require("torch", "train")
    from ofp_edge.imports import mjrl

    return mjrl.read_expert(path)


def expert_of(suite: Suite, task: TaskEntry, folder: Path) -> MlpExpert | None:
    """Read the expert that a suite names for a task; None where it names none. Raises SuiteError
    unless it is in the folder and is the file that the suite means, PolicyError."""
    if task.expert is None:
        return None
    path, where = folder / task.expert, f"{suite.path}: [[tasks]] {task.name}"
    if not path.is_file():
        raise SuiteError(
            f"{where}: there is no {path}. Download it (docs/data.md, the Adroit hand) and give "
            "its folder as --experts."
        )
    expert = read_expert(path)
    if expert.sha256 != task.expert_sha256:
        raise SuiteError(
            f"{where}: expert_sha256: expected {task.expert_sha256}, got {expert.sha256} of {path}."
        )
    return expert
