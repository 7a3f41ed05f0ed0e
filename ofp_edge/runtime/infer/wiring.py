"""Which buffers of the engines feed which, and where what is observed is written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ofp_edge.errors import SpecMismatch
from ofp_edge.functions import Function, Tensor
from ofp_edge.spec import PolicySpec

if TYPE_CHECKING:
    from ofp_edge.runtime.runners import Runner


def require_buffer(what: str, array: NDArray[Any], shape: tuple[int, ...]) -> None:
    """Raise SpecMismatch unless it is contiguous float32 of this shape."""
    if array.shape != shape or array.dtype != np.float32 or not array.flags.c_contiguous:
        got = f"{array.shape} {array.dtype}"
        raise SpecMismatch(f"{what} buffer", f"{shape} float32, contiguous", got)


def source_of(tensor: Tensor, runners: Mapping[str, Runner]) -> NDArray[Any]:
    """Return the output that feeds an input."""
    where, output = tensor.fed_by
    return runners[where].outputs[output]


def handed_on(
    functions: Sequence[Function], runners: Mapping[str, Runner], stacked: Tensor | None
) -> list[list[tuple[NDArray[Any], NDArray[Any]]]]:
    """Return by function the inputs that other outputs feed, each with its source, but the stacked
    feature, which is kept by time."""
    return [
        [
            (runners[function.name].inputs[x.name], source_of(x, runners))
            for x in function.inputs
            if x.source is not None and not x.resident and x is not stacked
        ]
        for function in functions
    ]


def observed(
    spec: PolicySpec, functions: Sequence[Function], runners: Mapping[str, Runner]
) -> list[tuple[str, NDArray[Any]]]:
    """Return where each observation field is written, in its shape: (name, view), by field."""
    taken: dict[str, list[NDArray[Any]]] = {field.name: [] for field in spec.observations}
    for function in functions:
        for x in function.inputs:
            if x.role == "observation":
                taken[x.name].append(runners[function.name].inputs[x.name])
    for field in spec.observations:
        if field.told and not taken[field.name]:  # the prompt says it
            taken[field.name] = [np.zeros(field.shape, field.dtype)]
    return [
        (field.name, view.reshape(field.shape))
        for field in spec.observations
        for view in taken[field.name]
    ]
