"""Rigs (TOML): read, held against a bundle and made into a state machine, as `run` does."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import tomlkit
from tomlkit.exceptions import TOMLKitError

from ofp_edge.rig.file import Rig, read_rig
from tests.fuzz.damage import COUNTS, RAW, damage_file, damage_folder, damaged_json, usable

_EXAMPLES = Path(__file__).parents[2] / "examples"
_RIG = "rig.toml"
_FULL = """schema_version = 1
[robot]
driver = "a:B"
[robot.options]
port = "/dev/ttyUSB0"
[cameras.front]
driver = "realsense"
max_age_ms = 150
[cameras.front.options]
serial = "839112060000"
[cameras.front.parameters]
T_base_camera = [[1.0, 0, 0, 0], [0, -1, 0, 0.5], [0, 0, -1, 1.0], [0, 0, 0, 1]]
fx = 615.3
[timing]
latency_ms = 50.0
max_plan_age_ms = 300.0
cross_fade_steps = 2
max_skew_ms = 80.0
[safety]
max_state_age_ms = 200.0
max_cut_in_a_row = 25
stop_socket = "stop"
stop_silence_ms = 500.0
[safety.limits.move]
measured = "state"
measured_offset = 0
position_low = [-0.4, 0.3, 0.02]
position_high = [0.4, 0.9, 0.50]
max_velocity = 0.25
max_acceleration = 2.0
max_jerk = 40.0
max_first_step = 0.05
[safety.workspace]
measured = "state"
low = [-0.5, 0.2, 0.0]
high = [0.5, 1.0, 0.6]
[realtime]
"""


def small_rig(folder: Path) -> Rig:
    """One without limits, for a robot without cameras."""
    path = folder / "small-rig.toml"
    path.write_text(
        'schema_version = 1\n[robot]\ndriver = "a:B"\n[timing]\nlatency_ms = 0\n'
        "max_plan_age_ms = 300\n"
    )
    return read_rig(path)


class Rigs:
    """A rig is refused in one line, or makes a state machine that takes a step."""

    name = "rig"

    def __init__(self) -> None:
        self.operations = (_entry, _entry, _entry, _text, _folder)
        self.counts = COUNTS
        self.may = ()

    def warm(self) -> None:
        import ofp_edge.runtime.session  # noqa: F401

    def prepare(self, good: Path) -> None:
        from tests.runtime.small_bundle import write_small_bundle
        from tests.runtime.standins import make_spec
        from tests.synthetic import CAMERA

        (good / "rig-full.toml").write_text(_FULL)
        for path in sorted(_EXAMPLES.glob("*.toml")):
            shutil.copy(path, good)
        write_small_bundle(good / "bundle", make_spec(points=True), {"front": CAMERA})

    def place(self, rng: np.random.Generator, good: Path, home: Path) -> str:
        rigs = sorted(good.glob("*.toml"))
        chosen = rigs[int(rng.integers(len(rigs)))] if rng.random() < 0.4 else rigs[-1]
        chosen = good / "rig-full.toml" if rng.random() < 0.6 else chosen
        (home / "rig").mkdir()
        shutil.copy(chosen, home / "rig" / _RIG)
        shutil.copytree(good / "bundle", home / "bundle")
        return chosen.name

    def seal(self, rng: np.random.Generator, home: Path) -> None:
        """A rig has no hash."""

    def read(self, home: Path) -> None:
        from ofp_edge.runtime.control.events import EpisodeStarted, StateRead
        from ofp_edge.runtime.robot import RobotState
        from ofp_edge.runtime.run_files import Request, make_controller, read_run

        files = read_run(Request(home / "bundle", home / "rig" / _RIG))
        controller = make_controller(files.bundle.spec, files.rig, None)
        for tick in range(3):
            state = RobotState(tick, {"state": np.full(4, 0.4, np.float32)})
            controller.step(tick, [EpisodeStarted(0), StateRead(state)][tick == 1 :])


def _entry(rng: np.random.Generator, home: Path) -> str:
    path = home / "rig" / _RIG
    if not usable(path):
        return "nothing left"
    try:
        document: Any = tomlkit.parse(path.read_text()).unwrap()
        damaged, how = damaged_json(rng, document)
        path.write_text(_dumped(damaged))
    except (
        TypeError,
        ValueError,
        TOMLKitError,
    ):  # TOML can't hold it: a text is damaged in its place
        return _text(rng, home)
    return how


def _dumped(value: dict[str, Any]) -> str:
    """TOML, with RAW texts written as they are."""
    raw: list[str] = []

    def taken(item: Any) -> Any:
        if isinstance(item, str) and item.startswith(RAW):
            raw.append(item[len(RAW) :])
            return f"@@{len(raw) - 1}@@"
        if isinstance(item, dict):
            return {key: taken(inner) for key, inner in item.items()}
        if isinstance(item, list) and len(item) > 1000:  # tomlkit takes minutes to write it
            raw.append(json.dumps(item))
            return f"@@{len(raw) - 1}@@"
        return [taken(inner) for inner in item] if isinstance(item, list) else item

    text = tomlkit.dumps(taken(value))
    for number, part in enumerate(raw):
        text = text.replace(f'"@@{number}@@"', {"NaN": "nan", "-Infinity": "-inf"}.get(part, part))
    return text


def _text(rng: np.random.Generator, home: Path) -> str:
    return damage_file(rng, home / "rig" / _RIG)


def _folder(rng: np.random.Generator, home: Path) -> str:
    return (
        damage_folder(rng, home / "rig", links_out=False)
        if rng.random() < 0.2
        else _text(rng, home)
    )
