"""Foreign values as our dataset holds them."""

from __future__ import annotations

import numpy as np

from ofp_edge.fields.values import cloud

LINE = np.zeros((1, 10, 6), np.float32)
LINE[0, :, 0] = np.arange(10)


def test_a_cloud_is_picked_evenly_in_its_order_from_inside_the_box() -> None:
    low, high = (-1.0, -1.0, -1.0), (7.5, 1.0, 1.0)
    np.testing.assert_array_equal(cloud(LINE, low, high, 4)[0, :, 0], [0, 2, 4, 6])
    np.testing.assert_array_equal(cloud(LINE, low, high, 16)[0, :, 0], np.repeat(np.arange(8), 2))


def test_a_cloud_with_nothing_in_the_box_is_its_middle() -> None:
    out = cloud(LINE, (20.0, 0.0, 0.0), (30.0, 1.0, 2.0), 3)
    np.testing.assert_array_equal(out, np.tile(np.float32([25.0, 0.5, 1.0]), (1, 3, 1)))
