"""Read small tables of a LeRobot set's meta/: Parquet, or an object a line, bounded and typed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

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
    parquet = require("pyarrow.parquet", "data")
    rows: list[Row] = []
    folders = listed(path, path / "meta" / "episodes", DatasetError)
    files = [x for folder in folders for x in listed(path, folder, DatasetError)]
    for file in (x for x in files if is_parquet(x)):
        real = require_plain(file, DatasetError, inside=path)
        with said_by(f"{file} cannot be read", DatasetError):
            opened = parquet.ParquetFile(real)
            names = [n for n in opened.schema_arrow.names if not n.startswith("stats/")]
            count = opened.metadata.num_rows
        require_rows(file, opened.metadata, MOST_EPISODES - len(rows))
        with said_by(f"{file} cannot be read", DatasetError):
            found = opened.read(columns=names, use_threads=False).to_pylist()
        rows += [Row(x, f"{file}: row {i} of {count}") for i, x in enumerate(found)]
    return rows


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
