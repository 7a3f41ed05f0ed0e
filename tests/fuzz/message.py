"""Messages of a robot's own process (runtime/robots/wire.py), as bytes and through RemoteRobot."""

from __future__ import annotations

import json
import os
import struct
from pathlib import Path
from typing import Any

import numpy as np

from ofp_edge.errors import OfpError
from ofp_edge.fields import State
from ofp_edge.runtime.robots.wire import LARGEST_BYTES, WireError, decode, encode
from ofp_edge.spec import ActionField, PolicySpec
from tests.fuzz.damage import COUNTS, damaged_bytes, damaged_json, dump_json

SPEC = PolicySpec(
    (State("state", (4,), "rad", "base", (-4.0,) * 4, (4.0,) * 4),),
    (ActionField("joints", (4,), "rad", "base", "absolute", 1.0, (-4.0,) * 4, (4.0,) * 4),),
    1,
    8,
    4,
    20.0,
)
_NAME, _SCRIPT, _GOOD = "message", "python", "good"
_SHARE_REMOTE = 0.02
_FAKE = """#!/bin/bash
# In place of the robot's process: says what lies beside it. Called as -m MODULE FD.
here=$(dirname "$0")
[ -e "$here/good" ] && cat "$here/good" >&"$3"
cat "$here/message" >&"$3"
sleep 0.02
"""


class Messages:
    """decode must answer WireError or a message; a RemoteRobot RobotError or a state that fits."""

    name = "message"

    def __init__(self) -> None:
        self.operations = (_bytes, _bytes, _header, _header, _header, _array, _array)
        self.counts = COUNTS
        self.may = ("subprocess.Popen",)

    def warm(self) -> None:
        import ofp_edge.runtime.observer
        import ofp_edge.runtime.robots.remote
        import ofp_edge.runtime.session  # noqa: F401

    def prepare(self, good: Path) -> None:
        """Nothing: they are made by `place`."""

    def place(self, rng: np.random.Generator, good: Path, home: Path) -> str:
        (home / _NAME).write_bytes(_messages(rng)[k := int(rng.integers(5))])
        if rng.random() < _SHARE_REMOTE:
            (home / _SCRIPT).write_text(_FAKE)
            (home / _SCRIPT).chmod(0o755)
            if rng.random() < 0.5:
                (home / _GOOD).write_bytes(_messages(rng)[0])
            return f"message {k}, sent"
        return f"message {k}"

    def seal(self, rng: np.random.Generator, home: Path) -> None:
        """A message has no hash."""

    def read(self, home: Path) -> None:
        data = (home / _NAME).read_bytes()[:LARGEST_BYTES]
        try:
            kind, values, arrays = decode(data)
        except WireError as cause:
            if not (home / _SCRIPT).exists():
                raise OfpError(str(cause)) from None
        else:
            assert isinstance(kind, str) and isinstance(values, dict), (kind, values)
            for name, array in arrays.items():
                assert isinstance(name, str), name
                assert isinstance(array, np.ndarray) and array.dtype.kind in "biuf", array.dtype
                assert array.nbytes <= len(data), "an array larger than its message"
        if (home / _SCRIPT).exists():
            _through_a_robot(home)


def _messages(rng: np.random.Generator) -> list[bytes]:
    import time

    state = rng.normal(size=4).astype(np.float32)
    return [
        encode("state", {"state": state}, t_ns=time.monotonic_ns()),
        encode("action", {"action": state}),
        encode("stop"),
        encode("error", line="servo 3 (elbow_flex) does not answer."),
        encode(
            "start", spec=SPEC.to_json(), robot="a:B", options={"port": "/dev/x"}, state_hz=40.0
        ),
    ]


def _through_a_robot(home: Path) -> None:
    """What the loop does with a state: the state machine hears it, the observer looks at it."""
    from ofp_edge.runtime.control.events import EpisodeStarted, StateRead
    from ofp_edge.runtime.observer import Observer
    from ofp_edge.runtime.robots.remote import RemoteRobot
    from ofp_edge.runtime.run_files import make_controller
    from tests.fuzz.rig import small_rig

    robot = RemoteRobot(SPEC, robot="a:B", python=str(home / _SCRIPT), start_s=20.0)
    try:
        state = robot.state()
        controller = make_controller(SPEC, small_rig(home), None)
        now_ns = int(state.t_ns) if abs(state.t_ns) < 2**62 else 0
        controller.step(now_ns, [StateRead(state), EpisodeStarted(now_ns)])
        Observer(SPEC, {}, {}, _tolerance(), {}).prepare(state)
        robot.send(np.zeros(4, np.float32))
    finally:
        robot.close()


def _tolerance() -> Any:
    from ofp_edge.camera_parameters import CameraTolerance

    return CameraTolerance()


def _bytes(rng: np.random.Generator, home: Path) -> str:
    data, how = damaged_bytes(rng, (home / _NAME).read_bytes())
    (home / _NAME).write_bytes(data)
    return how


def _parts(home: Path) -> tuple[dict[str, Any], bytes]:
    data = (home / _NAME).read_bytes()
    (length,) = struct.unpack_from("<I", data)
    return json.loads(data[4 : 4 + length]), data[4 + length :]


def _header(rng: np.random.Generator, home: Path) -> str:
    try:
        header, rest = _parts(home)
    except (ValueError, struct.error, RecursionError):
        return _bytes(rng, home)
    damaged, how = damaged_json(rng, header)
    text = dump_json(damaged)
    (home / _NAME).write_bytes(struct.pack("<I", len(text)) + text + rest)
    return how


def _array(rng: np.random.Generator, home: Path) -> str:
    """Another npy: of another type, an impossible shape, a header that is a program."""
    try:
        header, _ = _parts(home)
        names = [name for name, _ in header["arrays"]]
    except (ValueError, struct.error, KeyError, TypeError, RecursionError):
        return _bytes(rng, home)
    descr, shape = _HEADERS[k := int(rng.integers(len(_HEADERS)))]
    about = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}\n".encode()
    blob = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(about) % 65536) + about + bytes(16)
    names = names or ["state"]
    header["arrays"] = [[name, len(blob)] for name in names]
    text = json.dumps(header).encode()
    message = struct.pack("<I", len(text)) + text + blob * len(names)
    (home / _NAME).write_bytes(message)
    return f"an array of {_HEADERS[k]}"


_HEADERS = (
    ("'<f4'", "(4,)"),
    ("'<f4'", "(2, 2)"),
    ("'<f4'", "()"),
    ("'<f4'", "(0,)"),
    ("'<f8'", "(2,)"),
    ("'<f4'", "(1000000000000,)"),
    ("'<f4'", "(-1,)"),
    ("'<f4'", "(True,)"),
    ("'>f4'", "(4,)"),
    ("'|O'", "(1,)"),
    ("'<U4'", "(1,)"),
    ("'<c8'", "(2,)"),
    ("'<M8[ns]'", "(2,)"),
    ("'|V16'", "()"),
    ("[('a', '<f4')]", "(4,)"),
    ("'<i8'", "(2,)"),
    ("'|b1'", "(16,)"),
    ("'<f4'", "(4, 0)"),
    ("'<f4'", "((((4,)))," * 30),
    ("'<f4'", "(" * 300 + "4,"),
    ("'f'", "(4,)"),
    ("'<f4'", "(4.0,)"),
    ("'<f4'", "__import__('os')"),
    ("'<f4'", "(9999999999999999999999,)"),
    ("'<f2'", "(8,)"),
)


if os.name != "posix":
    raise ImportError("a pair of Unix sockets is wanted")
