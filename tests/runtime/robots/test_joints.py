"""Ticks and joint units: LeRobot's numbers, there and back."""

import json
import math

import numpy as np
import pytest

from ofp_edge.errors import RobotError
from ofp_edge.runtime.robots.joints import JointUnits, read_joints

NAMES = ("elbow", "gripper")


def write(path, **changes):
    joint = {"id": 1, "drive_mode": 0, "homing_offset": 5, "range_min": 1000, "range_max": 3000}
    path.write_text(json.dumps({"elbow": {**joint, **changes}, "gripper": {**joint, "id": 2}}))
    return path


def units(path, unit):
    return JointUnits(read_joints(path, NAMES, "gripper", unit))


@pytest.mark.parametrize(
    "unit, value",
    [("deg", 45 * 4096 / 4095), ("rad", math.pi / 4 * 4096 / 4095), ("normalised", 51.2)],
)
def test_an_eighth_of_a_turn(unit, value, tmp_path):
    convert = units(write(tmp_path / "c.json"), unit)
    got = convert.positions(np.array([2512, 1500]))
    np.testing.assert_allclose(got, [value, 25.0])
    np.testing.assert_array_equal(convert.ticks(got), [2512, 1500])


def test_a_turned_joint_runs_the_other_way_in_normalised_units_alone(tmp_path):
    path = write(tmp_path / "c.json", drive_mode=1)
    assert units(path, "normalised").positions(np.array([3000, 1000]))[0] == -100
    assert units(path, "deg").positions(np.array([3000, 1000]))[0] > 0


def test_readings_beyond_the_range_are_cut_where_lerobot_cuts_them(tmp_path):
    path = write(tmp_path / "c.json")
    np.testing.assert_array_equal(
        units(path, "normalised").positions(np.array([3100, 3100])), [100, 100]
    )
    assert units(path, "deg").positions(np.array([3100, 3100]))[0] > 96


@pytest.mark.parametrize(
    "change, said",
    [({"range_max": 900}, "range_min < range_max"),
     ({"id": "1"}, r"elbow\.id: expected a whole number, got '1'"),
     ({"range_max": 5000}, "4095")],
)  # fmt: skip
def test_a_wrong_calibration_file_is_one_line(change, said, tmp_path):
    with pytest.raises(RobotError, match=said):
        read_joints(write(tmp_path / "c.json", **change), NAMES, "gripper", "deg")


def test_a_missing_joint_or_unit_is_named(tmp_path):
    path = write(tmp_path / "c.json")
    with pytest.raises(RobotError, match="expected the joints wrist"):
        read_joints(path, ("wrist",), "gripper", "deg")
    with pytest.raises(RobotError, match="'turns'"):
        read_joints(path, NAMES, "gripper", "turns")
