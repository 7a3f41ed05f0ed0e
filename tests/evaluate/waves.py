"""Demonstrations that a few seconds of training learn: three joints that swing, each at its phase.

The state holds sine and cosine of each phase, so what comes next is known; without seeing it, it is
not. Joint targets are absolute, in rad and (a slide) m; the gripper closes in half of each swing.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import numpy as np

from ofp_edge.fields import State
from ofp_edge.spec import ActionField, PolicySpec
from tests.synthetic import CONTROL_HZ, attributes, write_raw

RADIANS_A_STEP = 0.25
AMPLITUDES = np.array([0.8, 0.4, 0.05])
STATE = State("state", (6,), "1", "base", (-1.0,) * 6, (1.0,) * 6)
ACTIONS = (
    ActionField("joints", (2,), "rad", "base", "absolute", 1.0, (-1.0,) * 2, (1.0,) * 2),
    ActionField("slide", (1,), "m", "base", "absolute", 0.5, (-1.0,), (1.0,)),
    ActionField("grip", (1,), "1", "hand", "absolute", 1.0, (0.0,), (1.0,), None, "nearest"),
)


def spec() -> PolicySpec:
    """What a policy of them sees and does."""
    return PolicySpec((STATE,), ACTIONS, 1, 8, 4, CONTROL_HZ)


def write_waves(
    path: Path, *, episodes: int = 20, length: int = 40, seed: int = 0, control_hz: float = 20.0,
    actions: tuple[ActionField, ...] = ACTIONS, shortest: int = 0,
) -> Path:  # fmt: skip
    """Write them; the last episode has `shortest` frames, if any are asked for."""
    rng = np.random.default_rng(seed)
    states, done, ends = [], [], []
    for episode in range(episodes):
        steps = shortest if shortest and episode == episodes - 1 else length
        phase = rng.uniform(0, 2 * np.pi, 3) + RADIANS_A_STEP * np.arange(steps)[:, None]
        move = AMPLITUDES * np.sin(phase + RADIANS_A_STEP)
        grip = (np.sin(phase[:, :1]) > 0).astype(float)
        states.append(np.concatenate([np.sin(phase), np.cos(phase)], axis=1))
        done.append(np.concatenate([move, grip], axis=1))
        ends.append(steps)
    attrs = attributes([STATE], episodes)
    attrs.update(control_hz=control_hz, actions=[asdict(field) for field in actions])
    arrays = {
        "state": np.concatenate(states).astype(np.float32),
        "action": np.concatenate(done).astype(np.float32),
    }
    write_raw(path, attrs, arrays, np.cumsum(ends).astype(np.int64))
    return path
