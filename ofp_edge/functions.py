"""The deployed functions: the tensors that each takes and gives, and the part each tensor plays.

Every policy has two: `encode` makes a feature of the newest frame, `act` makes a chunk of features,
noise and a time row, or of features alone where the policy is deterministic. A bundle's manifest
lists them, and may list more, which run in its order between the two. Every shape and name comes
from here.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from ofp_edge.errors import UnknownName
from ofp_edge.spec import PolicySpec

ENCODE, ACT = "encode", "act"
Role = Literal[
    "observation", "words", "valid", "feature", "cache", "noise", "time", "task", "committed",
    "free", "chunk", "chunk_normalised",
]  # fmt: skip


@dataclass(frozen=True)
class Tensor:
    """One input or output of a deployed function, of fixed shape.

    role: its meaning to the function's caller; None only outside a manifest. source: the output
    "function.tensor" that an input is made of. resident: it stays where the engine computes (on a
    GPU in its memory), is never read by the host, and its source is bound to it.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str = "float32"
    role: Role | None = None
    source: str | None = None
    resident: bool = False

    @property
    def size(self) -> int:
        """Return the number of values."""
        return math.prod(self.shape)

    @property
    def fed_by(self) -> tuple[str, str]:
        """The function and its output that an input is made of; empty without a source."""
        function, _, output = (self.source or "").partition(".")
        return function, output


@dataclass(frozen=True)
class Function:
    """A deployed function with its inputs and outputs in the order of its graph."""

    name: str
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]

    def takes(self, role: Role) -> bool:
        """Return whether an input has this role."""
        return any(x.role == role for x in self.inputs)

    @property
    def kept_feature(self) -> Tensor | None:
        """The input that holds the features of the last n_obs_steps observations, oldest first,
        which the host keeps. Another input is what its source gave for the newest frame."""
        host = (x for x in self.inputs if x.role == "feature" and not x.resident)
        return next((x for x in host if len(x.shape) == 2), None)


def encode_and_act(
    spec: PolicySpec,
    feature_dim: int,
    row_size: int,
    *,
    committed: bool = False,
    task_size: int = 0,
) -> tuple[Function, Function]:
    """Return the two functions of a policy whose feature and time are one row each.

    encode takes the observation fields of the newest frame, each with a leading batch axis of 1
    ((1, D) for a state; (1, 3, 1, N) for points; (1, 3, H, W), 0..1, for a picture), and gives
    `feature` (1, F). act takes `features` (1, n_obs_steps * F, oldest first), `z`
    (1, horizon * action_dim) and `time_row` (1, row_size); it gives `chunk`
    (1, (horizon - start_index) * action_dim), whose first action acts at the observation, and
    `chunk_normalised` (1, horizon * action_dim). committed: act also takes what `prefix_of` lists.
    task_size: see `observed`. row_size 0: a deterministic policy, whose act takes neither noise nor
    a time row.
    """
    flat = (1, spec.horizon * spec.action_dim)
    drawn = (Tensor("z", flat, role="noise"), Tensor("time_row", (1, row_size), role="time"))
    encode = Function(
        ENCODE,
        observed(spec, task_size),
        (Tensor("feature", (1, feature_dim), role="feature"),),
    )
    act = Function(
        ACT,
        (
            Tensor(
                "features",
                (1, spec.n_obs_steps * feature_dim),
                role="feature",
                source=f"{ENCODE}.feature",
            ),
            *(drawn if row_size else ()),
            *(prefix_of(spec) if committed else ()),
        ),
        (
            Tensor("chunk", (1, spec.plan_steps * spec.action_dim), role="chunk"),
            Tensor("chunk_normalised", flat, role="chunk_normalised"),
        ),
    )
    return encode, act


def prefix_of(spec: PolicySpec) -> tuple[Tensor, Tensor]:
    """Return the inputs by which `act` is told the start of its chunk: `committed`
    (1, horizon * (action_dim + 1)), a step its normalised action and a 1 where it is committed,
    else zeros; `free` (1, horizon * action_dim), 0 where an action is committed, else 1. The
    caller puts what is committed into z, at every evaluation: it stands in the chunk unchanged."""
    return (
        Tensor("committed", (1, spec.horizon * (spec.action_dim + 1)), role="committed"),
        Tensor("free", (1, spec.horizon * spec.action_dim), role="free"),
    )


def observed(spec: PolicySpec, task_size: int = 0) -> tuple[Tensor, ...]:
    """Return the observation fields as functions take them. task_size: the length of the row that
    stands for an instruction; 0: it is its number."""
    return tuple(
        Tensor(f.name, (1, task_size), role="task")
        if f.told and task_size
        else Tensor(f.name, f.input_shape, f.input_dtype, "observation")
        for f in spec.observations
    )


def named(functions: Sequence[Function], name: str) -> Function:
    """Return the function of that name. Raises UnknownName listing them."""
    for function in functions:
        if function.name == name:
            return function
    raise UnknownName("function", name, [x.name for x in functions])
