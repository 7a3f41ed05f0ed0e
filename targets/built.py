"""One function for one engine and precision: exported, loaded, and run over the golden inputs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ofp_edge.errors import BundleError
from ofp_edge.manifest import Manifest
from ofp_edge.runtime.runners import Runner, load_runner
from ofp_edge.runtime.runners.check import golden_answers, per_dimension
from ofp_edge.targets.export import Exported, export_executorch, export_onnx
from ofp_edge.targets.golden import Golden
from ofp_edge.targets.leave_out import word

_SUFFIX = {"onnxruntime": "onnx", "executorch": "pte"}


@dataclass
class Built:
    """difference: by output, how far the engine is from torch on the golden inputs."""

    function: str
    engine: str
    precision: str
    file: str
    exported: Exported
    runner: Runner
    difference: dict[str, NDArray[np.float64]]


def build(
    draft: Manifest, engine: str, precision: str, function: str, module: Any, golden: Golden,
    form: Callable[[bytes], bytes] | None = None,
) -> Built:  # fmt: skip
    """Export `module` for `engine` and compare it with torch. form: what is made of the export.

    Raises BundleError, naming the engine, where it refuses what was exported for it.
    """
    inputs, outputs = draft.inputs(function), draft.outputs(function)
    if engine == "onnxruntime":
        exported = export_onnx(module, inputs, outputs)
    else:
        exported = export_executorch(module, inputs)
    if form is not None:
        exported = replace(exported, model=form(exported.model))
    try:
        runner = load_runner(engine, exported.model, inputs, outputs)
    except BundleError as cause:
        raise BundleError(
            f"{engine} {precision}, {function}: {cause} No bundle was written. To compile the "
            f"others: --leave-out {word(engine, precision)}"
        ) from None
    answers = golden_answers(runner, golden.arrays, function, outputs)
    difference = {
        x.name: per_dimension(
            x.name,
            answers[x.name] - golden.arrays[f"output/{function}/{precision}/{x.name}"],
            draft.spec.action_dim,
        )
        for x in outputs
    }
    file = f"{function}.{precision}.{_SUFFIX[engine]}"
    return Built(function, engine, precision, file, exported, runner, difference)
