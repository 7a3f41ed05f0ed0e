"""The work folder: datasets, policies, and one JSON file a cell, each named by what it depends on.

    bench.json                     which suite; the folder's marker
    datasets/<task>-<key>          a dataset, collected once a task
    policies/<task>/<training>-s<seed>-<key>
    cells/<kind>-<task>-...-<key>.json

A key hashes a cell's inputs: the suite's entries and the content of what it is made from, so a
changed entry reruns what follows from it and nothing else. The code that made a cell stands inside
it: a cell of other code counts as missing, unless any is asked for.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ofp_edge.bench.code import KINDS, code_of
from ofp_edge.errors import OfpError
from ofp_edge.files import canonical_json, read_json, sha256_bytes, write_json
from ofp_edge.strict import read_as

MARKER = "bench.json"
Cell = dict[str, Any]


def key_of(inputs: dict[str, Any]) -> str:
    """Return eight hex digits."""
    return sha256_bytes(canonical_json(inputs))[:8]


def slug(text: str) -> str:
    """Return a name as part of a file's name."""
    return re.sub(r"[^A-Za-z0-9.=]+", "-", text).strip("-")


@dataclass(frozen=True)
class _Head:
    """What every cell says of itself."""

    kind: str
    inputs: dict[str, Any]
    code: str


@dataclass(frozen=True)
class Store:
    """The work folder's files. It pickles, because every process has its own. `any_code` accepts
    cells whatever code made them."""

    root: Path
    code: dict[str, str]
    any_code: bool = False

    def dataset(self, inputs: dict[str, Any]) -> Path:
        """Return where the dataset of these inputs is or will be."""
        return self.root / "datasets" / f"{slug(inputs['task'])}-{key_of(inputs)}"

    def policy(self, inputs: dict[str, Any]) -> Path:
        """Return where the policy of these training inputs is or will be."""
        name = f"{slug(inputs['training'])}-s{inputs['seed']}-{key_of(inputs)}"
        return self.root / "policies" / slug(inputs["task"]) / name

    def path(self, kind: str, inputs: dict[str, Any]) -> Path:
        """Return the cell's file."""
        said = [slug(str(inputs[k])) for k in ("task", "training", "nfe", "seed") if k in inputs]
        return self.root / "cells" / f"{'-'.join([kind, *said, key_of(inputs)])}.json"

    def read(self, kind: str, inputs: dict[str, Any]) -> Cell | None:
        """Return the cell, or None when it is missing or was made by other code."""
        path = self.path(kind, inputs)
        if not path.exists():
            return None
        cell: Cell = read_json(path)
        head = read_as(_Head, cell, str(path), OfpError, others=True)
        fits = head.inputs == inputs and (self.any_code or head.code == self.code[kind])
        return cell if fits else None

    def write(self, kind: str, inputs: dict[str, Any], values: dict[str, Any]) -> Cell:
        """Replace the cell, whole. Raises OfpError when the code on disk is no longer ours."""
        self.check_code(kind)
        cell = {"kind": kind, "inputs": inputs, "code": self.code[kind], **values}
        write_json(self.path(kind, inputs), cell)
        return cell

    def check_code(self, kind: str) -> None:
        """Refuse to go on with other code: a process that started later may run newer code than
        the planner."""
        if code_of(kind) != self.code[kind]:
            raise OfpError("the code of ofp-edge changed while the benchmark ran. Start it again.")


@contextlib.contextmanager
def open_store(root: Path, suite: str, *, any_code: bool, write: bool = True) -> Iterator[Store]:
    """Open the work folder for this process alone. Raises OfpError when the folder is something
    else, or in use.

    With `write` False the folder is opened for a look: nothing is made, and another process may be
    at work.
    """
    root = Path(os.path.abspath(root))
    store = Store(root, {kind: code_of(kind) for kind in KINDS}, any_code)
    if root.exists() and not root.is_dir():
        raise OfpError(f"{root} is a file: give a folder with -o.")
    if root.is_dir() and any(root.iterdir()) and not (root / MARKER).exists():
        raise OfpError(f"{root} holds no {MARKER}: give an empty folder, or another -o.")
    if not write:
        yield store
        return
    if not (root / MARKER).exists():
        write_json(root / MARKER, {"suite": suite})
    handle = os.open(root / MARKER, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise OfpError(f"{root} is in use by another `ofp-edge bench`.") from None
        yield store
    finally:
        os.close(handle)
