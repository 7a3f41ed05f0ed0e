"""Closed-loop evaluation: honest seeds, reproducible episodes, the robot's own path."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

pytest.importorskip("metaworld")
pytest.importorskip("pyrealsense2")
pytest.importorskip("onnxruntime")

from ofp_edge.cli import eval as eval_command  # noqa: E402
from ofp_edge.errors import OfpError, RigError  # noqa: E402
from ofp_edge.evaluate.choice import Choice  # noqa: E402
from ofp_edge.evaluate.closed_loop import (  # noqa: E402
    Evaluator,
    Job,
    evaluation_seeds,
    run_episodes,
)
from ofp_edge.evaluate.contestant import open_contestant  # noqa: E402
from ofp_edge.rig.file import read_rig  # noqa: E402
from ofp_edge.runtime.chunk import Chunk  # noqa: E402
from ofp_edge.sim.fields import action_fields, observation_fields  # noqa: E402
from ofp_edge.sim.tasks import find_task  # noqa: E402
from ofp_edge.spec import PolicySpec  # noqa: E402
from tests.runtime.small_bundle import write_small_bundle  # noqa: E402

TASK = find_task("metaworld/door-open")
SPEC = PolicySpec(observation_fields(TASK, "depth"), action_fields(TASK), 2, 8, 4, TASK.control_hz)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("evaluate") / "bundle"
    return write_small_bundle(folder, SPEC, {"front": TASK.view.parameters()})


def job(path: Path, **options: Any) -> Job:
    return Job(path, TASK.name, **options)


def test_an_episode_depends_on_its_seed_alone(bundle: Path) -> None:
    evaluator = Evaluator(job(bundle))
    first = evaluator.run(1_000_003)
    evaluator.run(1_000_004)
    again = evaluator.run(1_000_003)
    evaluator.close()
    assert first == again and first.plans > 3 and first.jump is not None


@pytest.mark.slow
def test_the_number_of_workers_changes_nothing(bundle: Path) -> None:
    seeds = evaluation_seeds(0, 4)
    assert run_episodes(job(bundle), seeds, workers=1) == run_episodes(
        job(bundle), seeds, workers=2
    )


def expert_successes(bundle: Path, latency_ms: float, steps: int) -> int:
    """Plans what the scripted expert would do now, over and over, in place of the policy's."""
    evaluator = Evaluator(job(bundle, latency_ms=latency_ms))
    evaluator.spec = replace(SPEC, n_action_steps=steps)

    def expert(t_obs_ns: int, previous: Chunk | None, committed: object) -> Chunk:
        assert t_obs_ns == evaluator.clock()
        action = evaluator.simulator.world.expert_action()
        actions = np.repeat(action[None], SPEC.horizon, axis=0)
        return Chunk(t_obs_ns, SPEC.dt_ns, actions, actions)

    evaluator.inference.infer = expert  # type: ignore[assignment]
    good = sum(evaluator.run(seed).success for seed in evaluation_seeds(7, 3))
    evaluator.close()
    return good


def test_an_oracle_that_replans_every_step_succeeds_through_this_path(bundle: Path) -> None:
    assert expert_successes(bundle, 0.0, 1) == 3


def test_the_frames_of_another_episode_reach_the_policy_through_the_camera(bundle: Path) -> None:
    def depths(frames: Any) -> tuple[Any, list[np.ndarray]]:
        evaluator = Evaluator(job(bundle, frames=frames))
        kept = []
        observe = evaluator.inference.observe

        def watch(t_ns: int, arrays: Any) -> None:
            kept.append(arrays["points"].copy())
            observe(t_ns, arrays)

        evaluator.inference.observe = watch  # type: ignore[method-assign]
        episode = evaluator.run(1_000_001)
        if frames == "other":
            played = evaluator.record(1_000_001 + 500_000_000)["front"]
            field = evaluator.observer.spec.observations[1]
            cloud = field.preparation(evaluator.observer.cameras["front"].parameters)
            expected = np.zeros_like(kept[0])
            for i, points in enumerate(kept):
                cloud(played[min(i, len(played) - 1)].depth, expected)
                np.testing.assert_array_equal(points, expected)
        evaluator.close()
        return episode, kept

    own, own_points = depths("own")
    other, other_points = depths("other")
    assert own.seed == other.seed
    assert not np.array_equal(own_points[0], other_points[0])


RIG = """
schema_version = 1
[robot]
driver = "none.of:Ours"
[cameras.front]
driver = "realsense"
[timing]
latency_ms = 100.0
max_plan_age_ms = 400.0
cross_fade_steps = 0
"""


@pytest.fixture
def rig(tmp_path: Path) -> Path:
    path = tmp_path / "rig.toml"
    path.write_text(RIG)
    return path


def test_a_rig_that_limits_nothing_changes_no_command(bundle: Path, rig: Path) -> None:
    rig.write_text(RIG + "[safety.limits.hand]\nmax_velocity = 1e6\n")
    without = Evaluator(job(bundle, latency_ms=100.0)).run(1_000_002)
    within = Evaluator(job(bundle, latency_ms=100.0, rig=read_rig(rig))).run(1_000_002)
    assert within.limited == 0 and without.plans - within.plans in (0, 1)  # heard a tick later
    assert within == replace(without, plans=within.plans)


def test_a_rig_that_names_no_velocity_limits_the_hand_to_the_default(
    bundle: Path, rig: Path
) -> None:
    evaluator = Evaluator(job(bundle, latency_ms=100.0, rig=read_rig(rig)))
    send, sent = evaluator.simulator.robot.send, list[np.ndarray]()

    def noted(action: np.ndarray) -> None:
        sent.append(action)
        send(action)

    evaluator.simulator.robot.send = noted  # type: ignore[method-assign]
    episode = evaluator.run(1_000_002)
    evaluator.close()
    fastest = np.linalg.norm(np.stack(sent)[:, :3], axis=1).max() * TASK.step_m * TASK.control_hz
    assert fastest == pytest.approx(0.25, abs=1e-6)
    assert 0 < episode.limited < episode.ticks
    assert "26 commands in a row were cut" in episode.fault


def test_a_latency_the_policy_cannot_have_is_refused(bundle: Path) -> None:
    with pytest.raises(RigError, match="latency_ms: expected 0..200"):
        Evaluator(job(bundle, latency_ms=250.0)).run(1_000_000)


def test_with_latency_the_first_actions_come_later(bundle: Path) -> None:
    evaluator = Evaluator(job(bundle, latency_ms=100.0))
    sent: list[int] = []
    send = evaluator.simulator.robot.send

    def watch(action: np.ndarray) -> None:
        sent.append(evaluator.clock())
        send(action)

    evaluator.simulator.robot.send = watch  # type: ignore[method-assign]
    began = evaluator.clock() + SPEC.dt_ns
    evaluator.run(1_000_000)
    evaluator.close()
    assert sent[0] == began + 100_000_000


@pytest.mark.parametrize(
    ("choice", "what"),
    [
        (Choice(nfe=3), "a bundle takes 1 .one step. or 2"),
        (Choice(t_w=0.5), "compiled for t_w 0.3"),
    ],
)
def test_what_a_bundle_cannot_do_is_refused_in_one_line(
    bundle: Path, choice: Choice, what: str
) -> None:
    with pytest.raises(OfpError, match=what):
        open_contestant(bundle, choice)


def test_a_bundle_may_refine_by_default(bundle: Path, tmp_path: Path) -> None:
    from ofp_edge.bundle import open_bundle, write_manifest

    manifest = open_bundle(bundle).manifest
    assert manifest.default.nfe == open_contestant(bundle, Choice()).nfe == 1
    refining = shutil.copytree(bundle, tmp_path / "bundle")
    write_manifest(refining, replace(manifest, default=replace(manifest.default, nfe=2)))
    assert open_contestant(refining, Choice()).nfe == 2
    assert open_contestant(refining, Choice(nfe=1)).nfe == 1


def test_a_folder_that_is_neither_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OfpError, match="neither a bundle"):
        open_contestant(tmp_path, Choice())


def test_the_command_writes_the_document_it_prints(bundle: Path, tmp_path: Path) -> None:
    app = typer.Typer()
    eval_command.add(app)
    app.callback()(lambda: None)
    out = tmp_path / "eval.json"
    arguments = ["eval", str(bundle), "--task", TASK.name, "--episodes", "2", "--workers", "1",
                 "-o", str(out), "--json"]  # fmt: skip
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    document = json.loads(done.stdout)
    assert document == json.loads(out.read_text()) and set(document) == set(eval_command.KEYS)
    assert document["episodes"] == 2 and 0 <= document["success"] <= 1
    low, high = document["interval"]
    assert low <= document["success"] <= high
    again = CliRunner().invoke(app, arguments)
    assert again.exit_code == 1 and "exists" in json.loads(again.stdout)["error"]


def test_the_command_evaluates_within_a_rig_s_limits_at_its_latency(
    bundle: Path, rig: Path, tmp_path: Path
) -> None:
    app = typer.Typer()
    eval_command.add(app)
    app.callback()(lambda: None)
    arguments = ["eval", str(bundle), "--task", TASK.name, "--episodes", "1", "--workers", "1",
                 "--nfe", "auto", "--json"]  # fmt: skip
    refused = CliRunner().invoke(app, arguments)
    assert refused.exit_code == 1
    assert "--nfe auto: expected --rig" in json.loads(refused.stdout)["error"]
    done = CliRunner().invoke(app, [*arguments, "--rig", str(rig), "--latency-ms", "150"])
    assert done.exit_code == 0, done.output
    document = json.loads(done.stdout)
    assert document["rig"] == str(rig) and document["nfe"] == "auto"
    assert 0 < document["limited"] < document["ticks"]
    assert document["latency_ms"] == 150.0 and document["by_latency"][0]["limited"] > 0
    own = CliRunner().invoke(app, [*arguments[:-3], "--rig", str(rig), "--json"])
    assert json.loads(own.stdout)["latency_ms"] == 100.0, own.output
    rig.write_text(RIG.replace("front", "side"))
    other = CliRunner().invoke(app, [*arguments, "--rig", str(rig)])
    assert "[cameras.front]: expected by the policy" in json.loads(other.stdout)["error"]
