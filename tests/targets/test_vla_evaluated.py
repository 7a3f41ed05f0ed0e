"""SmolVLA and pi0.5, tiny: held against recorded plans, profiled, and blind to what is masked."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ofp_edge.bundle import open_bundle
from ofp_edge.data.open import open_dataset
from ofp_edge.data.telling import told_as
from ofp_edge.errors import UnknownName
from ofp_edge.evaluate.choice import Choice
from ofp_edge.evaluate.offline import measure_offline
from ofp_edge.evaluate.replanned import replan
from ofp_edge.policy.config import PolicyConfig
from ofp_edge.policy.folder import read_config
from ofp_edge.profile.measure import measure
from ofp_edge.profile.open import open_bench
from ofp_edge.profile.summary import parts_of
from ofp_edge.runtime.infer.engine_choice import EngineChoice
from ofp_edge.runtime.infer.load import load_inference
from tests.imports.vla_checkpoint import IMAGES, TASKS
from tests.targets.vla_frames import write_frames
from tests.targets.vla_made import MS, NFE, Made, frame


@pytest.fixture(scope="module", params=["smolvla", "pi05"])
def made(request: pytest.FixtureRequest, vla_made: Callable[[str], Made]) -> Made:
    return vla_made(request.param)


@pytest.fixture(scope="module")
def config(made: Made) -> PolicyConfig:
    return read_config(made.policy)


@pytest.mark.parametrize("of", ["policy", "bundle"])
def test_plans_are_held_against_recorded_ones(
    made: Made, config: PolicyConfig, tmp_path: Path, of: str
) -> None:
    """A subset of the instructions, in another order; the policy's own numbers are what it sees."""
    data = write_frames(tmp_path / "data.zarr", config, TASKS[:0:-1])
    counts = [NFE] if of == "policy" else None
    found = measure_offline(getattr(made, of), data, Choice(cold=True), nfe=counts, samples=1)
    assert found.document["runs"][0]["nfe"] == NFE
    inference = load_inference(open_bundle(made.bundle), "onnxruntime", "fp32")
    dataset = told_as(open_dataset(data), config.spec.observations)
    assert set(dataset.fields["task"]) == {1, 2}
    first = found.recorded.episodes[0]
    (plans,) = replan(inference, dataset, [first], 1, 0, warm=False).cold
    np.testing.assert_allclose(found.plans[: len(plans)], plans, atol=1e-4)


def test_an_instruction_that_was_never_trained_is_one_line(
    made: Made, config: PolicyConfig, tmp_path: Path
) -> None:
    data = write_frames(tmp_path / "data.zarr", config, (TASKS[0], "dance"))
    with pytest.raises(UnknownName, match=r"data\.zarr: 'dance'") as caught:
        measure_offline(made.bundle, data, Choice())
    assert "\n" not in str(caught.value)


def test_a_profile_says_where_a_plans_time_goes(made: Made) -> None:
    bundle = open_bundle(made.bundle)
    with open_bench(bundle, EngineChoice("onnxruntime", "fp32", 1), None) as bench:
        measured = measure(bench, 0.3)
    parts = parts_of(measured)
    assert parts["steps"] == NFE and all(
        parts[name]["p50"] > 0 for name in ("encode", "step", "host")
    )
    known = {"engine": 10.0, "act_engine": 6.0, "host": 1.0}  # ms
    arrays = {name: np.full(3, 1e6 * ms, np.int64) for name, ms in known.items()}
    told = {"encode": 4.0, "step": 3.0, "host": 1.0}
    assert parts_of(replace(measured, **arrays)) == {
        **{name: {"p50": ms, "p99": ms} for name, ms in told.items()}, "steps": 2
    }  # fmt: skip


def test_what_lies_under_padding_and_a_masked_camera_changes_nothing(made: Made) -> None:
    """Bit for bit: another picture, and other rows of words."""
    inference = load_inference(open_bundle(made.bundle), "onnxruntime", "fp32")
    inference.observe(MS, frame(1))
    encode, act = (inference.runners[x] for x in ("encode", "act"))
    words, valid = encode.inputs["words"], encode.inputs["valid"]
    first = inference.prompt.first if inference.prompt else 0
    used = int(valid[0, first : first + words.shape[1]].sum())
    assert 0 < used < words.shape[1] and first % len(IMAGES) == 0
    seen = first // len(IMAGES)  # words of a picture; the first camera of the graph is masked
    kept, masked = valid.copy(), next(iter(encode.inputs))
    act.inputs["z"][...] = np.random.default_rng(0).standard_normal(act.inputs["z"].shape)
    chunks = []
    for garbage in (0.0, 17.0, -3e4):
        for x in (valid, act.inputs["valid"]):
            x[:, :seen] = 0
        words[0, used:] = garbage
        encode.inputs[masked][...] = np.clip(abs(garbage), 0, 1)
        encode.infer()
        act.infer()
        chunks.append(act.outputs["chunk"].tobytes())
    assert chunks[0] == chunks[1] == chunks[2]
    encode.inputs[masked][...] = 0.5
    for x in (valid, act.inputs["valid"]):
        x[...] = kept
    encode.infer()
    act.infer()
    assert act.outputs["chunk"].tobytes() != chunks[0]
