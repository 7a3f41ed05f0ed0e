"""Simulate some layers in int8, the others in float, on a batch: as `build_quantized`, by hooks.

Building the real module takes seconds; this takes none, so every layer can be tried alone. A test
holds the two together.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ofp_edge.quantize.inputs import Inputs
from ofp_edge.quantize.plan import Layer, Range

_BATCH = 32  # frames or calls at once: images are large inside a network


@contextlib.contextmanager
def in_int8(module: nn.Module, layers: Sequence[Layer]) -> Iterator[None]:
    """Round what these layers read, hold and give as int8 does, inside the block."""
    with contextlib.ExitStack() as stack:
        for layer in layers:
            if layer.input is None or layer.output is None:
                continue
            part: Any = module.get_submodule(layer.name)
            stack.enter_context(_rounded_weights(part, layer.input))
            reads = part.register_forward_pre_hook(_reading(layer.input))
            gives = part.register_forward_hook(_giving(layer.output))
            stack.callback(reads.remove)
            stack.callback(gives.remove)
        yield


def in_batches(module: nn.Module, calls: Sequence[Inputs]) -> Tensor:
    """Return the module's (first) output for every call, (K, ...); calls are of batch 1."""
    answers = []
    with torch.no_grad():
        for start in range(0, len(calls), _BATCH):
            columns = zip(*calls[start : start + _BATCH], strict=True)
            result = module(*(torch.cat(column) for column in columns))
            answers.append(result if isinstance(result, Tensor) else result[0])
    return torch.cat(answers)


def macs(module: nn.Module, example: Inputs) -> dict[str, int]:
    """Count one call's multiplications by layer name: linear layers and convolutions."""
    found: dict[str, int] = {}
    with contextlib.ExitStack() as stack:
        for name, part in module.named_modules():
            if not isinstance(part, (nn.Linear, nn.Conv2d, nn.ConvTranspose2d)):
                continue

            def count(layer: nn.Module, read: Any, given: Tensor, name: str = name) -> None:
                weight: Any = layer.weight
                each = weight[0].numel()  # those that one output, or one input, takes part in
                ends = read[0] if isinstance(layer, nn.ConvTranspose2d) else given
                found[name] = found.get(name, 0) + ends.numel() * each

            stack.callback(part.register_forward_hook(count).remove)
        with torch.no_grad():
            module(*example)
    return found


def _reading(range_: Range) -> Any:
    return lambda _, inputs: (_rounded(inputs[0], range_), *inputs[1:])


def _giving(range_: Range) -> Any:
    # Where an activation is fused, the engine rounds after it. The grid holds 0, so the order of
    # the two does not matter.
    return lambda _, inputs, output: _rounded(output, range_)


def _rounded(x: Tensor, range_: Range) -> Tensor:
    return torch.fake_quantize_per_tensor_affine(x, range_.scale, 0, -128, 127)


@contextlib.contextmanager
def _rounded_weights(part: Any, reads: Range) -> Iterator[None]:
    axis = 1 if isinstance(part, nn.ConvTranspose2d) else 0
    weight, bias = part.weight.data, None if part.bias is None else part.bias.data
    largest = weight.detach().transpose(0, axis).flatten(1).abs().amax(1)
    scales = (largest / 127).clamp_min(torch.finfo(torch.float32).eps)
    zeros = torch.zeros(len(scales), dtype=torch.int32)
    try:
        part.weight.data = torch.fake_quantize_per_channel_affine(
            weight, scales, zeros, axis, -127, 127
        )
        if bias is not None:
            step = (torch.tensor(reads.scale) * scales).double()
            part.bias.data = ((bias.double() / step).round() * step).float()
        yield
    finally:
        part.weight.data = weight
        if bias is not None:
            part.bias.data = bias
