"""One tiny policy, quantised and compiled once: compiling takes seconds."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from ofp_edge.files import sha256_file
from ofp_edge.quantize.apply import quantize_policy
from ofp_edge.quantize.gate import Check, Gate, write_gate
from ofp_edge.targets.compile import Compiled, compile_policy
from ofp_edge.targets.export import FORMS
from tests.needs import needs_engines
from tests.synthetic import tiny_policy, write_synthetic_dataset
from tests.targets.once import once


@dataclass
class Built:
    """The float policy, the quantised one, the bundle made of the latter, and the report."""

    policy: Path
    quantised: Path
    bundle: Path
    report: Compiled


@pytest.fixture(scope="session", autouse=True)
def exports(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What `compile` exports is exported once, for all processes of this run of the tests."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "exports"
    folder.mkdir(exist_ok=True)
    with pytest.MonkeyPatch.context() as patch:
        for form, export in list(FORMS.items()):
            patch.setitem(FORMS, form, once(export, form, folder))
        yield


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
