"""The way in which the simulator can draw depth images: EGL, OSMesa, or casting rays."""

from __future__ import annotations

from ofp_edge.doctor.findings import Finding
from ofp_edge.doctor.probe import Probe, installed, probe
from ofp_edge.origin import install_line

_DRAW = """
import mujoco
model = mujoco.MjModel.from_xml_string(
    "<mujoco><worldbody><geom size='1'/></worldbody></mujoco>")
data = mujoco.MjData(model)
mujoco.mj_forward(model, data)
with mujoco.Renderer(model, 24, 32) as renderer:
    renderer.enable_depth_rendering()
    renderer.update_scene(data)
    print(renderer.render().shape)
"""
_REMEDY = "sudo apt-get install -y libosmesa6"


def draws(backend: str) -> Probe:
    """Say whether MuJoCo renders one depth image with this back end."""
    return probe(_DRAW, MUJOCO_GL=backend, PYOPENGL_PLATFORM=backend)


def check() -> Finding:
    """Find the first back end that draws."""
    if not installed("mujoco"):
        return Finding("gl", "absent", "MuJoCo is not installed", install_line("sim"))
    reasons = []
    for backend in ("egl", "osmesa"):
        answer = draws(backend)
        if answer.ok:
            return Finding("gl", "ok", f"depth and colour by {backend}")
        reasons.append(f"{backend}: {answer.text}")
    detail = "no off-screen GL, depth by ray casting, no colour"
    return Finding("gl", "warn", f"{detail} ({'; '.join(reasons)})", _REMEDY)
