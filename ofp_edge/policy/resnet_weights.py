"""Load ResNet weights under torchvision's names from a safetensors file into a policy's encoders.

Batch normalisation is folded into the convolutions as it is read, with the statistics of the file:
y = (conv(x) - mean) * weight / sqrt(var + eps) + bias.
"""

from __future__ import annotations

from pathlib import Path
from typing import cast

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from ofp_edge.errors import PolicyError
from ofp_edge.policy.resnet import ResNet
from ofp_edge.policy.weights import require_shapes, shapes_of

_EPSILON = 1e-5  # torch's BatchNorm2d
_IGNORED = ("fc.", "num_batches_tracked")  # the classifier, and a counter


def load_resnet_weights(network: nn.Module, path: Path) -> None:
    """Fill every camera's ResNet from `path`.

    Raises PolicyError when the encoder has none, or naming the first tensor that is missing,
    unknown, of another shape or not finite.
    """
    networks = [module for module in network.modules() if isinstance(module, ResNet)]
    if not networks:
        raise PolicyError(
            "--rgb-weights: this policy sees no images. Leave it out, or train on a dataset with "
            "RGB observations."
        )
    try:
        found = load_file(path)
    except (OSError, SafetensorError) as cause:
        raise PolicyError(
            f"--rgb-weights {path} is missing or no safetensors file: {cause}"
        ) from None
    tensors = {k: x for k, x in found.items() if not any(part in k for part in _IGNORED)}
    expected = torchvision_shapes(networks[0])
    names = f"expected torchvision's names for a ResNet of {len(expected)} tensors"
    what = f"--rgb-weights {path}"
    require_shapes(expected, shapes_of(tensors), what, f"{names}, got {len(tensors)}")
    for name, tensor in tensors.items():
        if not tensor.isfinite().all():
            raise PolicyError(f"{what}: tensor {name!r} holds NaN or infinity.")
    with torch.no_grad():
        for network in networks:
            for name, conv in _convolutions(network).items():
                norm = _norm_name(name)
                weight, bias, mean, variance = (
                    tensors[f"{norm}.{part}"].double()
                    for part in ("weight", "bias", "running_mean", "running_var")
                )
                scale = weight / (variance + _EPSILON).sqrt()
                kernel = tensors[f"{name}.weight"].double()
                conv.weight.copy_(kernel * scale.view(-1, 1, 1, 1))
                cast(Tensor, conv.bias).copy_(bias - mean * scale)


def torchvision_shapes(network: ResNet) -> dict[str, tuple[int, ...]]:
    """Return the shapes torchvision stores for this ResNet without its classifier, by name."""
    shapes: dict[str, tuple[int, ...]] = {}
    for name, conv in _convolutions(network).items():
        shapes[f"{name}.weight"] = tuple(conv.weight.shape)
        for part in ("weight", "bias", "running_mean", "running_var"):
            shapes[f"{_norm_name(name)}.{part}"] = (conv.out_channels,)
    return shapes


def _convolutions(network: ResNet) -> dict[str, nn.Conv2d]:
    return {name: x for name, x in network.named_modules() if isinstance(x, nn.Conv2d)}


def _norm_name(convolution: str) -> str:
    """conv1 -> bn1, layer1.0.conv2 -> layer1.0.bn2, layer2.0.downsample.0 -> ….downsample.1."""
    if convolution.endswith("downsample.0"):
        return convolution[:-1] + "1"
    return convolution.replace("conv", "bn")
