"""The parts every runner shares: its buffers, and the check of a model against the manifest."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ofp_edge.errors import BundleError
from ofp_edge.functions import Tensor

Signature = tuple[str | None, tuple[int, ...], str]  # name (None: not recorded), shape, dtype


def allocate(tensors: Sequence[Tensor]) -> dict[str, NDArray[Any]]:
    """Return zeroed C-contiguous arrays by name, in order."""
    return {tensor.name: np.zeros(tensor.shape, tensor.dtype) for tensor in tensors}


def require_signature(
    engine: str, side: str, expected: Sequence[Tensor], got: Sequence[Signature]
) -> None:
    """Raise BundleError at the first input or output in which a model differs from the manifest.

    side: "input" or "output". `got`: the model's own, in its order.
    """
    if len(expected) != len(got):
        raise BundleError(
            f"the {engine} model has {len(got)} {side}s, the manifest {len(expected)}. "
            "Compile the policy again."
        )
    for want, (name, shape, dtype) in zip(expected, got, strict=True):
        have = (want.name if name is None else name, shape, dtype)
        if have != (want.name, want.shape, want.dtype):
            raise BundleError(
                f"the {engine} model's {side} {want.name!r}: expected {want.shape} {want.dtype}, "
                f"got {have[0]!r} {shape} {dtype}. Compile the policy again."
            )
