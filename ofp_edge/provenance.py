"""What a bundle says of its origin, typed: the entries that commands read and show.

`compile` writes more than these, and a bundle of another version may hold others: they are kept as
they are and read by nobody.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from ofp_edge.errors import OfpError
from ofp_edge.strict import read_as


@dataclass(frozen=True)
class Cost:
    """What one call of a function costs."""

    parameters: int
    flops: int


@dataclass(frozen=True)
class Graph:
    """What is in one artefact's file. delegates, delegated_share, left_out: see `Exported`."""

    operations: dict[str, int] = field(default_factory=dict)
    delegates: int | None = None
    delegated_share: float | None = None
    left_out: tuple[str, ...] = ()


@dataclass(frozen=True)
class GateSummary:
    """What the gate found, as `Gate.summary` writes it."""

    passed: bool
    says: dict[str, str]
    not_run: tuple[str, ...] = ()


@dataclass(frozen=True)
class Difference:
    """How far two engines are apart in one action dimension, in its unit."""

    name: str
    unit: str
    max: float
    mean: float


@dataclass(frozen=True)
class EnginePair:
    """Two engines and how far their actions are apart."""

    actions: tuple[Difference, ...]


@dataclass(frozen=True)
class Agreement:
    """How far the engines of one precision agree."""

    pairs: tuple[EnginePair, ...]


@dataclass(frozen=True)
class SlowLayer:
    """A layer of the roofline, the longest first."""

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
    """What the loop's process takes with each engine, and what the board has; bytes."""

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
class Provenance:
    """`provenance` of a manifest. costs: by function. graphs: by file. left_out: why, by what."""

    task: str | None = None
    recipe: str | None = None
    machine: str | None = None
    costs: dict[str, Cost] = field(default_factory=dict)
    graphs: dict[str, Graph] = field(default_factory=dict)
    gate: GateSummary | None = None
    agreement: dict[str, Agreement] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)
    estimate: Estimate | None = None


def check_provenance(value: dict[str, Any], what: str, error: type[OfpError]) -> None:
    """Raise `error` naming the entry of `value` that is of another type than `compile` writes."""
    read_as(Provenance, value, what, error, "provenance", others=True)
