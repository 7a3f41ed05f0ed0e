"""A recording of a software camera, made once: random depth, every pixel distinct in time."""

import time

import numpy as np
import pytest

from ofp_edge.camera_parameters import CameraParameters

N_FRAMES = 12
EYE = tuple(tuple(float(x) for x in row) for row in np.eye(4))
PARAMETERS = CameraParameters(64, 48, 51.5, 51.25, 31.5, 23.25, 1e-4, "base", EYE)


def random_frames(n=N_FRAMES):
    """(n, 48, 64) uint16."""
    return np.random.default_rng(0).integers(1, 65535, (n, 48, 64), dtype=np.uint16)


@pytest.fixture(scope="session")
def recording(tmp_path_factory):
    """A .db3 file with `random_frames()` at 20 Hz, frame numbers from 1."""
    pytest.importorskip("pyrealsense2")
    from ofp_edge.runtime.cameras.realsense import RealSenseCamera
    from ofp_edge.runtime.cameras.software import SoftwareSource

    path = tmp_path_factory.mktemp("recording") / "x.db3"
    source = SoftwareSource(PARAMETERS, 20.0, False, path)
    camera = RealSenseCamera("front", source, time.monotonic_ns, {"T_base_camera": EYE})
    camera.start()
    for i, depth in enumerate(random_frames()):
        source.push(depth, None, 10**12 + i * 50_000_000, i + 1)
        assert camera.read(1000) is not None
        time.sleep(0.05)
    camera.close()
    return path
