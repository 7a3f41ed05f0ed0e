"""The log of a policy that is told what is committed: it holds it, and a replay needs no more."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ofp_edge.errors import OfpError
from ofp_edge.manifest import Committed
from ofp_edge.runtime.control.loop import Limits
from ofp_edge.runtime.infer.inference import Inference
from ofp_edge.runtime.log.reader import LogReader
from ofp_edge.runtime.log.telemetry import McapLog, array_from_json
from ofp_edge.runtime.replay import ReplayReport, controller_of, replay
from tests.runtime.standins import DT, ROWS, make_runners
from tests.runtime.test_loop import SPEC, Stand
from tests.runtime.test_replay import header

SCALE = Committed(3, (0.5,) * SPEC.action_dim, (0.1,) * SPEC.action_dim)


def told(committed: Committed | None = SCALE) -> Inference:
    functions, runners = make_runners(SPEC, told=committed is not None)
    return Inference(SPEC, functions, runners, ROWS, 0, committed=committed)


def run(path: Path, **changes: Any) -> Stand:
    """With late answers, limits and a cross-fade."""
    about = {**header(), "committed": True, **changes}
    log = McapLog(path, about)
    stand = Stand(None, telemetry=log)
    inference = told()
    stand.loop.inference = stand.loop.planner.inference = inference
    stand.act = inference.act  # type: ignore[assignment]
    stand.loop.controller = stand.controller = controller_of(about)
    rng = np.random.default_rng(3)
    answer = stand.act.function

    def slow(*buffers: Any) -> None:
        stand.planner_clock.now_ns += int(rng.exponential(0.5) * DT)
        answer(*buffers)

    stand.act.function = slow
    stand.loop.run(Limits(duration_s=3.0))
    log.close()
    return stand


@pytest.fixture(scope="module")
def logged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("told") / "run.mcap"
    run(path)
    return path


class Reader(LogReader):
    """A log whose rows of /plan somebody changed."""

    def __init__(self, path: Path, change: Callable[[dict[str, Any]], None]) -> None:
        super().__init__(path)
        self.change = change

    def rows(self, *topics: str, all_files: bool = True) -> Any:
        for topic, row in super().rows(*topics, all_files=all_files):
            if topic == "/plan":
                self.change(row)
            yield topic, row


def plans(path: Path) -> list[tuple[Any, Any]]:
    rows = [row for _, row in LogReader(path).rows("/plan")]
    return [(array_from_json(row["committed"]), array_from_json(row["mask"])) for row in rows]


def test_a_replay_is_the_same_bit_for_bit_and_finds_the_same_committed(tmp_path: Path) -> None:
    stand = run(tmp_path / "run.mcap")
    assert stand.controller.counters.limited and stand.controller.counters.misses
    counts = [int(mask.sum()) for _, mask in plans(tmp_path / "run.mcap")]
    assert counts[0] == 0 and counts.count(2) > 10  # L is two steps
    report = replay(LogReader(tmp_path / "run.mcap"), told())
    assert report.same and report.differences == []


def test_a_robots_own_delay_is_in_the_log_and_the_replay_is_the_same(tmp_path: Path) -> None:
    delay = {"actuation_delay_ms": 50.0, "max_plan_age_ms": 350.0}
    run(tmp_path / "run.mcap", **delay)
    log = LogReader(tmp_path / "run.mcap")
    counts = [int(mask.sum()) for _, mask in plans(tmp_path / "run.mcap")]
    assert counts.count(3) > 5, "L is two steps, and the delay one more"
    indices = [row["index"] for _, row in log.rows("/command") if row["index"] is not None]
    assert min(indices) >= 3
    report = replay(log, told())
    assert report.same and report.differences == []
    log.header["actuation_delay_ms"] = 0.0
    assert not replay(log, told()).same


def test_what_was_told_is_what_was_commanded(logged: Path) -> None:
    commands = {
        row["tick_ns"]: array_from_json(row["action"])
        for _, row in LogReader(logged).rows("/command") if row["action"] is not None
    }  # fmt: skip
    rows = [row for _, row in LogReader(logged).rows("/plan")]
    compared = 0
    for row, (values, mask) in zip(rows, plans(logged), strict=True):
        known = np.asarray([commands[t] for t in sorted(commands)])
        ticks = np.asarray(sorted(commands), np.float64)
        for i in range(int(mask.sum())):
            t_ns = row["t_obs_ns"] + i * DT
            if not ticks[0] <= t_ns <= ticks[-1]:
                continue
            # The first three, a delta, are read between two ticks; L may end between them too.
            sent = [np.interp(t_ns, ticks, known[:, j]) for j in range(3)]
            np.testing.assert_allclose(values[i, :3] * 0.5 + 0.1, sent, atol=0.08)
            compared += 1
    assert compared > 20


def test_without_the_option_nothing_is_told(tmp_path: Path) -> None:
    run(tmp_path / "run.mcap", committed=False)
    assert not any(mask.any() for _, mask in plans(tmp_path / "run.mcap"))
    assert replay(LogReader(tmp_path / "run.mcap"), told()).same


def test_a_bundle_without_a_prefix_replays_it_too(logged: Path) -> None:
    report = replay(LogReader(logged), told(None))
    assert not report.same and report.chunks_same < report.chunks


def changed(path: Path, change: Callable[[dict[str, Any]], None]) -> ReplayReport:
    return replay(Reader(path, change), told())


def test_a_log_that_says_other_things_were_committed_differs(logged: Path) -> None:
    def nothing(row: dict[str, Any]) -> None:
        row["mask"] = plain(np.zeros(SPEC.horizon, np.float32))

    report = changed(logged, nothing)
    assert report.chunks_same < report.chunks and report.ticks_same < report.ticks
    assert any("committed" in x.detail for x in report.differences)


def plain(values: Any) -> dict[str, Any]:
    import base64

    data = base64.b64encode(values.tobytes()).decode()
    found: dict[str, Any] = json.loads(json.dumps(
        {"dtype": values.dtype.str, "shape": list(values.shape), "data": data}
    ))  # fmt: skip
    return found


@pytest.mark.parametrize(
    ("name", "values", "words"),
    [
        ("mask", np.zeros(3, np.float32), r"mask: expected \(8,\) float32"),
        ("mask", np.zeros(8), r"mask: expected \(8,\) float32"),
        ("committed", np.zeros(32, np.float32), r"committed: expected \(8, 4\)"),
        ("mask", np.array([0, 1, 0, 0, 0, 0, 0, 0], np.float32), "ones from the observation on"),
        ("mask", np.array([2, 0, 0, 0, 0, 0, 0, 0], np.float32), "ones from the observation on"),
        ("mask", np.full(8, np.nan, np.float32), "ones from the observation on"),
        ("mask", np.ones(8, np.float32), "trained with up to 3"),
        ("mask", None, "mask: expected dtype"),
    ],
)
def test_what_no_run_wrote_is_said_in_a_line(
    logged: Path, name: str, values: Any, words: str
) -> None:
    def change(row: dict[str, Any]) -> None:
        row[name] = values if values is None else plain(values)

    with pytest.raises(OfpError, match=words) as caught:
        changed(logged, change)
    assert "\n" not in str(caught.value)
