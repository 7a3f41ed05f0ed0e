"""A constructed Orin with a stand-in GPU, and a bundle for it; for tests of several packages."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ofp_edge.bundle import GOLDEN, Bundle, open_bundle, write_manifest
from ofp_edge.manifest import Default, FileEntry
from ofp_edge.runtime.jetson import machine as machines
from tests.runtime.jetson.constructed import construct
from tests.runtime.small_bundle import write_small_bundle
from tests.runtime.standins import make_spec
from tests.runtime.tensorrt.standin import Gpu
from tests.runtime.tensorrt.standin_cuda import make_cudart, make_pycuda
from tests.runtime.tensorrt.standin_tensorrt import make_tensorrt
from tests.synthetic import CAMERA


def become_orin(
    monkeypatch: pytest.MonkeyPatch, root: Path, board: str = "orin-nano-super",
    jetpack: str = "6.2", *, locked: bool = True,
) -> Gpu:  # fmt: skip
    """From here on this process runs on an Orin, as far as the code can see."""
    gpu = Gpu()
    gpu.version = {"6.2": "10.3.0", "7.2.1": "10.16.2"}[jetpack]
    machine = construct(root, board, jetpack, locked=locked)
    monkeypatch.setattr(machines, "this_machine", lambda: machine)
    monkeypatch.setitem(sys.modules, "tensorrt", make_tensorrt(gpu))
    monkeypatch.setitem(sys.modules, "cuda.bindings.runtime", make_cudart(gpu))
    monkeypatch.setitem(sys.modules, "pycuda.driver", make_pycuda(gpu))
    return gpu


def write_orin_bundle(folder: Path, *, seed: int = 0, committed_steps: int = 0) -> Path:
    """A small bundle whose graphs are TensorRT's too, as fp32 and under the name of int8."""
    spec = make_spec(points=True, n_obs_steps=2)
    cameras = {"front": CAMERA}
    write_small_bundle(folder, spec, cameras, seed=seed, committed_steps=committed_steps)
    manifest = open_bundle(folder).manifest
    with np.load(folder / GOLDEN) as arrays:
        golden = {name: arrays[name] for name in arrays.files}
    golden |= {n.replace("/fp32/", "/int8/"): v for n, v in golden.items() if "/fp32/" in n}
    np.savez(folder / GOLDEN, **golden)
    artefacts = tuple(
        replace(a, engine="tensorrt", precision=precision, requires={"tensorrt": ">=10.3"})
        for precision in ("fp32", "int8")
        for a in manifest.artefacts
    )
    manifest = replace(
        manifest, target="jetson-orin", artefacts=(*artefacts, *manifest.artefacts),
        files=(FileEntry.of(folder, GOLDEN),), default=Default("tensorrt", "int8"),
    )  # fmt: skip
    write_manifest(folder, manifest)
    return folder


def orin_bundle(folder: Path, *, seed: int = 0, committed_steps: int = 0) -> Bundle:
    """The same, opened."""
    return open_bundle(write_orin_bundle(folder, seed=seed, committed_steps=committed_steps))
