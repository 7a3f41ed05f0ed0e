"""What a request asks of images: kept by the run, refused where it can't be or nobody sees it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from ofp_edge.errors import OfpError, PolicyError
from ofp_edge.fields import Rgb
from ofp_edge.policy.folder import load_policy
from ofp_edge.train import batches
from ofp_edge.train.loop import train
from ofp_edge.train.plan import make_plan
from tests.synthetic import write_synthetic_dataset
from tests.train.conftest import Ask


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_synthetic_dataset(tmp_path_factory.mktemp("d") / "d", obs="rgb", episodes=6)


@pytest.fixture
def moved(monkeypatch: pytest.MonkeyPatch) -> set[int]:
    """By how much images were moved at most, of all steps."""
    found: set[int] = set()
    real = batches.shift_images

    def shift(images: Tensor, most_px: int, generator: torch.Generator) -> Tensor:
        found.add(most_px)
        return real(images, most_px, generator)

    monkeypatch.setattr(batches, "shift_images", shift)
    return found


def test_images_move_as_far_as_asked_and_a_resumed_run_goes_on_so(
    ask: Ask, data: Path, moved: set[int]
) -> None:
    train(make_plan(ask(dataset=data, steps=2, shift_px=2)))
    assert moved == {2}
    assert load_policy(ask().output).config.training.settings.shift_px == 2
    moved.clear()
    train(make_plan(ask(dataset=data, steps=2, shift_px=0, force=True)))
    assert moved == {0}
    with pytest.raises(PolicyError, match="trained with shift_px 0, got 1"):
        make_plan(ask(dataset=data, resume=True, shift_px=1))


def test_no_more_than_half_an_image_and_no_less_than_nothing(ask: Ask, data: Path) -> None:
    fields = make_plan(ask(dataset=data, steps=1)).policy.config.spec.observations
    most = min(min(x.shape[1:]) for x in fields if isinstance(x, Rgb)) // 2
    make_plan(ask(dataset=data, steps=1, shift_px=most))
    for wrong in (-1, most + 1):
        with pytest.raises(OfpError, match=f"--shift-px {wrong}: expected 0 to {most}"):
            make_plan(ask(dataset=data, steps=1, shift_px=wrong))


@pytest.mark.parametrize("obs", ["state", "points"])
@pytest.mark.parametrize(
    ("asked", "says"),
    [({"shift_px": 3}, "--shift-px 3"), ({"color_jitter": 0.2}, "--color-jitter 0.2")],
)
def test_what_sees_no_images_has_none_to_change(
    ask: Ask, tmp_path: Path, obs: Any, asked: dict[str, Any], says: str
) -> None:
    data = write_synthetic_dataset(tmp_path / "d", obs=obs, episodes=6)
    with pytest.raises(OfpError, match=f"{says}: the policy sees no images. Leave it out"):
        make_plan(ask(dataset=data, **asked))
    make_plan(ask(dataset=data, **dict.fromkeys(asked, 0)))
