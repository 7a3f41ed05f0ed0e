"""Task rows: task_rows.safetensors of a bundle, one tensor `rows` (N, W) float32, a learned row for
each instruction of the policy's list, in its order. `encode` takes the row in an input of role
"task", so that no graph looks anything up."""

from __future__ import annotations

from collections.abc import Iterable

from ofp_edge.functions import Function

FILE, TENSOR = "task_rows.safetensors", "rows"


def task_size(functions: Iterable[Function]) -> int:
    """Return the length of a task row that these functions take; 0 where none takes one."""
    found = (x.size for f in functions for x in f.inputs if x.role == "task")
    return next(found, 0)
