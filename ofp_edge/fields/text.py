"""Text: an instruction out of a closed list."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ofp_edge.errors import SpecMismatch, UnknownName
from ofp_edge.fields.field import ObservationField
from ofp_edge.normalize import FieldStatistics
from ofp_edge.strict import shown

_MOST, LONGEST = 1000, 200
"""How many instructions a list may have, and how many characters one."""


@dataclass(frozen=True)
class Text(ObservationField):
    """An instruction, which is its number in `choices`: shape (), int64, also for the network.

    The robot gets it once a run (`run --instruction`, or `instruction` in the rig). A dataset has
    it once an episode, as its text: attribute "instructions", by field.
    """

    kind: str = field(default="text", kw_only=True)
    shape: tuple[int, ...] = ()
    choices: tuple[str, ...] = ()
    dtype: ClassVar[str] = "int64"
    input_dtype: ClassVar[str] = "int64"
    told: ClassVar[bool] = True
    part: ClassVar[str] = "words"
    measures: ClassVar[bool] = False
    frame_form: ClassVar[str] = "an attribute of the episodes: it is read of ours alone"
    frame_axes: ClassVar[int | None] = -1

    def __post_init__(self) -> None:
        super().__post_init__()
        what = f"observation {self.name!r}"
        if self.shape != ():
            raise SpecMismatch(f"{what}, shape", "()", self.shape)
        if not 1 <= len(self.choices) <= _MOST:
            raise SpecMismatch(f"{what}, choices", f"1..{_MOST}", len(self.choices))
        texts = {text for text in self.choices if text.strip() and len(text) <= LONGEST}
        if len(texts) != len(self.choices):
            expected = f"texts of 1..{LONGEST} characters, each once"
            raise SpecMismatch(f"{what}, choices", expected, shown(self.choices))

    def number_of(self, text: str) -> int:
        """Return its place in `choices`. UnknownName, with the nearest one, when it has none."""
        if text not in self.choices:
            raise UnknownName(f"instruction of {self.name!r}:", str(text)[:LONGEST], self.choices)
        return self.choices.index(text)

    def statistics(self, values: NDArray[Any]) -> FieldStatistics | None:
        """Return None: numbers of a list are not normalised."""
        return None

    def shown(self) -> str:
        """Describe it like this: one of 2 instructions: 'open the door', 'close it'."""
        return f"one of {len(self.choices)} instructions: {', '.join(map(repr, self.choices[:8]))}"

    def synthetic(self, rng: np.random.Generator, count: tuple[int, ...]) -> NDArray[Any]:
        """Draw any of the instructions."""
        return rng.integers(0, len(self.choices), count, dtype=np.int64)


def instructions_of(fields: Iterable[ObservationField]) -> tuple[str, ...]:
    """Return the list that a policy's instructions are from; empty for one that takes none."""
    return next((item.choices for item in fields if isinstance(item, Text)), ())


def told(
    fields: Iterable[ObservationField], instruction: str | None
) -> list[tuple[ObservationField, int]]:
    """Return every text field with the number of the instruction in its list.

    Raises SpecMismatch when a policy that takes an instruction has none, or the other way round;
    UnknownName, with the nearest one, when its list has no such instruction.
    """
    texts = [item for item in fields if isinstance(item, Text)]
    if texts and instruction is None:
        todo = "State instruction in the rig; run and serve also take --instruction."
        raise SpecMismatch(f"observation {texts[0].name!r}", texts[0].shown(), "none", todo)
    if instruction is not None and not texts:
        raise SpecMismatch("instruction", "none, for the policy takes none", repr(instruction))
    return [(item, item.number_of(instruction or "")) for item in texts]
