"""The simulator is optional to install; OpenGL is optional to have."""

import pytest

from tests.needs import absent


@pytest.fixture(scope="session")
def gl() -> str:
    """egl or osmesa, whichever works here."""
    from ofp_edge.sim.gl import choose_depth_by

    by = choose_depth_by()
    if by == "rays":
        absent("no OpenGL: apt install libosmesa6 or libegl1, and unset OFP_EDGE_DEPTH_BY")
    return by
