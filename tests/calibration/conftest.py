"""Pictures of the board, rendered once."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from ofp_edge.pose import Pose
from tests.calibration.rendered import BoardRenderer, board_poses
from tests.sim.conftest import gl

__all__ = ["gl"]

N_VIEWS = 16


@pytest.fixture(scope="session")
def boards() -> list[Pose]:
    """T_camera_board of every view."""
    return board_poses(N_VIEWS)


@pytest.fixture(scope="session")
def pictures(gl: str, boards: list[Pose]) -> Iterator[list[tuple[Any, Any]]]:
    """Colour and depth of every view."""
    pytest.importorskip("cv2")
    renderer = BoardRenderer(gl)
    yield [renderer.render(T) for T in boards]
    renderer.close()
