"""Training on images: the same shift for all of a window, resumable, from ImageNet weights."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from ofp_edge.data.open import open_dataset
from ofp_edge.errors import OfpError, PolicyError
from ofp_edge.files import sha256_file
from ofp_edge.image import as_input
from ofp_edge.policy.folder import load_policy
from ofp_edge.policy.presets import preset
from ofp_edge.policy.resnet import ResNet
from ofp_edge.policy.resnet_weights import torchvision_shapes
from ofp_edge.spec import Chunking, PolicySpec
from ofp_edge.train.augment import shift_images
from ofp_edge.train.batches import Batches
from ofp_edge.train.loop import train
from ofp_edge.train.plan import make_plan
from tests.policy.test_resnet import random_weights
from tests.synthetic import write_synthetic_dataset
from tests.train.conftest import Ask
from tests.train.test_loop import stop_at


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_synthetic_dataset(tmp_path_factory.mktemp("d") / "rgb.zarr", obs="rgb")


def shifts_of(moved: torch.Tensor, x: torch.Tensor, most: int) -> list[tuple[int, int]]:
    """Every (down, right) whose clamped displacement of `x` is `moved`, one a window."""
    height, width = x.shape[-2:]
    found = []
    for old, new in zip(x, moved, strict=True):
        [hit] = [
            (r, c)
            for r in range(-most, most + 1)
            for c in range(-most, most + 1)
            if torch.equal(
                old[..., (torch.arange(height) + r).clamp(0, height - 1), :][
                    ..., (torch.arange(width) + c).clamp(0, width - 1)
                ],
                new,
            )
        ]
        found.append(hit)
    return found


def test_all_frames_of_a_window_shift_alike_by_a_few_pixels() -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randint(0, 256, (64, 2, 3, 12, 16), dtype=torch.uint8, generator=generator)
    moved = shift_images(x, 2, generator)
    assert moved.dtype == torch.uint8 and moved.shape == x.shape
    shifts = shifts_of(moved, x, 2)
    assert {r for r, _ in shifts} == {c for _, c in shifts} == {-2, -1, 0, 1, 2}
    assert shift_images(x, 0, generator) is x


def test_batches_give_what_the_robot_gives_and_shift_only_when_drawn(data: Path) -> None:
    dataset = open_dataset(data)
    spec = PolicySpec.of(dataset.interface, Chunking(2, 8, 4, dataset.control_hz))
    batches = Batches(dataset, [0], spec)
    seen, _ = batches.take(torch.tensor([0, 9]))
    assert [tuple(x.shape) for x in seen] == [(2, 2, 4), (2, 2, 3, 12, 16), (2, 2, 3, 12, 16)]
    np.testing.assert_array_equal(seen[1][1], as_input(dataset.fields["rgb_front"][8:10]))
    settings = replace(preset("tiny").training, shift_px=2, shift_m=0.1)
    raw = batches.read(torch.arange(settings.batch_size) % len(batches))
    still = replace(settings, shift_px=0)
    plain, actions = batches.augmented(raw, still, torch.Generator().manual_seed(4))
    drawn, same = batches.augmented(raw, settings, torch.Generator().manual_seed(4))
    assert torch.equal(actions, same) and not torch.equal(plain[1], drawn[1])
    # The hand stays: the scene in the image would not move with it.
    assert torch.equal(plain[0], drawn[0])


def test_a_resumed_run_is_the_uninterrupted_one(ask: Ask, data: Path, tmp_path: Path) -> None:
    train(make_plan(ask(dataset=data, output=tmp_path / "a", steps=20)))
    part = train(
        make_plan(ask(dataset=data, output=tmp_path / "b", steps=20)), progress=stop_at(10)
    )
    assert part.interrupted
    train(make_plan(ask(dataset=data, output=tmp_path / "b", resume=True)))
    first = load_policy(tmp_path / "a").network.state_dict()
    second = load_policy(tmp_path / "b").network.state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert any("resnet.conv1.weight" in name for name in first)


def test_training_starts_from_the_weights_of_a_file(ask: Ask, data: Path, tmp_path: Path) -> None:
    sizes = preset("tiny").network.rgb
    assert sizes is not None
    weights = random_weights(torchvision_shapes(ResNet(sizes)))
    path = tmp_path / "w.safetensors"
    save_file(weights, path)
    plan = make_plan(ask(dataset=data, rgb_weights=path))
    for network in (plan.state.network, plan.state.average):
        [resnet] = [m for m in network.modules() if isinstance(m, ResNet)]
        scale = weights["bn1.weight"] / (weights["bn1.running_var"] + 1e-5).sqrt()
        expected = weights["conv1.weight"] * scale[:, None, None, None]
        torch.testing.assert_close(resnet.conv1.weight.data, expected)
    assert plan.policy.config.training.rgb_weights_sha256 == sha256_file(path)
    for other in ({"resume": True}, {"init": tmp_path}):
        with pytest.raises(OfpError, match="--rgb-weights starts a new policy"):
            make_plan(ask(dataset=data, rgb_weights=path, **other))


def test_weights_without_images_and_images_without_an_encoder_are_one_line(
    ask: Ask, data: Path, points_data: Path, tmp_path: Path
) -> None:
    with pytest.raises(PolicyError, match="this policy sees no images"):
        make_plan(ask(dataset=points_data, rgb_weights=tmp_path / "absent"))
    with pytest.raises(PolicyError, match="--preset rgb or resnet18"):
        make_plan(ask(dataset=data, preset="small"))
    assert not (tmp_path / "policy").exists()
