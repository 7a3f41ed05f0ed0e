"""The input `task` of a policy that has a row for each instruction, written at each observation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ofp_edge.bundle import Bundle
from ofp_edge.errors import BundleError, SpecMismatch
from ofp_edge.fields.text import instructions_of
from ofp_edge.functions import Function
from ofp_edge.one_tensor import largest_file, read_rows
from ofp_edge.outside import require_size
from ofp_edge.task_rows import FILE, TENSOR, task_size

if TYPE_CHECKING:
    from ofp_edge.runtime.runners import Runner


class TaskInputs:
    """Writes the row of an observation's instruction into the runners' inputs.

    rows: (N, W) float32, by an instruction's number. id: None, for the instruction's number says
    everything (see PromptInputs).
    """

    id: str | None = None

    def __init__(
        self,
        functions: Sequence[Function],
        runners: Mapping[str, Runner],
        rows: NDArray[np.float32],
    ) -> None:
        self._rows = rows
        self._inputs = [
            (x.name, runners[f.name].inputs[x.name])
            for f in functions
            for x in f.inputs
            if x.role == "task"
        ]

    def write(self, observations: Mapping[str, NDArray[Any]]) -> None:
        """Write the row of these fields' instruction. Raises SpecMismatch for one that is none of
        the list."""
        for name, into in self._inputs:
            number = int(observations[name])
            if not 0 <= number < len(self._rows):
                expected = f"an instruction of 0..{len(self._rows) - 1}"
                raise SpecMismatch(f"observation {name!r}", expected, number)
            np.copyto(into[0], self._rows[number])


def open_tasks(bundle: Bundle, runners: Mapping[str, Runner]) -> TaskInputs | None:
    """Open a bundle's task rows; None for a policy that has none. Raises BundleError."""
    functions = bundle.manifest.functions
    if not (size := task_size(functions)):
        return None
    path, count = bundle.path / FILE, len(instructions_of(bundle.spec.observations))
    require_size(path, bundle.entry(FILE).size, BundleError, largest_file(count, size))
    rows = read_rows(bundle.read(FILE), TENSOR, count, size, str(path))
    return TaskInputs(functions, runners, rows)
