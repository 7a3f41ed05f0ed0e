"""Bind a program's inputs and its answer to ours: by name, and by shape where only one fits.

Two inputs of one shape that are exchanged look right, so what neither names nor shapes decide is
refused, with the entry of the spec file that decides it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from ofp_edge.errors import PolicyError
from ofp_edge.strict import shown

Shape = tuple[int | str, ...]  # an axis without a size is a text
Named = Sequence[tuple[str, Shape]]
OUTPUTS = {"inputs": "output", "encode_inputs": "encode_output"}


@dataclass(frozen=True)
class Signature:
    """How a program is called. inputs: shapes by our names, in our order. output, shape: of its
    answer; None is any (1, F). entry: the spec file's for names; aliases: names that fit too."""

    inputs: Mapping[str, tuple[int, ...]]
    output: str
    shape: tuple[int, ...] | None
    entry: str = "inputs"
    aliases: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class Names:
    """A program's own names: of its inputs by ours, and of its answer. moved: its order differs."""

    inputs: Mapping[str, str] = field(default_factory=dict)
    output: str | None = None
    moved: bool = False


def by_place(inputs: Named, outputs: Named, wanted: Signature) -> Names:
    """Bind in the program's own order, as policies were before names were kept."""
    own = (name for name, _ in inputs)
    return Names(dict(zip(wanted.inputs, own, strict=False)), outputs[0][0] if outputs else None)


def bind(what: str, wanted: Signature, inputs: Named, outputs: Named, said: Names) -> Names:
    """Return the name of every input, in our order, and of the answer.

    said: what the user states, which may be a part or nothing. Raises PolicyError.
    """
    if len(inputs) != len(wanted.inputs):
        raise PolicyError(
            f"{what} takes {len(inputs)} inputs ({_listed(inputs)}), expected "
            f"{len(wanted.inputs)}: {', '.join(wanted.inputs)}."
        )
    bound = _by_name(what, wanted, dict(inputs), said)
    _by_shape(what, wanted, dict(inputs), bound)
    output = _answer(what, wanted, outputs, said.output)
    ordered = {name: bound[name] for name in wanted.inputs}
    return Names(ordered, output, [*ordered.values()] != [name for name, _ in inputs])


def _by_name(
    what: str, wanted: Signature, found: Mapping[str, Shape], said: Names
) -> dict[str, str]:
    bound: dict[str, str] = {}
    for name, own in said.inputs.items():
        if name not in wanted.inputs:
            raise PolicyError(
                f"{what}: {wanted.entry}: expected {', '.join(wanted.inputs)}, got {shown(name)}."
            )
        if own not in found or own in bound.values():
            expected = f"one of {', '.join(found)}, each once"
            raise PolicyError(f"{what}: {wanted.entry}.{name}: expected {expected}, got {own!r}.")
        bound[name] = own
    for form in (str, _last):  # a whole name before the end of one
        for name in wanted.inputs:
            names = (name, *wanted.aliases.get(name, ()))
            free = [x for x in found if x not in bound.values()]
            fitting = [x for x in free if form(x) in map(_plain, names) or form(x) in names]
            if name not in bound and len(fitting) == 1:
                bound[name] = fitting[0]
    return bound


def _by_shape(
    what: str, wanted: Signature, found: Mapping[str, Shape], bound: dict[str, str]
) -> None:
    """Bind what is left where one place fits alone."""
    rest = {x: shape for x, shape in found.items() if x not in bound.values()}
    left = {x: shape for x, shape in wanted.inputs.items() if x not in bound}
    wrong = [x for x, own in bound.items() if found[own] != wanted.inputs[x]]
    for shape in dict.fromkeys(left.values()):
        ours = [x for x in left if left[x] == shape]
        theirs = [x for x in rest if rest[x] == shape]
        if len(ours) > len(theirs):
            wrong.append(ours[-1])
        elif len(ours) == len(theirs) == 1:
            bound[ours[0]] = theirs[0]
        elif len(ours) == len(theirs):
            raise PolicyError(_undecided(what, wanted.entry, ours, theirs, shape))
    for name in wrong:
        free = [(x, shape) for x, shape in found.items() if x not in bound.values()]
        got = _shape(found[bound[name]]) if name in bound else _listed(free)
        shapes = [size for shape in found.values() for size in shape]
        hint = "" if all(isinstance(x, int) for x in shapes) else " Export it with fixed shapes."
        raise PolicyError(
            f"{what}, input {name}: expected shape {wanted.inputs[name]}, got {got}.{hint}"
        )


def _undecided(
    what: str, entry: str, ours: Sequence[str], theirs: Sequence[str], shape: Shape
) -> str:
    example = json.dumps(dict(zip(ours, theirs, strict=True)), ensure_ascii=False)
    return (
        f"{what}: its inputs {', '.join(theirs)} are all of shape {_shape(shape)}, and their names "
        f"do not say which is {', which is '.join(ours)}. Export it with these names, or state "
        f'them in the spec file, each where it belongs: "{entry}": {example}'
    )


def _answer(what: str, wanted: Signature, outputs: Named, said: str | None) -> str:
    entry, names = OUTPUTS[wanted.entry], [name for name, _ in outputs]
    if said is not None:
        if said not in names:
            expected = f"one of {', '.join(names)}"
            raise PolicyError(f"{what}: {entry}: expected {expected}, got {said!r}.")
        return said
    if len(names) == 1:
        return names[0]
    fitting = [x for x in names if wanted.output in (x, _last(x))] or [
        name for name, shape in outputs if _may_be(shape, wanted.shape)
    ]
    if len(fitting) != 1:
        raise PolicyError(
            f"{what} gives {len(names)} outputs ({_listed(outputs)}), expected 1, or one called "
            f"{wanted.output!r}: state the one in the spec file: "
            f'"{entry}": "{(fitting or names or ["…"])[0]}"'
        )
    return fitting[0]


def _may_be(shape: Shape, wanted: tuple[int, ...] | None) -> bool:
    return shape == wanted if wanted is not None else len(shape) == 2


def _plain(name: str) -> str:
    return re.sub(r"\W", "_", name)


def _last(name: str) -> str:
    """A name without its folders: observation.images.top is top."""
    return re.split(r"[./]", name)[-1]


def _listed(found: Named | Collection[tuple[str, Shape]]) -> str:
    return ", ".join(f"{name} {_shape(shape)}" for name, shape in found) or "none"


def _shape(shape: Shape) -> str:
    return f"({', '.join(map(str, shape))}{',' if len(shape) == 1 else ''})"
