"""A tiny quantised policy, made once."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from ofp_edge.quantize.apply import quantize_policy
from ofp_edge.quantize.plan import Plan
from tests.synthetic import tiny_policy, write_synthetic_dataset


@dataclass
class Quantised:
    """Folders of the float policy, its dataset and the quantised policy."""

    policy: Path
    dataset: Path
    folder: Path
    plan: Plan


@pytest.fixture(scope="session")
def quantised(tmp_path_factory: pytest.TempPathFactory) -> Quantised:
    root = tmp_path_factory.mktemp("quantised")
    policy = tiny_policy(root / "policy", "points")
    dataset = write_synthetic_dataset(root / "data.zarr", obs="points")
    plan = quantize_policy(policy, "int8", dataset, root / "int8", samples=16).plan
    return Quantised(policy, dataset, root / "int8", plan)
