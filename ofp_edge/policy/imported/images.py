"""Diffusion Policy's image encoder: resize, centre crop, ResNet, spatial softmax, linear, ReLU.

The modules carry torchvision's names (He et al., CVPR 2016), so that weights fit without a table.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ofp_edge.errors import PolicyError

_LAYERS = {
    "resnet18": (False, (2, 2, 2, 2)), "resnet34": (False, (3, 4, 6, 3)),
    "resnet50": (True, (3, 4, 6, 3)), "resnet101": (True, (3, 4, 23, 3)),
    "resnet152": (True, (3, 8, 36, 3)),
}  # fmt: skip
RESNETS = tuple(_LAYERS)


@dataclass(frozen=True)
class CameraConfig:
    """Diffusion Policy's image encoder, one a camera or `shared`. resize, crop: (H, W) or None."""

    backbone: str
    group_norm: bool
    keypoints: int
    resize: tuple[int, int] | None
    crop: tuple[int, int] | None
    shared: bool


class FrozenNorm(nn.BatchNorm2d):
    """Batch normalisation that keeps its imported statistics: batches here have others."""

    def train(self, mode: bool = True) -> FrozenNorm:
        """Stay in evaluation mode."""
        return super().train(False)


def _norm(channels: int, group: bool) -> nn.Module:
    return nn.GroupNorm(channels // 16, channels) if group else FrozenNorm(channels)


class Residual(nn.Module):
    """A residual block: it has two 3x3 convolutions, or 1x1, 3x3, 1x1 where `deep`. spread: the
    dilation of those of 3x3."""

    def __init__(
        self, inputs: int, width: int, stride: int, deep: bool, group: bool, spread: int = 1
    ) -> None:
        super().__init__()
        outputs = 4 * width if deep else width
        sizes = [1, 3, 1] if deep else [3, 3]
        strides = [1, stride, 1] if deep else [stride, 1]
        ends = [inputs, *([width] * (len(sizes) - 1)), outputs]
        self.count = len(sizes)
        for i, (size, step) in enumerate(zip(sizes, strides, strict=True), start=1):
            apart = spread if size > 1 else 1
            pad = size // 2 * apart
            conv = nn.Conv2d(ends[i - 1], ends[i], size, step, pad, apart, bias=False)
            self.add_module(f"conv{i}", conv)
            self.add_module(f"bn{i}", _norm(ends[i], group))
        self.downsample: nn.Module | None = None
        if stride != 1 or inputs != outputs:
            conv = nn.Conv2d(inputs, outputs, 1, stride, bias=False)
            self.downsample = nn.Sequential(conv, _norm(outputs, group))

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, I, H, W) to (B, O, H / stride, W / stride)."""
        kept = x if self.downsample is None else self.downsample(x)
        for i in range(1, self.count + 1):
            x = self.get_submodule(f"bn{i}")(self.get_submodule(f"conv{i}")(x))
            if i < self.count:
                x = F.relu(x)
        return F.relu(x + kept)


def dilates(name: str) -> bool:
    """Return whether torchvision can dilate a ResNet's last layer: only those of deep blocks."""
    return _LAYERS[name][0]


def resnet(name: str, group: bool, dilated: bool = False) -> tuple[nn.Sequential, int]:
    """Return torchvision's ResNet without its pooling and classifier, and its channels. dilated:
    its last layer has dilation in place of stride."""
    deep, counts = _LAYERS[name]
    layers: list[nn.Module] = []
    channels = 64
    for number, count in enumerate(counts):
        blocks = []
        for i in range(count):
            stride = 2 if i == 0 and number > 0 else 1
            spread = 1
            if dilated and number == len(counts) - 1:
                stride, spread = 1, 2 if i else 1  # the first block is spaced as the layer before
            blocks.append(Residual(channels, 64 * 2**number, stride, deep, group, spread))
            channels = 64 * 2**number * (4 if deep else 1)
        layers.append(nn.Sequential(*blocks))
    stem = [nn.Conv2d(3, 64, 7, 2, 3, bias=False), _norm(64, group), nn.ReLU()]
    return nn.Sequential(*stem, nn.MaxPool2d(3, 2, 1), *layers), channels


class ImageEncoder(nn.Module):
    """Maps images (B, 3, H, W), already normalised, to (B, 2 keypoints)."""

    grid: Tensor
    rows: Tensor | None
    columns: Tensor | None

    def __init__(self, config: CameraConfig, height: int, width: int) -> None:
        super().__init__()
        self.register_buffer("rows", None, persistent=False)
        self.register_buffer("columns", None, persistent=False)
        if config.resize is not None:
            # Bilinear resizing is one matrix along each axis: exact, and every engine has it.
            self.rows = _resizing(height, config.resize[0])
            self.columns = _resizing(width, config.resize[1]).T.contiguous()
            height, width = config.resize
        self.crop = config.crop
        if config.crop is not None:
            if config.crop[0] > height or config.crop[1] > width:
                raise PolicyError(
                    f"config.network.cameras.crop: {config.crop} is larger than the image "
                    f"{(height, width)}."
                )
            self.top = round((height - config.crop[0]) / 2)
            self.left = round((width - config.crop[1]) / 2)
            height, width = config.crop
        self.backbone, channels = resnet(config.backbone, config.group_norm)
        for _ in range(5):  # five halvings
            height, width = (height + 1) // 2, (width + 1) // 2
        self.nets = nn.Conv2d(channels, config.keypoints, 1)
        x, y = np.meshgrid(np.linspace(-1.0, 1.0, width), np.linspace(-1.0, 1.0, height))
        grid = torch.from_numpy(np.stack([x.ravel(), y.ravel()], 1)).float()
        self.register_buffer("grid", grid, persistent=False)
        self.keypoints = config.keypoints
        self.out = nn.Linear(2 * config.keypoints, 2 * config.keypoints)

    def forward(self, x: Tensor) -> Tensor:
        """Encode images; see the class."""
        if self.rows is not None and self.columns is not None:
            x = torch.matmul(torch.matmul(self.rows, x), self.columns)
        if self.crop is not None:
            x = x[:, :, self.top : self.top + self.crop[0], self.left : self.left + self.crop[1]]
        heat = self.nets(self.backbone(x))
        weights = heat.reshape(-1, len(self.grid)).softmax(1)
        found = torch.matmul(weights, self.grid).view(-1, 2 * self.keypoints)
        return F.relu(self.out(found))


def _resizing(old: int, new: int) -> Tensor:
    """(new, old): antialiased bilinear resizing of one axis."""
    identity = torch.eye(old)[None, None]  # resized along its first axis only
    return F.interpolate(identity, (new, old), mode="bilinear", antialias=True)[0, 0].contiguous()
