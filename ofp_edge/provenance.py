"""A bundle's provenance, typed: the entries that commands read and show.

`compile` writes more than these, and a bundle of another version may hold others: they are kept
unchanged and never read.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from ofp_edge.errors import OfpError
from ofp_edge.strict import read_as


@dataclass(frozen=True)
class Cost:
    """The cost of one call of a function."""

    parameters: int
    flops: int


@dataclass(frozen=True)
class Graph:
    """The contents of one artefact's file. delegates, delegated_share, left_out: see `Exported`."""

    operations: dict[str, int] = field(default_factory=dict)
    delegates: int | None = None
    delegated_share: float | None = None
    left_out: tuple[str, ...] = ()


@dataclass(frozen=True)
class GateSummary:
    """The gate's findings, as `Gate.summary` writes them."""

    passed: bool
    says: dict[str, str]
    not_run: tuple[str, ...] = ()


@dataclass(frozen=True)
class Difference:
    """The difference between two engines in one action dimension, in its unit."""

    name: str
    unit: str
    max: float
    mean: float


@dataclass(frozen=True)
class EnginePair:
    """Two engines, and how far their actions differ."""

    actions: tuple[Difference, ...]


@dataclass(frozen=True)
class Agreement:
    """The agreement of the engines of one precision."""

    pairs: tuple[EnginePair, ...]


@dataclass(frozen=True)
class SlowLayer:
    """A layer of the roofline; they are listed longest first."""

    name: str
    bound_by: str


@dataclass(frozen=True)
class FloorMs:
    """The least time of each function and of a chunk, ms."""

    encode: float
    act: float
    chunk: float


@dataclass(frozen=True)
class Floor:
    """The roofline in one precision."""

    floor_ms: FloorMs
    layers: tuple[SlowLayer, ...]


@dataclass(frozen=True)
class Memory:
    """The memory that the loop's process takes with each engine, and that of the board; bytes."""

    needed_bytes: dict[str, int]
    available_bytes: int


@dataclass(frozen=True)
class Estimate:
    """The least times on a board, by precision, reckoned from its peaks."""

    board: str
    threads: int
    floors: dict[str, Floor]
    memory: Memory


@dataclass(frozen=True)
class Part:
    """One dataset of a mixture, and which of its own episodes the policy has not seen."""

    sha256: str
    held_out: tuple[int, ...]


@dataclass(frozen=True)
class Provenance:
    """A manifest's `provenance`. dataset_sha256, held_out: what the policy was trained on, and the
    episodes of it that it has not seen; older bundles do not say. mixture: the same of each of
    several datasets. costs: by function. graphs: by
    file. left_out: why, by what."""

    task: str | None = None
    dataset_sha256: str | None = None
    held_out: tuple[int, ...] = ()
    mixture: tuple[Part, ...] = ()
    recipe: str | None = None
    machine: str | None = None
    costs: dict[str, Cost] = field(default_factory=dict)
    graphs: dict[str, Graph] = field(default_factory=dict)
    gate: GateSummary | None = None
    agreement: dict[str, Agreement] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)
    estimate: Estimate | None = None


def check_provenance(value: dict[str, Any], what: str, error: type[OfpError]) -> None:
    """Raise `error` naming the entry of `value` whose type is not the one `compile` writes."""
    read_as(Provenance, value, what, error, "provenance", others=True)
