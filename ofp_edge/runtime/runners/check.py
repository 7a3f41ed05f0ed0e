"""Parity: an engine's answers against the golden outputs, after every compile, at every load."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ofp_edge.bundle import Bundle
from ofp_edge.errors import BundleError, ParityError
from ofp_edge.manifest import Artefact, Tensor
from ofp_edge.outside import said_by
from ofp_edge.runtime.runners import Runner

Golden = Mapping[str, NDArray[Any]]


def per_dimension(output: str, difference: NDArray[Any], action_dim: int) -> NDArray[np.float64]:
    """Largest entries of |difference| (K, n): one an action dimension for `chunk`, else one."""
    columns = action_dim if output == "chunk" else 1
    worst: NDArray[np.float64] = (
        np.abs(difference.astype(np.float64)).reshape(-1, columns).max(axis=0)
    )
    return worst


def golden_answers(
    runner: Runner, golden: Golden, function: str, outputs: Sequence[Tensor]
) -> dict[str, NDArray[np.float32]]:
    """Run every golden input of `function` through `runner`; each output as (K, ...)."""
    feeds = {name: _golden(golden, f"input/{function}/{name}") for name in runner.inputs}
    rows = len(next(iter(feeds.values())))
    answers = {x.name: np.empty((rows, *x.shape[1:]), np.float32) for x in outputs}
    for row in range(rows):
        for name, values in feeds.items():
            try:
                np.copyto(
                    runner.inputs[name], values[row : row + 1].reshape(runner.inputs[name].shape)
                )
            except ValueError:
                raise BundleError(
                    f"golden input {function}/{name}: expected rows of shape "
                    f"{runner.inputs[name].shape}, got {values.shape}."
                ) from None
        with said_by(f"{function} cannot be run", BundleError):  # its first run
            runner.infer()
        for name, kept in answers.items():
            kept[row] = runner.outputs[name][0]
    return answers


def check_artefact(
    artefact: Artefact, runner: Runner, bundle: Bundle, golden: Golden
) -> dict[str, float]:
    """Worst absolute difference of each output, in its own units. ParityError past tolerance."""
    manifest, function = bundle.manifest, artefact.function
    outputs = manifest.outputs(function)
    answers = golden_answers(runner, golden, function, outputs)
    worst: dict[str, float] = {}
    failed: list[tuple[float, str]] = []
    for output in outputs:
        expected = _golden(golden, f"output/{function}/{artefact.precision}/{output.name}")
        got = answers[output.name]
        if expected.shape != got.shape:
            raise BundleError(
                f"golden output {output.name!r}: expected {got.shape}, got {expected.shape}."
            )
        difference = per_dimension(output.name, got - expected, manifest.spec.action_dim)
        limit = np.asarray(artefact.tolerance.get(output.name, []), np.float64)
        if limit.shape != difference.shape:
            raise BundleError(
                f"{artefact.file}: no tolerance for each dimension of {output.name!r}."
            )
        # Not `difference > limit`: a NaN must fail.
        if not np.all(difference <= limit):
            times = np.where(np.isfinite(difference), difference / limit, np.inf)
            bad = int(np.argmax(times))
            what = f"{output.name}[{bad}]" if len(limit) > 1 else output.name
            says = f"{what} is {difference[bad]:.3g} from the golden output"
            failed.append((float(times[bad]), f"{says}, tolerance {limit[bad]:.3g}"))
        worst[output.name] = float(difference.max())
    if failed:
        raise ParityError(
            f"{artefact.engine} {artefact.precision}, {function}: {max(failed)[1]}. "
            "This engine computes differently on this machine: do not run it; choose another "
            "--engine or --precision."
        )
    return worst


def check_parity(
    bundle: Bundle, engine: str, precision: str, encode: Runner, act: Runner
) -> dict[str, float]:
    """Hold both functions of a bundle against the golden outputs of their precision.

    Returns the worst absolute difference by output name (feature, chunk in raw action units,
    chunk_normalised). Raises ParityError, or BundleError when the golden data do not fit.
    """
    golden = bundle.golden()
    worst: dict[str, float] = {}
    for function, runner in (("encode", encode), ("act", act)):
        artefact = bundle.artefact(function, engine, precision)
        worst.update(check_artefact(artefact, runner, bundle, golden))
    return worst


def _golden(golden: Golden, name: str) -> NDArray[Any]:
    if name not in golden:
        raise BundleError(f"golden.npz holds no {name}.")
    return golden[name]
