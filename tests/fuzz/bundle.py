"""Bundles: looked into, checked against their golden outputs and run once. Hashes fit again."""

from __future__ import annotations

import functools
import hashlib
import io
import json
import shutil
import struct
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from tests.fuzz import command
from tests.fuzz.damage import (
    COUNTS,
    damage_folder,
    damage_one_of,
    damaged_json,
    dump_json,
    usable,
    usable_files,
)

_BUNDLE = "bundle"
_MANIFEST, _DIGEST, _GOLDEN = "manifest.json", "manifest.sha256", "golden.npz"
_BOMB_BYTES = 3 << 30
_LARGEST_GOLDEN = 64 << 20


class Bundles:
    """`inspect`, then the engines as `run` opens them, then one plan."""

    name = "bundle"

    def __init__(self) -> None:
        self.operations = (_manifest, _manifest, _manifest, _golden, _graph, _any_file, _folder)
        self.counts = COUNTS
        self.may = ()

    def warm(self) -> None:
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401

        import ofp_edge.runtime.session  # noqa: F401

        command.warm()
        npz_bomb()

    def prepare(self, good: Path) -> None:
        from tests.runtime.small_bundle import write_small_bundle
        from tests.runtime.standins import make_spec
        from tests.synthetic import CAMERA

        spec = make_spec(points=True)
        write_small_bundle(good / "points", spec, {"front": CAMERA})
        write_small_bundle(good / "state", make_spec(n_obs_steps=2), {}, seed=1)
        for name in ("points", "state"):
            give_provenance(good / name)

    def place(self, rng: np.random.Generator, good: Path, home: Path) -> str:
        name = str(rng.choice(["points", "state"]))
        shutil.copytree(good / name, home / _BUNDLE)
        return name

    def seal(self, rng: np.random.Generator, home: Path) -> None:
        if rng.random() < 0.9:
            reseal(home / _BUNDLE)

    def read(self, home: Path) -> None:
        from ofp_edge.bundle import open_bundle
        from ofp_edge.runtime.infer.load import load_inference

        command.command("inspect", str(home / _BUNDLE))
        bundle = open_bundle(home / _BUNDLE)
        engine, precision = bundle.choose(None, None)
        inference = load_inference(bundle, engine, precision, threads=1, seed=0)
        try:
            arrays = {f.name: np.zeros(f.shape, f.dtype) for f in bundle.spec.observations}
            inference.observe(10**9, arrays)
            chunk = inference.infer(10**9, None)
            assert chunk.actions.shape == (bundle.spec.plan_steps, bundle.spec.action_dim)
        finally:
            inference.close()


def reseal(folder: Path) -> None:
    """Sizes and hashes as the files now are, where the manifest still has places for them."""
    path = folder / _MANIFEST
    if not usable(path):
        return
    raw = path.read_bytes()
    try:
        value = json.loads(raw)
        for entry in (*value["artefacts"], *value["files"]):
            file = folder / entry["file"]
            if usable(file):
                data = file.read_bytes()
                entry["size"], entry["sha256"] = len(data), hashlib.sha256(data).hexdigest()
        again = json.dumps(value, sort_keys=True, separators=(",", ":")).encode()
        raw = again if _plain(raw) else raw  # what json can't write again stays as it is
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, OSError):
        pass
    if not usable(folder / _DIGEST):
        return
    path.write_bytes(raw)
    (folder / _DIGEST).write_text(hashlib.sha256(raw).hexdigest() + "\n")


def _plain(raw: bytes) -> bool:
    return not any(word in raw for word in (b"NaN", b"Infinity", b"1e999")) and len(raw) < 1 << 20


def give_provenance(folder: Path) -> None:
    """Everything that `compile` writes there and `inspect` shows."""
    value = json.loads((folder / _MANIFEST).read_bytes())
    functions = {"encode": 0.1, "act": 0.2}
    units = [{"name": "move", "unit": "m", "max": 1e-6, "mean": 1e-7}]
    value["provenance"] = {
        "policy_sha256": "0" * 64,
        "task": None,
        "method": "ofp-plus",
        "preset": "tiny",
        "training_steps": 0,
        "dataset_sha256": "0" * 64,
        "recipe": "int8",
        "ranges": "minmax",
        "plan_sha256": "0" * 64,
        "calibration_sha256": "0" * 64,
        "machine": "x86_64",
        "costs": {name: {"parameters": 10, "flops": 20} for name in functions},
        "graphs": {
            entry["file"]: {
                "operations": {"MatMul": 7},
                "delegates": None,
                "delegated_share": None,
                "left_out": [],
            }
            for entry in value["artefacts"]
        },
        "versions": {"ofp-edge": "0", "torch": "0"},
        "gate": {"passed": True, "says": {"error": "0.1 of 1"}},
        "agreement": {"fp32": {"pairs": [{"a": "torch", "b": "onnxruntime", "actions": units}]}},
        "left_out": {},
        "tensorrt": None,
        "estimate": {
            "board": "pi-5",
            "threads": 4,
            "floors": {
                "fp32": {
                    "floor_ms": {**functions, "chunk": 0.3},
                    "layers": [{"name": "w", "bound_by": "memory"}],
                }
            },
            "memory": {"needed_bytes": {"onnxruntime": 1 << 26}, "available_bytes": 1 << 32},
        },
    }
    (folder / _MANIFEST).write_text(json.dumps(value))
    reseal(folder)


def _manifest(rng: np.random.Generator, home: Path) -> str:
    path = home / _BUNDLE / _MANIFEST
    if not usable(path):
        return _any_file(rng, home)
    try:
        value: Any = json.loads(path.read_bytes())
    except (ValueError, OSError, RecursionError):
        return _any_file(rng, home)
    damaged, how = damaged_json(rng, value)
    path.write_bytes(dump_json(damaged))
    return f"manifest: {how}"


def _golden(rng: np.random.Generator, home: Path) -> str:
    """Another golden.npz: other arrays, a header that lies, a bomb."""
    path = home / _BUNDLE / _GOLDEN
    if not usable(path):
        return _any_file(rng, home)
    try:
        with zipfile.ZipFile(path) as archive:  # the operation before may have made it a bomb
            if sum(x.file_size for x in archive.infolist()) > _LARGEST_GOLDEN:
                return _any_file(rng, home)
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except Exception:
        return _any_file(rng, home)
    name = sorted(arrays)[int(rng.integers(len(arrays)))]
    choice = int(rng.integers(8))
    odd = {
        0: lambda a: a[..., :-1],
        1: lambda a: a.astype(object),
        2: lambda a: a * np.nan,
        3: lambda a: a.astype(np.complex64),
        4: lambda a: a.astype("U8"),
        5: lambda a: a[:0],
    }
    if choice in odd:
        arrays[name] = odd[choice](arrays[name])
        np.savez(path, **arrays)  # objects are pickled: that is the point
        return f"golden: {name} made odd ({choice})"
    if choice == 6:
        path.write_bytes(npz_bomb())
        return "golden: a bomb"
    with zipfile.ZipFile(path, "w") as archive:
        about = f"{{'descr': '<f4', 'fortran_order': False, 'shape': ({2**40},), }}\n".encode()
        archive.writestr(
            f"{name}.npy", b"\x93NUMPY\x01\x00" + struct.pack("<H", len(about)) + about
        )
    return f"golden: {name} says it is 4 TB"


@functools.cache
def npz_bomb() -> bytes:
    """3 GB of zeros in 3 MB. Its name is that of no array that anybody asks for."""
    # Behind a full flush deflate begins anew: one packed MiB can be repeated as it is.
    pack = zlib.compressobj(9, zlib.DEFLATED, -15)
    zeros = bytes(1 << 20)
    block = pack.compress(zeros) + pack.flush(zlib.Z_FULL_FLUSH)
    about = f"{{'descr': '|u1', 'fortran_order': False, 'shape': ({_BOMB_BYTES},), }}\n".encode()
    head = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(about)) + about
    pack = zlib.compressobj(9, zlib.DEFLATED, -15)
    first = pack.compress(head) + pack.flush(zlib.Z_FULL_FLUSH)
    check = zlib.crc32(head)
    for _ in range(_BOMB_BYTES >> 20):
        check = zlib.crc32(zeros, check)
    body = first + block * (_BOMB_BYTES >> 20) + b"\x03\x00"
    return _zip("bomb.npy", body, check, len(head) + _BOMB_BYTES)


def _zip(name: str, body: bytes, check: int, size: int) -> bytes:
    """A zip of one deflated entry."""
    out = io.BytesIO()
    common = struct.pack("<HHHHHIII", 20, 0, 8, 0, 33, check, len(body), size)
    sizes = struct.pack("<HH", len(name), 0)
    out.write(b"PK\3\4" + common + sizes + name.encode() + body)
    start = out.tell()
    out.write(b"PK\1\2" + struct.pack("<H", 20) + common + sizes)
    out.write(struct.pack("<HHHII", 0, 0, 0, 0, 0) + name.encode())
    size = out.tell() - start
    out.write(b"PK\5\6" + struct.pack("<HHHHIIH", 0, 0, 1, 1, size, start, 0))
    return out.getvalue()


def _graph(rng: np.random.Generator, home: Path) -> str:
    """The graph is changed as a graph: other sizes, operations, weights that lie elsewhere."""
    import onnx
    from onnx import TensorProto

    files = [p for p in usable_files(home / _BUNDLE) if p.suffix == ".onnx"]
    if not files:
        return _any_file(rng, home)
    path = files[int(rng.integers(len(files)))]
    try:
        model = onnx.load_from_string(path.read_bytes())
    except Exception:
        return _any_file(rng, home)
    graph = model.graph
    if not graph.node or not graph.initializer or not graph.input:
        return _any_file(rng, home)
    node = graph.node[int(rng.integers(len(graph.node)))]
    weight = graph.initializer[int(rng.integers(len(graph.initializer)))]
    choice = int(rng.integers(9))
    if choice == 0:
        node.op_type = str(rng.choice(["Relu", "NoSuchThing", "Reshape", "ConstantOfShape", ""]))
    elif choice == 1:
        weight.dims[0] = int(rng.choice([0, -1, 2**40, weight.dims[0] + 1]))
    elif choice == 2:
        weight.data_location = TensorProto.EXTERNAL
        weight.ClearField("raw_data")
        for key, value in (("location", "../outside/a"), ("offset", "0"), ("length", "4096")):
            entry = weight.external_data.add()
            entry.key, entry.value = key, value
    elif choice == 3:
        node.input[0] = node.output[0]  # a loop
    elif choice == 4:
        dims = graph.input[0].type.tensor_type.shape.dim
        dims[-1].dim_value = int(rng.choice([0, 1, 2**31, 2**40]))
    elif choice == 5:
        weight.data_type = int(rng.choice([0, 2, 8, 11, 16, 99]))
    elif choice == 6:
        model.opset_import[0].version = int(rng.choice([0, 1, 7, 999]))
    elif choice == 7:
        graph.output[0].name = "other"
    else:
        node.domain = "com.example"
    path.write_bytes(model.SerializeToString())
    return f"{path.name}: graph changed ({choice})"


def _any_file(rng: np.random.Generator, home: Path) -> str:
    return damage_one_of(rng, usable_files(home / _BUNDLE))


def _folder(rng: np.random.Generator, home: Path) -> str:
    return damage_folder(rng, home / _BUNDLE)
