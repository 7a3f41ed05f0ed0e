"""Move from one chunk to the next without a jerk: cross-fade the overlap, each action by its kind.

    old  ──────────────┐
                        ╲  weight of the new one: 1/(n+1) at the take-over, 1 from n steps on
    new                  └──────────────

An absolute action and a velocity are mixed by value; a delta is what one control step moves, so
mixing two of them mixes the velocities. A rotation is turned the share of the way along the shorter
arc. What is discrete ("nearest": a gripper) is the new chunk's at once.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from ofp_edge.rotation import blend_rotation
from ofp_edge.runtime.chunk import Chunk
from ofp_edge.spec import PolicySpec


def cross_fade(spec: PolicySpec, old: Chunk, new: Chunk, t_ns: int, steps: int) -> Chunk:
    """Return `new` cross-faded: at the take-over, `t_ns`, its actions begin near those of `old`.

    Action i, of the moment t_i = t_obs + i dt, has the weight (s + 1) / (steps + 1) of the new
    chunk, s = (t_i - t_ns) / dt, cut to 0..1; beyond the old chunk's end it is the new one's alone.
    steps: 0 is a plain switch. The normalised plan, a warm start's source, stays the new one's.
    """
    if steps == 0:
        return new
    moments = new.t_obs_ns + np.arange(len(new.actions)) * new.dt_ns
    begun = moments >= old.t_obs_ns
    end_ns = old.t_obs_ns + (len(old.actions) - 1) * old.dt_ns
    share = np.clip(((moments - t_ns) / new.dt_ns + 1) / (steps + 1), 0, 1)
    share[moments > end_ns] = 1
    before = np.stack([old.at(max(int(t), old.t_obs_ns)) for t in moments])
    before[~begun] = new.actions[~begun]
    actions = new.actions.copy()
    start = 0
    for field in spec.actions:
        part = slice(start, start + field.shape[0])
        start += field.shape[0]
        if field.interpolation == "nearest":
            continue
        a, b = before[:, part], new.actions[:, part]
        if field.rotation is not None:
            actions[:, part] = [
                blend_rotation(field.rotation, x, y, w, field.scale)
                for x, y, w in zip(a, b, share, strict=True)
            ]
        elif field.kind == "delta":
            actions[:, part] = _faded_path(a, b, share)
        else:
            actions[:, part] = a + share[:, None].astype(np.float32) * (b - a)
    return replace(new, actions=actions)


def _faded_path(
    old: NDArray[np.float32], new: NDArray[np.float32], share: NDArray[np.float64]
) -> NDArray[np.float32]:
    """Deltas whose sums lead from the path that was gone to the one that the new plan wants.

    Both paths begin where the robot was at the new plan's observation. share[i]: of the new path,
    at the end of step i.
    """
    gone, wanted = (np.cumsum(x, axis=0, dtype=np.float64) for x in (old, new))
    path = gone + share[:, None] * (wanted - gone)
    return np.diff(path, axis=0, prepend=0.0).astype(np.float32)
