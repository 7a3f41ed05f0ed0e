"""Read tables of a LeRobot set: Parquet, or an object a line, bounded and typed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ofp_edge.data.source import SMALL_FILE_BYTES
from ofp_edge.errors import DatasetError
from ofp_edge.extras import require
from ofp_edge.outside import MEBIBYTE, listed, read_plain, require_plain, said_by
from ofp_edge.strict import parse_json, shown

MOST_EPISODES = 10**6
_LARGEST_NUMBER = 10**9


class Row:
    """One entry of the list of episodes."""

    def __init__(self, values: Any, where: str) -> None:
        if not isinstance(values, dict):
            raise DatasetError(f"{where}: expected an object, got {shown(values)}.")
        self.values, self.where = values, where

    def require(self, name: str, *, largest: int = _LARGEST_NUMBER) -> int:
        """A whole number from 0 on."""
        value = self.values.get(name)
        if type(value) is not int or not 0 <= value <= largest:
            raise DatasetError(
                f"{self.where}: {shown(name)[1:-1]}: expected a whole number, got {shown(value)}."
            )
        return value

    def seconds(self, name: str) -> float:
        """A time from 0 on."""
        value = self.values.get(name)
        plain = isinstance(value, (int, float)) and not isinstance(value, bool)
        if not plain or not 0 <= value <= _LARGEST_NUMBER:  # type: ignore[operator]
            raise DatasetError(
                f"{self.where}: {shown(name)[1:-1]}: expected seconds, got {shown(value)}."
            )
        return float(value)  # type: ignore[arg-type]


def episode_table(path: Path) -> list[Row]:
    """Return the entries of v3.0's list of episodes, but for their statistics."""
    rows: list[Row] = []
    for file in episode_files(path):
        found = parquet_rows(
            file, MOST_EPISODES - len(rows), lambda x: not x.startswith("stats/"), inside=path
        )
        rows += [Row(x, f"{file}: row {i} of {len(found)}") for i, x in enumerate(found)]
    return rows


def episode_files(path: Path) -> Iterator[Path]:
    """Yield the files of v3.0's list of episodes, in order."""
    for folder in listed(path, path / "meta" / "episodes", DatasetError):
        yield from filter(is_parquet, listed(path, folder, DatasetError))


def parquet_rows(
    file: Path,
    most: int,
    wanted: Callable[[str], bool] = lambda _: True,
    *,
    inside: Path | None = None,
) -> list[dict[str, Any]]:
    """Return the rows of a Parquet file; see parquet_table."""
    table = parquet_table(file, most, wanted, inside=inside)
    with said_by(f"{file} cannot be read", DatasetError):
        return list(table.to_pylist())


def parquet_table(
    file: Path, most: int, wanted: Callable[[str], bool], *, inside: Path | None = None
) -> Any:
    """Return the columns of a Parquet file whose names are `wanted`, as an Arrow table.

    DatasetError where it is not a plain file, leads out of the folder `inside`, is damaged or has
    more than `most` rows.
    """
    parquet = require("pyarrow.parquet", "data")
    real = require_plain(file, DatasetError, inside=inside)
    with said_by(f"{file} cannot be read", DatasetError):
        opened = parquet.ParquetFile(real)
        names = [x for x in opened.schema_arrow.names if wanted(x)]
    require_rows(file, opened.metadata, most)
    with said_by(f"{file} cannot be read", DatasetError):
        return opened.read(columns=names, use_threads=False)


def flat_numbers(column: Any) -> NDArray[Any]:
    """Return an Arrow array of numbers, or of lists of them, in one piece or in chunks, as one flat
    numpy array."""
    if hasattr(column, "combine_chunks"):
        column = column.combine_chunks()
    while hasattr(column, "storage"):
        column = column.storage
    while hasattr(column, "flatten") and hasattr(column.type, "value_type"):
        column = column.flatten()
    return np.asarray(column.to_numpy(zero_copy_only=False))


def is_parquet(file: Path) -> bool:
    """Whether a file's name is one of a table; `._*` is what a Mac leaves beside files."""
    return file.suffix == ".parquet" and not file.name.startswith("._")


def require_rows(file: Path, metadata: Any, most: int) -> None:
    """Raise DatasetError when a Parquet file states more rows than can be, or far more bytes than
    it has: a row group is unpacked at once."""
    with said_by(f"{file} cannot be read", DatasetError):
        rows, size = metadata.num_rows, file.stat().st_size
        largest = max(
            (metadata.row_group(i).total_byte_size for i in range(metadata.num_row_groups)),
            default=0,
        )
    if rows > most:
        raise DatasetError(f"{file}: {rows} rows, expected at most {most}.")
    if largest > 1000 * size + MEBIBYTE:
        raise DatasetError(f"{file}: {largest} bytes unpacked, of {size}: it is damaged.")


def episode_lines(path: Path) -> list[Row]:
    """Return the entries of v2.1's list of episodes."""
    file = path / "meta" / "episodes.jsonl"
    return [Row(x, f"{file}: entry {i}") for i, x in enumerate(json_lines(path, file), 1)]


def json_lines(path: Path, file: Path) -> list[dict[str, Any]]:
    """Return the objects of a file that has one a line. DatasetError where a line is none."""
    data = read_plain(file, DatasetError, SMALL_FILE_BYTES, inside=path)
    found = []
    for number, line in enumerate(data.splitlines(), 1):
        if line.strip():
            value = parse_json(line, f"{file}: line {number}", DatasetError)
            if not isinstance(value, dict):
                raise DatasetError(f"{file}: line {number}: expected an object.")
            found.append(value)
    return found
