"""Make golden inputs and outputs, and the parity tolerance that they justify.

A quantised network is not continuous: where an activation lies on the border of two int8 steps, a
difference in the last bit of a float moves it by a whole step. Which side a given CPU falls on says
nothing about whether it computes rightly. So golden inputs are those of many candidates whose
answers move least when every input, and every activation before it is rounded, is disturbed by
2^-20 of itself (8 float32 steps, about what reordered sums and other sine and exponential routines
amount to; of disturbed inputs alone the first rounding would leave nothing). That largest movement,
left over for the chosen ones, is what another correct machine may show.
"""

from __future__ import annotations

import contextlib
import functools
import io
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from ofp_edge.functions import ACT, ENCODE, Function
from ofp_edge.policy.deployed import Deployed
from ofp_edge.quantize.inputs import Inputs, ObservationWindows, act_inputs, encode_inputs
from ofp_edge.runtime.runners.check import per_dimension
from ofp_edge.targets.cost import parameters

COUNT = 16
_SIZE = 2.0**-20  # of the disturbance
_TRIES = 4
_LARGE = 100_000_000  # parameters
_ROUNDING = "quantized_decomposed.quantize_per_tensor.default"

References = Mapping[str, Mapping[str, Callable[..., Any]]]  # precision -> function -> torch module


@dataclass(frozen=True)
class Golden:
    """Golden data. arrays: the content of golden.npz (`Bundle.golden`).

    wobble: by (function, precision, output), how far the reference itself moves under the
    disturbance; per action dimension for `chunk`, one number otherwise; in the output's units.
    """

    arrays: dict[str, NDArray[np.float32]]
    wobble: dict[tuple[str, str, str], NDArray[np.float64]]

    def of(self, precisions: Container[str]) -> Golden:
        """Return it with the outputs of these precisions alone."""
        kept = {
            name: x
            for name, x in self.arrays.items()
            if not name.startswith("output/") or name.split("/")[2] in precisions
        }
        return Golden(kept, self.wobble)

    def to_bytes(self) -> bytes:
        """Return golden.npz; the same bytes for the same arrays."""
        buffer = io.BytesIO()
        np.savez_compressed(buffer, allow_pickle=False, **self.arrays)
        return buffer.getvalue()


def candidates(deployed: Deployed) -> int:
    """Return how many windows to choose golden inputs from, the more the better. A large network,
    whose every call takes seconds, gets two."""
    return 2 if _large(deployed) else 3 * COUNT // 2


def _large(deployed: Deployed) -> bool:
    return sum(parameters(x) for x in deployed.modules.values()) > _LARGE


def make_golden(
    deployed: Deployed, references: References, windows: ObservationWindows, seed: int
) -> Golden:
    """Choose COUNT inputs of each function, every time row among those of `act`; run them.

    windows: of `candidates`, the more the better. Where `encode` feeds `act` on the device, inputs
    are of both, row by row, and the outputs are `act`'s alone.
    """
    tries = 2 if _large(deployed) else _TRIES
    last = [frames[-1] for frames in encode_inputs(deployed, windows)]
    calls = act_inputs(deployed, windows, seed)
    act, seen, chained = deployed.function(ACT), len(last[0]), None
    if act.inputs[0].resident:  # of `encode`, and too large to be stored
        chained = replace(act, inputs=(*deployed.function(ENCODE).inputs, *act.inputs[1:]))
        functions = [chained]
        each = len(calls) // len(last)
        joined = [(row, (*last[k // each], *x[1:])) for k, (row, x) in enumerate(calls)]
        groups = {ACT: _by_row(joined)}
        references = {p: {ACT: _chain(x, seen)} for p, x in references.items()}
    else:
        functions = list(deployed.functions)
        groups = {ENCODE: {"": last}, ACT: _by_row(calls)}
    arrays: dict[str, NDArray[np.float32]] = {}
    wobble = {}
    for function in functions:
        name, offered = function.name, groups[function.name]
        trials = {
            group: [_try(x, references, function, seed, tries) for x in inputs]
            for group, inputs in offered.items()
        }
        chosen = _steadiest(trials, COUNT)
        for i, tensor in enumerate(function.inputs):
            owner = ENCODE if function is chained and i < seen else name
            arrays[f"input/{owner}/{tensor.name}"] = _stack([t.inputs[i] for t in chosen])
        for precision in references:
            for i, output in enumerate(x.name for x in function.outputs):
                key = f"output/{name}/{precision}/{output}"
                arrays[key] = _stack([t.outputs[precision][i] for t in chosen])
                moved = np.stack([t.moves[precision][i] for t in chosen])
                wobble[name, precision, output] = per_dimension(
                    output, moved, deployed.spec.action_dim
                )
    return Golden(arrays, wobble)


def _chain(modules: Mapping[str, Any], count: int) -> Any:
    """`act` as a function of what `encode` takes, `count` inputs, and of what else it takes."""

    def chain(*inputs: Tensor) -> Any:
        return modules[ACT](modules[ENCODE](*inputs[:count]), *inputs[count:])

    return chain


def tolerance(
    difference: NDArray[np.float64],
    wobble: NDArray[np.float64],
    magnitude: float,
    depth: int,
    cap: NDArray[np.float64],
    *,
    half: bool = False,
) -> NDArray[np.float64]:
    """Return the largest difference an engine may show: one number an action dimension (or one).

    Three times the largest difference between the torch reference and the exported graphs, or
    three times the reference's own wobble where that is more. Never less than float32 rounding
    accumulates to over the graph: one half step, 2^-24 of the largest output, at each of `depth`
    operations, in either direction (half: float16's, 2^-11). Never more than `cap`.
    """
    rounding = 2.0 ** (-10 if half else -23) * magnitude * depth
    limit: NDArray[np.float64] = np.maximum(3 * np.maximum(difference, wobble), rounding)
    return np.minimum(limit, cap)


@dataclass(frozen=True)
class _Trial:
    inputs: Inputs
    outputs: dict[str, list[Tensor]]  # precision -> outputs
    moves: dict[str, list[NDArray[np.float32]]]  # precision -> largest |change| of each output

    @property
    def unrest(self) -> float:
        """The largest change relative to the output's size, over precisions and outputs."""
        return max(
            float(move.max()) / (float(out.abs().max()) + 1e-12)
            for precision, moves in self.moves.items()
            for move, out in zip(moves, self.outputs[precision], strict=True)
        )


def _try(inputs: Inputs, references: References, of: Function, seed: int, tries: int) -> _Trial:
    function = of.name
    exact = [x.role == "valid" for x in of.inputs]  # 0 or 1 on every machine
    outputs, rounds = {}, {}
    for precision, modules in references.items():
        with _Disturbance(seed, 0.0) as still:  # x times 1 is x
            outputs[precision] = _run(modules[function], inputs)
        rounds[precision] = still.met
    moves = {p: [np.zeros(x.shape, np.float32) for x in out] for p, out in outputs.items()}
    for number in range(tries):
        for precision, modules in references.items():
            # Every draw in both directions: an answer on a border gives way in one of them.
            disturbance = _Disturbance(seed + number // 2, _SIZE * (-1) ** number)
            # Where nothing is rounded, nobody has to look at every operation.
            with disturbance if rounds[precision] else contextlib.nullcontext():
                near = (
                    x if kept else disturbance.of(x)
                    for x, kept in zip(inputs, exact, strict=True)
                )  # fmt: skip
                moved = _run(modules[function], tuple(near))
            for move, a, b in zip(moves[precision], moved, outputs[precision], strict=True):
                np.maximum(move, (a - b).abs().numpy(), out=move)
    return _Trial(inputs, outputs, moves)


@functools.cache
def _rounds(func: Any) -> bool:
    return str(func) == _ROUNDING


class _Disturbance(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Disturbs what is rounded to int8, wherever that happens; `of` disturbs any tensor.

    size: the largest, as a fraction of each value. met: whether anything was rounded.
    """

    def __init__(self, seed: int, size: float) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._generator = torch.Generator().manual_seed(seed)
        self._size = size
        self.met = False

    def of(self, x: Tensor) -> Tensor:
        """x, each value a little off."""
        return x * (1 + self._size * (2 * torch.rand(x.shape, generator=self._generator) - 1))

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """One operation."""
        if _rounds(func):
            self.met = True
            args = (self.of(args[0]), *args[1:])
        return func(*args, **(kwargs or {}))


def _run(module: Callable[..., Any], inputs: Inputs) -> list[Tensor]:
    with torch.no_grad():
        result = module(*inputs)
    return [result] if isinstance(result, Tensor) else list(result)


def _by_row(inputs: Sequence[tuple[str, Inputs]]) -> dict[str, list[Inputs]]:
    groups: dict[str, list[Inputs]] = {}
    for name, values in inputs:
        groups.setdefault(name, []).append(values)
    return groups


def _steadiest(trials: Mapping[str, Sequence[_Trial]], count: int) -> list[_Trial]:
    """`count` of them, taken in turn from the groups, the steadiest of each first."""
    ranked = [sorted(group, key=lambda t: t.unrest) for group in trials.values()]
    return [
        ranked[i % len(ranked)][i // len(ranked)] for i in range(min(count, sum(map(len, ranked))))
    ]


def _stack(tensors: Sequence[Tensor]) -> NDArray[np.float32]:
    return np.concatenate([x.numpy() for x in tensors]).astype(np.float32)
