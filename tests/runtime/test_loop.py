from __future__ import annotations

import dataclasses
import gc
import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ofp_edge.camera_parameters import CameraTolerance
from ofp_edge.errors import CameraError, SpecMismatch
from ofp_edge.runtime.control.controller import Controller
from ofp_edge.runtime.control.loop import ControlLoop, Limits
from ofp_edge.runtime.control.stopping import StopFlag, stop_on_signals
from ofp_edge.runtime.infer.inference import Inference
from ofp_edge.runtime.kernel.rate import Rate
from ofp_edge.runtime.log.telemetry import McapLog, NoTelemetry, array_from_json
from ofp_edge.runtime.observer import Observer
from ofp_edge.spec import PolicySpec
from tests.runtime.standins import (
    DT,
    MS,
    ROWS,
    FakeCamera,
    FakeClock,
    FakeEpisodicRobot,
    FakePlanner,
    FakeRobot,
    FunctionRunner,
    PlannerClock,
    make_runners,
    make_spec,
)
from tests.runtime.test_telemetry import rows_of
from tests.synthetic import CAMERA

SPEC = make_spec(points=True, n_action_steps=3)


class Stand:
    """A whole loop on a fake clock."""

    def __init__(
        self, robot: Any = None, *, max_age_ms: float = 100.0, spec: PolicySpec = SPEC,
        instruction: str | None = None, **options: Any,
    ) -> None:  # fmt: skip
        self.clock = FakeClock()
        self.robot = (robot or FakeRobot)(self.clock)
        self.planner_clock = PlannerClock(self.clock)
        self.camera = FakeCamera(self.planner_clock)
        functions, runners = make_runners(spec)
        self.inference = Inference(spec, functions, runners, ROWS, 0)
        self.act: FunctionRunner = runners["act"]
        self.controller = Controller(spec, 2 * DT, 8 * DT)
        self.observer = Observer(
            spec, {"front": self.camera}, {"front": CAMERA}, CameraTolerance(),
            {"front": round(max_age_ms * MS)}, instruction=instruction,
        )  # fmt: skip
        telemetry = options.pop("telemetry", NoTelemetry())
        planner = FakePlanner(self.inference, self.observer, telemetry, self.planner_clock)
        self.loop = ControlLoop(
            self.inference, self.controller, self.observer, self.robot, clock=self.clock,
            sleep_until=self.clock.sleep_until, planner=planner, telemetry=telemetry, **options,
        )  # fmt: skip

    def thinking(self, ms: float) -> None:
        """Let every `act` take that long."""
        answer = self.act.function

        def slow(*buffers: Any) -> None:
            self.planner_clock.now_ns += round(ms * MS)
            answer(*buffers)

        self.act.function = slow


def test_runs_at_a_fixed_rate_and_stops_the_robot_at_the_end() -> None:
    stand = Stand()
    report = stand.loop.run(Limits(duration_s=2.0))
    times = [t for t, _ in stand.robot.sent]
    assert set(np.diff(times)) == {DT}
    assert report.stopped_because == "2 s are over" and stand.robot.stops == 1
    assert stand.controller.counters.misses == 0 and report.skipped_ticks == 0
    assert stand.controller.counters.acted == len(times)


def test_a_first_action_waits_for_t_obs_plus_latency() -> None:
    stand = Stand()
    stand.loop.run(Limits(duration_s=1.0))
    first_tick = 1_050 * MS  # the first frame is 10 ms older
    assert stand.robot.sent[0][0] == first_tick + 2 * DT


def test_inference_longer_than_a_period_counts_misses_and_the_old_plan_goes_on() -> None:
    stand = Stand()
    stand.thinking(170.0)  # three and a half periods; the answer is due after two
    report = stand.loop.run(Limits(duration_s=4.0))
    times = [t for t, _ in stand.robot.sent]
    assert set(np.diff(times)) == {DT}, "a command in every slot"
    assert report.skipped_ticks == 0 and report.late_sends == 0
    assert stand.controller.counters.misses > stand.controller.counters.plans // 2 > 5
    assert report.fault is None


def test_a_command_whose_slot_has_passed_is_not_sent() -> None:
    stand = Stand()
    step = stand.controller.step

    def slow(now_ns: int, events: Any) -> Any:
        stand.clock.now_ns += DT if stand.controller.counters.ticks == 20 else 0
        return step(now_ns, events)

    stand.controller.step = slow  # type: ignore[method-assign]
    report = stand.loop.run(Limits(duration_s=2.0))
    slots = (np.array([t for t, _ in stand.robot.sent]) - 1_000 * MS) % DT
    assert report.late_sends == 1 and len(set(slots)) == 1


def test_a_frame_older_than_its_limit_is_never_acted_upon() -> None:
    stand = Stand(max_age_ms=100.0)
    stand.camera.age_ms = 101.0
    with pytest.raises(CameraError, match="no fresh frame"):
        stand.loop.run(Limits(duration_s=30.0))
    assert stand.act.calls == 0 and not stand.robot.sent and stand.robot.stops == 1


def test_a_frozen_camera_ends_in_hold_and_a_latched_stop() -> None:
    def freeze(report: Any, command: Any) -> None:
        stand.camera.frozen = stand.controller.counters.ticks >= 20

    stand = Stand(on_tick=freeze)
    report = stand.loop.run(Limits(duration_s=30.0))
    assert report.fault is not None and report.stopped_because.startswith("fault: no plan younger")
    assert stand.robot.stops >= 1
    last_send = stand.robot.sent[-1][0]
    assert last_send < 1_000 * MS + 20 * DT + 10 * DT


def test_a_dry_run_does_everything_but_send() -> None:
    stand = Stand(FakeEpisodicRobot)
    report = stand.loop.run(Limits(duration_s=1.0, dry_run=True))
    assert stand.act.calls > 0 and stand.controller.counters.acted > 0
    assert not stand.robot.sent and not stand.robot.seeds and stand.robot.stops == 0
    assert report.successes == []


def test_episodes_reset_the_robot_with_rising_seeds_and_are_counted() -> None:
    stand = Stand(FakeEpisodicRobot)
    report = stand.loop.run(Limits(duration_s=None, episodes=3, seed=40))
    assert stand.robot.seeds == [40, 41, 42] and report.successes == [True] * 3
    assert report.stopped_because == "3 episodes done"


def test_every_episode_starts_cold() -> None:
    warm: list[bool] = []
    stand = Stand(FakeEpisodicRobot)
    infer = stand.inference.infer

    def watch(*args: Any) -> Any:
        chunk = infer(*args)
        warm.append(stand.inference.started_warm)
        return chunk

    stand.inference.infer = watch  # type: ignore[method-assign]
    stand.loop.run(Limits(duration_s=None, episodes=2))
    half = len(warm) // 2
    assert warm == ([False] + [True] * (half - 1)) * 2 and half > 1


def test_a_stop_request_ends_the_run_at_the_next_tick() -> None:
    flag = StopFlag()
    stand = Stand(on_tick=lambda report, command: flag.set("Ctrl-C"))
    report = stand.loop.run(Limits(), flag)
    assert report.stopped_because == "Ctrl-C" and stand.robot.stops == 1


def test_an_error_of_the_robot_still_stops_it_and_leaves_a_report() -> None:
    stand = Stand()

    def broken(action: Any) -> None:
        raise ConnectionError("cable")

    stand.robot.send = broken
    with pytest.raises(ConnectionError):
        stand.loop.run(Limits())
    assert stand.robot.stops == 1 and stand.loop.report.seconds > 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_ask_and_do_not_kill(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    with stop_on_signals() as flag:
        os.kill(os.getpid(), number)
        for _ in range(100):
            if flag.reason:
                break
            time.sleep(0.01)
    assert flag.reason == {signal.SIGINT: "Ctrl-C", signal.SIGTERM: "SIGTERM"}[number]
    assert signal.getsignal(number) is before


def test_the_garbage_collector_is_back_after_the_loop() -> None:
    seen = []
    stand = Stand(on_tick=lambda report, command: seen.append(gc.isenabled()))
    stand.loop.run(Limits(duration_s=0.5))
    assert seen and not any(seen) and gc.isenabled() and gc.get_freeze_count() == 0


def test_the_log_replays_every_chunk_from_its_inputs(tmp_path: Path) -> None:
    log = McapLog(tmp_path / "run.mcap", {})
    stand = Stand(telemetry=log)
    stand.loop.run(Limits(duration_s=3.0))
    log.close()
    rows = rows_of(tmp_path / "run.mcap")
    assert len(rows["/command"]) == stand.controller.counters.ticks
    sent = [array_from_json(r["action"]) for r in rows["/command"] if r["sent"]]
    np.testing.assert_array_equal(sent, [a for _, a in stand.robot.sent])
    again = Inference(SPEC, *make_runners(SPEC), ROWS, 0)
    previous = None
    for seen, plan in zip(rows["/observation"], rows["/plan"], strict=True):
        inputs = {name: array_from_json(x) for name, x in seen["inputs"].items()}
        again.observe(seen["t_obs_ns"], inputs)
        previous = again.infer(plan["t_obs_ns"], previous)
        np.testing.assert_array_equal(previous.actions, array_from_json(plan["chunk"]))


def test_a_camera_that_differs_from_the_trained_one_is_refused_with_the_figures() -> None:
    clock = FakeClock()
    camera = FakeCamera(clock)
    camera.parameters = dataclasses.replace(CAMERA, fx=CAMERA.fx * 1.05)
    with pytest.raises(SpecMismatch, match="'front', fx, px: expected 32 within 0.64, got 33.6"):
        Observer(SPEC, {"front": camera}, {"front": CAMERA}, CameraTolerance(), {"front": MS})
    camera.parameters = dataclasses.replace(CAMERA, base_frame="hand")
    with pytest.raises(SpecMismatch, match=r"'front', frame: .*got hand.* calibrate hand-eye"):
        Observer(SPEC, {"front": camera}, {"front": CAMERA}, CameraTolerance(), {"front": MS})
    with pytest.raises(SpecMismatch, match="one named 'front'"):
        Observer(SPEC, {}, {"front": CAMERA}, CameraTolerance(), {})


def test_a_state_of_another_shape_is_refused() -> None:
    stand = Stand()
    state = stand.robot.state()
    state.values["state"] = np.zeros(3, np.float32)
    assert stand.observer.poll(stand.clock)
    with pytest.raises(SpecMismatch, match="robot state 'state'"):
        stand.observer.prepare(state)


def test_rate_keeps_absolute_deadlines_and_skips_what_has_passed() -> None:
    clock = FakeClock(0)
    rate = Rate(DT, clock, clock.sleep_until)
    rate.start(0)
    ticks = [rate.wait()]
    clock.now_ns = DT + DT // 2  # late by half a period: this tick is begun late
    ticks.append(rate.wait())
    clock.now_ns = 4 * DT + 1  # ticks 2 and 3 have passed
    ticks.append(rate.wait())
    ticks.append(rate.wait())
    assert ticks == [0, DT, 4 * DT, 5 * DT] and rate.skipped == 2


def test_a_real_clock_and_a_second_thread_end_a_run() -> None:
    stand = Stand()
    loop = ControlLoop(stand.inference, stand.controller, stand.observer, stand.robot)
    stand.camera.clock = time.monotonic_ns  # type: ignore[assignment]
    flag = StopFlag()

    def stop_once_it_has_acted() -> None:
        deadline = time.monotonic() + 4
        while stand.controller.counters.acted <= 3 and time.monotonic() < deadline:
            time.sleep(0.02)
        flag.set("other thread")

    threading.Thread(target=stop_once_it_has_acted).start()
    report = loop.run(Limits(duration_s=20.0), flag)
    assert report.stopped_because == "other thread" and 0.1 < report.seconds < 5
    assert stand.controller.counters.acted > 3
