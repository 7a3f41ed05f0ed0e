"""The cameras of a LeRobot set: each row's image, found by time in the file that has it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ofp_edge.data.layouts.lerobot_meta import Interval
from ofp_edge.data.layouts.lerobot_rows import RowTables
from ofp_edge.data.layouts.lerobot_times import Judgement, judged
from ofp_edge.data.layouts.video import VideoReader
from ofp_edge.errors import DatasetError


class Cameras:
    """Videos of a dataset in `path`. intervals: of each episode by camera."""

    def __init__(
        self,
        path: Path,
        intervals: Sequence[Mapping[str, Interval]],
        rows: RowTables,
        rate_hz: float,
    ) -> None:
        self._path, self._intervals, self._rows, self._rate = path, intervals, rows, rate_hz
        self._reader = VideoReader()
        self._judged: dict[tuple[str, Path], Judgement | str] = {}
        self._in_file: dict[tuple[str, Path], list[int]] = {}
        for episode, cameras in enumerate(intervals):
            for key, interval in cameras.items():
                self._in_file.setdefault((key, interval.file), []).append(episode)

    def wrong(self, key: str, episode: int) -> str | None:
        """Why an episode's images can't be found, without its name and a stop."""
        found = self._judgement(key, episode)
        return found if isinstance(found, str) else found.wrong.get(episode)

    def odd(self, key: str, episodes: Sequence[int]) -> tuple[str, ...]:
        """What is odd about the videos of these episodes: a line, of the first such file."""
        lines = []
        for file in dict.fromkeys(self._intervals[e][key].file for e in episodes):
            found = self._judged.get((key, file))
            if isinstance(found, Judgement) and found.odd is not None:
                lines.append(found.odd)
        if not lines:
            return ()
        more = f", and {len(lines) - 1} more files are of that kind" if len(lines) > 1 else ""
        return (f"{key}: {lines[0]}{more}",)

    def frames(self, key: str, episode: int, shape: tuple[int, ...]) -> Iterator[NDArray[np.uint8]]:
        """Yield an episode's images (H, W, 3) of `shape`. DatasetError as Source.blocks."""
        where, interval = f"{self._path}: episode {episode}, {key}", self._intervals[episode][key]
        found = self._judgement(key, episode)
        if (why := self.wrong(key, episode)) is not None:
            raise DatasetError(f"{where}: {why}.")
        shift: Any = 0.0 if isinstance(found, str) else found.shift_s
        times = self._rows.of(episode).times_s + interval.from_s + shift
        yield from self._reader.frames(interval.file, times, 0.5 / self._rate, shape, where)

    def _judgement(self, key: str, episode: int) -> Judgement | str:
        """Of the file that has the episode; or why it can't be read."""
        file = self._intervals[episode][key].file
        if (key, file) not in self._judged:
            self._judged[key, file] = self._judge(key, file)
        return self._judged[key, file]

    def _judge(self, key: str, file: Path) -> Judgement | str:
        if not file.exists():
            return f"{file} is missing"
        episodes = self._in_file[key, file]
        try:
            shown = self._reader.times(file, "")
        except DatasetError as cause:
            return str(cause).removeprefix(": ").rstrip(".")
        return judged(
            {e: self._intervals[e][key] for e in episodes},
            {e: self._rows.of(e) for e in episodes},
            shown,
            self._rate,
        )
