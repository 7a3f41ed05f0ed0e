"""Policy folders: looked into, loaded, quantisation plan and all. Hashes fit again."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import struct
from pathlib import Path
from typing import Any

import numpy as np

from tests.fuzz import command
from tests.fuzz.damage import (
    COUNTS,
    Rng,
    damage_file,
    damage_folder,
    damage_one_of,
    damaged_json,
    dump_json,
    usable,
    usable_files,
)

_POLICY = "policy"
_CONFIG, _PLAN = "config.json", "quantization.json"


class Policies:
    """`inspect`, which loads all of it."""

    name = "policy"

    def __init__(self) -> None:
        self.operations = (_json, _json, _json, _weights, _weights, _any_file, _folder)
        self.counts = COUNTS
        self.may = ()

    def warm(self) -> None:
        os.environ["OMP_NUM_THREADS"] = "1"
        import torch

        import ofp_edge.policy.deployed
        import ofp_edge.policy.folder
        import ofp_edge.quantize.gate
        import ofp_edge.quantize.plan
        import ofp_edge.targets.cost  # noqa: F401

        torch.set_num_threads(1)
        command.warm()

    def prepare(self, good: Path) -> None:
        from ofp_edge.quantize.apply import quantize_policy
        from tests.synthetic import tiny_policy, write_synthetic_dataset

        for trunk in ("mlp", "unet", "transformer"):
            tiny_policy(good / trunk, "points" if trunk == "mlp" else "rgb", trunk=trunk)
        data = write_synthetic_dataset(good / "data.zarr", obs="points")
        quantize_policy(good / "mlp", "int8", data, good / "int8", samples=16)
        shutil.rmtree(data)

    def place(self, rng: Rng, good: Path, home: Path) -> str:
        names = sorted(p.name for p in good.iterdir())
        name = str(rng.choice(names))
        shutil.copytree(good / name, home / _POLICY)
        return name

    def seal(self, rng: Rng, home: Path) -> None:
        """The plan's hash stands in config.json."""
        config, plan = home / _POLICY / _CONFIG, home / _POLICY / _PLAN
        if rng.random() < 0.1 or not (usable(config) and usable(plan)):
            return
        try:
            value = json.loads(config.read_bytes())
            if b"NaN" in config.read_bytes():
                return
            value["plan_sha256"] = hashlib.sha256(plan.read_bytes()).hexdigest()
            config.write_text(json.dumps(value))
        except (ValueError, TypeError, OSError, RecursionError):
            return

    def read(self, home: Path) -> None:
        command.command("inspect", str(home / _POLICY))


def _json(rng: Rng, home: Path) -> str:
    files = [p for p in _files(home) if p.suffix == ".json"]
    if not files:
        return _any_file(rng, home)
    path = files[int(rng.integers(len(files)))]
    try:
        value: Any = json.loads(path.read_bytes())
    except (ValueError, RecursionError):
        return damage_file(rng, path)
    damaged, how = damaged_json(rng, value)
    path.write_bytes(dump_json(damaged))
    return f"{path.name}: {how}"


def _weights(rng: Rng, home: Path) -> str:
    """safetensors: an entry of its JSON header, of a length that fits."""
    files = [p for p in _files(home) if p.suffix == ".safetensors"]
    if not files:
        return _any_file(rng, home)
    path = files[int(rng.integers(len(files)))]
    data = path.read_bytes()
    try:
        (length,) = struct.unpack_from("<Q", data)
        value = json.loads(data[8 : 8 + length])
    except (struct.error, ValueError, RecursionError, OverflowError):
        return damage_file(rng, path)
    damaged, how = damaged_json(rng, value)
    text = dump_json(damaged)
    text += b" " * (-len(text) % 8)
    path.write_bytes(struct.pack("<Q", len(text)) + text + data[8 + length :])
    return f"{path.name}, header: {how}"


def _files(home: Path) -> list[Path]:
    return usable_files(home / _POLICY)


def _any_file(rng: Rng, home: Path) -> str:
    return damage_one_of(rng, _files(home))


def _folder(rng: np.random.Generator, home: Path) -> str:
    return damage_folder(rng, home / _POLICY)
