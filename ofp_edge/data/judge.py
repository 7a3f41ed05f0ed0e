"""The judgement on a dataset before training: what it holds, how it is read, whether it can be."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ofp_edge.counted import counted
from ofp_edge.data.dataset import is_ours
from ofp_edge.data.guess import Guess, look, taken_by
from ofp_edge.data.labels import chosen_episodes, labels
from ofp_edge.data.layouts import open_source
from ofp_edge.data.mapping import SUFFIX, Mapping, read_mapping
from ofp_edge.data.source import Source
from ofp_edge.data.survey import Survey, survey
from ofp_edge.data.taken import Taken
from ofp_edge.data.trial import tried
from ofp_edge.errors import DatasetError, MissingExtra, OfpError
from ofp_edge.progress import Progress, silent

Verdict = Literal["ready", "look", "refused"]

_MOST_TASKS = 20


@dataclass(frozen=True)
class Judged:
    """A dataset that was looked through. mapping: how it is read, None where there is no guess.
    asked: whether the mapping holds questions to answer. episodes: those that it chooses. refused:
    why `train` would refuse it, None where it wouldn't."""

    source: Source
    mapping: Mapping | None
    asked: bool
    taken: tuple[Taken, ...]
    episodes: tuple[int, ...]
    survey: Survey
    odd: tuple[str, ...]
    refused: str | None

    @property
    def verdict(self) -> Verdict:
        """ready: nothing is odd. look: it can be trained, and something is."""
        return "refused" if self.refused is not None else "look" if self.odd else "ready"

    @property
    def tasks(self) -> str:
        """What was asked for in the episodes that are chosen, in a line."""
        asked = [self.source.tasks[x] for x in self.episodes] if self.source.tasks else []
        if not asked:
            return self.source.task or "unknown"
        counts = Counter("unknown" if x is None else " ".join(x.split())[:200] for x in asked)
        listed = [
            f"{task} ({counted(count, 'episode')})"
            for task, count in counts.most_common(_MOST_TASKS)
        ]
        return "; ".join(listed) + "; …" * (len(counts) > _MOST_TASKS)

    @property
    def said(self) -> str:
        """The verdict in a line."""
        if self.refused is not None:
            return f"cannot be trained as it is: {self.refused}"
        if not self.odd:
            return "ready to train: nothing odd"
        return f"trainable, {counted(len(self.odd), 'thing')} to look at"


def judge(path: Path, *, every: bool = False, progress: Progress = silent) -> Judged:
    """Look through a dataset, or what a mapping file names. every: also every image is read, as
    training does. DatasetError where there is nothing to look at."""
    written = read_mapping(path) if path.suffix == SUFFIX and path.is_file() else None
    source = open_source(written.source, written.filter_key) if written else open_source(path)
    ours = written is None and is_ours(path)
    whole = tuple(range(len(source.lengths)))
    episodes, refused, said = whole, None, list[str]()
    try:
        if written is not None:
            episodes = chosen_episodes(source, written)
        said = labels(source, written)
    except DatasetError as cause:
        refused = str(cause)
    found = survey(source, progress, written, episodes)
    if written is None:
        guess = _looked(source)
    else:
        guess = Guess(taken_by(source, written), written)
    if refused is None and not ours:
        refused = guess.refused
    if refused is None:
        mapping = None if ours else guess.mapping
        odd, refused = _tried(path, source, mapping, every, progress)
        found.add(odd)
    found.add(said)
    return Judged(
        source,
        guess.mapping,
        guess.refused is not None,
        guess.taken,
        episodes,
        found,
        tuple(found.odd),
        refused,
    )


def _looked(source: Source) -> Guess:
    try:
        return look(source)
    except DatasetError as cause:
        return Guess((), None, str(cause))


def _tried(
    path: Path, source: Source, mapping: Mapping | None, every: bool, progress: Progress
) -> tuple[Sequence[str], str | None]:
    """What is odd about the reading, and why training refuses it."""
    try:
        return tried(path, source, mapping, every=every, progress=progress), None
    except MissingExtra:
        raise
    except OfpError as cause:
        return (), " ".join(str(cause).split())
