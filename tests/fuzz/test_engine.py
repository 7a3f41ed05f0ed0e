"""The fuzzer notices what a reader may not do; it is tried on readers that do just that."""

from __future__ import annotations

import contextlib
import ctypes
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ofp_edge.errors import OfpError
from tests.fuzz import engine, kinds
from tests.fuzz.campaign import Campaign, reproduce
from tests.fuzz.damage import COUNTS
from tests.fuzz.engine import Result, run_cases
from tests.fuzz.watch import BAIT


class Readers:
    """A file that names how it is read."""

    name = "readers"
    may: tuple[str, ...] = ()
    counts = COUNTS

    def __init__(self, how: str) -> None:
        self.how = how
        self.operations = (_one_byte, _nothing)

    def warm(self) -> None:
        """Everything is here."""

    def prepare(self, good: Path) -> None:
        (good / "file").write_text(self.how)

    def place(self, rng: np.random.Generator, good: Path, home: Path) -> str:
        (home / "file").write_text((good / "file").read_text())
        return "the file"

    def seal(self, rng: np.random.Generator, home: Path) -> None:
        """It has no hash."""

    def read(self, home: Path) -> None:
        read: Any = globals()[f"_{(home / 'file').read_text().split()[0]}"]
        read(home)


def _one_byte(rng: np.random.Generator, home: Path) -> str:
    with (home / "file").open("a") as file:
        file.write(f" {rng.integers(256)}")
    return "a byte more"


def _nothing(rng: np.random.Generator, home: Path) -> str:
    return "nothing"


def _well(home: Path) -> None:
    """Reads no more."""


def _refusing(home: Path) -> None:
    raise OfpError("the file is of another size.")


def _tracing(home: Path) -> None:
    raise KeyError("files")


class _Unfiltered(OfpError):
    def __str__(self) -> str:
        return "the file is called \x1b[2J."


def _printing(home: Path) -> None:
    raise _Unfiltered


def _dying(home: Path) -> None:
    ctypes.string_at(0)


def _leaving(home: Path) -> None:
    os._exit(0)


def _spinning(home: Path) -> None:
    while True:
        pass


def _sleeping(home: Path) -> None:
    time.sleep(3600)


def _swelling(home: Path) -> None:
    np.ones(256 << 17)  # 256 MiB: a busy kernel takes back some pages of mapped files meanwhile


_EARLIER: list[Path] = []


def _lingering(home: Path) -> None:
    """As a thread does that the refusal of an earlier artefact left reading it."""
    for earlier in _EARLIER:
        with contextlib.suppress(FileNotFoundError):
            (earlier / "file").read_text()
    _EARLIER.append(home)


def _straying(home: Path) -> None:
    (home / BAIT / "a").read_text()


def _straying_in_c(home: Path) -> None:
    libc = ctypes.CDLL(None)
    libc.close(libc.open(os.fsencode(home / BAIT / "a"), os.O_RDONLY))


def _straying_further(home: Path) -> None:
    Path("/etc/passwd").read_bytes()


def _starting(home: Path) -> None:
    os.system("true")


def results(how: str, folder: Path, cases: int = 1, hang_s: float = 1.5) -> list[Result]:
    """What becomes of the first cases of a reader."""
    kind = Readers(how)
    good = engine.prepare(kind, folder)
    return list(run_cases(kind, good, 0, range(cases), hang_s=hang_s))


@pytest.mark.parametrize(
    ("how", "failure"),
    [
        ("well", ""),
        ("refusing", ""),
        ("tracing", "trace KeyError ?"),
        ("printing", "line _Unfiltered"),
        ("dying", "died SIGSEGV"),
        ("leaving", "died exit 0"),
        ("spinning", "hang "),
        ("sleeping", "hang "),
        ("swelling", "memory "),
        ("straying", "opened opened"),
        ("straying_in_c", "opened opened"),
        ("straying_further", "opened opened"),
        ("starting", "opened os.system"),
    ],
)
def test_what_a_reader_may_not_do_is_noticed(
    how: str, failure: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "MOST_MB", 64.0)
    (result,) = results(how, tmp_path)
    assert result.bucket.strip() == failure.strip()
    assert bool(result.refused) == (how in ("refusing", "printing"))


def test_a_child_that_dies_costs_its_one_case(tmp_path: Path) -> None:
    assert [(x.case, x.failure) for x in results("dying", tmp_path, cases=3)] == [
        (0, "died"), (1, "died"), (2, "died"),
    ]  # fmt: skip


def test_what_a_thread_still_reads_of_an_earlier_case_is_not_held_against_the_next(
    tmp_path: Path,
) -> None:
    assert [x.failure for x in results("lingering", tmp_path, cases=3)] == ["", "", ""]


def test_a_case_is_damaged_the_same_way_each_time_and_another_one_another_way(
    tmp_path: Path,
) -> None:
    good = engine.prepare(Readers("well"), tmp_path)

    def damaged(case: int) -> tuple[list[str], str]:
        home = tmp_path / f"home-{time.monotonic_ns()}"
        home.mkdir()
        done = engine.damage(Readers("well"), good, 7, case, home)
        return done, (home / "file").read_text()

    assert [damaged(case) for case in range(20)] == [damaged(case) for case in range(20)]
    assert len({text for _, text in map(damaged, range(20))}) > 5


def test_a_failure_leaves_a_small_reproducer_which_fails_until_it_is_mended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(kinds.KINDS, "readers", lambda: Readers("tracing"))
    campaign = Campaign(kinds.KINDS["readers"], tmp_path, 3, tmp_path / "failures")
    tally = campaign.run(0, 12, None, 1)
    assert tally["failures"] == {"trace KeyError ?": 12} and tally["cases"] == 12
    (kept,) = (tmp_path / "failures").glob("*.json")
    assert tally["files"] == {"trace KeyError ?": str(kept)}
    assert '"done": [\n  "the file"\n ]' in kept.read_text()  # no damage was needed
    assert reproduce(kept) == 1
    monkeypatch.setitem(globals(), "_tracing", _well)
    assert reproduce(kept) == 0


def test_a_campaign_ends_when_its_time_is_over(tmp_path: Path) -> None:
    tally = Campaign(lambda: Readers("well"), tmp_path, 0, tmp_path).run(0, None, 0.5, 1)
    assert tally["fine"] == tally["cases"] > 0
