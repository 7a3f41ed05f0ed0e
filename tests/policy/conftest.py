"""A tiny policy, loaded, with every weight away from zero."""

from __future__ import annotations

from pathlib import Path

import pytest

from ofp_edge.policy.folder import Policy, load_policy
from tests.synthetic import tiny_policy


@pytest.fixture
def policy_path(tmp_path: Path) -> Path:
    return tiny_policy(tmp_path / "policy")


@pytest.fixture
def policy(policy_path: Path) -> Policy:
    return load_policy(policy_path)
