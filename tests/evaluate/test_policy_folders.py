"""A policy folder behind the inference of bundles: it answers as its method samples."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from ofp_edge.errors import OfpError, UnknownName
from ofp_edge.evaluate.choice import Choice
from ofp_edge.evaluate.contestant import open_contestant
from ofp_edge.runtime.chunk import Chunk
from ofp_edge.runtime.infer.inference import Inference
from tests.synthetic import tiny_policy


def first_chunk(inference: Inference) -> Chunk:
    """A cold one, from seed 5, of an observation that is drawn."""
    inference.reseed(5)
    rng, fields = np.random.default_rng(0), inference.spec.observations
    inference.observe(0, {f.name: rng.normal(size=f.shape).astype(np.float32) for f in fields})
    return inference.infer(0)


def test_a_policy_folder_runs_behind_the_same_inference_at_any_nfe(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    from ofp_edge.policy.folder import load_policy
    from ofp_edge.policy.sampler import ladder, sample

    path = tiny_policy(tmp_path / "policy")
    policy = load_policy(path)
    for nfe in (1, 4):
        contestant = open_contestant(path, Choice(nfe=nfe, t_w=0.4))
        inference, spec = contestant.inference, contestant.spec
        cold = first_chunk(inference)
        noise = np.random.Generator(np.random.PCG64(5))
        size = spec.horizon * spec.action_dim
        draw = [torch.from_numpy(noise.standard_normal(size, dtype=np.float32)[None])
                for _ in range(2)]  # fmt: skip
        with torch.no_grad():
            features = torch.from_numpy(inference.act.inputs["features"].copy())
            expected = sample(policy.network, features, draw[0], ladder(nfe))
            np.testing.assert_allclose(cold.normalised.reshape(1, -1), expected, atol=2e-5)
            warm = inference.infer(0, cold)
            before = torch.from_numpy(cold.normalised.reshape(1, -1)).clamp(-2, 2)
            start = (1 - 0.4) * draw[1] + 0.4 * before
            expected = sample(policy.network, features, start, ladder(nfe, 0.4))
        np.testing.assert_allclose(warm.normalised.reshape(1, -1), expected, atol=2e-5)
        assert (contestant.kind, contestant.engine, contestant.t_w) == ("policy", "torch", 0.4)
    with pytest.raises(UnknownName, match="precision of this policy"):
        open_contestant(path, Choice(precision="int8"))


def retrained(folder: Path, method: str) -> Path:
    """The policy folder as if another method had trained it."""
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "method": method}))
    return folder


@pytest.mark.parametrize(("method", "nfe"), [("flow", 4), ("diffusion", 10), ("diffusion", None)])
def test_a_policy_answers_as_its_method_samples(
    tmp_path: Path, method: str, nfe: int | None
) -> None:
    torch = pytest.importorskip("torch")
    from ofp_edge.policy.folder import load_policy

    if method == "diffusion":
        pytest.importorskip("diffusers")
    path = retrained(tiny_policy(tmp_path / "policy"), method)
    policy = load_policy(path)
    contestant = open_contestant(path, Choice(nfe=nfe))
    inference, spec = contestant.inference, contestant.spec
    chunk = first_chunk(inference)
    draw = np.random.Generator(np.random.PCG64(5)).standard_normal(
        spec.horizon * spec.action_dim, dtype=np.float32
    )
    with torch.no_grad():
        features = torch.from_numpy(inference.act.inputs["features"].copy())
        expected = policy.sampling.sample(
            policy.network, features, torch.from_numpy(draw[None]), nfe or 100
        )
    np.testing.assert_allclose(chunk.normalised.reshape(1, -1), expected, atol=2e-5)
    assert contestant.nfe == (nfe or 100)
    if method == "diffusion":
        inference.infer(0, chunk)
        assert contestant.t_w is None and not inference.started_warm


@pytest.mark.parametrize(
    ("choice", "words"),
    [
        (Choice(nfe=101), "expected 1 to 100 evaluations"),
        (Choice(t_w=0.3), "--t-w: method diffusion starts every chunk from noise"),
        (Choice(warm_step="mean"), "--warm-step: method diffusion starts every chunk from noise"),
        (Choice(precision="int8"), "precision of this policy"),
    ],
)
def test_what_diffusion_cannot_do_is_told_at_once(
    tmp_path: Path, choice: Choice, words: str
) -> None:
    pytest.importorskip("diffusers")
    path = retrained(tiny_policy(tmp_path / "policy"), "diffusion")
    with pytest.raises(OfpError, match=words):
        open_contestant(path, choice)
