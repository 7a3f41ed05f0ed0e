"""A change of light in training: what it changes, what it leaves, and who asks for it."""

from __future__ import annotations

import colorsys
from pathlib import Path

import pytest
import torch
from torch import Tensor

from ofp_edge.errors import OfpError, PolicyError
from ofp_edge.policy.folder import load_policy
from ofp_edge.train.augment import jitter_colors
from ofp_edge.train.compute import Compute
from ofp_edge.train.loop import train
from ofp_edge.train.plan import make_plan
from tests.synthetic import write_synthetic_dataset
from tests.train.conftest import Ask


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def images() -> Tensor:
    return torch.rand((6, 2, 3, 5, 7), generator=generator(3))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("d") / "rgb.zarr"
    return write_synthetic_dataset(path, obs="rgb", episodes=6)


def test_frames_of_a_window_change_alike_and_windows_each_by_themselves(images: Tensor) -> None:
    images = images[:1, :1].expand(6, 2, 3, 5, 7)
    found = jitter_colors(images, 0.4, generator())
    assert found.shape == images.shape and 0 <= float(found.min()) and float(found.max()) <= 1
    assert torch.equal(found[:, 0], found[:, 1])
    assert len({x.numpy().tobytes() for x in found[:, 0]}) == 6


def test_gray_stays_gray_and_hues_stay_where_nothing_is_cut_off(images: Tensor) -> None:
    gray = images[:, :, :1].expand(-1, -1, 3, -1, -1)
    changed = jitter_colors(gray, 0.4, generator())
    assert not torch.allclose(changed, gray, atol=0.01)
    torch.testing.assert_close(changed, changed[:, :, :1].expand_as(changed))
    dim = 0.4 + 0.2 * images  # far from black and white
    changed = jitter_colors(dim, 0.2, generator())
    for before, after in zip(dim[:, 0, :, 2, 3], changed[:, 0, :, 2, 3], strict=True):
        turn = colorsys.rgb_to_hsv(*after.tolist())[0] - colorsys.rgb_to_hsv(*before.tolist())[0]
        assert abs((turn + 0.5) % 1 - 0.5) < 1e-3


def test_none_is_the_same_images_without_a_draw(images: Tensor) -> None:
    drawn = generator()
    assert jitter_colors(images, 0.0, drawn) is images
    assert torch.equal(drawn.get_state(), generator().get_state())


def test_a_run_has_it_whatever_its_parts_and_says_so(ask: Ask, data: Path, tmp_path: Path) -> None:
    asked = {"dataset": data, "steps": 3}
    train(make_plan(ask(**asked)))
    train(make_plan(ask(**asked, color_jitter=0.3, output=tmp_path / "a")))
    parts = Compute(accumulate=2)
    train(make_plan(ask(**asked, color_jitter=0.3, output=tmp_path / "b")), compute=parts)
    plain, whole, halves = (load_policy(x) for x in (ask().output, tmp_path / "a", tmp_path / "b"))
    assert whole.config.training.settings.color_jitter == 0.3
    for one, other in zip(whole.network.parameters(), halves.network.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-3)
    weights = (x.network.state_dict()["trunk.outlet.weight"] for x in (plain, whole))
    assert not torch.equal(*weights)


def test_a_resumed_run_keeps_it_and_what_is_no_share_is_refused(ask: Ask, data: Path) -> None:
    train(make_plan(ask(dataset=data, steps=2, color_jitter=0.1)))
    with pytest.raises(PolicyError, match=r"trained with color_jitter 0.1, got 0.2"):
        make_plan(ask(dataset=data, resume=True, color_jitter=0.2))
    for wrong in (-0.1, 1.0, float("nan")):
        with pytest.raises(OfpError, match="--color-jitter .*: expected 0 or more, below 1"):
            make_plan(ask(dataset=data, force=True, color_jitter=wrong))
