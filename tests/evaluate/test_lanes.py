"""Many episodes share a network call, and none of them notices."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("metaworld")
torch = pytest.importorskip("torch")
pytest.importorskip("greenlet")

from ofp_edge.errors import OfpError, UnknownName  # noqa: E402
from ofp_edge.evaluate.choice import Choice  # noqa: E402
from ofp_edge.evaluate.closed_loop import Evaluator, Job, run_episodes, run_jobs  # noqa: E402
from ofp_edge.evaluate.contestant import open_contestant  # noqa: E402
from ofp_edge.evaluate.torch_inference import MANY_STEPS, ROWS  # noqa: E402
from ofp_edge.policy.torch_batch import TorchBatch  # noqa: E402
from ofp_edge.sim.tasks import find_task  # noqa: E402
from tests.synthetic import tiny_policy  # noqa: E402
from tests.task_spec import spec_of  # noqa: E402

TASK = find_task("metaworld/button-press-topdown-wide")
SEEDS = range(1_000_000, 1_000_005)


@pytest.fixture(scope="module")
def policy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    spec = replace(spec_of(TASK, "state"), horizon=8, n_action_steps=4)
    return tiny_policy(tmp_path_factory.mktemp("lanes") / "p", spec=spec, task=TASK.name)


def job(policy: Path, nfe: int = MANY_STEPS, **more: float) -> Job:
    return Job(policy, TASK.name, Choice(nfe=nfe), **more)


def test_an_episode_depends_on_its_seed_alone_in_any_order_and_company(policy: Path) -> None:
    together = run_episodes(job(policy), SEEDS, workers=1)
    backwards = run_episodes(job(policy), SEEDS[::-1], workers=1)
    evaluator = Evaluator(job(policy))
    alone = evaluator.run(SEEDS[2])
    evaluator.close()
    assert len(evaluator.contestant.inferences) == ROWS > 1
    assert together == backwards[::-1] and alone == together[2]
    assert [e.seed for e in together] == list(SEEDS) and together[0].plans > 5
    assert together[0].jump != together[1].jump


@pytest.mark.slow
def test_workers_and_jobs_beside_it_change_nothing(policy: Path) -> None:
    jobs = [job(policy), job(policy, latency_ms=50.0)]
    one, two = (run_jobs(jobs, SEEDS, workers=count) for count in (1, 2))
    assert one == two and one[0] == run_episodes(job(policy), SEEDS, workers=1)
    assert one[0] != one[1]


def test_few_steps_take_no_batch(policy: Path) -> None:
    assert open_contestant(policy, Choice(nfe=1)).batch is None


def test_every_row_of_a_batch_answers_as_the_module_does_alone(policy: Path) -> None:
    contestant = open_contestant(policy, Choice(nfe=MANY_STEPS, t_w=0.4))
    single = open_contestant(policy, Choice(nfe=MANY_STEPS - 1, t_w=0.4)).inference
    assert contestant.batch is not None and contestant.batch.rows_are_alike()
    rng = np.random.default_rng(0)
    rows = contestant.batch.rows
    for number, row in enumerate(rows):
        for name in ("features", "z"):
            row.inputs[name][:] = rng.normal(size=row.inputs[name].shape)
        row.inputs["time_row"][:] = number % 2  # cold and warm ladders beside each other
    contestant.batch.infer()
    module = contestant.batch._runner._module
    for row in rows:
        with torch.inference_mode():
            expected = module(*(torch.from_numpy(x.copy()) for x in row.inputs.values()))[0]
        np.testing.assert_allclose(row.outputs["chunk"], expected, rtol=1e-5, atol=1e-5)
    assert single.act.inputs["z"].shape == rows[0].inputs["z"].shape


def test_a_module_whose_rows_differ_is_found_out() -> None:
    from ofp_edge.functions import Tensor

    class LastRowIsWorse(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x + 1e-6 * (torch.arange(len(x)) == len(x) - 1)[:, None]

    tensors = [Tensor("x", (1, 4))], [Tensor("y", (1, 4))]
    assert not TorchBatch(LastRowIsWorse(), *tensors, 4).rows_are_alike()
    assert TorchBatch(torch.nn.Identity(), *tensors, 4).rows_are_alike()


def test_an_error_in_one_episode_is_the_jobs(policy: Path) -> None:
    with pytest.raises(OfpError, match="latency_ms: expected 0..200"):
        run_episodes(job(policy, latency_ms=250.0), SEEDS, workers=1)
    with pytest.raises(UnknownName):
        run_episodes(replace(job(policy), task="metaworld/none"), SEEDS, workers=1)


def test_a_refined_chunk_is_re_noised_to_its_time(policy: Path) -> None:
    from ofp_edge.policy.folder import load_policy
    from ofp_edge.policy.sampler import jump, sample

    contestant = open_contestant(policy, Choice(t_refine=0.7, cold=True))
    inference, network = contestant.inference, load_policy(policy).network
    assert contestant.nfe == 2 and contestant.t_w is None
    inference.reseed(5)
    state = np.random.default_rng(0).normal(size=39).astype(np.float32)
    inference.observe(0, {"state": state})
    chunk = inference.infer(0)
    size = contestant.spec.horizon * contestant.spec.action_dim
    noise = np.random.Generator(np.random.PCG64(5))
    first, second = (
        torch.from_numpy(noise.standard_normal(size, dtype=np.float32)[None]) for _ in range(2)
    )
    with torch.no_grad():
        features = torch.from_numpy(inference.act.inputs["features"].copy())
        answer = sample(network, features, first)
        noised = (1 - 0.7) * second + 0.7 * answer
        expected = jump(network, features, noised, 0.7, 1.0)
    np.testing.assert_allclose(chunk.normalised.reshape(1, -1), expected, atol=2e-5)
    assert not np.allclose(noised, expected)
    with pytest.raises(OfpError, match="--nfe 3: a refined chunk takes 2"):
        open_contestant(policy, Choice(nfe=3, t_refine=0.7))


def test_episodes_tell_jerk_and_no_flips_where_the_task_has_no_sides(policy: Path) -> None:
    (episode,) = run_episodes(job(policy, nfe=1), SEEDS[:1], workers=1)
    assert episode.jerk is not None and episode.jerk > 0 and episode.flips is None
    assert json.dumps(episode.__dict__)


def test_a_two_sided_task_counts_flips_and_has_no_picture(tmp_path: Path) -> None:
    from ofp_edge.evaluate.video import film

    planar = find_task("planar/obstacle")
    spec = replace(spec_of(planar, "state"), horizon=8, n_action_steps=4)
    path = tiny_policy(tmp_path / "p", spec=spec, task=planar.name)
    episodes = run_episodes(Job(path, planar.name), SEEDS, workers=1)
    assert any(episode.flips is not None for episode in episodes)
    with pytest.raises(OfpError, match="planar/obstacle has no picture to film"):
        film(Job(path, planar.name), SEEDS[:1], tmp_path / "film.mp4")
