"""ResNet and spatial softmax: they turn a colour image into the places of its features.

ResNet (He et al., CVPR 2016) with torchvision's layer names. Its normalisation is frozen and lies
in the convolutions, weights and biases: the deployed graph has none, and nothing differs between
training and the robot. Without ImageNet weights each branch starts as 0 (Fixup, Zhang et al., ICLR
2019). The spatial softmax (Levine et al., JMLR 2016) reads the expected place of each keypoint.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ofp_edge.policy.sizes import RgbConfig
from ofp_edge.policy.trunks.trunk import zero

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""ImageNet's mean colour and standard deviation, 0..1, that torchvision's weights expect."""


class Block(nn.Module):
    """Adds two 3x3 convolutions to the input; `downsample` serves where size or channels change."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, padding=1)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1)
        changed = stride != 1 or inputs != outputs
        down = [nn.Conv2d(inputs, outputs, 1, stride)] if changed else []
        self.downsample = nn.Sequential(*down)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, I, H, W) to (B, O, H/stride, W/stride)."""
        return F.relu(self.downsample(x) + self.conv2(F.relu(self.conv1(x))))


class ResNet(nn.Module):
    """Maps ImageNet-normalised (B, 3, H, W) to (B, C, h, w); all layers but the first halve it.

    With channels (64, 128, 256, 512) and blocks (2, 2, 2, 2), it is ResNet-18.
    """

    def __init__(self, config: RgbConfig) -> None:
        super().__init__()
        width = config.channels[0]
        self.conv1 = nn.Conv2d(3, width, 7, 2, padding=3)
        self.maxpool = nn.MaxPool2d(3, 2, padding=1)
        self.layers: list[nn.Module] = []
        for i, (outputs, count) in enumerate(zip(config.channels, config.blocks, strict=True)):
            stride = 1 if i == 0 else 2
            blocks = [
                Block(width if k == 0 else outputs, outputs, stride if k == 0 else 1)
                for k in range(count)
            ]
            self.layers.append(nn.Sequential(*blocks))
            self.add_module(f"layer{i + 1}", self.layers[-1])
            width = outputs
        self._begin(sum(config.blocks))

    def forward(self, x: Tensor) -> Tensor:
        """Map images to features; see ResNet."""
        x = self.maxpool(F.relu(self.conv1(x)))
        for layer in self.layers:
            x = layer(x)
        return x

    def _begin(self, blocks: int) -> None:
        for name, module in self.named_modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
                nn.init.zeros_(cast(Tensor, module.bias))
                if name.endswith("conv2"):
                    zero(module)
                elif name != "conv1" and name.endswith("conv1"):
                    with torch.no_grad():
                        module.weight.mul_(blocks**-0.5)


class SpatialSoftmax(nn.Module):
    """Maps (B, C, h, w) to (B, 2 keypoints): the mean x, then y (-1..1) of each keypoint's map."""

    places: Tensor

    def __init__(self, channels: int, keypoints: int, height: int, width: int) -> None:
        super().__init__()
        self.keypoints, self.cells = keypoints, height * width
        self.maps = nn.Conv2d(channels, keypoints, 1)
        y, x = torch.meshgrid(
            torch.linspace(-1, 1, height), torch.linspace(-1, 1, width), indexing="ij"
        )
        places = torch.stack([x.flatten(), y.flatten()], 1)  # (h*w, 2)
        self.register_buffer("places", places, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Apply a softmax and a product with a constant: XNNPACK takes both. See SpatialSoftmax."""
        maps = self.maps(x).view(-1, self.keypoints, self.cells)
        return torch.matmul(maps.softmax(-1), self.places).flatten(1)


class RgbEncoder(nn.Module):
    """Maps an ImageNet-normalised image (B, 3, H, W) to (B, features)."""

    def __init__(self, config: RgbConfig, height: int, width: int) -> None:
        super().__init__()
        self.resnet = ResNet(config)
        # Stem and pool halve twice, each later layer once; every halving rounds up.
        for _ in range(len(config.channels) + 1):
            height, width = (height + 1) // 2, (width + 1) // 2
        self.softmax = SpatialSoftmax(config.channels[-1], config.keypoints, height, width)
        self.out = nn.Linear(2 * config.keypoints, config.features)

    def forward(self, x: Tensor) -> Tensor:
        """Encode the image; see RgbEncoder."""
        feature: Tensor = self.out(self.softmax(self.resnet(x)))
        return feature
