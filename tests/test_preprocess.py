"""Depth to points: equal, pixel by pixel, to the naive way in float64."""

from __future__ import annotations

import math
import time
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from ofp_edge.camera_parameters import CameraParameters
from ofp_edge.errors import SpecMismatch
from ofp_edge.preprocess import PointCloud

IDENTITY = ((1.0, 0.0, 0.0, 0.0), (0.0, 1.0, 0.0, 0.0), (0.0, 0.0, 1.0, 0.0), (0.0, 0.0, 0.0, 1.0))
CAMERA = CameraParameters(32, 24, 30.0, 31.0, 15.3, 11.7, 0.001, "base", IDENTITY)


def rotation(yaw: float, pitch: float, roll: float) -> NDArray[np.float64]:
    def turn(axis: int, angle: float) -> NDArray[np.float64]:
        c, s = math.cos(angle), math.sin(angle)
        matrix = np.eye(3)
        i, j = [k for k in range(3) if k != axis]
        matrix[i, i], matrix[i, j], matrix[j, i], matrix[j, j] = c, -s, s, c
        return matrix

    return turn(2, yaw) @ turn(1, pitch) @ turn(0, roll)


def placed(camera: CameraParameters, angles: list[float], where: list[float]) -> CameraParameters:
    pose = np.eye(4)
    pose[:3, :3], pose[:3, 3] = rotation(*angles), where
    return replace(camera, T_base_camera=tuple(map(tuple, pose.tolist())))


def naive(
    camera: CameraParameters,
    low: list[float],
    high: list[float],
    depth: NDArray[np.uint16],
    slack_m: float = 0.0,
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """All points (H*W, 3) in the base frame in float64, and which are in the box."""
    v, u = np.mgrid[: camera.height, : camera.width]
    z = depth.astype(np.float64) * camera.depth_unit_m
    optical = np.stack([z * (u - camera.cx) / camera.fx, z * (v - camera.cy) / camera.fy, z], -1)
    points = optical.reshape(-1, 3) @ camera.pose[:3, :3].T + camera.pose[:3, 3]
    inside = ((points >= np.asarray(low) - slack_m) & (points <= np.asarray(high) + slack_m)).all(1)
    return points, inside & (depth.reshape(-1) > 0)


@settings(max_examples=60)
@given(
    seed=st.integers(0, 2**32 - 1),
    angles=st.lists(st.floats(-3.2, 3.2, allow_subnormal=False), min_size=3, max_size=3),
    where=st.lists(st.floats(-1, 1, allow_subnormal=False), min_size=3, max_size=3),
    corner=st.lists(st.floats(-1, 0.5, allow_subnormal=False), min_size=3, max_size=3),
    size=st.lists(st.floats(0.1, 2, allow_subnormal=False), min_size=3, max_size=3),
    n_points=st.integers(1, 900),
)
def test_equals_deprojecting_everything_then_cropping_then_subsampling(
    seed: int, angles: list[float], where: list[float], corner: list[float], size: list[float],
    n_points: int,
) -> None:  # fmt: skip
    camera = placed(CAMERA, angles, where)
    high = [a + b for a, b in zip(corner, size, strict=True)]
    depth = np.random.default_rng(seed).integers(0, 2500, (24, 32)).astype(np.uint16)
    got = PointCloud(camera, tuple(corner), tuple(high), n_points)(depth)
    assert got.shape == (3, n_points) and got.dtype == np.float32

    points, surely = naive(camera, corner, high, depth, -1e-8)
    _, perhaps = naive(camera, corner, high, depth, 1e-8)
    if not perhaps.any():
        middle = (np.asarray(corner) + np.asarray(high)) / 2
        assert np.allclose(got, middle[:, None], atol=1e-6)
    elif (surely == perhaps).all():  # nothing within 10 nm of a face: the answer is unique
        kept = points[surely]
        expected = kept[(np.arange(n_points) * len(kept)) // n_points]
        assert np.allclose(got.T, expected, atol=2e-6)


def test_points_exactly_on_a_face_are_inside() -> None:
    cloud = PointCloud(CAMERA, (-9.0, -9.0, 0.5), (9.0, 9.0, 1.0), 32 * 24)
    depth = np.zeros((24, 32), dtype=np.uint16)
    depth[3, 4], depth[5, 6], depth[7, 8], depth[9, 9] = 499, 500, 1000, 1001
    kept = sorted({round(float(z), 6) for z in cloud(depth)[2]})
    assert kept == [0.5, 1.0]


def test_raw_zero_is_no_depth_even_when_the_camera_stands_in_the_box() -> None:
    cloud = PointCloud(CAMERA, (-1.0, -1.0, -1.0), (1.0, 1.0, 1.0), 8)
    depth = np.zeros((24, 32), dtype=np.uint16)
    assert (cloud(depth) == 0).all()  # the middle of the box, not the camera
    depth[11, 15] = 700
    assert np.allclose(cloud(depth)[2], 0.7)


def test_the_largest_raw_depth_does_not_wrap() -> None:
    cloud = PointCloud(CAMERA, (-99.0, -99.0, 60.0), (99.0, 99.0, 99.0), 4)
    depth = np.full((24, 32), 59_999, dtype=np.uint16)
    assert np.allclose(cloud(depth), np.array([[0.0], [0.0], [79.5]]))
    depth[0, 0] = 65535
    assert np.allclose(cloud(depth)[2], 65.535)


def test_a_box_behind_the_camera_gives_its_middle() -> None:
    cloud = PointCloud(CAMERA, (-1.0, -1.0, -2.0), (1.0, 1.0, -1.0), 5)
    depth = np.full((24, 32), 1000, dtype=np.uint16)
    assert np.allclose(cloud(depth), np.array([[0.0], [0.0], [-1.5]]))


def test_fewer_pixels_than_points_repeat_in_order() -> None:
    cloud = PointCloud(CAMERA, (-9.0, -9.0, 0.0), (9.0, 9.0, 9.0), 6)
    depth = np.zeros((24, 32), dtype=np.uint16)
    depth[1, 1], depth[2, 2], depth[3, 3] = 100, 200, 300
    assert np.allclose(cloud(depth)[2], [0.1, 0.1, 0.2, 0.2, 0.3, 0.3])


def test_the_same_frame_gives_the_same_points_and_out_is_filled() -> None:
    cloud = PointCloud(CAMERA, (-1.0, -1.0, 0.0), (1.0, 1.0, 2.0), 64)
    depth = np.random.default_rng(0).integers(0, 2500, (24, 32)).astype(np.uint16)
    out = np.full((3, 64), np.nan, dtype=np.float32)
    first = cloud(depth).copy()
    assert cloud(depth, out) is out
    assert np.array_equal(first, out)
    cloud(np.zeros_like(depth))  # another frame in between leaves no trace
    assert np.array_equal(cloud(depth), first)


@pytest.mark.parametrize(
    "depth",
    [
        np.zeros((32, 24), np.uint16),
        np.zeros((24, 32, 1), np.uint16),
        np.zeros((24, 32), np.float32),
        np.zeros((24, 32), np.int16),
    ],
)
def test_a_frame_of_another_size_or_type_is_refused(depth: NDArray[np.generic]) -> None:
    cloud = PointCloud(CAMERA, (-1.0, -1.0, 0.0), (1.0, 1.0, 2.0), 4)
    with pytest.raises(SpecMismatch, match=r"depth frame: expected \(24, 32\) uint16, got"):
        cloud(depth)  # type: ignore[arg-type]


def test_a_frame_that_is_not_contiguous_is_read_right() -> None:
    cloud = PointCloud(CAMERA, (-1.0, -1.0, 0.0), (1.0, 1.0, 2.0), 64)
    depth = np.random.default_rng(1).integers(0, 2500, (24, 32)).astype(np.uint16)
    wide = np.zeros((24, 64), dtype=np.uint16)
    wide[:, ::2] = depth
    assert np.array_equal(cloud(wide[:, ::2]), cloud(depth))


def test_a_vga_frame_takes_no_longer_than_the_naive_way() -> None:
    camera = CameraParameters(640, 480, 600.0, 600.0, 319.5, 239.5, 0.001, "base", IDENTITY)
    low, high = [-0.3, -0.3, 0.3], [0.3, 0.3, 0.9]
    cloud = PointCloud(camera, tuple(low), tuple(high), 512)
    depth = np.random.default_rng(0).integers(200, 1200, (480, 640)).astype(np.uint16)
    out = np.empty((3, 512), np.float32)

    def fastest(work: object) -> float:
        times = []
        for _ in range(7):
            start = time.perf_counter()
            work()  # type: ignore[operator]
            times.append(time.perf_counter() - start)
        return min(times)

    # A ratio within one run, and a generous one: it is 20 or more on an idle machine.
    ratio = fastest(lambda: naive(camera, low, high, depth)) / fastest(lambda: cloud(depth, out))
    assert ratio > 4
