"""Quantised layers whose products do not fit 16 bits, two by two: a kernel that adds so is wrong.

    python saturating.py make  FOLDER     with torch: programs for both engines, inputs, answers
    python saturating.py check FOLDER     on any machine: a JSON line a layer and engine

Nearly all weights and inputs are at the end of their range; some inputs lie past it (-128).
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ofp_edge.functions import Tensor
from ofp_edge.runtime.runners.table import load_runner

SHAPES = {
    "linear": ((1, 64), (1, 48)),
    "conv 1x1": ((1, 64, 1, 8), (1, 48, 1, 8)),
    "conv 1x3": ((1, 16, 1, 8), (1, 48, 1, 8)),
    "transposed conv": ((1, 16, 1, 8), (1, 8, 1, 16)),
}
"""Inputs and outputs of each layer."""

SUFFIX = {"onnxruntime": "onnx", "executorch": "pte"}
_INPUTS = 8


def make(folder: Path) -> None:
    """Quantise and export each layer, and keep torch's answers."""
    import torch
    from torch import nn

    from ofp_edge.quantize.ptq import build_quantized, measure_layers
    from ofp_edge.quantize.recipes import Recipe
    from ofp_edge.targets.export import export_executorch, export_onnx

    everything = Recipe("all", "all", "int8", ("conv2d", "conv_transpose2d", "linear"))
    layers: dict[str, Any] = {
        "linear": nn.Linear(64, 48, bias=False),
        "conv 1x1": nn.Conv2d(64, 48, 1, bias=False),
        "conv 1x3": nn.Conv2d(16, 48, (1, 3), padding=(0, 1), bias=False),
        "transposed conv": nn.ConvTranspose2d(
            16, 8, (1, 4), stride=(1, 2), padding=(0, 1), bias=False
        ),
    }
    folder.mkdir(parents=True, exist_ok=True)
    generator = torch.Generator().manual_seed(0)

    def extremes(shape: Any, low: float) -> torch.Tensor:
        chance = torch.rand(shape, generator=generator)
        return torch.where(chance < 0.75, 127.0, torch.where(chance < 0.9, 126.0, low))

    for name, layer in layers.items():
        into, out = SHAPES[name]
        module = nn.Sequential(layer)
        with torch.no_grad():
            layer.weight.copy_(extremes(layer.weight.shape, -127.0))
        seen = [(extremes(into, -127.0),) for _ in range(_INPUTS)]
        plan = measure_layers(module, "encode", seen, everything)
        built = build_quantized(module, "encode", seen[0], plan)
        x, y = [Tensor("x", into, "float32")], [Tensor("y", out, "float32")]
        (folder / f"{name}.pte").write_bytes(export_executorch(built, x).model)
        (folder / f"{name}.onnx").write_bytes(export_onnx(built, x, y).model)
        inputs = [extremes(into, -150.0) for _ in range(_INPUTS)]
        with torch.no_grad():
            answers = [built(value).numpy() for value in inputs]
        np.savez(
            folder / f"{name}.npz", x=np.stack([v.numpy() for v in inputs]), y=np.stack(answers)
        )


def check(folder: Path) -> Iterator[dict[str, Any]]:
    """Each layer on each engine: its largest difference from torch, and the answers' least step."""
    for name, (into, out) in SHAPES.items():
        with np.load(folder / f"{name}.npz", allow_pickle=False) as kept:
            inputs, answers = kept["x"], kept["y"]
        steps = np.diff(np.unique(answers))
        for engine, suffix in SUFFIX.items():
            model = (folder / f"{name}.{suffix}").read_bytes()
            runner = load_runner(
                engine, model, [Tensor("x", into, "float32")], [Tensor("y", out, "float32")]
            )
            worst = 0.0
            for x, y in zip(inputs, answers, strict=True):
                np.copyto(runner.inputs["x"], x)
                runner.infer()
                worst = max(worst, float(np.abs(runner.outputs["y"] - y).max()))
            runner.close()
            yield {"layer": name, "engine": engine, "largest_difference": worst,
                   "step": float(steps.min())}  # fmt: skip


if __name__ == "__main__":
    if sys.argv[1] == "make":
        make(Path(sys.argv[2]))
    else:
        for row in check(Path(sys.argv[2])):
            print(json.dumps(row))
