"""Bundles whose hashes agree whatever is in them: what anyone who makes one can write."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ofp_edge.bundle import DIGEST, MANIFEST
from ofp_edge.fields import State
from ofp_edge.files import sha256_bytes, sha256_file
from ofp_edge.spec import ActionField, PolicySpec

SPEC = PolicySpec(
    (State("state", (3,), "m", "base", (-1.0,) * 3, (1.0,) * 3),),
    (ActionField("move", (2,), "m", "base", "delta", 0.1, (-1.0,) * 2, (1.0,) * 2, 0.0),),
    n_obs_steps=2, horizon=4, n_action_steps=2, control_hz=20.0,
)  # fmt: skip


def seal(path: Path, change: Callable[[dict[str, Any]], Any] = lambda _: None) -> None:
    """Sizes and hashes of the files as they are now, `change` of the manifest, and its digest."""
    value = json.loads((path / MANIFEST).read_bytes())
    for entry in (*value["artefacts"], *value["files"]):
        if (path / entry["file"]).is_file():
            entry["size"] = (path / entry["file"]).stat().st_size
            entry["sha256"] = sha256_file(path / entry["file"])
    change(value)
    write_sealed(path, json.dumps(value).encode())


def write_sealed(path: Path, text: bytes) -> None:
    """A manifest of these bytes, and the digest that belongs to it."""
    (path / MANIFEST).write_bytes(text)
    (path / DIGEST).write_text(f"{sha256_bytes(text)}\n")
