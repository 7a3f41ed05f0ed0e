"""Colour frames to images: exact means, no surprise at the border, the same bits in torch."""

from __future__ import annotations

import numpy as np
import pytest

from ofp_edge.errors import SpecMismatch
from ofp_edge.image import UNIT, ColorImage, as_input


def frame(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def test_a_whole_ratio_gives_the_mean_of_each_box_rounded() -> None:
    seen = frame(48, 64)
    image = ColorImage(64, 48, (3, 12, 16))(seen)
    boxes = seen.reshape(12, 4, 16, 4, 3).astype(np.float64).mean((1, 3)).transpose(2, 0, 1)
    np.testing.assert_array_equal(image, np.floor(boxes + 0.5))
    assert image.dtype == np.uint8 and image.flags.c_contiguous


def test_the_same_size_is_the_same_image() -> None:
    seen = frame(24, 32)
    np.testing.assert_array_equal(ColorImage(32, 24, (3, 24, 32))(seen), seen.transpose(2, 0, 1))


def test_every_pixel_of_a_broken_ratio_counts_once() -> None:
    """Boxes of unequal size: each is a mean, and together they cover the frame."""
    shrink = ColorImage(50, 40, (3, 12, 15))
    white = np.full((40, 50, 3), 255, np.uint8)
    assert (shrink(white) == 255).all()
    for pixel in ((0, 0), (39, 49), (17, 23)):
        spot = np.zeros((40, 50, 3), np.uint8)
        spot[pixel] = 255
        assert (shrink(spot).sum((1, 2)) > 0).all()
        assert (shrink(spot)[0] > 0).sum() == 1


def test_another_aspect_ratio_is_cropped_at_the_middle() -> None:
    seen = frame(48, 64)
    square = ColorImage(64, 48, (3, 48, 48))(seen)
    np.testing.assert_array_equal(square, seen[:, 8:56].transpose(2, 0, 1))
    wide = ColorImage(64, 48, (3, 16, 64))(seen)
    np.testing.assert_array_equal(wide, seen[16:32].transpose(2, 0, 1))


def test_a_smaller_frame_is_enlarged_by_the_nearest_pixel() -> None:
    seen = frame(12, 16)
    image = ColorImage(16, 12, (3, 24, 32))(seen)
    np.testing.assert_array_equal(image, seen.repeat(2, 0).repeat(2, 1).transpose(2, 0, 1))


def test_it_writes_into_the_array_it_is_given() -> None:
    out = np.zeros((3, 6, 8), np.uint8)
    assert ColorImage(32, 24, (3, 6, 8))(frame(24, 32), out) is out and out.any()


@pytest.mark.parametrize("wrong", [frame(24, 31), frame(24, 32).astype(np.float32)])
def test_a_frame_of_another_size_or_type_is_one_line(wrong: np.ndarray) -> None:
    with pytest.raises(SpecMismatch, match=r"colour frame: expected \(24, 32, 3\) uint8"):
        ColorImage(32, 24, (3, 6, 8))(wrong)


def test_the_networks_input_is_0_to_1_and_the_same_bits_in_torch() -> None:
    torch = pytest.importorskip("torch")
    every = np.arange(256, dtype=np.uint8).reshape(1, 16, 16)
    out = np.empty(every.shape, np.float32)
    as_input(every, out)
    assert out.min() == 0 and out.max() == 1
    np.testing.assert_array_equal(out, torch.from_numpy(every).float() * float(UNIT))
    np.testing.assert_array_equal(as_input(every), out)
    points = np.ones((3, 4), np.float32)
    assert as_input(points) is points
