"""A suite of seconds, and a pool that stays in this process."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")
pytest.importorskip("metaworld")

from ofp_edge.bench.cells import units  # noqa: E402
from ofp_edge.bench.pool import Job, answer_of  # noqa: E402
from ofp_edge.bench.run import run_suite  # noqa: E402
from ofp_edge.bench.store import open_store  # noqa: E402
from ofp_edge.bench.suite import Suite  # noqa: E402
from ofp_edge.bench.suite_file import read_suite  # noqa: E402

WORK = "metaworld/button-press-topdown-wide"
TEXT = """
name = "tiny"
observe = "state"
preset = "tiny"
seeds = [0]
[evaluate]
episodes = 1
most_episodes = 2
half_width = 0.001
[[tasks]]
name = "metaworld/button-press-topdown-wide"
demonstrations = 2
steps = 4
[[rows]]
name = "ours"
method = "ofp-plus"
nfe = [1]
[[rows]]
name = "cold"
method = "ofp-plus"
nfe = [1]
cold = true
[[rows]]
name = "flow"
method = "flow"
nfe = [2, 1]
[[compare]]
candidate = ["ours", 1]
against = ["flow", 2]
"""


@dataclass
class HerePool:
    """Runs jobs in this process, and remembers them by function, task, training and seed."""

    name: str = "here"
    workers: int = 1
    done: list[str] = field(default_factory=list)

    def run(self, jobs: Sequence[Job]) -> Iterator[int]:
        for number, (function, arguments) in enumerate(jobs):
            answer = answer_of((function, arguments))
            assert answer is None, answer
            self.done.append(f"{function.__name__} {getattr(arguments[2], 'name', arguments[2])}")
            yield number


class IdlePool(HerePool):
    """Ends every job without doing it, as a cluster does whose machines see another folder."""

    jobs: Sequence[Job] = ()

    def run(self, jobs: Sequence[Job]) -> Iterator[int]:
        assert len(self.done) < 9, "for ever"
        self.done += [job[0].__name__ for job in jobs]
        self.jobs = [*self.jobs, *jobs]
        yield from range(len(jobs))


@pytest.fixture
def here() -> HerePool:
    return HerePool()


Edit = Callable[..., Suite]


@pytest.fixture
def edited(tmp_path: Path) -> Edit:
    """The tiny suite, each `old -> new` replaced (once) in its text."""

    def build(**changes: str) -> Suite:
        return read_suite(write_suite(tmp_path / "tiny.toml", changes.values()))

    return build


def write_suite(path: Path, changes: object = ()) -> Path:
    """changes: "old -> new"."""
    text = TEXT
    for change in changes:  # type: ignore[attr-defined]
        old, _, new = change.partition(" -> ")
        assert old in text
        text = text.replace(old, new, 1)
    path.write_text(text)
    return path


def run(suite: Suite, folder: Path, pool: HerePool, *only: str) -> None:
    with open_store(folder, suite.name, any_code=False) as store:
        run_suite(suite, store, units(suite, only), pool)


def cell(folder: Path, kind: str) -> dict[str, Any]:
    (path,) = folder.glob(f"cells/{kind}-*")
    found: dict[str, Any] = json.loads(path.read_text())
    return found
