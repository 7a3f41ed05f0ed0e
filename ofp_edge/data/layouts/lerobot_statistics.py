"""What LeRobot's meta/ states of the numbers of each episode: smallest, largest and mean value.

v3.0  columns stats/<key>/min … in meta/episodes/…parquet
v2.1  meta/episodes_stats.jsonl

LeRobot works them out of all rows when it records, so rows that were changed since do not fit.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ofp_edge.data.layouts.lerobot_files import (
    MOST_EPISODES,
    episode_files,
    json_lines,
    parquet_rows,
)
from ofp_edge.errors import DatasetError

_WHICH = ("min", "max", "mean")
_NEAR = 1e-3  # of the range: they may have been worked out in another type


def stated(path: Path, version: str, keys: Collection[str]) -> dict[int, Mapping[str, Any]]:
    """Return by episode {key: {"min": ..., "max": ..., "mean": ...}}; {} where nothing is stated,
    or nothing that can be read: no set needs it."""
    found: dict[int, Mapping[str, Any]] = {}
    try:
        entries = _of_table(path, keys) if version == "v3.0" else _of_lines(path)
    except DatasetError:
        return {}
    for number, statistics in entries:
        if type(number) is int and isinstance(statistics, dict):
            found[number] = statistics
    return found


def unlike(statistics: Any, values: NDArray[Any]) -> str | None:
    """Say where (n, *shape) finite numbers are not what was stated; None also where that cannot be
    read."""
    if not isinstance(statistics, dict) or not len(values):
        return None
    flat = values.reshape(len(values), -1).astype(np.float64)
    got = {"min": flat.min(0), "max": flat.max(0), "mean": flat.mean(0)}
    want = {x: _numbers(statistics.get(x), flat.shape[1]) for x in _WHICH}
    low, high = want["min"], want["max"]
    if low is None or high is None:
        return None
    room = _NEAR * np.maximum(high - low, 0) + 1e-4 * np.maximum(np.abs(low), np.abs(high)) + 1e-6
    for which, numbers in want.items():
        if numbers is not None and (off := np.abs(got[which] - numbers) > room).any():
            at = int(np.argmax(off))
            return (
                f"the {which} of dimension {at} is {got[which][at]:.4g}, meta/ states "
                f"{numbers[at]:.4g}: the rows were changed, or its statistics are another set's"
            )
    return None


def _numbers(value: Any, width: int) -> NDArray[np.float64] | None:
    try:
        found = np.asarray(value, np.float64).reshape(-1)
    except (TypeError, ValueError, OverflowError):
        return None
    return found if len(found) == width and np.isfinite(found).all() else None


def _of_lines(path: Path) -> list[tuple[Any, Any]]:
    file = path / "meta" / "episodes_stats.jsonl"
    if not file.exists():
        return []
    return [(x.get("episode_index"), x.get("stats")) for x in json_lines(path, file)]


def _of_table(path: Path, keys: Collection[str]) -> list[tuple[Any, Any]]:
    wanted = {"episode_index", *(f"stats/{key}/{which}" for key in keys for which in _WHICH)}
    return [
        (row.pop("episode_index", None), _nested(row))
        for file in episode_files(path)
        for row in parquet_rows(file, MOST_EPISODES, wanted.__contains__, inside=path)
    ]


def _nested(row: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    made: dict[str, dict[str, Any]] = {}
    for name, value in row.items():
        _, _, rest = name.partition("/")
        key, _, which = rest.rpartition("/")
        made.setdefault(key, {})[which] = value
    return made
