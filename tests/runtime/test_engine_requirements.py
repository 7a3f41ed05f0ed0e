"""What is refused before an engine loads: versions, memory, machines; and where its threads go."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from ofp_edge.bundle import Bundle, open_bundle
from ofp_edge.errors import BundleError, OfpError
from ofp_edge.manifest import Artefact
from ofp_edge.runtime.infer import engine_choice
from ofp_edge.runtime.infer.engine_choice import choose_engine
from ofp_edge.runtime.runners import requirements
from ofp_edge.runtime.runners.requirements import check_requirements
from ofp_edge.runtime.runners.threads import Threads, isolated_cpus
from tests.runtime.small_bundle import write_small_bundle
from tests.runtime.standins import make_spec

DISTRIBUTIONS = {"executorch": "ofp-edge-executorch"}
ARTEFACT = Artefact("act", "executorch", "int8", "act.pte", 2**20, "0" * 64, {})


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    return open_bundle(write_small_bundle(tmp_path / "b", make_spec(n_obs_steps=1), {}))


@pytest.mark.parametrize(
    ("wanted", "good"),
    [
        (">=1.5.1", True), ("==1.5.1", True), (">=1.5,<1.6", True), ("<1.6", True),
        (">=1.5.2", False), (">=1.5.1,!=1.5.1", False), (">1.5.1", False), ("<=1.4.9", False),
    ],
)  # fmt: skip
def test_the_installed_engine_must_be_of_a_version_the_artefact_takes(
    wanted: str, good: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Our wheel's fourth number says nothing of ExecuTorch.
    monkeypatch.setattr(requirements.metadata, "version", lambda name: "1.5.1.1")
    artefact = replace(ARTEFACT, requires={"executorch": wanted})
    if good:
        check_requirements(artefact, DISTRIBUTIONS)
        return
    with pytest.raises(BundleError, match=f"needs executorch {wanted}, installed is 1.5.1.*Inst"):
        check_requirements(artefact, DISTRIBUTIONS)


def test_a_condition_that_cannot_be_read_is_refused() -> None:
    with pytest.raises(BundleError, match="cannot read 'about 1.5'"):
        check_requirements(replace(ARTEFACT, requires={"onnxruntime": "about 1.5"}), {})


def test_too_little_memory_is_said_before_the_engine_loads() -> None:
    with pytest.raises(OfpError, match="act.pte: 3 MiB needed, 2 MiB free. Free memory, or"):
        check_requirements(ARTEFACT, {}, available=2 * 2**20)
    check_requirements(ARTEFACT, {}, available=4 * 2**20)


def test_a_host_bundle_of_another_machine_is_refused(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    provenance = {**bundle.manifest.provenance, "machine": "x86_64"}
    bundle = replace(bundle, manifest=replace(bundle.manifest, provenance=provenance))
    monkeypatch.setattr(engine_choice, "this_machine", lambda: "x86_64")
    choose_engine(bundle, None)
    monkeypatch.setattr(engine_choice, "this_machine", lambda: "aarch64")
    with pytest.raises(BundleError, match="x86_64 machine.*this one is aarch64.*--target arm-cpu"):
        choose_engine(bundle, None)


def test_threads_and_cpus_come_from_the_board_on_a_machine_of_its_kind(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    on_board = replace(bundle, manifest=replace(bundle.manifest, target="arm-cpu", board="rk3588"))
    monkeypatch.setattr(engine_choice, "this_machine", lambda: "aarch64")
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)))
    chosen = choose_engine(on_board, None)
    assert (chosen.threads, chosen.cpus) == (3, (4, 5, 6, 7))
    assert choose_engine(on_board, None, threads=1).threads == 1
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 4, 5})
    chosen = choose_engine(on_board, None)
    assert (chosen.threads, chosen.cpus) == (2, (4, 5))
    monkeypatch.setattr(engine_choice, "this_machine", lambda: "x86_64")
    assert choose_engine(on_board, None).threads == 1 and not choose_engine(on_board, None).cpus


def test_every_thread_but_the_callers_has_its_cpu_or_none_has() -> None:
    assert Threads(3, (4, 5, 6, 7)).helpers == (5, 6)
    assert Threads(1, (4, 5)).helpers == Threads(3, (4, 5)).helpers == Threads(2).helpers == ()


def test_threads_spin_on_isolated_cpus_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "isolated"
    file.write_text("2-3,5\n")
    assert isolated_cpus(file) == {2, 3, 5} and isolated_cpus(tmp_path / "none") == set()
    file.write_text("\n")
    assert isolated_cpus(file) == set()
    from ofp_edge.runtime.runners import threads

    monkeypatch.setattr(threads, "isolated_cpus", lambda: {2, 3})
    assert Threads(2, (2, 3)).spinning
    assert not Threads(2, (1, 2)).spinning and not Threads(2).spinning


def test_started_threads_inherit_the_cpus_and_the_caller_is_put_back() -> None:
    before = os.sched_getaffinity(0)
    cpu = min(before)
    with Threads(2, (cpu, cpu)).inherited():
        assert os.sched_getaffinity(0) == {cpu}
    assert os.sched_getaffinity(0) == before
