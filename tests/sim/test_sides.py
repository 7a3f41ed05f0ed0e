"""Where paths pass a disc, on which side, and when they collide."""

import numpy as np
import pytest

from ofp_edge.sim.sides import Sides

SIDES = Sides((1.0, 2.0), 0.5)


def path(*points):
    return np.array(points, dtype=np.float64)


def test_the_lateral_coordinate_is_read_on_the_line_through_the_centre():
    assert SIDES.lateral(path((2, 0), (3, 4))) == pytest.approx(1.5)
    assert SIDES.lateral(path((0, 0), (0, 1), (-1, 3), (5, 3))) == pytest.approx(-1.5)


def test_a_path_that_stops_short_or_begins_past_it_has_none():
    assert SIDES.lateral(path((0, 0), (0, 1.9))) is None
    assert SIDES.lateral(path((0, 2.1), (0, 3))) is None


def test_right_and_left_follow_the_direction_of_passing():
    assert SIDES.side(path((2, 0), (2, 4))) == 1
    assert SIDES.side(path((0, 0), (0, 4))) == -1
    east = Sides((1.0, 2.0), 0.5, (1.0, 0.0))
    assert east.side(path((-1, 3), (4, 3))) == -1
    assert east.side(path((-1, 1), (4, 1))) == 1


def test_a_segment_that_only_crosses_the_disc_collides():
    assert SIDES.collides(path((1.2, 0), (1.2, 4)))
    assert SIDES.side(path((1.2, 0), (1.2, 4))) == 0
    assert not SIDES.collides(path((1.6, 0), (1.6, 4)))
    assert not SIDES.collides(path((1, 0), (1, 1.4)))  # its line would, the segment ends before


def test_no_side_before_reaching_the_disc_nor_past_it():
    assert SIDES.side(path((0, 0), (0, 1))) is None
    assert SIDES.side(path((1.1, 2.2), (1.1, 3))) is None  # inside, but past its centre


def test_a_hand_that_stands_still_is_a_path_too():
    assert not SIDES.collides(path((3, 0), (3, 0)))
    assert SIDES.collides(path((1, 1.8), (1, 1.8)))
