"""One tiny policy, quantised and compiled once: compiling takes seconds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from ofp_edge.files import sha256_file
from ofp_edge.quantize.apply import quantize_policy
from ofp_edge.quantize.gate import Check, Gate, write_gate
from ofp_edge.targets.compile import Compiled, compile_policy
from tests.needs import needs_engines
from tests.synthetic import tiny_policy, write_synthetic_dataset


@dataclass
class Built:
    """The float policy, the quantised one, the bundle made of the latter, and the report."""

    policy: Path
    quantised: Path
    bundle: Path
    report: Compiled


@pytest.fixture(scope="session", autouse=True)
def always(exports: None) -> None:
    """All tests of this folder export so."""


@pytest.fixture(scope="session")
def built(exports: None, tmp_path_factory: pytest.TempPathFactory) -> Built:
    needs_engines()
    root = tmp_path_factory.mktemp("built")
    policy = tiny_policy(root / "policy", "points")
    data = write_synthetic_dataset(root / "data.zarr", obs="points")
    quantize_policy(policy, "int8", data, root / "int8", samples=32)
    checked = (Check("error", True, "within", {}), Check("closed-loop", None, "not run", {}))
    write_gate(Gate(sha256_file(root / "int8/quantization.json"), checked), root / "int8")
    report = compile_policy(root / "int8", "arm-cpu", root / "bundle", board_name="raspberry-pi-5")
    return Built(policy, root / "int8", root / "bundle", report)


@pytest.fixture(scope="session")
def vla_policy(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The folder of the tiny SmolVLA or pi0.5, imported once."""
    pytest.importorskip("tokenizers", reason="the prompt's table is made with it: extra vla")
    from ofp_edge.imports.record import write_imported
    from tests.imports.vla_checkpoint import checkpoint, imported

    made: dict[str, Path] = {}

    def policy(kind: str) -> Path:
        if kind not in made:
            root = tmp_path_factory.mktemp(kind)
            found = imported(checkpoint(kind, root / "pretrained_model"))
            write_imported(found, root / "policy", force=False)
            made[kind] = root / "policy"
        return made[kind]

    return policy


@pytest.fixture(scope="session")
def vla_made(
    exports: None, vla_policy: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], Any]:
    """The same, compiled for this machine: a `vla_made.Made`."""
    from tests.targets.vla_made import NFE, Made

    needs_engines()
    found: dict[str, Made] = {}

    def made(kind: str) -> Made:
        if kind not in found:
            policy, bundle = vla_policy(kind), tmp_path_factory.mktemp("host") / "bundle"
            report = compile_policy(policy, "host", bundle, nfe=NFE)
            found[kind] = Made(policy, bundle, report)
        return found[kind]

    return made


@pytest.fixture(scope="session")
def vla_orin(
    exports: None, vla_policy: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], Any]:
    """The same, compiled for an Orin with weights and time rows in files: a `vla_made.OnOrin`."""
    from ofp_edge.targets import export, written
    from tests.targets.vla_made import NFE, OnOrin

    needs_engines()
    found: dict[str, OnOrin] = {}

    def orin(kind: str) -> OnOrin:
        if kind not in found:
            path = tmp_path_factory.mktemp("orin") / "bundle"
            found[kind] = made = OnOrin(kind, vla_policy(kind), path, [])
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(export, "LARGEST_INSIDE", 0)
                patch.setattr(export, "SMALLEST_BESIDE", 1024)
                patch.setattr(written, "LARGEST_INSIDE", 16)
                compile_policy(
                    made.policy, "jetson-orin", path, board_name="agx-orin-64", nfe=NFE,
                    say=made.said.append,
                )  # fmt: skip
        return found[kind]

    return orin
