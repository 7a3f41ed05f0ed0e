"""Built engines, kept beside the bundle: BUNDLE.engines/encode.fp16.engine and so on.

The engine file is TensorRT's plain plan (trtexec reads it). The record beside it says what it was
built from and where, and the plan's hash; it is written last, so an engine without a fitting
record was never finished. A plan is native code: one whose hash is not the record's never loads.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ofp_edge.bundle import Bundle
from ofp_edge.errors import OfpError
from ofp_edge.files import read_json, sha256_bytes, write_bytes, write_json

SCHEMA_VERSION = 1


@dataclass(frozen=True)
class EngineKey:
    """The conditions an engine depends on. If any of them differs, the engine is built again."""

    graph_sha256: str
    precision: str
    tensorrt: str
    gpu: str
    compute_capability: str
    jetpack: str


class EngineCache:
    """The engines of one bundle on this device."""

    def __init__(self, bundle: Bundle) -> None:
        path = Path(os.path.abspath(bundle.path))
        self.folder = path.with_name(f"{path.name}.engines")

    def engine_file(self, function: str, precision: str) -> Path:
        """Return the path of an engine."""
        return self.folder / f"{function}.{precision}.engine"

    def find(self, function: str, key: EngineKey) -> tuple[bytes | None, str]:
        """Return the checked plan, or None and the reason why it has to be built."""
        path = self.engine_file(function, key.precision)
        if not path.is_file():
            return None, "there is none yet"
        try:
            record = read_json(_record_file(path))
            had, sha256 = dict(record["key"]), str(record["sha256"])
            fits = record["schema_version"] == SCHEMA_VERSION
        except (OfpError, KeyError, TypeError, ValueError):
            return None, "it has no readable record: it was not finished"
        if not fits:
            return None, f"its record has schema version {record['schema_version']}"
        for name, value in asdict(key).items():
            if had.get(name) != value:
                return None, f"{name} was {_short(had.get(name))}, now {_short(value)}"
        plan = path.read_bytes()
        if sha256_bytes(plan) != sha256:
            return None, "the file is damaged: its SHA-256 differs from its record"
        return plan, ""

    def record(self, function: str, precision: str) -> dict[str, Any]:
        """Return the record of a kept engine. Raises OfpError when there is none."""
        found: dict[str, Any] = read_json(_record_file(self.engine_file(function, precision)))
        return found

    def keep(self, function: str, key: EngineKey, plan: bytes, facts: dict[str, Any]) -> None:
        """Write a plan and then its record; each is whole or absent."""
        path = self.engine_file(function, key.precision)
        write_bytes(path, plan)
        write_json(
            _record_file(path),
            {
                "schema_version": SCHEMA_VERSION,
                "sha256": sha256_bytes(plan),
                "size": len(plan),
                "key": asdict(key),
                **facts,
            },
        )

    def timing(self) -> bytes:
        """Return the timing cache of earlier builds on this device; empty at first."""
        path = self.folder / "timing.cache"
        return path.read_bytes() if path.is_file() else b""

    def keep_timing(self, timing: bytes) -> None:
        """Write the timing cache."""
        if timing:
            write_bytes(self.folder / "timing.cache", timing)

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Let one builder in at a time: a second waits here and then finds the engine."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            handle = os.open(self.folder / ".lock", os.O_CREAT | os.O_RDWR, 0o644)
        except OSError as cause:
            raise OfpError(f"{self.folder} cannot be written: {cause.strerror}.") from None
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            for left in self.folder.glob(".*.partial"):  # of a builder that was killed
                left.unlink(missing_ok=True)
            yield
        finally:
            os.close(handle)


def _record_file(engine: Path) -> Path:
    return engine.with_suffix(".engine.json")


def _short(value: Any) -> str:
    text = str(value)
    return f"{text[:12]}…" if len(text) == 64 else text
