"""One schedule through the whole loop, on a fake clock: cameras, planner, robot and all."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any
from unittest import mock

import numpy as np

from ofp_edge.camera_parameters import CameraTolerance
from ofp_edge.errors import OfpError, RigError
from ofp_edge.functions import Function, encode_and_act
from ofp_edge.runtime.control.events import Command, Event
from ofp_edge.runtime.control.loop import ControlLoop, Limits
from ofp_edge.runtime.control.stopping import StopFlag
from ofp_edge.runtime.infer.inference import Inference
from ofp_edge.runtime.observer import Observer
from ofp_edge.runtime.run_files import make_controller
from tests.attack.broken import Broken
from tests.attack.drive import Ran, stepped
from tests.attack.loop_parts import Boom, LoopWatch, RoughCamera, RoughRobot
from tests.attack.oracle import Oracle
from tests.attack.planner import RoughPolicy
from tests.attack.scenario import Scenario, draw_scenario
from tests.attack.schedule import Schedule, Trouble
from tests.attack.world import World
from tests.runtime.standins import ROWS, FakeClock, FakePlanner, FunctionRunner, PlannerClock
from tests.synthetic import CAMERA, points_field

FEATURE = 4
MAX_AGE_STEPS = 2


def run_loop(
    schedule: Schedule, tampered: Callable[[ControlLoop, StopFlag], None] | None = None
) -> Ran:
    """As `drive.run`, with everything that stands around the state machine. tampered: what is done
    to the loop before it runs."""
    scenario = draw_scenario(schedule.seed).without(schedule.without)
    fields = (*scenario.spec.observations, points_field())
    scenario = replace(scenario, spec=replace(scenario.spec, observations=fields))
    ran = Ran()
    try:
        rig = scenario.rig()
        controller = make_controller(scenario.spec, rig, None)
    except RigError as cause:
        ran.refused = str(cause)
        return ran
    try:
        stand = _Stand(schedule, scenario, controller, ran)
        if tampered is not None:
            tampered(stand.loop, stand.stop)
        stand.run()
    except Broken as broken:
        ran.broken = broken
    return ran


class _Stand:
    """The loop and everything that it is given."""

    def __init__(self, schedule: Schedule, scenario: Scenario, controller: Any, ran: Ran) -> None:
        rng = np.random.default_rng([schedule.seed, 4])
        self.schedule, self.scenario, self.ran, self._rng = schedule, scenario, ran, rng
        self.clock = FakeClock(int(rng.integers(10**9, 10**12)))
        self.planner_clock = PlannerClock(self.clock)
        self.dry_run = schedule.seed % 16 == 5
        self.watch = LoopWatch(scenario, self.clock, self.dry_run)
        self.stop = StopFlag()
        self.world, self.oracle = World(scenario, rng), Oracle(scenario)
        self.policy = RoughPolicy(scenario, rng)
        self._mean_think = float(rng.choice([0.2, 0.6, 1.5]))
        robot = RoughRobot(self.world, self.clock, self.troubles, self.watch)
        camera = self.camera = RoughCamera(scenario, self.planner_clock, rng, self.troubles)
        self.max_age_ns = MAX_AGE_STEPS * scenario.dt_ns
        observer = Observer(
            scenario.spec,
            {"front": camera},
            {"front": CAMERA},
            CameraTolerance(),
            {"front": self.max_age_ns},
        )
        inference = Inference(scenario.spec, *self._runners(), ROWS, 0)
        planner = FakePlanner(
            inference, observer, self, self.planner_clock, scenario.max_state_age_ns
        )
        self._step = controller.step
        controller.step = self._watched_step
        self.loop = ControlLoop(
            inference,
            controller,
            observer,
            robot,
            planner=planner,
            telemetry=self,
            clock=self.clock,
            sleep_until=self._sleep,
            stop_input=self,  # type: ignore[arg-type]
        )

    def run(self) -> None:
        """To the end; then what has to be so however it ended."""
        seconds = self.schedule.ticks * self.scenario.dt_ns / 1e9
        try:
            with mock.patch(
                "ofp_edge.runtime.control.loop.quiet_interpreter", contextlib.nullcontext
            ):
                self.loop.run(Limits(duration_s=seconds, dry_run=self.dry_run), self.stop)
        except (OfpError, Boom) as cause:  # one line, or what the planner died of
            self.ran.fault = self.ran.fault or str(cause)
        except Broken:
            raise
        except Exception as cause:
            raise Broken("raised", f"{type(cause).__name__}: {cause}") from cause
        if not self.dry_run and not self.watch.stopped:
            raise Broken("stops", "the run is over and the robot was not told to stop")

    def troubles(self) -> dict[str, Trouble]:
        """Those of this tick."""
        return self.schedule.active(max(0, self.watch.tick))

    def _watched_step(self, now_ns: int, events: list[Event]) -> Command:
        troubles = self.troubles()
        self.ran.ticks, self.ran.at = self.ran.ticks + 1, self.watch.tick
        if self.watch.unsent:
            self.oracle.not_sent()
        command = stepped(self._step, now_ns, events)
        self.oracle.see(now_ns, events, command)
        self.watch.decided(now_ns, command)
        self.ran.kinds[command.kind] += 1
        if "stop_input" in troubles and command.kind != "stop":
            raise Broken("stops", f"{command.kind} though the stop input said stop")
        if command.kind == "stop":
            self.ran.fault = self.ran.fault or command.reason
        if "stop" in troubles:
            self.stop.set("Ctrl-C")
            if self.watch.stop_asked_at is None:
                self.watch.stop_asked_at = self.watch.tick
        return command

    def read(self, now_ns: int) -> str:
        """As the stop input: what it has heard at this tick."""
        return "the stop input said stop" if "stop_input" in self.troubles() else ""

    def said(self) -> str:
        """The same, where no tick looks."""
        return self.read(0)

    def _sleep(self, t_ns: int) -> None:
        troubles, dt_ns = self.troubles(), self.scenario.dt_ns
        late = int(self._rng.exponential(0.02) * dt_ns)
        if "starved" in troubles:
            late = int(5 * troubles["starved"].value * dt_ns)
        self.clock.now_ns = max(self.clock.now_ns, t_ns) + late
        if (forward := troubles.get("clock_forward")) is not None:
            self.clock.now_ns += dt_ns * (2 + forward.which)
        if (back := troubles.get("clock_back")) is not None:
            self.clock.now_ns -= dt_ns * (1 + back.which)

    def _runners(self) -> tuple[Sequence[Function], dict[str, FunctionRunner]]:
        functions = encode_and_act(self.scenario.spec, FEATURE, 2)

        def encode(inputs: Any, outputs: Any) -> None:
            outputs["feature"][:] = 0

        def act(inputs: Any, outputs: Any) -> None:
            troubles = self.troubles()
            if "planner_dies" in troubles:
                raise Boom("the engine is gone")
            late = 20 * troubles["late"].value if "late" in troubles else 0
            think = self._rng.exponential(self._mean_think) + late
            self.planner_clock.now_ns += int(think * self.scenario.dt_ns)
            chunk = self.policy.actions(self.world.staying(), troubles)
            outputs["chunk"].reshape(-1)[:] = np.resize(chunk.reshape(-1), outputs["chunk"].size)

        answers = {"encode": encode, "act": act}
        return functions, {
            f.name: FunctionRunner(
                {x.name: x.shape for x in f.inputs},
                {x.name: x.shape for x in f.outputs},
                answers[f.name],
            )
            for f in functions
        }

    def write(self, topic: str, t_ns: int, /, **values: Any) -> None:
        """As the telemetry: every observation that a plan is made from."""
        if topic == "/observation":
            if values["t_obs_ns"] in self.camera.frozen:
                raise Broken("frozen", "planned from a picture that stands still")
            age_ns = self.planner_clock() - values["t_obs_ns"]
            if not 0 <= age_ns <= self.max_age_ns:
                raise Broken("frame age", f"a frame {age_ns / 1e6:g} ms old was planned from")
            # Believed at the order's tick; the look may wait for a frame of that tick.
            age_ns = self.planner_clock() - values["state_ns"]
            if age_ns > self.scenario.max_state_age_ns + 2 * self.scenario.dt_ns:
                raise Broken("state age", f"planned from a state {age_ns / 1e6:g} ms old")
            apart_ns = abs(values["t_obs_ns"] - values["state_ns"])
            if apart_ns > self.scenario.max_state_age_ns:
                raise Broken("state age", f"a frame and a state {apart_ns / 1e6:g} ms apart")

    def close(self) -> None:
        pass
