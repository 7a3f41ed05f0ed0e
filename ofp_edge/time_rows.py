"""Time rows too long for a manifest: time_rows.safetensors of a bundle, one tensor `rows` (N, E)
float32, in the order of the manifest's entries, whose own rows are empty then."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ofp_edge.manifest import TimeRow
from ofp_edge.one_tensor import read_rows

FILE, TENSOR = "time_rows.safetensors", "rows"
LARGEST_INSIDE = 512
"""Numbers of a row that still stands in the manifest itself."""
LARGEST_ROW = 1 << 20


def rows_from(data: bytes, rows: Sequence[TimeRow], size: int, what: str) -> tuple[TimeRow, ...]:
    """Return the manifest's rows, filled. Raises BundleError, one line that begins with `what`."""
    values = read_rows(data, TENSOR, len(rows), size, what)
    return tuple(replace(x, row=tuple(y.tolist())) for x, y in zip(rows, values, strict=True))
