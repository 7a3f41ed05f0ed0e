"""ObservationField: what each kind of observation must provide. A kind is a class in a file beside
this one and its line in the table (`__init__.py`); nothing else knows kinds by name."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from ofp_edge.errors import DatasetError, SpecMismatch
from ofp_edge.fields.values import numbers
from ofp_edge.normalize import FieldStatistics
from ofp_edge.strict import Place, shown

Stream = Literal["depth", "color"]
Write = Callable[[Any, NDArray[Any]], Any]
"""Makes the second argument's content from the first."""
KINDS: dict[str, type[ObservationField]] = {}
"""Every kind by its name in JSON, filled by `ofp_edge.fields`."""


@dataclass(frozen=True)
class ObservationField(ABC):
    """One observation: it has a name, a kind and the shape of one value. Class attributes:

    dtype        in datasets, observations, samples and logs; uint8 stands for 255ths
    input_dtype  where the network reads it
    stream       the camera picture that it is made from; None: the robot reports it, ...
    told         ... or whoever started the run
    part         the encoder part that takes it; "": it is passed on unchanged
    joined       its columns lie beside those of others in one array of a dataset
    places       it holds x, y, z in a frame, rows of a (3, N), and may be seen from an origin
    measures     its statistics are of its values, which are read for them; False: of what it states
    frame_form   the form of a foreign dataset's frames that it is made from ...
    frame_axes   ... and their largest number of axes; None: any
    """

    name: str
    kind: str = field(kw_only=True)
    shape: tuple[int, ...]

    dtype: ClassVar[str] = "float32"
    input_dtype: ClassVar[str] = "float32"
    stream: ClassVar[Stream | None] = None
    told: ClassVar[bool] = False
    part: ClassVar[str] = ""
    joined: ClassVar[bool] = False
    places: ClassVar[bool] = False
    measures: ClassVar[bool] = True
    frame_form: ClassVar[str] = "numbers"
    frame_axes: ClassVar[int | None] = None

    def __post_init__(self) -> None:
        if KINDS.get(self.kind) is not type(self):
            raise SpecMismatch(f"observation {self.name!r}, kind", ", ".join(KINDS), self.kind)

    @staticmethod
    def class_of(value: Any, place: Place) -> type[ObservationField]:
        """Return the class that reads a field's JSON (ofp_edge/strict.py). Raises at `place`."""
        kind = value.get("kind") if isinstance(value, dict) else None
        if not isinstance(kind, str) or kind not in KINDS:
            place.entry("kind").refuse(f"one of {', '.join(KINDS)}", shown(kind))
        return KINDS[kind]

    @property
    def camera(self) -> str | None:
        """The rig's camera that the field is made from, or None."""
        return None

    @property
    def input_shape(self) -> tuple[int, ...]:
        """The shape of one value as `encode` takes it, with a leading batch axis of 1."""
        return (1, *self.shape)

    @property
    def bytes(self) -> int:
        """The memory that one value takes."""
        return math.prod(self.shape) * np.dtype(self.dtype).itemsize

    def require_form(self, values: NDArray[Any] | None, where: str) -> None:
        """Raise SpecMismatch when `values` is no single value of this field."""
        if values is None or values.shape != self.shape or values.dtype != self.dtype:
            got = "nothing" if values is None else f"{values.shape} {values.dtype}"
            raise SpecMismatch(where, f"{self.shape} {self.dtype}", got)

    def preparation(self, camera: Any) -> Write:
        """Return the function that makes one value from a camera picture or the robot's own value.

        camera: the live camera's CameraParameters, None for a field without one. Raises
        SpecMismatch when the robot does not report the field, or reports it in another shape.
        """

        def take(said: NDArray[Any] | None, out: NDArray[Any]) -> None:
            if said is None or said.shape != self.shape:
                got = "nothing" if said is None else said.shape
                raise SpecMismatch(f"robot state {self.name!r}", self.shape, got)
            np.copyto(out, said, casting="same_kind")

        return take

    def array(
        self, have: Collection[str], size: tuple[int, ...]
    ) -> tuple[str, tuple[int, ...], str]:
        """Return the array below data/ that holds it, with the shape and dtype of its frames.

        have: the names in the dataset, () for one that is still to be written. size: of its
        camera's pictures (height, width), or of the recorded frames.
        """
        return self.name, self.shape, self.dtype

    def recorded(
        self, block: NDArray[Any], columns: tuple[int, int] | None, where: str, first: int
    ) -> NDArray[Any]:
        """Convert a block (n, …) of a foreign dataset to ours; `first` is the number of its first
        frame. Raises DatasetError."""
        values = numbers(block, columns, where, first)
        if math.prod(values.shape[1:]) != math.prod(self.shape):
            raise DatasetError(f"{where}: expected {self.shape}, got {values.shape[1:]}.")
        return values.reshape(len(block), *self.shape)

    def loading(self, array: str, camera: Any) -> Write:
        """Return the function from a stored block (n, …) of `array` to values (n, *shape)."""
        if self.stream is None:
            return lambda block, out: np.copyto(out, block)
        prepare = self.preparation(camera)

        def write(block: NDArray[Any], out: NDArray[Any]) -> None:
            for frame, made in zip(block, out, strict=True):
                prepare(frame, made)

        return write

    @abstractmethod
    def statistics(self, values: NDArray[Any]) -> FieldStatistics | None:
        """Compute statistics of values (n, *shape) to normalise by; None: by nothing."""

    @abstractmethod
    def shown(self) -> str:
        """Describe form, unit and origin in a line, without the name: for people."""

    @abstractmethod
    def synthetic(self, rng: np.random.Generator, count: tuple[int, ...]) -> NDArray[Any]:
        """Make up values (*count, *shape) for tests: valid, and each of its own."""
