"""Jobs in processes of their own: what they may do wrong, and what is left of them."""

from __future__ import annotations

import os
import re
import signal
from pathlib import Path

import pytest

from ofp_edge.bench.pool import LocalPool, RayPool
from ofp_edge.errors import MissingExtra, OfpError
from ofp_edge.origin import install_line


def note(folder: Path, name: str) -> None:
    (folder / name).write_text(f"{os.getpid()} {os.environ['OMP_NUM_THREADS']}")


def refuse(folder: Path, name: str) -> None:
    raise OfpError(f"{name}: not like this.")


def crash(folder: Path, name: str) -> None:
    raise KeyError(name)


def die(folder: Path, name: str) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def test_every_job_has_a_process_of_its_own_with_one_thread(tmp_path: Path) -> None:
    done = sorted(LocalPool(2).run([(note, (tmp_path, name)) for name in "abc"]))
    assert done == [0, 1, 2]
    notes = [(tmp_path / name).read_text().split() for name in "abc"]
    assert len({pid for pid, _ in notes} | {str(os.getpid())}) == 4
    assert {threads for _, threads in notes} == {"1"}


@pytest.mark.parametrize(
    ("job", "kind", "says"),
    [
        (refuse, OfpError, "^x: not like this.$"),
        (crash, RuntimeError, "KeyError: 'x'"),
        (die, OfpError, "killed, or out of memory"),
    ],
)
def test_what_goes_wrong_in_a_job_is_told(
    tmp_path: Path, job: object, kind: type[Exception], says: str
) -> None:
    with pytest.raises(kind, match=says):
        list(LocalPool(1).run([(job, (tmp_path, "x")), (note, (tmp_path, "never"))]))  # type: ignore[list-item]
    assert not (tmp_path / "never").exists()


def test_ray_is_asked_for_where_it_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "ray", None)
    with pytest.raises(MissingExtra, match=re.escape(f"Run: {install_line('ray')}")):
        RayPool("local")
    with pytest.raises(OfpError, match="--workers 0"):
        LocalPool(0)


@pytest.mark.slow
def test_ray_runs_the_same_jobs(tmp_path: Path) -> None:
    ray = pytest.importorskip("ray")
    try:
        pool = RayPool("local")
        assert sorted(pool.run([(note, (tmp_path, name)) for name in "ab"])) == [0, 1]
        with pytest.raises(OfpError, match="not like this"):
            list(pool.run([(refuse, (tmp_path, "x"))]))
    finally:
        ray.shutdown()
    assert (tmp_path / "a").read_text() != (tmp_path / "b").read_text()
