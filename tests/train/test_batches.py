"""Batches: the right frames, and augmentation that keeps relative actions true."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from ofp_edge.data.dataset import Dataset
from ofp_edge.data.open import open_dataset
from ofp_edge.policy.draws import RowGenerator
from ofp_edge.policy.methods import METHODS, build_method
from ofp_edge.policy.methods.diffusion import _scheduler
from ofp_edge.policy.presets import preset
from ofp_edge.policy.times import noise_like
from ofp_edge.spec import Chunking, PolicySpec
from ofp_edge.train.batches import Batches

SETTINGS = preset("tiny").training
ROWS = torch.arange(32) * 7 % 20


def spec_of(dataset: Dataset) -> PolicySpec:
    return PolicySpec.of(dataset.interface, Chunking(2, 8, 4, dataset.control_hz))


@pytest.fixture
def dataset(points_data: Path) -> Dataset:
    return open_dataset(points_data)


def draw(
    dataset: Dataset, jitter_m: float, shift_m: float
) -> tuple[list[torch.Tensor], torch.Tensor]:
    batches = Batches(dataset, [0, 1], spec_of(dataset))
    settings = replace(SETTINGS, jitter_m=jitter_m, shift_m=shift_m)
    return batches.augmented(batches.read(ROWS), settings, torch.Generator().manual_seed(4))


def test_batches_hold_history_and_chunk(dataset: Dataset) -> None:
    seen, actions = draw(dataset, 0, 0)
    assert [tuple(x.shape) for x in seen] == [(32, 2, 4), (32, 2, 3, 64)]
    assert actions.shape == (32, 8, 4)


def test_shift_moves_cloud_and_hand_together_in_every_frame(dataset: Dataset) -> None:
    plain, actions = draw(dataset, 0, 0)
    moved, same = draw(dataset, 0, 0.1)
    by = moved[0] - plain[0]
    assert float(by[..., :3].abs().max()) > 0.05
    assert float(by[..., :3].abs().max()) <= 0.1 + 1e-6
    assert not by[..., 3].any()  # the gripper is no position
    torch.testing.assert_close(by[:, 0], by[:, 1], atol=1e-6, rtol=0)
    expected = by[..., :3, None].expand(-1, -1, -1, 64)
    torch.testing.assert_close(moved[1] - plain[1], expected, atol=1e-6, rtol=0)
    assert torch.equal(actions, same)


def test_jitter_moves_points_apart_by_its_size(dataset: Dataset) -> None:
    plain, _ = draw(dataset, 0, 0)
    moved, _ = draw(dataset, 0.01, 0)
    assert float((moved[1] - plain[1]).std()) == pytest.approx(0.01, rel=0.05)
    assert torch.equal(moved[0], plain[0])


def test_absolute_positions_forbid_the_shift(dataset: Dataset) -> None:
    move, grip = dataset.interface.actions
    absolute = replace(
        dataset,
        interface=replace(
            dataset.interface, actions=(replace(move, kind="absolute", hold=None), grip)
        ),
    )
    plain, _ = draw(absolute, 0, 0)
    moved, _ = draw(absolute, 0, 0.1)
    assert torch.equal(plain[0], moved[0])
    assert torch.equal(plain[1], moved[1])


def test_augmentation_leaves_the_dataset_alone(dataset: Dataset) -> None:
    before = dataset.fields["points"].copy(), dataset.fields["state"].copy()
    draw(dataset, 0.01, 0.1)
    assert (before[0] == dataset.fields["points"]).all()
    assert (before[1] == dataset.fields["state"]).all()


def test_thinned_clouds_keep_whole_points_of_the_frame(dataset: Dataset) -> None:
    plain, _ = draw(dataset, 0, 0)
    batches = Batches(dataset, [0, 1], spec_of(dataset))
    settings = replace(SETTINGS, jitter_m=0.0, shift_m=0.0, train_points=10)
    seen, _ = batches.augmented(batches.read(ROWS), settings, torch.Generator().manual_seed(4))
    assert seen[1].shape == (32, 2, 3, 10)
    whole = {tuple(point) for point in plain[1][5, 1].T.tolist()}
    assert {tuple(point) for point in seen[1][5, 1].T.tolist()} <= whole


@pytest.mark.parametrize("method", sorted(METHODS))
def test_every_method_trains_on_thinned_clouds(dataset: Dataset, method: str) -> None:
    spec = spec_of(dataset)
    statistics = dataset.statistics([0])
    network = preset("tiny").network.build(spec, statistics).train()
    teacher = preset("tiny").network.build(spec, statistics).eval()
    generator = torch.Generator().manual_seed(0)
    settings = replace(SETTINGS, train_points=10)
    batches = Batches(dataset, [0], spec)
    seen, actions = batches.augmented(batches.read(ROWS % len(batches)), settings, generator)
    target = network.normalize_actions(actions)
    losses = build_method(method).losses(network, teacher, seen, target, 0.5, generator)
    assert all(value.isfinite() for value in losses.values())


@pytest.mark.parametrize("method", sorted(METHODS))
def test_every_method_stays_on_the_device_its_network_is_on(state_data: Path, method: str) -> None:
    """On torch's device without memory, which refuses a tensor of another one as a GPU does."""
    _scheduler.cache_clear()  # diffusers moves its constants to where they are used
    place = torch.device("meta")
    dataset = open_dataset(state_data)
    spec = spec_of(dataset)
    network = preset("tiny").network.build(spec, dataset.statistics([0])).to(place)
    generator = RowGenerator()
    generator.share(0, 1, place)
    batches = Batches(dataset, [0], spec)
    seen, actions = batches.augmented(batches.read(ROWS % len(batches)), SETTINGS, generator)
    target = network.normalize_actions(actions)
    built = build_method(method)
    losses = built.losses(network, network, seen, target, 0.5, generator)
    assert {value.device for value in losses.values()} == {place}
    noise = noise_like(target, generator)
    assert built.sample(network, network.encode(seen), noise, 2).device == place
    _scheduler.cache_clear()
