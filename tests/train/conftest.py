"""A small dataset, written once, and a request to train the tiny preset on it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ofp_edge.train.request import Request
from tests.synthetic import write_synthetic_dataset

Ask = Callable[..., Request]


@pytest.fixture(scope="session")
def points_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_synthetic_dataset(tmp_path_factory.mktemp("d") / "points.zarr", episodes=12)


@pytest.fixture(scope="session")
def state_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("d") / "state.zarr"
    return write_synthetic_dataset(path, obs="state", episodes=12)


@pytest.fixture
def ask(points_data: Path, tmp_path: Path) -> Ask:
    """A request with the tiny preset and 40 steps; keywords replace entries."""

    def build(**changes: Any) -> Request:
        start: dict[str, Any] = {"dataset": points_data, "output": tmp_path / "policy"}
        if not changes.get("resume") and not changes.get("init"):
            start.update({"preset": "tiny", "steps": 40})
        return Request(**{**start, **changes})

    return build
