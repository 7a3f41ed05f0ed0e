"""The laws of time in training: the interpolant, the draws of (t, r) and m, the contraction rho."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ofp_edge.policy.draws import draw
from ofp_edge.policy.prefix import Prefix


def uniform(rows: int, generator: torch.Generator) -> Tensor:
    """Draw (rows,) uniform numbers in [0, 1)."""
    return draw(torch.rand, (rows,), generator)


def noise_like(x: Tensor, generator: torch.Generator) -> Tensor:
    """Draw standard normal noise in the shape of x."""
    return draw(torch.randn, x.shape, generator)


def between(start: Tensor, end: Tensor, at: Tensor) -> Tensor:
    """Return `(1 - at) start + at end`, on the straight path; start and end (B, K), at (B,)."""
    return start + at[:, None] * (end - start)


def sorted_pair(
    rows: int, smallest: float, shipped: float, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Draw (t, r), two sorted uniforms with r - t at least `smallest`; a share `shipped` is (0, 1).

    Where the draw is closer than that, r moves up, or t down at the end of time.
    """
    drawn = draw(torch.rand, (2, rows), generator, axis=1).sort(0).values
    t, r = drawn[0], drawn[1]
    if shipped > 0:
        ships = uniform(rows, generator) < shipped
        t, r = t.masked_fill(ships, 0.0), r.masked_fill(ships, 1.0)
    t = t.clamp(max=1 - smallest)
    return t, torch.maximum(r, t + smallest)


def cosine_contraction(progress: float) -> float:
    """Return rho, which falls from 1 to 0: `(1 + cos(pi s)) / 2`."""
    return (1 + math.cos(math.pi * min(1.0, progress))) / 2


def exponential_contraction(progress: float, last: float) -> float:
    """Return rho, which falls from 1 to `last`: `last ** s`."""
    return float(last ** min(1.0, progress))


def drop_condition(
    features: Tensor, null: Tensor, probability: float, generator: torch.Generator
) -> Tensor:
    """Replace whole rows (B, F) by `null` (F,), so that one network learns both fields."""
    dropped = uniform(len(features), generator) < probability
    return torch.where(dropped[:, None], null, features)


def squared_error(
    prediction: Tensor,
    target: Tensor,
    prefix: Prefix | None = None,
    counted: Tensor | None = None,
) -> Tensor:
    """Average the squared error over the chunk, or over what is free of it: (B, K), (B, K) -> (B,).
    A row without a prefix is the same bits either way. counted: of PolicyNetwork."""
    squares = (prediction - target).square()
    if counted is not None:
        squares = squares * counted
    if prefix is None:
        return squares.mean(1)
    free = prefix.free
    return (squares * free).mean(1) / free.mean(1)
