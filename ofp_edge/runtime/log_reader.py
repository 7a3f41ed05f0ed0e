"""Reads what `run --log` wrote, also where the run was killed and the last file has no end."""

from __future__ import annotations

import contextlib
import json
import os
import re
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mcap.exceptions import McapError
from mcap.records import Channel, Footer, Message, Metadata
from mcap.stream_reader import StreamReader

from ofp_edge.errors import OfpError

Row = dict[str, Any]


class LogReader:
    """One log, of one file or several. Reading it again begins from the start.

    path: the first file, which stands for all of its run, or a later one, which stands for itself.
    files: in order; left_out: those of a run's end, after a gap of files that were deleted to make
    room. missing: after `rows`, how many numbered rows of a topic are not there. whole: whether the
    last file has its end; without it the run was killed, or its disk was full.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.missing: dict[str, int] = {}
        self.whole = False
        self.header = read_header(path)
        series = self.header.get("series", {"id": None, "number": 0})
        self.files, self.left_out, numbers = [path], list[Path](), [series["number"]]
        for other in later_files(path) if numbers == [1] else ():
            with contextlib.suppress(OfpError):
                found = read_header(other).get("series", {})
                if found.get("id") == series["id"]:
                    numbers.append(found["number"])
                    gap = numbers[-1] != numbers[0] + len(numbers) - 1
                    (self.left_out if gap else self.files).append(other)

    def rows(self, *topics: str, all_files: bool = True) -> Iterator[tuple[str, Row]]:
        """(topic, row) in the order in which they were written; all topics by default. all_files:
        those after a gap, too."""
        last: dict[str, int] = {}
        self.missing = {}
        for path in [*self.files, *(self.left_out if all_files else ())]:
            yield from self._rows_of(path, last, topics)

    def _rows_of(
        self, path: Path, last: dict[str, int], topics: tuple[str, ...]
    ) -> Iterator[tuple[str, Row]]:
        names: dict[int, str] = {}
        self.whole = False
        for record in _records(path):
            if isinstance(record, Channel):
                names[record.id] = record.topic
            elif isinstance(record, Footer):
                self.whole = True
            elif isinstance(record, Message):
                topic = names[record.channel_id]
                gap = record.sequence - last.get(topic, 0) - 1
                self.missing[topic] = self.missing.get(topic, 0) + gap
                last[topic] = record.sequence
                if not topics or topic in topics:
                    yield topic, json.loads(record.data)


def read_header(path: Path) -> Row:
    """What one file says of its run. OfpError where it is no log."""
    for record in _records(path):
        if isinstance(record, Metadata) and record.name == "ofp_edge":
            header: Row = json.loads(record.metadata["json"])
            return header
    raise OfpError(f"{path} is not a log of `ofp-edge run --log`.")


def later_files(path: Path) -> list[Path]:
    """What is called like a later file of the log `path` (run.0002.mcap of run.mcap), in order."""
    path = Path(os.path.realpath(path))
    name = re.compile(rf"{re.escape(path.stem)}\.(\d{{4,}}){re.escape(path.suffix)}")
    found = [(int(m[1]), m[0]) for x in os.listdir(path.parent) if (m := name.fullmatch(x))]
    return [path.with_name(name) for _, name in sorted(found)]


def _records(path: Path) -> Iterator[Any]:
    try:
        file = path.open("rb")
    except OSError as cause:
        raise OfpError(f"{path} cannot be read: {cause.strerror}.") from None
    with file:
        try:
            # Checksums: a loss of power may leave a chunk's place without its contents.
            yield from StreamReader(file, validate_crcs=True).records
        except (McapError, struct.error, ValueError, IndexError):
            return  # it ends in the middle of a record
