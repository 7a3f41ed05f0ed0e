"""A recording of what the policy sees in the robot's own loop, as candidates for calibration
samples.

It is a `Telemetry`: the control thread copies a frame and enqueues it; a thread of its own keeps a
bounded, even choice of all moments (reservoir sampling, Vitter 1985) and writes the file at the
end. When the queue is full a frame is lost and counted, and the control thread goes on.

    observation/<field> (K, n_obs_steps, …), episode, frame (K,)     about: JSON
"""

from __future__ import annotations

import io
import queue
import threading
from collections import deque
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ofp_edge.errors import OfpError
from ofp_edge.files import canonical_json, write_bytes
from ofp_edge.spec import PolicySpec

KIND, SCHEMA_VERSION = "recording for calibration", 1
_QUEUE_FRAMES = 64
_BYTES = 128_000_000  # the kept windows in memory, before compression
_MOMENTS = 2048

Frame = dict[str, NDArray[Any]]


class CalibrationRecorder:
    """A recorder that keeps at most 2048 moments, or 128 MB. `lost` counts frames that found the
    queue full.

    `header` is plain JSON (bundle hash, first seed) that goes into `about`. `trouble` says what
    kept the file from being written.
    """

    def __init__(self, path: Path, spec: PolicySpec, header: dict[str, Any]) -> None:
        self.path, self.lost, self.seen, self.trouble = path, 0, 0, ""
        self._spec, self._header = spec, header
        frame = sum(int(np.prod(f.shape)) * np.dtype(f.dtype).itemsize for f in spec.observations)
        self._room = int(min(_MOMENTS, max(2, _BYTES // (frame * spec.n_obs_steps))))
        self._kept: list[tuple[int, int, tuple[Frame, ...]]] = []
        self._episode = 0
        self._queue: queue.Queue[tuple[int, Frame] | None] = queue.Queue(_QUEUE_FRAMES)
        self._thread = threading.Thread(target=self._drain, name="calibration", daemon=True)
        self._thread.start()

    @property
    def kept(self) -> int:
        """The number of moments kept so far."""
        return len(self._kept)

    def write(self, topic: str, t_ns: int, /, **values: Any) -> None:
        """Take the frames and the beginnings of episodes, and pass over everything else."""
        if topic == "/event" and values["what"] == "episode":
            self._episode = int(values["episode"])
        if topic != "/observation":
            return
        frame = {name: array.copy() for name, array in values["inputs"].items()}
        try:
            self._queue.put_nowait((self._episode, frame))
        except queue.Full:
            self.lost += 1

    def close(self) -> None:
        """Write the file, if anything was seen. Idempotent."""
        if not self._thread.is_alive():
            return
        self._queue.put(None)
        self._thread.join()
        if not self._kept:
            self.trouble = "nothing was seen"
            return
        try:
            write_bytes(self.path, self._bytes())
        except (OSError, OfpError) as cause:  # the run itself went well
            self.trouble = str(cause)

    def _drain(self) -> None:
        rng = np.random.default_rng(0)
        past: deque[Frame] = deque(maxlen=self._spec.n_obs_steps)
        current, number = -1, 0
        while (item := self._queue.get()) is not None:
            episode, frame = item
            if episode != current:
                current, number = episode, 0
                past.clear()
            past.append(frame)
            window = (past[0],) * (self._spec.n_obs_steps - len(past)) + tuple(past)
            self._keep((episode, number, window), rng)
            number += 1

    def _keep(self, moment: tuple[int, int, tuple[Frame, ...]], rng: np.random.Generator) -> None:
        self.seen += 1
        if len(self._kept) < self._room:
            self._kept.append(moment)
        elif (place := int(rng.integers(self.seen))) < self._room:
            self._kept[place] = moment

    def _bytes(self) -> bytes:
        kept = sorted(self._kept, key=lambda moment: moment[:2])
        arrays: dict[str, NDArray[Any]] = {
            f"observation/{f.name}": np.stack(
                [np.stack([frame[f.name] for frame in window]) for _, _, window in kept]
            )
            for f in self._spec.observations
        }
        for i, name in enumerate(("episode", "frame")):
            arrays[name] = np.asarray([moment[i] for moment in kept], np.int64)
        about = {
            **self._header,
            "kind": KIND,
            "schema_version": SCHEMA_VERSION,
            "seen": self.seen,
            "lost": self.lost,
        }
        buffer = io.BytesIO()
        text = np.frombuffer(canonical_json(about), np.uint8)
        np.savez_compressed(buffer, allow_pickle=False, about=text, **arrays)
        return buffer.getvalue()
