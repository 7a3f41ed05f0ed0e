"""Image augmentation: a shift of a few pixels, the border repeated (DrQ, arXiv 2004.13649)."""

from __future__ import annotations

import torch
from torch import Tensor

from ofp_edge.policy.draws import integers


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
