from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ofp_edge.errors import OfpError
from ofp_edge.rig.safety import FieldLimits, SafetyEntry
from ofp_edge.runtime.control.loop import Limits
from ofp_edge.runtime.infer.inference import Inference
from ofp_edge.runtime.infer.sampler import Nfe, shipped_scheme
from ofp_edge.runtime.log.reader import LogReader
from ofp_edge.runtime.log.telemetry import McapLog
from ofp_edge.runtime.replay import controller_of, replay
from ofp_edge.runtime.robot import RobotState
from tests.runtime.standins import DT, ROWS, FakeEpisodicRobot, make_runners
from tests.runtime.test_loop import SPEC, Stand

SAFETY = SafetyEntry(limits={"move": FieldLimits(max_velocity=1.2, max_acceleration=30.0)})


def header(nfe: Nfe = 1) -> dict[str, Any]:
    return {
        "log_version": 3, "spec": SPEC.to_json(), "latency_ms": 100.0, "max_plan_age_ms": 400.0,
        "cross_fade_steps": 2, "safety": SAFETY.to_json(), "nfe": nfe,
        "refine_first_ns": DT // 3 if nfe == "auto" else None,
    }  # fmt: skip


def fresh(nfe: Nfe = 1, seed: int = 0) -> Inference:
    return Inference(SPEC, *make_runners(SPEC), ROWS, seed,
                     scheme=shipped_scheme(ROWS, nfe))  # fmt: skip


def run(path: Path, nfe: Nfe = 1, seconds: float = 3.0, robot: Any = None) -> Stand:
    """A run with late answers, a log, limits and a cross-fade."""
    log = McapLog(path, header(nfe))
    stand = Stand(robot, telemetry=log)
    inference = fresh(nfe)
    stand.loop.inference = stand.loop.planner.inference = inference
    stand.act = inference.act  # type: ignore[assignment]
    stand.loop.controller = stand.controller = controller_of(header(nfe))
    rng = np.random.default_rng(3)
    answer = stand.act.function

    def slow(*buffers: Any) -> None:
        stand.planner_clock.now_ns += int(rng.exponential(0.5) * DT)
        answer(*buffers)

    stand.act.function = slow
    stand.loop.run(Limits(duration_s=seconds, episodes=3 if robot else None))
    log.close()
    return stand


@pytest.mark.parametrize("nfe", [1, 2, "auto"])
def test_a_replay_is_the_same_bit_for_bit(tmp_path: Path, nfe: Nfe) -> None:
    stand = run(tmp_path / "run.mcap", nfe)
    counters = stand.controller.counters
    assert counters.misses and counters.limited and counters.acted > 20
    assert bool(counters.refined) == (nfe == "auto")
    report = replay(LogReader(tmp_path / "run.mcap"), fresh(nfe))
    assert report.same and report.whole and report.differences == []
    assert report.ticks == counters.ticks and report.chunks >= counters.plans


def test_a_replay_goes_through_episodes(tmp_path: Path) -> None:
    run(tmp_path / "run.mcap", robot=FakeEpisodicRobot)
    report = replay(LogReader(tmp_path / "run.mcap"), fresh())
    assert report.same and report.chunks > 6


class Jumpy(FakeEpisodicRobot):
    """Every tenth of its readings can't have been."""

    reads = 0

    def state(self) -> RobotState:
        self.reads += 1
        state = super().state()
        state.values["state"][0] += 5.0 * (self.reads % 10 == 0)
        return RobotState(state.t_ns + DT // 2, state.values)  # and its clock runs ahead a little


def test_a_replay_believes_what_the_run_believed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    limits = FieldLimits("state", max_velocity=1.2, max_acceleration=30.0, physical_speed=2.0)
    monkeypatch.setitem(globals(), "SAFETY", SafetyEntry(limits={"move": limits}))
    stand = run(tmp_path / "run.mcap", robot=lambda clock: Jumpy(clock, steps=30))
    assert stand.controller.counters.bridged > 3 and stand.controller.fault is None
    report = replay(LogReader(tmp_path / "run.mcap"), fresh())
    assert report.same and report.differences == []


def test_a_log_of_before_readings_were_timed_replays_as_it_ran(tmp_path: Path) -> None:
    """It says when a state was true and not when it was read: no state of it is from the future."""
    run(tmp_path / "run.mcap")
    log = LogReader(tmp_path / "run.mcap")
    for key in ("max_bridged_ticks",):
        del log.header["safety"][key]
    for limits in log.header["safety"]["limits"].values():
        del limits["physical_speed"]
    rows = list(log.rows())
    states = [event for _, row in rows for event in row.get("heard", ()) if "read_ns" in event]
    assert len(states) > 20
    for event in states:
        del event["read_ns"]
    for event in states[5:9]:
        event["t_ns"] += 3 * DT  # what a thread that was woken late read
    log.rows = lambda *topics, **_: (  # type: ignore[method-assign]
        (t, row) for t, row in rows if t in topics
    )
    assert replay(log, fresh()).same


def test_another_noise_is_told_with_its_first_places(tmp_path: Path) -> None:
    run(tmp_path / "run.mcap")
    report = replay(LogReader(tmp_path / "run.mcap"), fresh(seed=1))
    assert not report.same and report.chunks_same == 0 and 0 < len(report.differences) <= 20
    assert report.differences[0].what == "chunk" and (report.differences[0].apart or 0) > 0.01


def test_one_changed_bit_of_one_input_is_found(tmp_path: Path) -> None:
    run(tmp_path / "run.mcap")
    log = LogReader(tmp_path / "run.mcap")
    rows = list(log.rows())
    number = next(i for i, (topic, row) in enumerate(rows) if topic == "/command" and row["action"]
                  and row["kind"] == "act")  # fmt: skip
    action = rows[number][1]["action"]
    text = json.dumps(action["data"])
    rows[number][1]["action"] = {**action, "data": json.loads(text.replace("A", "B", 1))}
    log.rows = lambda *topics, all_files: (  # type: ignore[method-assign]
        (t, row) for t, row in rows if t in topics
    )
    report = replay(log, fresh())
    assert report.ticks - report.ticks_same == 1
    assert report.differences[0].t_ns == rows[number][1]["tick_ns"]


def test_a_killed_runs_log_is_read_to_where_it_ends(tmp_path: Path) -> None:
    run(tmp_path / "run.mcap")
    whole = (tmp_path / "run.mcap").read_bytes()
    (tmp_path / "cut.mcap").write_bytes(whole[: len(whole) * 2 // 3])
    report = replay(LogReader(tmp_path / "cut.mcap"), fresh())
    assert report.ticks_same == report.ticks > 10 and not report.whole


def test_missing_rows_are_counted_and_never_called_the_same(tmp_path: Path) -> None:
    log = McapLog(tmp_path / "run.mcap", header())
    for number in range(10):
        if number == 5:
            next(log._numbers["/event"])  # as a full queue does
        log.write("/event", number, t_ns=number, what="x", detail="", episode=0)
    log.close()
    reader = LogReader(tmp_path / "run.mcap")
    assert len(list(reader.rows())) == 10 and reader.missing == {"/event": 1}
    assert not replay(reader, fresh()).same


def test_what_is_no_log_of_ours_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"nothing")
    with pytest.raises(OfpError, match="is not a log"):
        LogReader(tmp_path / "x")
    with pytest.raises(OfpError, match="cannot be read"):
        LogReader(tmp_path / "none")


def test_a_log_of_version_2_is_read_and_its_replay_refused_in_one_line() -> None:
    log = LogReader(Path(__file__).parent / "fixtures" / "log-version-2")
    topics = [topic for topic, _ in log.rows()]
    assert log.whole and topics.count("/command") >= 4 and "/plan" in topics
    with pytest.raises(OfpError, match="expected 3, got 2. Replay it with .* 0.1.0") as caught:
        replay(log, fresh())
    assert "\n" not in str(caught.value)


def test_a_log_of_several_files_is_replayed_as_one_up_to_a_gap(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ofp_edge.runtime.log.file._MOST_CHUNKS", 1)  # a file a chunk
    stand = run(tmp_path / "run.mcap")
    log = LogReader(tmp_path / "run.mcap")
    assert len(log.files) > 3
    report = replay(log, fresh())
    assert report.same and report.whole and report.ticks == stand.controller.counters.ticks
    log.files[2].unlink()
    report = replay(LogReader(tmp_path / "run.mcap"), fresh())
    assert report.ticks_same == report.ticks > 0 and report.chunks_same == report.chunks > 0
    assert report.files_left_out == len(log.files) - 3 and not report.same
