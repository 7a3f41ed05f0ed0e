"""`eval --rig` and `run` are one way: on the simulator the same seed gives the same commands."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

pytest.importorskip("metaworld")
pytest.importorskip("onnxruntime")

from ofp_edge.bundle import open_bundle, write_manifest  # noqa: E402
from ofp_edge.evaluate.choice import Choice  # noqa: E402
from ofp_edge.evaluate.closed_loop import Evaluator, Job, evaluation_seeds  # noqa: E402
from ofp_edge.rig.file import read_rig  # noqa: E402
from ofp_edge.runtime.control.run_report import Limits  # noqa: E402
from ofp_edge.runtime.infer.inference import Inference  # noqa: E402
from ofp_edge.runtime.kernel.rate import Rate  # noqa: E402
from ofp_edge.runtime.run_files import Request, read_run  # noqa: E402
from ofp_edge.runtime.session import open_session  # noqa: E402
from ofp_edge.sim.fields import action_fields, observation_fields  # noqa: E402
from ofp_edge.sim.robot import SimulatedRobot  # noqa: E402
from ofp_edge.sim.simulator import ManualClock  # noqa: E402
from ofp_edge.sim.tasks import find_task  # noqa: E402
from ofp_edge.spec import PolicySpec  # noqa: E402
from tests.runtime.small_bundle import write_small_bundle  # noqa: E402

TASK = find_task("planar/obstacle")
SEED = evaluation_seeds(0, 4)[3]
RIG = """
schema_version = 1
[robot]
driver = "tests.evaluate.test_one_way:OnAClock"
[robot.options]
task = "planar/obstacle"
world = "run"
[timing]
latency_ms = {latency}
max_plan_age_ms = 400.0
"""
LIMITS = """
[safety]
max_cut_in_a_row = 1000
[safety.limits.hand]
measured = "state"
max_velocity = 0.3
max_acceleration = 3.0
"""
Commands = list[NDArray[np.float32]]


class OnAClock(SimulatedRobot):
    """The rig's robot, in the test's time; it remembers what it was sent."""

    moments = ManualClock()

    def __init__(self, spec: PolicySpec, **options: Any) -> None:
        super().__init__(spec, clock=self.moments, **options)
        self.sent: Commands = []

    def send(self, action: NDArray[np.float32]) -> None:
        self.sent.append(action.copy())
        super().send(action)


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, int], Path]:
    """By start, cold or warm, and n_obs_steps."""
    found = {}
    for steps in (1, 2):
        fields = observation_fields(TASK, "state"), action_fields(TASK)
        spec = PolicySpec(*fields, steps, 8, 4, TASK.control_hz)
        for start in ("warm", "cold"):
            folder = tmp_path_factory.mktemp("way") / start
            write_small_bundle(folder, spec, {})
            manifest = open_bundle(folder).manifest
            rows = tuple(row for row in manifest.time_rows if row.name in ("cold", "refine", start))
            write_manifest(folder, replace(manifest, time_rows=rows))
            found[start, steps] = folder
    return found


@pytest.fixture(autouse=True)
def no_time_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    """The slowest evaluation at start-up, by which there is time to refine, is 0 in both."""
    monkeypatch.setattr(Inference, "warm_up", lambda self, runs=3: None)


def run(bundle: Path, rig: Path, nfe: Any) -> tuple[Commands, dict[str, int]]:
    """An episode of the session and the loop that `run` opens, on simulated time; the planner
    answers before the next tick."""
    clock = OnAClock.moments
    with open_session(read_run(Request(bundle, rig, seed=SEED, nfe=nfe))) as session:
        loop, planner = session.loop, session.loop.planner
        loop.clock = planner.clock = clock
        loop.rate = Rate(
            session.bundle.spec.dt_ns, clock, lambda t_ns: clock.advance(t_ns - clock())
        )
        planner.start, planner.give = lambda: None, planner.serve  # type: ignore[method-assign]
        loop.run(Limits(None, episodes=1, seed=SEED))
        robot: Any = loop.robot
        return robot.sent, loop.controller.counters.to_json()


def evaluate(bundle: Path, rig: Path, nfe: Any) -> tuple[Commands, dict[str, int]]:
    limits = read_rig(rig)
    choice = Choice(if_time=True) if nfe == "auto" else Choice(nfe=nfe)
    job = Job(bundle, TASK.name, choice, limits.timing.latency_ms, rig=limits)
    evaluator, sent = Evaluator(job), []
    send = evaluator.simulator.robot.send

    def noted(action: NDArray[np.float32]) -> None:
        sent.append(action.copy())
        send(action)

    evaluator.simulator.robot.send = noted  # type: ignore[method-assign]
    episode = asdict(evaluator.run(SEED))
    evaluator.close()
    return sent, episode


def alike(bundle: Path, folder: Path, latency_ms: float, limits: str, nfe: Any) -> Any:
    rig = folder / "rig.toml"
    rig.write_text(RIG.format(latency=latency_ms) + limits)
    (robots, counters), (evals, episode) = run(bundle, rig, nfe), evaluate(bundle, rig, nfe)
    np.testing.assert_array_equal(np.stack(evals), np.stack(robots))
    for name in ("ticks", "plans", "limited", "refined"):
        assert episode[name] == counters[name], name
    assert len(robots) > 15, "too short to say anything"
    return np.stack(robots), counters


@pytest.mark.parametrize("nfe", [1, "auto"])
@pytest.mark.parametrize("start", ["cold", "warm"])
@pytest.mark.parametrize("limits", ["", LIMITS], ids=["free", "limited"])
def test_the_same_seed_gives_the_commands_of_a_run_bit_for_bit(
    bundles: Any, tmp_path: Path, limits: str, start: str, nfe: Any
) -> None:
    _, counters = alike(bundles[start, 2], tmp_path, 100.0, limits, nfe)
    assert (counters["limited"] > 5) == bool(limits)
    assert (counters["refined"] > 2) == (nfe == "auto")


@pytest.mark.parametrize("latency_ms", [0.0, 40.0, 120.0])
def test_the_same_at_any_latency_and_of_a_policy_of_one_frame(
    bundles: Any, tmp_path: Path, latency_ms: float
) -> None:
    _, counters = alike(bundles["warm", 1], tmp_path, latency_ms, LIMITS, 2)
    assert (counters["misses"] > 0) == (latency_ms == 0.0)


def test_warm_starts_limits_refining_and_latency_change_the_commands(
    bundles: Any, tmp_path: Path
) -> None:
    first, _ = alike(bundles["warm", 2], tmp_path, 100.0, "", 1)
    others = (
        ("cold", 100.0, "", 1), ("warm", 100.0, LIMITS, 1), ("warm", 100.0, "", "auto"),
        ("warm", 50.0, "", 1),
    )  # fmt: skip
    for start, latency_ms, limits, nfe in others:
        other, _ = alike(bundles[start, 2], tmp_path, latency_ms, limits, nfe)
        count = min(len(first), len(other))
        assert not np.array_equal(first[:count], other[:count]), (start, latency_ms, limits, nfe)
