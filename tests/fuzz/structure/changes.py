"""Changes whose truth is known, of every layout: each is drawn from an rng and says what it did."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tests.fuzz.damage import Rng
from tests.fuzz.structure.editor import Array, Editor, odd_type
from tests.fuzz.structure.zarr_set import ZarrSet

Change = Callable[[Rng, Editor], str]
_SYNONYMS = {
    "state": ["qpos", "agent_pos", "low_dim", "proprio", "joint_positions", "obs"],
    "action": ["actions", "ctrl", "control", "target_qpos", "commands", "act"],
    "image": ["img", "rgb", "image0", "color", "front_view", "camera_1"],
}


def changes(editor: Editor) -> dict[str, Callable[[Rng], str]]:
    """All that this set can suffer, by name."""
    general: dict[str, Change] = {
        "a number is NaN": _nan,
        "a glitch": _glitch,
        "a column in mm": _column_scaled,
        "a column in mm in one episode": _column_scaled_once,
        "a column's sign": _sign,
        "a column stands still": _frozen,
        "two columns are exchanged": _columns,
        "numbers are a frame late": _late,
        "two rows are exchanged": _rows_swapped,
        "rows of one key are reversed": _key_reversed,
        "a row is dropped": _dropped,
        "a row is there twice": _doubled,
        "another type": _retyped,
        "another name": _renamed,
        "something is lost": lambda rng, e: e.lose(rng),
    }
    if editor.actions:
        general["the action is the next one"] = _next_action
        general["the action is the state"] = _action_is_state
    if len(editor.cameras) > 1 and "cameras are exchanged" not in editor.special():
        general["cameras are exchanged"] = _cameras
    pixels = isinstance(editor, ZarrSet) or editor.path.suffix == ".hdf5"
    if pixels and editor.cameras:
        general |= {"a camera is a frame early": _camera_early, "an image is black": _black}
        general["a camera is BGR"] = _bgr
    found: dict[str, Callable[[Rng], str]] = {
        name: lambda rng, change=change: change(rng, editor)  # type: ignore[misc]
        for name, change in general.items()
    }
    return {**found, **editor.special()}


def _episode(rng: Rng, editor: Editor) -> int:
    return int(rng.integers(len(editor.lengths)))


def _key(rng: Rng, editor: Editor) -> str:
    return str(rng.choice(editor.numbers))


def _moving(values: Array, rng: Rng) -> int:
    """A column in which something happens, where there is one."""
    moving = np.flatnonzero(np.ptp(values, axis=0))
    return int(rng.choice(moving)) if len(moving) else int(rng.integers(values.shape[1]))


def _nan(rng: Rng, editor: Editor) -> str:
    key, episode = _key(rng, editor), _episode(rng, editor)
    values = editor.get(key, episode)
    at = int(rng.integers(len(values)))
    values[at, int(rng.integers(values.shape[1]))] = rng.choice([np.nan, np.inf, -np.inf])
    editor.put(key, episode, values)
    return f"{key}, episode {episode} frame {at}"


def _glitch(rng: Rng, editor: Editor) -> str:
    key, episode = _key(rng, editor), _episode(rng, editor)
    values = editor.get(key, episode)
    at, column = int(rng.integers(len(values))), _moving(values, rng)
    far = float(rng.choice([-1, 1]) * rng.choice([10, 100, 1e4]))
    values[at, column] = far
    editor.put(key, episode, values)
    return f"{key}[{column}], episode {episode} frame {at}: {far:g}"


def _column_scaled(rng: Rng, editor: Editor) -> str:
    key = _key(rng, editor)
    column = _moving(editor.get(key, 0), rng)
    for episode in range(len(editor.lengths)):
        _column(editor, key, episode, column, lambda x: x * 1000)
    return f"{key}[{column}]"


def _column_scaled_once(rng: Rng, editor: Editor) -> str:
    key, episode = _key(rng, editor), _episode(rng, editor)
    column = _moving(editor.get(key, episode), rng)
    _column(editor, key, episode, column, lambda x: x * 1000)
    return f"{key}[{column}], episode {episode}"


def _sign(rng: Rng, editor: Editor) -> str:
    key, episode = _key(rng, editor), _episode(rng, editor)
    column = _moving(editor.get(key, episode), rng)
    _column(editor, key, episode, column, lambda x: -x)
    return f"{key}[{column}], episode {episode}"


def _frozen(rng: Rng, editor: Editor) -> str:
    key, episode = _key(rng, editor), _episode(rng, editor)
    column = _moving(editor.get(key, episode), rng)
    at = editor.lengths[episode] // 2
    _column(editor, key, episode, column, lambda x: np.where(np.arange(len(x)) < at, x, x[at]))
    return f"{key}[{column}], episode {episode} from {at} on"


def _column(editor: Editor, key: str, episode: int, column: int, change: Any) -> None:
    values = editor.get(key, episode)
    values[:, column] = change(values[:, column])
    editor.put(key, episode, values)


def _columns(rng: Rng, editor: Editor) -> str:
    key, episode = _key(rng, editor), _episode(rng, editor)
    values = editor.get(key, episode)
    if values.shape[1] < 2:
        return "nothing: one column"
    one, other = rng.permutation(values.shape[1])[:2]
    values[:, [one, other]] = values[:, [other, one]]
    editor.put(key, episode, values)
    return f"{key}, episode {episode}: {one} and {other}"


def _late(rng: Rng, editor: Editor) -> str:
    key = _key(rng, editor)
    for episode in range(len(editor.lengths)):
        values = editor.get(key, episode)
        editor.put(key, episode, np.concatenate([values[:1], values[:-1]]))
    return key


def _next_action(rng: Rng, editor: Editor) -> str:
    for key in editor.actions:
        for episode in range(len(editor.lengths)):
            values = editor.get(key, episode)
            editor.put(key, episode, np.concatenate([values[1:], values[-1:]]))
    return "everywhere"


def _action_is_state(rng: Rng, editor: Editor) -> str:
    for key in editor.actions:
        for episode in range(len(editor.lengths)):
            values = editor.get(key, episode)
            twin = key.replace("action", "state")
            state = editor.get(twin if twin in editor.states else editor.states[0], episode)
            width = min(values.shape[1], state.shape[1])
            values[:, :width] = state[:, :width]
            editor.put(key, episode, values)
    return "everywhere"


def _rows_swapped(rng: Rng, editor: Editor) -> str:
    episode = _episode(rng, editor)
    rows = np.arange(editor.lengths[episode])
    one, other = rng.permutation(len(rows))[:2]
    rows[[one, other]] = rows[[other, one]]
    editor.take(episode, rows)
    return f"{one} and {other} of episode {episode}"


def _key_reversed(rng: Rng, editor: Editor) -> str:
    key, episode = _key(rng, editor), _episode(rng, editor)
    editor.put(key, episode, editor.get(key, episode)[::-1])
    return f"{key}, episode {episode}"


def _dropped(rng: Rng, editor: Editor) -> str:
    episode = _episode(rng, editor)
    at = int(rng.integers(editor.lengths[episode]))
    editor.take(episode, np.delete(np.arange(editor.lengths[episode]), at))
    return f"{at} of episode {episode}"


def _doubled(rng: Rng, editor: Editor) -> str:
    episode = _episode(rng, editor)
    at = int(rng.integers(editor.lengths[episode]))
    editor.take(episode, np.insert(np.arange(editor.lengths[episode]), at, at))
    return f"{at} of episode {episode}"


def _retyped(rng: Rng, editor: Editor) -> str:
    key, dtype = _key(rng, editor), odd_type(rng)
    editor.retype(key, dtype)
    return f"{key} as {dtype}"


def _renamed(rng: Rng, editor: Editor) -> str:
    keys = {"state": editor.states, "image": editor.cameras, "action": editor.actions}
    kind = str(rng.choice([x for x, there in keys.items() if there]))
    key, name = str(rng.choice(keys[kind])), str(rng.choice(_SYNONYMS[kind]))
    editor.rename(key, name)
    return f"{key} is called {name}"


def _cameras(rng: Rng, editor: Editor) -> str:
    one, other = editor.cameras[:2]
    for episode in range(len(editor.lengths)):
        first, second = editor.get(one, episode), editor.get(other, episode)
        editor.put(one, episode, second)
        editor.put(other, episode, first)
    return f"{one} and {other}"


def _camera_early(rng: Rng, editor: Editor) -> str:
    key = str(rng.choice(editor.cameras))
    for episode in range(len(editor.lengths)):
        frames = editor.get(key, episode)
        editor.put(key, episode, np.concatenate([frames[1:], frames[-1:]]))
    return key


def _black(rng: Rng, editor: Editor) -> str:
    key, episode = str(rng.choice(editor.cameras)), _episode(rng, editor)
    frames = editor.get(key, episode)
    at = int(rng.integers(len(frames)))
    frames[at] = 0
    editor.put(key, episode, frames)
    return f"{key}, episode {episode} frame {at}"


def _bgr(rng: Rng, editor: Editor) -> str:
    key = str(rng.choice(editor.cameras))
    for episode in range(len(editor.lengths)):
        editor.put(key, episode, editor.get(key, episode)[..., ::-1])
    return key
