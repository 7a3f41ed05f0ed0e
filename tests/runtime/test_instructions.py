"""Another instruction during a run: from which plan on, from what start, and in the log."""

from __future__ import annotations

import socket
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ofp_edge.errors import OfpError, RigError
from ofp_edge.fields import Text
from ofp_edge.rig.file import read_rig
from ofp_edge.runtime.control.controller import Controller
from ofp_edge.runtime.control.events import (
    ChunkReady,
    EpisodeStarted,
    Event,
    Order,
    PlannerFree,
    PlanStarted,
    Told,
)
from ofp_edge.runtime.control.heard import from_row, to_row
from ofp_edge.runtime.control.loop import Limits
from ofp_edge.runtime.infer.inference import Inference
from ofp_edge.runtime.instruction_input import InstructionInput
from ofp_edge.runtime.log.reader import LogReader
from ofp_edge.runtime.log.telemetry import McapLog
from ofp_edge.runtime.replay import controller_of, replay
from ofp_edge.runtime.run_files import Request, read_run
from ofp_edge.spec import PolicySpec
from tests.rig_text import GOOD
from tests.runtime.small_bundle import write_small_bundle
from tests.runtime.standins import DT, ROWS, make_chunk, make_runners, make_spec
from tests.runtime.test_loop import SPEC, Stand
from tests.runtime.test_replay import header

OPEN, CLOSE = "open the door", "close the door"
TASK = Text("task", choices=(OPEN, CLOSE))
PLAIN = make_spec(horizon=12, n_action_steps=3)
WORDS = replace(SPEC, observations=(*SPEC.observations, TASK), n_obs_steps=2)


def say(path: Path, text: bytes) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as out:
        out.sendto(text, str(path))


class Bench:
    """A state machine whose planner answers at once, or not at all."""

    def __init__(self) -> None:
        self.controller = Controller(PLAIN, 2 * DT, 8 * DT, cold_latency_ns=4 * DT)
        self.tick = 0
        self.orders: dict[int, Order] = {}
        self._events: list[Event] = [EpisodeStarted(0)]

    def go(self, ticks: int, *, told: str | None = None, deaf: bool = False, bad: bool = False):
        for _ in range(ticks):
            events = self._events + ([Told(told)] if told is not None else [])
            now_ns, told, self._events = self.tick * DT, None, []
            command = self.controller.step(now_ns, events)
            assert command.kind != "stop", command.reason
            if (order := command.order) is not None and order.plan:
                self.orders[self.tick] = order
                chunk = make_chunk(PLAIN, now_ns, float("nan") if bad else 0.0)
                seen: list[Event] = [PlanStarted(now_ns, now_ns), ChunkReady(chunk)]
                self._events = [*([] if deaf else seen), PlannerFree()]
            elif order is not None:
                self._events = [PlannerFree()]
            self.tick += 1
        return self

    @property
    def last(self) -> Order:
        return self.orders[max(self.orders)]


def test_the_next_plan_that_is_due_follows_it_cold_and_those_after_it_warm() -> None:
    bench = Bench().go(10)
    due = sorted(bench.orders)
    assert due == [0, 3, 6, 9] and bench.last.instruction is None
    bench.go(1, told=CLOSE)
    assert sorted(bench.orders) == due, "no plan before its time"
    bench.go(2)
    order = bench.last
    assert max(bench.orders) == 12 and order.instruction == CLOSE
    assert order.warm_from is None and order.latency_ns == 4 * DT
    bench.go(3)
    assert bench.last.warm_from is not None and bench.last.warm_from.t_obs_ns == 12 * DT
    assert bench.last.instruction == CLOSE


def test_the_old_plan_goes_on_until_the_cold_start_is_due() -> None:
    bench = Bench().go(12)
    assert bench.controller.plan is not None
    bench.go(1, told=CLOSE)  # ordered at tick 12, due at 16
    followed = []
    for _ in range(8):
        bench.go(1)
        plan = bench.controller.plan
        assert plan is not None
        followed.append((bench.tick - 1, plan.t_obs_ns // DT))
    assert followed[2:5] == [(15, 9), (16, 12), (17, 15)]
    assert bench.controller.counters.misses == 0
    bench.go(6)
    assert bench.last.latency_ns == 2 * DT, "once it was taken over, L is L again"


def test_the_same_instruction_again_is_no_new_one() -> None:
    bench = Bench().go(5, told=CLOSE).go(5, told=CLOSE)
    assert bench.last.warm_from is not None


def test_a_start_of_which_nothing_came_is_owed_again() -> None:
    bench = Bench().go(10).go(1, told=CLOSE).go(2, deaf=True)
    assert bench.last.instruction == CLOSE and bench.last.warm_from is None
    bench.go(1)
    assert bench.last.tick_ns == 13 * DT and bench.last.warm_from is None
    bench.go(7)
    assert bench.last.warm_from is not None, "it was paid with that one"
    assert bench.last.latency_ns == 2 * DT


def test_after_a_refused_plan_the_next_does_not_start_from_the_old_instructions() -> None:
    bench = Bench().go(10).go(1, told=CLOSE).go(2, bad=True)
    assert bench.controller.counters.refused == 0
    bench.go(3)
    assert bench.controller.counters.refused == 1
    assert bench.last.tick_ns == 15 * DT and bench.last.warm_from is None


def test_a_row_gives_the_event_back() -> None:
    def none(t_ns: int, refined: bool) -> Any:
        raise AssertionError

    assert from_row(to_row(Told(CLOSE)), none) == Told(CLOSE)
    with pytest.raises(OfpError, match="instruction: expected an entry"):
        from_row({"event": "told"}, none)


def about() -> dict[str, Any]:
    return {**header(), "spec": WORDS.to_json()}


def told_run(path: Path, folder: Path, *texts: bytes) -> Stand:
    """A run of 3 s that is told `texts` after one."""
    log = McapLog(path, about())
    listener = InstructionInput(str(folder / "words"), WORDS.observations)
    stand = Stand(None, spec=WORDS, instruction=OPEN, telemetry=log, instruction_input=listener)
    stand.loop.controller = stand.controller = controller_of(about())
    stand.loop.on_tick = lambda report, command: (
        [say(folder / "words", text) for text in texts] and None
        if stand.controller.counters.ticks == 20 else None
    )  # fmt: skip
    stand.loop.run(Limits(duration_s=3.0))
    listener.close()
    log.close()
    return stand


def test_a_run_that_is_told_another_one_is_replayed_bit_for_bit(tmp_path: Path) -> None:
    stand = told_run(tmp_path / "run.mcap", tmp_path, b"dance", CLOSE.encode() + b"\n")
    log = LogReader(tmp_path / "run.mcap")
    plans = [row for _, row in log.rows("/plan")]
    numbers = [row["instruction_id"] for row in plans]
    first = numbers.index(1)
    assert numbers == [0] * first + [1] * (len(numbers) - first) and 2 < first < len(numbers) - 2
    assert [row["warm_from_ns"] is None for row in plans] == [
        k in (0, first) for k in range(len(plans))
    ]
    assert stand.loop.report.instructions == [CLOSE]
    assert stand.loop.report.refused_instructions == 1
    events = {row["what"]: row["detail"] for _, row in log.rows("/event")}
    assert events["instruction"] == CLOSE
    assert events["instruction refused"] == "'dance' is none of the policy's 2 instructions"
    again = replay(log, Inference(WORDS, *make_runners(WORDS), ROWS, 0))
    assert again.same and again.differences == []


def test_nothing_that_was_seen_under_the_old_one_is_planned_from() -> None:
    functions, runners = make_runners(WORDS)
    inference = Inference(WORDS, functions, runners, ROWS, 0)
    state = {f.name: np.zeros(f.shape, f.dtype) for f in WORDS.observations}
    seen = {}
    for k, number in enumerate((0, 0, 1, 1)):
        inference.observe(k * DT, {**state, "task": np.array(number)})
        inference.infer(k * DT)
        seen[k] = runners["act"].inputs["features"].reshape(2, -1)[:, 0].tolist()
    assert seen == {0: [0, 0], 1: [0, 0], 2: [10, 10], 3: [10, 10]}


def test_the_newest_of_several_counts_and_a_flood_does_not_hold_up(tmp_path: Path) -> None:
    listener = InstructionInput(str(tmp_path / "words"), WORDS.observations)
    for text in (OPEN, "open the dor", CLOSE):
        say(tmp_path / "words", text.encode())
    assert listener.read() == CLOSE and listener.refused()[0] == 1
    assert listener.read() is None and listener.refused()[0] == 0
    say(tmp_path / "words", b"\xff" * 5000)
    assert listener.read() is None
    assert "\n" not in listener.refused()[1]
    listener.close()
    assert not (tmp_path / "words").exists()


def test_a_rig_names_the_socket_and_a_policy_without_instructions_has_none(tmp_path: Path) -> None:
    path = tmp_path / "rig.toml"
    path.write_text(f'instruction_socket = "{tmp_path}/words"\n{GOOD}')
    assert read_rig(path).instruction_socket == f"{tmp_path}/words"
    plain = PolicySpec(PLAIN.observations, PLAIN.actions, 1, 8, 4, 20.0)
    bundle = write_small_bundle(tmp_path / "bundle", plain, {})
    with pytest.raises(RigError, match="instruction_socket: the policy takes no instruction"):
        read_run(Request(bundle, path))
    path.write_text(f'instruction_socket = " "\n{GOOD}')
    with pytest.raises(RigError, match="instruction_socket: expected a name"):
        read_rig(path)
