"""Images on the robot: every camera's colour, by the one preprocessing, bit for bit as trained."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest

from ofp_edge.camera_parameters import CameraParameters, CameraTolerance
from ofp_edge.errors import CameraError, SpecMismatch
from ofp_edge.image import ColorImage
from ofp_edge.profile.bench import SyntheticCamera
from ofp_edge.runtime.camera import Frame
from ofp_edge.runtime.log.telemetry import McapLog, array_from_json
from ofp_edge.runtime.observer import Observer
from ofp_edge.runtime.robot import RobotState
from ofp_edge.spec import PolicySpec
from tests.runtime.test_telemetry import rows_of
from tests.synthetic import CAMERA, action_fields, rgb_fields, state_field

SPEC = PolicySpec((state_field(4), *rgb_fields()), action_fields(), 1, 8, 4, 20.0)
STATE = RobotState(7, {"state": np.zeros(4, np.float32)})


class Fixed:
    """Gives one frame, once."""

    def __init__(self, frame: Frame, parameters: CameraParameters = CAMERA) -> None:
        self.parameters, self._frame = parameters, frame

    def start(self) -> None: ...

    def read(self, timeout_ms: float) -> Frame | None:
        frame, self._frame = self._frame, None  # type: ignore[assignment]
        return frame

    def close(self) -> None: ...


def frame(seed: int, t_ns: int = 0, color: bool = True) -> Frame:
    rng = np.random.default_rng(seed)
    seen = rng.integers(0, 256, (24, 32, 3), dtype=np.uint8)
    return Frame(np.ones((24, 32), np.uint16), seen if color else None, t_ns, 1)


def observer_of(front: Frame, side: Frame) -> Observer:
    cameras = {"front": Fixed(front), "side": Fixed(side)}
    return Observer(SPEC, cameras, {}, CameraTolerance(), dict.fromkeys(cameras, 10**9))


def test_each_field_is_its_own_cameras_image_and_the_oldest_frame_counts() -> None:
    front, side = frame(0, t_ns=30), frame(1, t_ns=20)
    observer = observer_of(front, side)
    assert SPEC.cameras == ("front", "side") and observer.poll(lambda: 40)
    seen = observer.prepare(STATE)
    assert seen.t_obs_ns == 20
    shrink = ColorImage(32, 24, (3, 12, 16))
    for name, taken in (("front", front), ("side", side)):
        assert taken.color is not None
        np.testing.assert_array_equal(seen.arrays[f"rgb_{name}"], shrink(taken.color))
        assert seen.arrays[f"rgb_{name}"].dtype == np.uint8


def test_one_late_camera_holds_the_observation_back() -> None:
    observer = observer_of(frame(0, t_ns=2 * 10**9), frame(1, t_ns=0))
    assert not observer.poll(lambda: 2 * 10**9) and observer.counters.stale == 1


def test_a_camera_without_colour_says_what_to_set() -> None:
    observer = observer_of(frame(0), frame(1, color=False))
    with pytest.raises(CameraError, match=r"'side': no colour.*color = true in \[cameras.side"):
        observer.poll(lambda: 100)


def test_a_missing_camera_and_a_frame_of_another_size_are_refused() -> None:
    with pytest.raises(SpecMismatch, match="one named 'side'"):
        Observer(SPEC, {"front": Fixed(frame(0))}, {}, CameraTolerance(), {"front": 1})
    wide = Frame(np.ones((24, 40), np.uint16), np.zeros((24, 40, 3), np.uint8), 0, 1)
    observer = observer_of(wide, frame(1))
    observer.poll(lambda: 100)
    with pytest.raises(SpecMismatch, match=r"colour frame: expected \(24, 32, 3\) uint8"):
        observer.prepare(STATE)


def test_the_log_keeps_images_as_they_are(tmp_path: Path) -> None:
    observer = observer_of(frame(0), frame(1))
    observer.poll(lambda: 100)
    seen = observer.prepare(STATE)
    log = McapLog(tmp_path / "x.mcap", {})
    log.write("/observation", 0, t_obs_ns=0, state_ns=0, inputs=seen.arrays, observe_ns=1,
              encode_ns=1)  # fmt: skip
    log.close()
    [row] = rows_of(tmp_path / "x.mcap")["/observation"]
    kept = array_from_json(row["inputs"]["rgb_front"])
    assert kept.dtype == np.uint8
    np.testing.assert_array_equal(kept, seen.arrays["rgb_front"])


def test_the_profiles_synthetic_camera_has_colour() -> None:
    cameras = {name: SyntheticCamera(CAMERA) for name in SPEC.cameras}
    observer = Observer(SPEC, cameras, {}, CameraTolerance(), dict.fromkeys(cameras, 10**18))
    assert observer.poll(time.monotonic_ns)
    assert observer.prepare(STATE).arrays["rgb_side"].std() > 1
