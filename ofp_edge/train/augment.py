"""Image augmentation: a shift of a few pixels, the border repeated (DrQ, arXiv 2004.13649), and a
change of light."""

from __future__ import annotations

import torch
from torch import Tensor

from ofp_edge.policy.draws import draw, integers

_LUMA = (0.299, 0.587, 0.114)  # of red, green and blue: ITU-R BT.601


def shift_images(images: Tensor, most_px: int, generator: torch.Generator) -> Tensor:
    """Shift every window of (B, To, 3, H, W) by up to `most_px` along both axes; the shape stays.

    All frames of a window move alike, so that what moves in it does so in truth.
    """
    if most_px == 0:
        return images
    batch, height, width = len(images), *images.shape[-2:]
    moves = [integers(2 * most_px + 1, batch, generator)[:, None] - most_px for _ in range(2)]
    rows = (torch.arange(height, device=images.device) + moves[0]).clamp(0, height - 1)  # (B, H)
    columns = (torch.arange(width, device=images.device) + moves[1]).clamp(0, width - 1)
    return torch.stack(
        [x[..., r, :][..., c] for x, r, c in zip(images, rows, columns, strict=True)]
    )


def jitter_colors(images: Tensor, strength: float, generator: torch.Generator) -> Tensor:
    """Change brightness, contrast and saturation of images (B, To, 3, H, W), 0..1, in this order,
    each by a factor uniform in 1 - strength .. 1 + strength, as torchvision's ColorJitter does.

    All frames of a window change alike. The result lies in 0..1 and has the shape of the input.
    """
    if strength == 0:
        return images
    drawn = 1 + strength * (2 * draw(torch.rand, (len(images), 3, 1, 1, 1, 1), generator) - 1)
    brightness, contrast, saturation = drawn.unbind(1)  # (B, 1, 1, 1, 1)
    images = (images * brightness).clamp(0, 1)
    middle = _gray(images).mean((3, 4), keepdim=True)
    images = (middle + contrast * (images - middle)).clamp(0, 1)
    gray = _gray(images)
    return (gray + saturation * (images - gray)).clamp(0, 1)


def _gray(images: Tensor) -> Tensor:
    """Return (B, To, 1, H, W) of (B, To, 3, H, W)."""
    weights = images.new_tensor(_LUMA)[:, None, None]
    return (images * weights).sum(2, keepdim=True)
