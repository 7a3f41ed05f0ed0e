"""A module's name is found once where several folders once had one: it says what is inside."""

from __future__ import annotations

from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.parametrize("name", ["compare", "statistics", "layers", "replay"])
def test_no_two_modules_share_a_name_that_says_too_little(name: str) -> None:
    """Files of cli/ are named as their commands are."""
    found = [
        path
        for folder in ("ofp_edge", "calibration", "quantize", "targets")
        for path in (ROOT / folder).rglob(f"{name}.py")
        if "cli" not in path.relative_to(ROOT).parts and not _by_a_link(path)
    ]
    assert len(found) <= 1, found


def _by_a_link(path: Path) -> bool:
    """ofp_edge/quantize and the like lead to the same files."""
    return any(parent.is_symlink() for parent in path.parents)
