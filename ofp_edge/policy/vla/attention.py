"""Attention with grouped queries, rotary positions and additive masks, as functions of tensors."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

MASKED = -1e4
"""Added to the score of what is not seen: its weight is exactly 0, and float16 can hold it."""


def positions_of(valid: Tensor) -> Tensor:
    """Return the position of each word (B, P) float32, counting only those that are valid (1; 0 is
    padding, which has the position of the word before it)."""
    return valid.float().cumsum(1) - 1


def frequencies_of(head_dim: int, theta: float) -> Tensor:
    """Return the (head_dim / 2,) rates of rotation, radians a position, float32."""
    steps = torch.arange(head_dim // 2, dtype=torch.float64)
    return (1 / theta ** (2 * steps / head_dim)).float()


def rotation_of(positions: Tensor, frequencies: Tensor) -> tuple[Tensor, Tensor]:
    """Return cosines and sines (B, 1, N, head_dim / 2) of positions (B, N), both float32."""
    angles = (positions[:, :, None] * frequencies).unsqueeze(1)
    return angles.cos(), angles.sin()


def rotate(x: Tensor, rotation: tuple[Tensor, Tensor]) -> Tensor:
    """Rotate x (B, H, N, head_dim) by halves (Su et al., RoFormer, 2021)."""
    cosine, sine = rotation
    first, second = x.float().chunk(2, 3)
    turned = torch.cat([first * cosine - second * sine, second * cosine + first * sine], 3)
    return turned.to(x.dtype)


def heads_of(x: Tensor, heads: int) -> Tensor:
    """Split (B, N, H * D) into (B, H, N, D)."""
    batch, count, size = x.shape
    return x.view(batch, count, heads, size // heads).transpose(1, 2)


def mask_of(keep: Tensor) -> Tensor:
    """Return what is added to scores, float32, where `keep` is 1 for what is seen, else 0."""
    return (1 - keep.float()) * MASKED


def attend(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None) -> Tensor:
    """Attend with query (B, H, N, D) to key and value (B, G, M, D), G groups of H / G heads.

    mask: of `mask_of`, broadcast to (B, H, N, M). Returns (B, N, H * D). Scores are float32.
    """
    batch, heads, count, size = query.shape
    groups = key.shape[1]
    grouped = query.reshape(batch, groups, heads // groups * count, size)
    scores = torch.matmul(grouped.float(), key.float().transpose(2, 3)) * size**-0.5
    scores = scores.view(batch, heads, count, -1)
    weights = F.softmax(scores if mask is None else scores + mask, dim=3).to(value.dtype)
    found = torch.matmul(weights.view(batch, groups, heads // groups * count, -1), value)
    return found.view(batch, heads, count, size).transpose(1, 2).reshape(batch, count, -1)
