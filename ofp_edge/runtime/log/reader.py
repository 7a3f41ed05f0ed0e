"""A reader of what `run --log` wrote, even where the run was killed and the last file has no
end."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mcap.records import Channel, Footer, Message, Metadata

from ofp_edge.errors import OfpError
from ofp_edge.mcap_records import records
from ofp_edge.strict import parse_json, read_as

Row = dict[str, Any]
_LONGEST_TOPIC = 512


@dataclass(frozen=True)
class Series:
    """Which file of which run this is, as its header says. `name` is the name of the run's first
    file."""

    id: str | None = None
    number: int = 0
    name: str | None = None


class LogReader:
    """One log, in one file or several. Reading it again begins from the start.

    `path` is the first file, which stands for all of its run, or a later one, which stands for
    itself. `files` are in order; `left_out` are those of a run's end, after a gap of files that
    were deleted to make room. After `rows`, `missing` says how many numbered rows of a topic are
    not there. `whole` says whether the last file has its end; without it the run was killed, or its
    disk was full. Raises OfpError, one line, where it is no log; so does `rows` at a row that is
    none.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.missing: dict[str, int] = {}
        self.whole = False
        self.header = read_header(path)
        series = series_of(self.header, path)
        self.files, self.left_out, numbers = [path], list[Path](), [series.number]
        for other in later_files(path) if numbers == [1] else ():
            with contextlib.suppress(OfpError):
                found = series_of(read_header(other), other)
                if found.id == series.id:
                    numbers.append(found.number)
                    gap = numbers[-1] != numbers[0] + len(numbers) - 1
                    (self.left_out if gap else self.files).append(other)

    def rows(self, *topics: str, all_files: bool = True) -> Iterator[tuple[str, Row]]:
        """Yield (topic, row) in the order in which they were written, for all topics by default; a
        name that ends with / stands for all below it. `all_files` includes those after a gap."""
        last: dict[str, int] = {}
        self.missing = {}
        for path in [*self.files, *(self.left_out if all_files else ())]:
            yield from self._rows_of(path, last, topics)

    def _rows_of(
        self, path: Path, last: dict[str, int], topics: tuple[str, ...]
    ) -> Iterator[tuple[str, Row]]:
        names: dict[int, str] = {}
        below = tuple(x for x in topics if x.endswith("/"))
        self.whole = False
        for record in records(path):
            if isinstance(record, Channel):
                names[record.id] = _topic(record, path)
            elif isinstance(record, Footer):
                self.whole = True
            elif isinstance(record, Message):
                topic = names.get(record.channel_id)
                if topic is None:
                    raise OfpError(
                        f"{path}: a row of topic {record.channel_id}, which it names nowhere."
                    )
                gap = record.sequence - last.get(topic, 0) - 1
                self.missing[topic] = self.missing.get(topic, 0) + gap
                last[topic] = record.sequence
                if not topics or topic in topics or topic.startswith(below):
                    yield topic, _object(record.data, f"{path}: row {record.sequence} of {topic}")


def read_header(path: Path) -> Row:
    """Read what one file says about its run. Raises OfpError where it is no log."""
    for record in records(path, unpacked=False):
        if isinstance(record, Metadata) and record.name == "ofp_edge":
            return _object(record.metadata.get("json", ""), f"{path}: its header")
    raise OfpError(f"{path} is not a log of `ofp-edge run --log`.")


def series_of(header: Row, path: Path) -> Series:
    """Return which file of which run a header belongs to. Raises OfpError. Logs in one file need
    not say it."""
    return read_as(Series, header.get("series", {}), f"{path}: its header", OfpError, "series")


def later_files(path: Path) -> list[Path]:
    """Return the files whose names are those of later files of the log `path` (run.0002.mcap of
    run.mcap), in order."""
    path = Path(os.path.realpath(path))
    name = re.compile(rf"{re.escape(path.stem)}\.(\d{{4,}}){re.escape(path.suffix)}", re.ASCII)
    try:
        found = [(int(m[1]), m[0]) for x in os.listdir(path.parent) if (m := name.fullmatch(x))]
    except OSError as cause:
        raise OfpError(f"{path.parent} cannot be read: {cause.strerror}.") from None
    return [path.with_name(name) for _, name in sorted(found)]


def _object(data: bytes | str, what: str) -> Row:
    value = parse_json(data, what, OfpError)
    if not isinstance(value, dict):
        raise OfpError(f"{what}: expected an object, got {type(value).__name__}.")
    return value


def _topic(channel: Channel, path: Path) -> str:
    if len(channel.topic) > _LONGEST_TOPIC:
        raise OfpError(f"{path}: a topic whose name has {len(channel.topic)} characters.")
    return channel.topic
