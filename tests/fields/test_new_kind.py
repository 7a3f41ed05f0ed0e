"""A kind of field of one's own is a class and a line in the table of kinds: what follows touches no
other file, and the field goes from a spec to a dataset, a network, a robot, a bundle and a log."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
import torch

from ofp_edge.data.open import open_dataset
from ofp_edge.errors import DatasetError, SpecMismatch
from ofp_edge.fields import KINDS
from ofp_edge.fields.measured import Measured
from ofp_edge.normalize import FieldStatistics
from ofp_edge.policy.methods import build_method
from ofp_edge.policy.presets import preset
from ofp_edge.runtime.infer.load import load_inference
from ofp_edge.train.batches import Batches
from tests.fields.carrying import logged, observe, spec_with, write_dataset
from tests.runtime.small_bundle import write_small_bundle


# File 1, ofp_edge/fields/wrench.py:
@dataclass(frozen=True)
class Wrench(Measured):
    """Shape (6, W): the last W readings of a force-torque sensor, in N and N m."""

    kind: str = field(default="wrench", kw_only=True)
    sizes = (6, "W")

    def statistics(self, values: np.ndarray) -> FieldStatistics:
        """What was felt, over all readings of a window."""
        return FieldStatistics.of(values.transpose(0, 2, 1).reshape(-1, 6))


@pytest.fixture
def wrench(monkeypatch: pytest.MonkeyPatch) -> Wrench:
    # File 2, ofp_edge/fields/__init__.py: KINDS.update(…, wrench=Wrench)
    monkeypatch.setitem(KINDS, "wrench", Wrench)
    return Wrench("touch", (6, 5), "N, N, N, N m, N m, N m", "hand", (-50.0,) * 6, (50.0,) * 6)


WRENCHES = np.random.default_rng(1).normal(0, 9, (20, 6, 5)).astype(np.float32)


def test_it_trains_on_what_the_dataset_holds(tmp_path: Path, wrench: Wrench) -> None:
    found = open_dataset(write_dataset(tmp_path / "d", wrench, {"touch": WRENCHES}))
    np.testing.assert_array_equal(found.fields["touch"], WRENCHES)
    spec = spec_with(wrench)
    statistics = found.statistics((0, 1))
    assert len(statistics["touch"].low) == 6
    assert statistics["touch"].low[0] == pytest.approx(float(WRENCHES[:11, 0].min()))
    batches = Batches(found, (0, 1), spec)
    observations, actions = batches.take(torch.arange(len(batches)))
    assert observations[1].shape == (len(batches), 2, 6, 5)
    chosen = preset("tiny")
    network = chosen.network.build(spec, statistics)
    features = network.encode(observations)
    assert features.shape == (len(batches), 2 * (4 + 30))
    losses = build_method("flow").losses(
        network, network, observations, network.normalize_actions(actions), 0.0, torch.Generator()
    )
    sum(losses.values()).backward()
    assert all(x.grad is not None for x in network.trunk.parameters())


def test_a_reading_that_is_none_is_named_by_episode_and_frame(
    tmp_path: Path, wrench: Wrench
) -> None:
    broken = WRENCHES.copy()
    broken[13, 2, 1] = np.nan
    with pytest.raises(DatasetError, match="episode 2, field 'touch': NaN .* frame 2"):
        open_dataset(write_dataset(tmp_path / "d", wrench, {"touch": broken}))
    with pytest.raises(DatasetError, match=r"data/touch: expected shape \(20, 6, 5\)"):
        open_dataset(write_dataset(tmp_path / "short", wrench, {"touch": WRENCHES[:, :, :4]}))


def test_the_robot_tells_it_and_the_log_gives_it_back(tmp_path: Path, wrench: Wrench) -> None:
    spec = spec_with(wrench)
    assert wrench in spec.states
    felt = wrench.synthetic(np.random.default_rng(2), ())
    seen = observe(spec, {"touch": felt}, None)
    np.testing.assert_array_equal(seen.arrays["touch"], felt)
    np.testing.assert_array_equal(logged(tmp_path / "run.mcap", spec, seen)["touch"], felt)
    with pytest.raises(SpecMismatch, match=r"robot state 'touch': expected \(6, 5\), got nothing"):
        observe(spec, {}, None)
    with pytest.raises(SpecMismatch, match=r"shape: expected \(6, W\), got \(3, 5\)"):
        Wrench("touch", (3, 5), "N", "hand", (-1.0,) * 3, (1.0,) * 3)


def test_a_bundle_takes_it(tmp_path: Path, wrench: Wrench) -> None:
    from ofp_edge.bundle import open_bundle

    bundle = open_bundle(write_small_bundle(tmp_path / "bundle", spec_with(wrench), {}))
    inference = load_inference(bundle)
    chunks = []
    for k, felt in enumerate(0.02 * wrench.synthetic(np.random.default_rng(3), (2,))):
        inference.reset()
        inference.reseed(0)
        inference.observe(k, observe(bundle.spec, {"touch": felt}, None).arrays)
        chunks.append(inference.infer(k).actions)
    inference.close()
    assert np.isfinite(chunks).all() and not np.array_equal(chunks[0], chunks[1])
    assert wrench.shown() == "(6, 5), N, N, N, N m, N m, N m, frame hand"
