"""Engines are built once, found again, rebuilt with the reason, refused when they answer wrong."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ofp_edge.bundle import Bundle, open_bundle
from ofp_edge.errors import BundleError, OfpError, ParityError
from ofp_edge.manifest import Artefact
from ofp_edge.progress import Progress, silent
from ofp_edge.runtime.infer.load import load_inference
from ofp_edge.runtime.jetson import machine as machines
from ofp_edge.runtime.jetson.machine import Machine
from ofp_edge.runtime.runners.tensorrt import engine as engines
from ofp_edge.runtime.runners.tensorrt.cache import EngineCache
from ofp_edge.runtime.runners.tensorrt.device import open_device
from ofp_edge.runtime.runners.tensorrt.engine import TensorRT
from tests.runtime.jetson.constructed import construct
from tests.runtime.tensorrt.orin import become_orin, orin_bundle, write_orin_bundle
from tests.runtime.tensorrt.standin import Gpu
from tests.runtime.tensorrt.standin_tensorrt import make_tensorrt


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_orin_bundle(tmp_path_factory.mktemp("orin") / "b")


@pytest.fixture
def bundle(written: Path, tmp_path: Path) -> Bundle:
    shutil.copytree(written, tmp_path / "b")
    return open_bundle(tmp_path / "b")


FUNCTIONS = ("encode", "act")


def reasons(
    bundle: Bundle, precision: str = "int8", progress: Progress = silent, **options: Any
) -> list[str]:
    return [x.reason for x in TensorRT().prepare(bundle, precision, progress, **options)]


def record(bundle: Bundle, name: str = "act.int8") -> tuple[Path, dict[str, Any]]:
    path = bundle.path.with_name(f"{bundle.path.name}.engines") / f"{name}.engine.json"
    return path, json.loads(path.read_text())


def test_engines_are_built_once_and_then_found(gpu: Gpu, bundle: Bundle) -> None:
    assert reasons(bundle) == ["there is none yet"] * 2 and gpu.builds == 2
    assert reasons(bundle) == ["", ""] and gpu.builds == 2
    folder = bundle.path.with_name("b.engines")
    assert {p.name for p in folder.iterdir()} == {
        ".lock", "timing.cache", "encode.int8.engine", "encode.int8.engine.json",
        "act.int8.engine", "act.int8.engine.json",
    }  # fmt: skip
    open_bundle(bundle.path)  # the bundle itself is untouched
    _, found = record(bundle)
    assert found["power_mode"] == "MAXN_SUPER" and found["clocks_hz"]["gpu"]["max"] == 1020 * 10**6
    assert found["parity"].keys() == {"chunk", "chunk_normalised"}
    assert found["key"]["jetpack"] == "6.2" and found["key"]["gpu"] == "Orin"


def test_the_runner_of_a_run_answers_like_the_golden_outputs(gpu: Gpu, bundle: Bundle) -> None:
    reasons(bundle)
    inference = load_inference(bundle)
    runner: Any = inference.act
    assert gpu.builds == 2 and runner.graph is not None
    golden = bundle.golden()
    for name, array in inference.act.inputs.items():
        np.copyto(array, golden[f"input/act/{name}"])
    inference.act.infer()
    np.testing.assert_allclose(
        inference.act.outputs["chunk"], golden["output/act/fp32/chunk"], atol=1e-6
    )
    inference.close()


def test_an_engine_is_told_what_is_committed(gpu: Gpu, tmp_path: Path) -> None:
    """Built, held against golden outputs, and loaded: its inputs are found by their names."""
    told = orin_bundle(tmp_path / "b", committed_steps=3)
    reasons(told, "fp32")
    spec, found = told.spec, []
    for engine in ("tensorrt", "onnxruntime"):
        inference = load_inference(told, engine, "fp32", seed=1)
        rng = np.random.default_rng(0)
        seen = {f.name: rng.uniform(-1, 1, f.shape).astype(np.float32) for f in spec.observations}
        inference.observe(0, seen)
        committed = rng.uniform(-1, 1, (2, spec.action_dim)).astype(np.float32)
        found.append(inference.infer(0, None, committed).actions)
        found.append(inference.infer(0).actions)
        inference.close()
    np.testing.assert_allclose(found[0], found[2], atol=1e-6)
    assert not np.allclose(found[0], found[1])


@pytest.mark.parametrize(
    ("entry", "value", "says"),
    [("tensorrt", "10.3.1", "tensorrt was 10.3.1, now 10.3.0"),
     ("gpu", "Thor", "gpu was Thor, now Orin"), ("jetpack", "6.1", "jetpack was 6.1, now 6.2"),
     ("graph_sha256", "0" * 64, "graph_sha256 was 000000000000…, now"),
     ("precision", "fp16", "precision was fp16, now int8")],
)  # fmt: skip
def test_another_key_rebuilds_and_says_why(
    gpu: Gpu, bundle: Bundle, entry: str, value: str, says: str
) -> None:
    reasons(bundle)
    path, found = record(bundle)
    found["key"][entry] = value
    path.write_text(json.dumps(found))
    why = reasons(bundle)
    assert why[0] == "" and why[1].startswith(says) and gpu.builds == 3


def test_another_jetpack_rebuilds_everything(
    monkeypatch: pytest.MonkeyPatch, gpu: Gpu, bundle: Bundle, tmp_path: Path
) -> None:
    reasons(bundle)
    gpu = become_orin(monkeypatch, tmp_path / "new", jetpack="7.2.1")
    assert [x.startswith("tensorrt was 10.3.0, now 10.16.2") for x in reasons(bundle)] == [True] * 2
    assert gpu.builds == 2


@pytest.mark.parametrize(
    ("damage", "says"),
    [(lambda f: f.write_bytes(f.read_bytes()[:-1] + b"\0"), "the file is damaged"),
     (lambda f: f.write_bytes(b""), "the file is damaged"),
     (lambda f: f.with_suffix(".engine.json").write_text("{"), "no readable record"),
     (lambda f: f.with_suffix(".engine.json").write_text("[1]"), "no readable record"),
     (lambda f: f.with_suffix(".engine.json").unlink(), "no readable record"),
     (lambda f: f.unlink(), "there is none")],
)  # fmt: skip
def test_a_damaged_engine_is_found_by_its_hash_and_built_again(
    gpu: Gpu, bundle: Bundle, damage: Callable[[Path], Any], says: str
) -> None:
    reasons(bundle)
    damage(bundle.path.with_name("b.engines") / "act.int8.engine")
    why = reasons(bundle)
    assert why[0] == "" and says in why[1]
    assert reasons(bundle) == ["", ""]


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_runner_that_answers_wrongly_leaves_nothing_open(
    monkeypatch: pytest.MonkeyPatch, gpu: Gpu, bundle: Bundle, function: str
) -> None:
    reasons(bundle)
    before = len(gpu.streams)

    def wrong(artefact: Artefact, *_: Any) -> None:
        if artefact.function == function:
            raise ParityError("wrong")

    monkeypatch.setattr(engines, "check_artefact", wrong)
    with pytest.raises(ParityError):
        load_inference(bundle)
    assert len(gpu.streams) == before


def test_finished_engines_may_lie_where_nothing_can_be_written(
    monkeypatch: pytest.MonkeyPatch, gpu: Gpu, bundle: Bundle
) -> None:
    reasons(bundle)
    monkeypatch.setattr(EngineCache, "locked", lambda self: 1 / 0)
    assert reasons(bundle) == ["", ""]
    load_inference(bundle).close()


def test_a_start_with_finished_engines_reads_and_hashes_each_once(
    monkeypatch: pytest.MonkeyPatch, gpu: Gpu, bundle: Bundle
) -> None:
    reasons(bundle)
    asked, real = [], EngineCache.find
    monkeypatch.setattr(EngineCache, "find", lambda *a: asked.append(a[1]) or real(*a))
    load_inference(bundle).close()
    assert asked == ["encode", "act"]


def test_a_second_builder_waits_and_then_finds_the_engines(gpu: Gpu, bundle: Bundle) -> None:
    second: list[str] = []
    with EngineCache(bundle).locked():
        waiting = threading.Thread(target=lambda: second.extend(reasons(bundle)))
        waiting.start()
        waiting.join(0.3)
        assert waiting.is_alive() and gpu.builds == 0
        TensorRT()._build(bundle, "int8", open_device(), EngineCache(bundle), silent)
    waiting.join(30)
    assert second == ["", ""] and gpu.builds == 2


def test_a_timing_cache_of_another_device_begins_anew(gpu: Gpu, bundle: Bundle) -> None:
    folder = bundle.path.with_name("b.engines")
    folder.mkdir()
    (folder / "timing.cache").write_bytes(b"of something else")
    reasons(bundle)
    assert (folder / "timing.cache").read_bytes() == b"timing of Orin"


def test_a_wrong_engine_is_refused_names_its_worst_output_and_leaves_nothing(
    gpu: Gpu, bundle: Bundle
) -> None:
    gpu.off_by = 0.5
    with pytest.raises(ParityError, match=r"encode: feature is 0.5.*--fallback builds fp32"):
        reasons(bundle)
    assert not list(bundle.path.with_name("b.engines").glob("*.engine*"))


def test_fallback_takes_the_next_precision_once(
    monkeypatch: pytest.MonkeyPatch, gpu: Gpu, bundle: Bundle
) -> None:
    real = engines.check_artefact

    def only_fp32(artefact: Any, *rest: Any) -> dict[str, float]:
        if artefact.precision == "int8":
            raise ParityError("int8 is wrong")
        return real(artefact, *rest)

    monkeypatch.setattr(engines, "check_artefact", only_fp32)
    with pytest.raises(ParityError, match="int8 is wrong"):
        reasons(bundle)
    found = TensorRT().prepare(bundle, "int8", silent, fallback=True)
    assert [(x.function, x.precision) for x in found] == [("encode", "fp32"), ("act", "fp32")]


def test_there_is_no_second_fallback(gpu: Gpu, bundle: Bundle) -> None:
    gpu.off_by = 0.5
    with pytest.raises(ParityError, match="tensorrt fp32, encode"):
        TensorRT().prepare(bundle, "int8", silent, fallback=True)


def test_an_engine_that_answers_wrong_later_is_refused_at_load(gpu: Gpu, bundle: Bundle) -> None:
    reasons(bundle)
    gpu.off_by = 0.5
    with pytest.raises(ParityError, match="do not run it"):
        TensorRT().load(bundle, "int8")


@pytest.mark.parametrize(
    ("fault", "says"),
    [("parse", "cannot read the graph: node_7: no importer registered for op: NoSuchOp"),
     ("build", r"cannot build the engine: Error Code 10: .* Free memory \(stop the desktop"),
     ("pinned", "cannot be loaded: CUDA: cudaErrorMemoryAllocation"),
     ("execute", "does not run: TensorRT: Error Code 1"),
     ("deserialize", "refuses the engine")],
)  # fmt: skip
def test_a_build_that_fails_says_what_tensorrt_says_and_leaves_nothing(
    gpu: Gpu, bundle: Bundle, fault: str, says: str
) -> None:
    gpu.faults.add(fault)
    with pytest.raises(BundleError, match=says):
        reasons(bundle)
    assert not list(bundle.path.with_name("b.engines").glob("*.engine*"))
    gpu.faults.clear()
    assert reasons(bundle) == ["there is none yet"] * 2


def test_progress_is_shown_and_ctrl_c_leaves_nothing(gpu: Gpu, bundle: Bundle) -> None:
    said: list[tuple[int, int, str]] = []

    def stop(done: int, total: int, note: str = "") -> None:
        said.append((done, total, note))
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        reasons(bundle, progress=stop)
    assert said == [(1, 3, "encode int8: Building"), (2, 3, "encode int8: Building")]
    assert not list(bundle.path.with_name("b.engines").glob("*.engine*"))
    assert reasons(bundle) == ["there is none yet"] * 2


KILLED = """
import os, signal, sys
from pathlib import Path
import pytest
from ofp_edge.bundle import open_bundle
from ofp_edge.progress import silent
from ofp_edge.runtime.runners.tensorrt import cache
from ofp_edge.runtime.runners.tensorrt.engine import TensorRT
from tests.runtime.tensorrt.orin import become_orin

with pytest.MonkeyPatch.context() as patch:
    become_orin(patch, Path(sys.argv[1]))
    real = cache.write_json
    # Between the engine and its record: the worst moment there is.
    cache.write_json = lambda *a: os.kill(os.getpid(), signal.SIGKILL)
    TensorRT().prepare(open_bundle(Path(sys.argv[2])), "int8", silent)
"""


def test_a_kill_during_the_build_leaves_nothing_that_would_be_used(
    gpu: Gpu, bundle: Bundle, tmp_path: Path
) -> None:
    command = [sys.executable, "-c", KILLED, str(tmp_path / "r"), str(bundle.path)]
    done = subprocess.run(command, check=False, env={**os.environ, "PYTHONPATH": os.getcwd()})
    assert done.returncode == -signal.SIGKILL
    left = bundle.path.with_name("b.engines") / ".act.int8.engine.x.partial"
    left.touch()  # of a kill while the engine was written
    assert reasons(bundle)[0] == "it has no readable record: it was not finished"
    assert not left.exists()
    assert reasons(bundle) == ["", ""]


def test_too_little_memory_is_said_before_the_build(
    monkeypatch: pytest.MonkeyPatch, gpu: Gpu, bundle: Bundle
) -> None:
    machine = machines.this_machine()
    (machine.root / "proc/meminfo").write_text("MemTotal: 8000000 kB\nMemAvailable: 600000 kB\n")
    with pytest.raises(OfpError, match="needs about 10.. MiB, 585 MiB are available.*isolate"):
        reasons(bundle)
    assert gpu.builds == 0


def test_what_is_no_orin_or_unsupported_is_refused_by_name(
    monkeypatch: pytest.MonkeyPatch, gpu: Gpu, bundle: Bundle, tmp_path: Path
) -> None:
    gpu.capability = (8, 6)
    with pytest.raises(OfpError, match=r"compute capability 8.6, expected 8.7"):
        open_device()
    gpu.capability = (8, 7)
    (machines.this_machine().root / "etc/nv_tegra_release").write_text(
        "# R35 (release), REVISION: 4.1"
    )
    with pytest.raises(OfpError, match="JetPack 5.1 .*flash JetPack 6.1"):
        open_device()
    monkeypatch.setattr(machines, "this_machine", lambda: Machine(tmp_path / "nothing"))
    with pytest.raises(OfpError, match="on a Jetson Orin alone.*--engine onnxruntime"):
        load_inference(bundle)
    assert load_inference(bundle, "onnxruntime").scheme.nfe == 1


def test_a_tensorrt_that_pip_brought_is_refused_by_its_version(
    monkeypatch: pytest.MonkeyPatch, gpu: Gpu
) -> None:
    gpu.version = "11.4.0"
    monkeypatch.setitem(sys.modules, "tensorrt", make_tensorrt(gpu))
    with pytest.raises(OfpError, match="TensorRT 11.4.0 is not supported: expected JetPack 6.1"):
        open_device()
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    with pytest.raises(OfpError, match="python3-libnvinfer.*--system-site-packages"):
        open_device()


def test_clocks_and_power_mode_are_warned_about(
    monkeypatch: pytest.MonkeyPatch, gpu: Gpu, tmp_path: Path
) -> None:
    assert open_device().warnings == ()
    machine = construct(tmp_path / "slow", "orin-nano", "6.2", locked=False)
    (machine.root / "sys/class/thermal/cooling_device1/cur_state").write_text("1")
    monkeypatch.setattr(machines, "this_machine", lambda: machine)
    clocks, mode, hot = open_device().warnings
    assert "sudo jetson_clocks" in clocks and "15W" in mode and "cpufreq-cpu0" in hot
