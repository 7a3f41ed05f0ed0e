"""A network may flow wider actions than the robot has: noise, plans and warm starts are as wide."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ofp_edge.errors import SpecMismatch
from ofp_edge.functions import Function, Tensor
from ofp_edge.runtime.control.loop import Limits
from ofp_edge.runtime.infer.guard import choose
from ofp_edge.runtime.infer.inference import Inference
from ofp_edge.runtime.infer.repeats import REPEATED
from ofp_edge.runtime.infer.sampler import shipped_scheme
from ofp_edge.runtime.log.reader import LogReader
from ofp_edge.runtime.log.telemetry import McapLog, array_from_json
from ofp_edge.runtime.replay import controller_of, replay
from ofp_edge.start import Start
from tests.runtime.standins import DT, ROWS, FunctionRunner, make_runners
from tests.runtime.test_loop import SPEC, Stand
from tests.runtime.test_replay import header

ACTION, WIDTH = SPEC.action_dim, SPEC.action_dim + 3
WIDE = SPEC.horizon, WIDTH


def wide_runners() -> tuple[tuple[Function, ...], Mapping[str, FunctionRunner]]:
    """As make_runners, but what is flowed is three numbers wider."""
    (encode, act), runners = make_runners(SPEC)
    flat = (1, SPEC.horizon * WIDTH)

    def widened(tensors: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        return tuple(
            replace(x, shape=flat) if x.name in ("z", "chunk_normalised") else x for x in tensors
        )

    def answer(inputs: dict[str, Any], outputs: dict[str, Any]) -> None:
        step = inputs["time_row"][0, -1] * inputs["features"][0, -1]
        outputs["chunk_normalised"][:] = inputs["z"] + step
        plan = outputs["chunk_normalised"].reshape(WIDE)
        outputs["chunk"][:] = 2 * plan[:, :ACTION].reshape(1, -1)

    act = Function(act.name, widened(act.inputs), widened(act.outputs))
    shapes = [{x.name: x.shape for x in side} for side in (act.inputs, act.outputs)]
    return (encode, act), {**runners, "act": FunctionRunner(shapes[0], shapes[1], answer)}


SEEN = {f.name: np.zeros(f.shape, np.float32) for f in SPEC.observations} | {
    "state": np.array([0, 1, 2, 0.5], np.float32)
}


def fresh(**more: Any) -> Inference:
    return Inference(SPEC, *wide_runners(), ROWS, 3, **more)


def seeing(**more: Any) -> Inference:
    inference = fresh(**more)
    inference.observe(0, SEEN)
    return inference


def noise(draws: int = 1) -> np.ndarray:
    rng = np.random.Generator(np.random.PCG64(3))
    return np.stack(
        [rng.standard_normal(WIDE[0] * WIDTH, dtype=np.float32) for _ in range(draws)]
    ).reshape(draws, *WIDE)


def test_the_robots_actions_are_the_first_of_what_is_flowed() -> None:
    chunk = seeing().infer(0)
    np.testing.assert_allclose(chunk.normalised, noise()[0] + 0.5, rtol=1e-6)
    np.testing.assert_array_equal(chunk.actions, 2 * chunk.normalised[:, :ACTION])


def test_a_warm_start_goes_on_from_all_of_the_last_plan() -> None:
    inference = seeing()
    first = inference.infer(0)
    inference.observe(DT, SEEN)
    chunk = inference.infer(DT, first)
    shifted = np.clip(first.shifted_normalised(1), -2, 2)
    z = np.float32(0.7) * noise(2)[1] + np.float32(0.3) * shifted
    np.testing.assert_allclose(chunk.normalised, z + 0.35, rtol=1e-5, atol=1e-6)


def test_a_guard_looks_at_the_robots_part_alone() -> None:
    candidates = noise(8) + np.float32(0.5)
    taken = choose(candidates[:, :, :ACTION].reshape(8, -1))
    assert taken != choose(candidates.reshape(8, -1))  # another one, by what no loss is on
    np.testing.assert_allclose(seeing(guard=8).infer(0).normalised, candidates[taken], rtol=1e-6)


def test_a_plan_repeats_itself_by_the_robots_part_alone() -> None:
    scheme = shipped_scheme(ROWS, 1, Start(noise_warm=0.0))
    inference = seeing(scheme=scheme)
    first = inference.infer(0)
    answer = inference.act.function  # type: ignore[attr-defined]

    def padding_moves(inputs: dict[str, Any], outputs: dict[str, Any]) -> None:
        answer(inputs, outputs)
        plan = outputs["chunk_normalised"].reshape(WIDE)
        plan[:, :ACTION] = first.normalised[:, :ACTION]
        plan[:, ACTION:] = first.normalised[:, ACTION:] + 10 * REPEATED

    inference.act.function = padding_moves  # type: ignore[attr-defined]
    assert inference.infer(0, first).repeated.again


def test_a_run_is_logged_and_replayed_bit_for_bit(tmp_path: Path) -> None:
    log = McapLog(tmp_path / "run.mcap", header())
    stand = Stand(None, telemetry=log)
    inference = fresh()
    stand.loop.inference = stand.loop.planner.inference = inference
    stand.loop.controller = stand.controller = controller_of(header())
    stand.loop.run(Limits(duration_s=2.0))
    log.close()
    reader = LogReader(tmp_path / "run.mcap")
    plans = [row for _, row in reader.rows("/plan")]
    assert any(row["warm_from_ns"] is not None for row in plans)
    assert {array_from_json(x["chunk_normalised"], "").shape for x in plans} == {WIDE}
    report = replay(reader, fresh())
    assert report.same and report.chunks == len(plans) > 4


def test_noise_of_another_width_than_the_plans_is_refused() -> None:
    functions, runners = wide_runners()
    runners["act"].inputs["z"] = np.zeros((1, SPEC.horizon * ACTION), np.float32)
    with pytest.raises(SpecMismatch, match="act z"):
        Inference(SPEC, functions, runners, ROWS, 0)
