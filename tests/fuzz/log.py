"""Logs of a run (MCAP), as `ofp-edge replay` reads them: with the bundle they were made with."""

from __future__ import annotations

import json
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from tests.fuzz import command
from tests.fuzz.bundle import give_provenance
from tests.fuzz.damage import COUNTS, damage_file, damage_folder, damaged_json, dump_json, usable

_LOG = "log/run.mcap"
_HEADER = "ofp_edge"
_BOMB_BYTES = 3 << 30


class Logs:
    """A log is refused in one line, replays as the same, or its differences are told."""

    name = "log"

    def __init__(self) -> None:
        self.operations = (
            _row,
            _row,
            _row,
            _row,
            _header,
            _header,
            _bytes,
            _bytes,
            _record,
            _folder,
        )
        self.counts = COUNTS
        self.may = ()

    def warm(self) -> None:
        import onnxruntime  # noqa: F401

        import ofp_edge.runtime.replay
        import ofp_edge.runtime.session  # noqa: F401

        command.warm()

    def prepare(self, good: Path) -> None:
        (good / "log").mkdir()
        write_log(good / "bundle", good / _LOG)

    def place(self, rng: np.random.Generator, good: Path, home: Path) -> str:
        shutil.copytree(good / "log", home / "log")
        shutil.copytree(good / "bundle", home / "bundle")
        return "run.mcap"

    def seal(self, rng: np.random.Generator, home: Path) -> None:
        """The operations write whole files, with sums that fit."""

    def read(self, home: Path) -> None:
        command.command("replay", str(home / _LOG), "--bundle", str(home / "bundle"))


def write_log(bundle: Path, log: Path) -> None:
    """A short run on a fake clock, with limits, a refining step and every kind of row."""
    from ofp_edge.bundle import open_bundle
    from ofp_edge.rig.safety import FieldLimits, SafetyEntry
    from ofp_edge.runtime.control.loop import Limits
    from ofp_edge.runtime.infer.load import load_inference
    from ofp_edge.runtime.log.schemas import LOG_VERSION
    from ofp_edge.runtime.log.telemetry import McapLog
    from ofp_edge.runtime.replay import controller_of
    from tests.runtime.small_bundle import write_small_bundle
    from tests.runtime.test_loop import SPEC, Stand
    from tests.synthetic import CAMERA

    write_small_bundle(bundle, SPEC, {"front": CAMERA})
    give_provenance(bundle)
    opened = open_bundle(bundle)
    safety = SafetyEntry(limits={"move": FieldLimits(max_velocity=1.2, max_acceleration=30.0)})
    header = {
        "ofp_edge": "0",
        "log_version": LOG_VERSION,
        "bundle_sha256": opened.sha256,
        "spec": SPEC.to_json(),
        "engine": "onnxruntime",
        "precision": "fp32",
        "threads": 1,
        "seed": 0,
        "noise": "PCG64",
        "nfe": 1,
        "refine_first_ns": None,
        "guard": 1,
        "latency_ms": 100.0,
        "max_plan_age_ms": 400.0,
        "cross_fade_steps": 2,
        "safety": safety.to_json(),
        "started_unix_ns": 0,
    }
    telemetry = McapLog(log, header)
    stand = Stand(telemetry=telemetry)
    inference = load_inference(opened, "onnxruntime", "fp32", threads=1, seed=0, nfe=1)
    stand.loop.inference = stand.loop.planner.inference = inference
    stand.loop.controller = stand.controller = controller_of(header)
    stand.loop.run(Limits(duration_s=1.0))
    telemetry.close()
    inference.close()


def _rewritten(
    home: Path,
    header: Callable[[Any], bytes] | None,
    row: Callable[[int, str, bytes], bytes] | None,
    compression: str = "zstd",
) -> None:
    """The same log with other rows: written anew by mcap itself, so every sum fits."""
    from mcap.reader import make_reader
    from mcap.writer import CompressionType, Writer

    path = home / _LOG
    if not usable(path):
        raise OSError("nothing left")
    with path.open("rb") as file:
        reader = make_reader(file)
        metadata = list(reader.iter_metadata())
        rows = [(s, c, m) for s, c, m in reader.iter_messages(log_time_order=False)]
    with path.open("wb") as file:
        writer = Writer(file, compression=CompressionType[compression.upper()])
        writer.start("", "ofp-edge")
        for item in metadata:
            text = item.metadata
            if header is not None and item.name == _HEADER:
                made = header(json.loads(text["json"])).decode("utf-8", "replace")
                text = {**text, "json": made}
            writer.add_metadata(item.name, text)
        channels: dict[str, int] = {}
        for number, (schema, channel, message) in enumerate(rows):
            if channel.topic not in channels:
                about = writer.register_schema(schema.name, schema.encoding, schema.data)
                channels[channel.topic] = writer.register_channel(
                    channel.topic, channel.message_encoding, about
                )
            data = message.data if row is None else row(number, channel.topic, message.data)
            writer.add_message(
                channels[channel.topic],
                message.log_time,
                data,
                message.publish_time,
                message.sequence,
            )
        writer.finish()


def _row(rng: np.random.Generator, home: Path) -> str:
    said = ""

    def odd(number: int, topic: str, data: bytes) -> bytes:
        nonlocal said
        if said or topic.startswith("/thumbnail") or rng.random() > 0.05:
            return data
        damaged, how = damaged_json(rng, json.loads(data))
        said = f"row {number} of {topic}: {how}"
        return dump_json(damaged)

    try:
        _rewritten(home, None, odd)
    except Exception:  # what an earlier operation left can't be written anew
        return _bytes(rng, home)
    return said or "no row"


def _header(rng: np.random.Generator, home: Path) -> str:
    said = ""

    def odd(value: Any) -> bytes:
        nonlocal said
        damaged, said = damaged_json(rng, value)
        return dump_json(damaged)

    try:
        _rewritten(home, odd, None)
    except Exception:
        return _bytes(rng, home)
    return f"header: {said}"


def _bytes(rng: np.random.Generator, home: Path) -> str:
    return damage_file(rng, home / _LOG)


def _record(rng: np.random.Generator, home: Path) -> str:
    """A record put in front of all others: a bomb, an absurd length, a channel nobody declared."""
    path = home / _LOG
    if not usable(path):
        return "nothing left"
    data = path.read_bytes()
    made = _records()
    name = sorted(made)[int(rng.integers(len(made)))]
    path.write_bytes(data[:8] + made[name] + data[8:])
    return f"a record before all others: {name}"


def _records() -> dict[str, bytes]:
    message = struct.pack("<HIQQ", 77, 1, 0, 0) + b"{}"
    return {
        "a message of an unknown channel": _recorded(5, message),
        "a length of 2^63": b"\x05" + struct.pack("<Q", 2**63) + message,
        "a length of 6 GB": b"\x05" + struct.pack("<Q", 6 << 30) + message,
        "an unknown opcode": _recorded(0x7F, b"x" * 100),
        "opcode 0": _recorded(0, b""),
        "a chunk that unpacks to 3 GB": _recorded(6, _chunk("zstd", _zstd_bomb(), _BOMB_BYTES)),
        "a chunk that says it unpacks to 2^60": _recorded(6, _chunk("zstd", _zstd_bomb(), 2**60)),
        "an lz4 chunk of 2^60": _recorded(6, _chunk("lz4", b"\x04\x22\x4d\x18" + bytes(40), 2**60)),
        "a chunk packed in no known way": _recorded(6, _chunk("rot13", b"x" * 40, 40)),
        "a chunk that is no chunk": _recorded(6, b"\xff" * 12),
        "metadata with a huge map": _recorded(12, struct.pack("<I", 2**31) + b"ofp_edge"),
    }


def _recorded(opcode: int, body: bytes) -> bytes:
    return bytes([opcode]) + struct.pack("<Q", len(body)) + body


def _chunk(compression: str, records: bytes, size: int) -> bytes:
    name = struct.pack("<I", len(compression)) + compression.encode()
    head = struct.pack("<QQQI", 0, 0, size % 2**64, 0) + name
    return head + struct.pack("<Q", len(records)) + records


def _zstd_bomb() -> bytes:
    """Blocks of 128 KiB of one repeated byte, 4 bytes each."""
    count = _BOMB_BYTES // (128 << 10)
    block = struct.pack("<I", (128 << 10) << 3 | 1 << 1)[:3] + b"\0"
    last = struct.pack("<I", (128 << 10) << 3 | 1 << 1 | 1)[:3] + b"\0"
    frame = b"\x28\xb5\x2f\xfd" + bytes([0xC0]) + b"\x58" + struct.pack("<Q", _BOMB_BYTES)
    return frame + block * (count - 1) + last


def _folder(rng: np.random.Generator, home: Path) -> str:
    return (
        damage_folder(rng, home / "log", links_out=False)
        if rng.random() < 0.3
        else _bytes(rng, home)
    )
