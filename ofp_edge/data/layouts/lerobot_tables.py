"""Which Parquet file has an episode's rows: the one that meta/ states, unless it has others.

Tools that join, cut and rename sets leave file numbers behind that are no longer true. Where the
stated file is not there, or does not hold what it should, the tables of other numbers are asked.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ofp_edge.data.layouts.lerobot_files import is_parquet, require_rows
from ofp_edge.errors import DatasetError
from ofp_edge.extras import require
from ofp_edge.outside import listed, require_plain, said_by

_INDEX = "episode_index"


class Tables:
    """The tables of a dataset in `path`. pattern: of their names, LeRobot's own. stated: by episode
    its file and its rows."""

    def __init__(self, path: Path, pattern: str, stated: Mapping[int, tuple[Path, int]]) -> None:
        self._path, self._stated = path, stated
        parts = re.split(r"\{[^{}]*\}", pattern)
        self._pattern = re.compile("[0-9]+".join(map(re.escape, parts)))
        self._rows: dict[Path, int] = {}
        for file, rows in stated.values():
            self._rows[file] = self._rows.get(file, 0) + rows
        self._found: dict[int, Path] = {}
        self._fits: dict[Path, tuple[int, int] | None] = {}
        self._held: dict[Path, dict[int, int]] | None = None

    def file_of(self, episode: int) -> Path:
        """The stated file, or the only other one that has all of the episode's rows.

        DatasetError when tables cannot be read.
        """
        if episode not in self._found:
            file, rows = self._stated[episode]
            if not self._holds(file, episode):
                others = [x for x, held in self._all().items() if held.get(episode) == rows]
                file = others[0] if len(others) == 1 else file
            self._found[episode] = file
        return self._found[episode]

    def moved(self, episodes: Sequence[int]) -> tuple[str, ...]:
        """A line where episodes lie in other files than meta/ states."""
        found = [e for e in episodes if self.file_of(e) != self._stated[e][0]]
        if not found:
            return ()
        e = found[0]
        return (
            f"meta/ states wrong files for {len(found)} episodes: episode {e} is not in "
            f"{self._stated[e][0].name}, its rows are in {self.file_of(e).name}, and read there",
        )

    def _holds(self, file: Path, episode: int) -> bool:
        """Whether the file's rows are as many as stated, and its numbers include the episode's."""
        if file not in self._fits:
            self._fits[file] = self._span(file) if file.exists() else None
        span = self._fits[file]
        return span is not None and span[0] <= episode <= span[1]

    def _span(self, file: Path) -> tuple[int, int] | None:
        """The smallest and largest episode by the file's own statistics; None where its rows are
        not as many as stated."""
        about = _metadata(file)
        if about.num_rows != self._rows[file]:
            return None
        _require_numbers(file, about)
        low, high = [], []
        with said_by(f"{file} cannot be read", DatasetError):
            for group in range(about.num_row_groups):
                row_group = about.row_group(group)
                for column in map(row_group.column, range(row_group.num_columns)):
                    if column.path_in_schema == _INDEX and column.is_stats_set:
                        if column.statistics.has_min_max:
                            low.append(column.statistics.min)
                            high.append(column.statistics.max)
        return (min(low), max(high)) if low else (0, 1 << 62)

    def _all(self) -> dict[Path, dict[int, int]]:
        """By file how many rows it has of each episode."""
        if self._held is None:
            self._held, left = {}, sum(self._rows.values())
            waiting = [self._path / "data"]
            parquet = require("pyarrow.parquet", "data")
            while waiting:
                for item in listed(self._path, waiting.pop(), DatasetError):
                    if item.is_dir() and not item.is_symlink():
                        waiting.append(item)
                    elif is_parquet(item) and self._pattern.fullmatch(_below(self._path, item)):
                        real = require_plain(item, DatasetError, inside=self._path)
                        about = _metadata(real)
                        require_rows(item, about, left)
                        with said_by(f"{item} cannot be read", DatasetError):
                            _require_numbers(item, about)
                            table = parquet.read_table(real, columns=[_INDEX], use_threads=False)
                            numbers, counts = np.unique(
                                table[_INDEX].to_numpy(), return_counts=True
                            )
                        self._held[real] = dict(zip(numbers.tolist(), counts.tolist(), strict=True))
        return self._held


def _below(path: Path, item: Path) -> str:
    return os.path.relpath(os.path.realpath(item), os.path.realpath(path))


def _require_numbers(file: Path, about: Any) -> None:
    """Raise DatasetError where episodes are not numbered, but called something."""
    with said_by(f"{file} cannot be read", DatasetError):
        there = about.schema.to_arrow_schema()
        kind = str(there.field(_INDEX).type) if there.names.count(_INDEX) == 1 else "no such column"
    if not kind.startswith(("int", "uint", "float", "double", "halffloat")):
        raise DatasetError(f"{file}: {_INDEX}: expected whole numbers, got {kind}.")


def _metadata(file: Path) -> Any:
    with said_by(f"{file} cannot be read", DatasetError):
        return require("pyarrow.parquet", "data").read_metadata(file)
