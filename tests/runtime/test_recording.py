"""What the loop saw, for calibration: bounded, even, off the control thread, whole windows."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ofp_edge.runtime.log import recording
from ofp_edge.runtime.log.recording import CalibrationRecorder
from ofp_edge.runtime.log.telemetry import Several, Telemetry
from tests.test_bundle import SPEC

SIZES = {f.name: f.shape for f in SPEC.observations}


def see(recorder: Telemetry, k: int) -> None:
    inputs = {f.name: np.full(f.shape, k, f.dtype) for f in SPEC.observations}
    recorder.write("/observation", k, t_obs_ns=k, inputs=inputs, observe_ns=0, encode_ns=0)
    for value in inputs.values():
        value[:] = 0  # the loop writes its buffers again


def begin(recorder: Telemetry, episode: int) -> None:
    recorder.write("/event", 0, t_ns=0, what="episode", detail="seed", episode=episode)


@pytest.fixture(autouse=True)
def _room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recording, "_QUEUE_FRAMES", 10_000)


def load(path: Path) -> dict[str, Any]:
    with np.load(path, allow_pickle=False) as arrays:
        return {name: arrays[name] for name in arrays.files}


def test_windows_hold_the_frames_before_them_within_their_episode(tmp_path: Path) -> None:
    recorder = CalibrationRecorder(tmp_path / "r.npz", SPEC, {"first_seed": 3})
    for episode in range(2):
        begin(recorder, episode)
        for k in range(5):
            see(recorder, 10 * episode + k)
    recorder.close()
    values = load(tmp_path / "r.npz")
    assert values["episode"].tolist() == [0] * 5 + [1] * 5
    assert values["frame"].tolist() == [0, 1, 2, 3, 4] * 2
    for name, shape in SIZES.items():
        seen = values[f"observation/{name}"]
        assert seen.shape == (10, SPEC.n_obs_steps, *shape)
        newest = seen[:, -1].reshape(10, -1)[:, 0]
        assert newest.tolist() == [0, 1, 2, 3, 4, 10, 11, 12, 13, 14]
        assert seen[5, 0].reshape(-1)[0] == 10  # nothing of the episode before
    assert b'"first_seed":3' in values["about"].tobytes()


def test_it_keeps_a_bounded_and_even_choice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recording, "_MOMENTS", 50)
    recorder = CalibrationRecorder(tmp_path / "r.npz", SPEC, {})
    begin(recorder, 0)
    for k in range(1000):
        see(recorder, k)
    recorder.close()
    frames = load(tmp_path / "r.npz")["frame"]
    assert len(frames) == recorder.kept == 50 and recorder.seen == 1000
    assert 350 < frames.mean() < 650 and frames.max() > 800


def test_a_full_queue_loses_frames_and_never_waits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recording, "_QUEUE_FRAMES", 4)
    held = threading.Event()
    keep = CalibrationRecorder._keep

    def slow(self: CalibrationRecorder, *arguments: Any) -> None:
        held.wait()
        keep(self, *arguments)

    monkeypatch.setattr(CalibrationRecorder, "_keep", slow)
    recorder = CalibrationRecorder(tmp_path / "r.npz", SPEC, {})
    begin(recorder, 0)
    for k in range(20):
        see(recorder, k)
    assert 15 <= recorder.lost <= 16
    held.set()
    recorder.close()
    assert recorder.kept == 20 - recorder.lost


def test_a_run_that_saw_nothing_leaves_no_file_and_says_so(tmp_path: Path) -> None:
    recorder = CalibrationRecorder(tmp_path / "r.npz", SPEC, {})
    recorder.close()
    recorder.close()
    assert recorder.trouble == "nothing was seen" and not (tmp_path / "r.npz").exists()


def test_a_log_and_a_recording_go_side_by_side(tmp_path: Path) -> None:
    places = [CalibrationRecorder(tmp_path / f"{k}.npz", SPEC, {}) for k in range(2)]
    both = Several(*places)
    begin(both, 0)
    see(both, 1)
    both.close()
    assert (tmp_path / "0.npz").read_bytes() == (tmp_path / "1.npz").read_bytes()


def test_the_loop_s_own_frames_are_recorded(tmp_path: Path) -> None:
    from ofp_edge.runtime.control.loop import Limits
    from tests.runtime.standins import FakeEpisodicRobot
    from tests.runtime.test_loop import SPEC as LOOP_SPEC
    from tests.runtime.test_loop import Stand

    recorder = CalibrationRecorder(tmp_path / "r.npz", LOOP_SPEC, {})
    stand = Stand(FakeEpisodicRobot, telemetry=recorder)
    stand.loop.run(Limits(duration_s=None, episodes=2))
    recorder.close()
    values = load(tmp_path / "r.npz")
    assert set(values["episode"].tolist()) == {0, 1} and recorder.lost == 0
    for field in LOOP_SPEC.observations:
        seen = values[f"observation/{field.name}"]
        assert seen.shape == (recorder.seen, LOOP_SPEC.n_obs_steps, *field.shape)
        assert seen.dtype == field.dtype and np.isfinite(seen).all()
