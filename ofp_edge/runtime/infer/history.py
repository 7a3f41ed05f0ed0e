"""Keep frame features by capture time, so that only the newest frame needs the encoder."""

from __future__ import annotations

import bisect

import numpy as np
from numpy.typing import NDArray


class FeatureHistory:
    """The last features of a stream, in a ring; answers "what was seen at t, t - dt, ...".

    It keeps 2 * n_obs_steps entries, so that frames may come up to twice as often as control steps.
    """

    def __init__(self, n_obs_steps: int, feature_dim: int, dt_ns: int) -> None:
        self.n_obs_steps, self.feature_dim, self.dt_ns = n_obs_steps, feature_dim, dt_ns
        self._features = np.zeros((2 * n_obs_steps, feature_dim), dtype=np.float32)
        self._times: list[int] = []
        self._first = 0

    def clear(self) -> None:
        """Forget everything: a new episode, or a gap in the stream."""
        self._times.clear()
        self._first = 0

    def __len__(self) -> int:
        return len(self._times)

    def newer(self, t_capture_ns: int) -> bool:
        """Return whether a frame of that time is newer than everything kept."""
        return not self._times or t_capture_ns > self._times[-1]

    def slot(self, t_capture_ns: int) -> NDArray[np.float32]:
        """Return the (F,) row to write a newer frame's feature into; the oldest makes room.

        A gap of more than n_obs_steps + 1 control steps clears what came before it. Raises
        ValueError when the frame is not newer than the last one.
        """
        if self._times:
            gap = t_capture_ns - self._times[-1]
            if gap <= 0:
                raise ValueError(f"frame of {t_capture_ns} ns is not newer than {self._times[-1]}")
            if gap > (self.n_obs_steps + 1) * self.dt_ns:
                self.clear()
        if len(self._times) == len(self._features):
            self._times.pop(0)
            self._first = (self._first + 1) % len(self._features)
        self._times.append(t_capture_ns)
        row: NDArray[np.float32] = self._features[self._row(len(self._times) - 1)]
        return row

    def gather(self, t_obs_ns: int, out: NDArray[np.float32]) -> None:
        """Fill `out` (n_obs_steps * F,), oldest first, with the features nearest to t_obs - k dt.

        Frames later than `t_obs_ns` are not used. At the start of a stream the oldest frame stands
        in for the missing ones. Raises ValueError when there is no frame yet.
        """
        known = bisect.bisect_right(self._times, t_obs_ns)
        if known == 0:
            raise ValueError("no frame has been observed")
        size = self.feature_dim
        for k in range(self.n_obs_steps):
            wanted = t_obs_ns - k * self.dt_ns
            best = known - 1
            while best > 0 and abs(self._times[best - 1] - wanted) < abs(
                self._times[best] - wanted
            ):
                best -= 1
            begin = (self.n_obs_steps - 1 - k) * size
            out[begin : begin + size] = self._features[self._row(best)]

    def _row(self, position: int) -> int:
        return (self._first + position) % len(self._features)
