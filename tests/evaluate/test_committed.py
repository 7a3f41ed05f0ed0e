"""Evaluation tells a policy what is committed, as `run` does: with a rig, and without one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from ofp_edge.evaluate.choice import Choice  # noqa: E402
from ofp_edge.evaluate.closed_loop import Evaluator, Job  # noqa: E402
from ofp_edge.rig.file import read_rig  # noqa: E402
from ofp_edge.runtime.chunk import Chunk  # noqa: E402
from ofp_edge.sim.tasks import find_task  # noqa: E402
from tests.synthetic import tiny_policy  # noqa: E402
from tests.task_spec import spec_of  # noqa: E402

TASK = find_task("planar/obstacle")
SEED = 1_000_000


@pytest.fixture(scope="module")
def policy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    spec = replace(spec_of(TASK, "state"), horizon=8, n_action_steps=3)
    path = tmp_path_factory.mktemp("told") / "p"
    return tiny_policy(path, spec=spec, task=TASK.name, committed_steps=4)


class Watched:
    """An episode: what was sent at each tick, and the plans with the prefixes they were told."""

    def __init__(self, policy: Path, choice: Choice = Choice(), **options: Any) -> None:  # noqa: B008
        evaluator = Evaluator(Job(policy, TASK.name, choice, **options))
        self.sent: dict[int, Any] = {}
        self.plans: list[tuple[Chunk, int]] = []
        infer, send = evaluator.inference.infer, evaluator.simulator.robot.send

        def inferred(t_ns: int, previous: Any = None, committed: Any = None) -> Chunk:
            chunk = infer(t_ns, previous, committed)
            self.plans.append((chunk, 0 if committed is None else len(committed)))
            return chunk

        def sending(action: Any) -> None:
            self.sent[evaluator.clock()] = action.copy()
            send(action)

        evaluator.inference.infer = inferred  # type: ignore[method-assign]
        evaluator.simulator.robot.send = sending  # type: ignore[method-assign]
        self.episode = evaluator.run(SEED)
        self.dt_ns = evaluator.spec.dt_ns
        evaluator.close()


@pytest.mark.parametrize("nfe", [1, 10])
@pytest.mark.parametrize("steps", [1, 3])
def test_a_plan_begins_with_what_is_sent_until_it_takes_over(
    policy: Path, steps: int, nfe: int
) -> None:
    latency_ms = steps * 1e3 / TASK.control_hz
    found = Watched(policy, Choice(nfe=nfe), latency_ms=latency_ms)
    told = [(chunk, count) for chunk, count in found.plans if count]
    assert len(told) > 5 and {count for _, count in told} == {steps}
    assert found.plans[0][1] == 0
    for chunk, count in told:
        for i in range(count):
            sent = found.sent.get(chunk.t_obs_ns + i * found.dt_ns)
            if sent is not None:  # the episode may be over before
                np.testing.assert_allclose(chunk.actions[i], sent, atol=1e-6)


RIG = """
schema_version = 1
[robot]
driver = "none.of:Ours"
[timing]
latency_ms = 100.0
max_plan_age_ms = 400.0
cross_fade_steps = 0
[safety]
max_cut_in_a_row = 1000
[safety.limits.hand]
max_velocity = 0.05
"""


def test_within_a_rig_it_is_told_what_the_limits_left(policy: Path, tmp_path: Path) -> None:
    (tmp_path / "rig.toml").write_text(RIG)
    found = Watched(policy, latency_ms=100.0, rig=read_rig(tmp_path / "rig.toml"))
    assert found.episode.limited > 10
    told = [(chunk, count) for chunk, count in found.plans if count]
    assert len(told) > 5
    for chunk, count in told:
        for i in range(count):
            sent = found.sent.get(chunk.t_obs_ns + i * found.dt_ns)
            if sent is not None:
                np.testing.assert_allclose(chunk.actions[i], sent, atol=1e-6)


def test_without_latency_or_by_choice_nothing_is_told(policy: Path) -> None:
    now = Watched(policy)
    latency_ms = 2e3 / TASK.control_hz
    untold = Watched(policy, Choice(committed=False), latency_ms=latency_ms)
    assert {count for _, count in now.plans + untold.plans} == {0}
    assert untold.episode != Watched(policy, latency_ms=latency_ms).episode
