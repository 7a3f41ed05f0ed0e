"""How depth is made on this machine: by OpenGL with EGL or OSMesa, whichever starts, else by
rays."""

from __future__ import annotations

import os
import subprocess
import sys
from ctypes.util import find_library

from ofp_edge.errors import UnknownName

VARIABLE = "OFP_EDGE_DEPTH_BY"
"""The environment variable that holds egl, osmesa or rays. When it is unset, the first that works
here is found once and then kept in it."""
_LIBRARIES = {"egl": "EGL", "osmesa": "OSMesa"}
CHOICES = (*_LIBRARIES, "rays")

_PROBE = """
import mujoco
model = mujoco.MjModel.from_xml_string("<mujoco><worldbody><geom size='1'/></worldbody></mujoco>")
data = mujoco.MjData(model)
mujoco.mj_forward(model, data)
with mujoco.Renderer(model, 8, 8) as renderer:
    renderer.update_scene(data)
    renderer.render()
"""


def choose_depth_by(wanted: str | None = None) -> str:
    """Choose egl, osmesa or rays: `wanted`, else $OFP_EDGE_DEPTH_BY, else the first that starts.

    A MUJOCO_GL that the user set is tried alone. The trial runs in a process of its own, because a
    broken GL library can abort one. Raises UnknownName for anything else.
    """
    chosen = wanted or os.environ.get(VARIABLE)
    if chosen is None:
        own = os.environ.get("MUJOCO_GL", "").lower()
        candidates = [own] if own else list(_LIBRARIES)
        chosen = next((name for name in candidates if _starts(name)), "rays")
        os.environ[VARIABLE] = chosen  # for this process's children too
    if chosen not in CHOICES:
        raise UnknownName("way to make depth", chosen, CHOICES)
    if "mujoco" not in sys.modules:  # it loads a GL library when it is imported
        os.environ["MUJOCO_GL"] = "disable" if chosen == "rays" else chosen
    # Mesa's software rasteriser: threads cost more than they give at a few thousand pixels.
    os.environ.setdefault("LP_NUM_THREADS", "0")
    return chosen


def _starts(name: str) -> bool:
    library = _LIBRARIES.get(name)
    if library is None or find_library(library) is None:
        return False
    try:
        done = subprocess.run(
            [sys.executable, "-c", _PROBE],
            env={**os.environ, "MUJOCO_GL": name},
            capture_output=True,
            timeout=60,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return False
    return done.returncode == 0
