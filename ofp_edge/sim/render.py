"""What the simulated camera sees: depth comes from OpenGL or from casting rays, which agree; colour
comes from OpenGL.

Both leave out shadows, reflections and sites (which mark goals: seeing them would be cheating).
"""

from __future__ import annotations

import importlib
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ofp_edge.errors import OfpError
from ofp_edge.extras import require
from ofp_edge.sim.depth import quantise
from ofp_edge.sim.gl import choose_depth_by
from ofp_edge.sim.painted import PaintedRenderer
from ofp_edge.sim.view import View
from ofp_edge.sim.world import PaintedWorld, PhysicsWorld, SeenWorld

FAR_M = 10.0
_POSES = ("xpos", "xquat", "xmat", "xipos", "ximat", "geom_xpos", "geom_xmat")
_SHOWN_GROUPS = np.array([1, 1, 1, 0, 0, 0], dtype=np.uint8)  # the groups that GL shows by default


class Renderer(Protocol):
    """A renderer looks at one world from one view. All calls come from the thread of the first."""

    by: str

    def render(self, color: bool) -> tuple[NDArray[np.uint16], NDArray[np.uint8] | None]:
        """Render depth (H, W) in the view's unit, 0 beyond its range, and RGB (H, W, 3) if asked
        for."""
        ...

    def close(self) -> None:
        """Free the GL context."""
        ...


def open_renderer(world: SeenWorld, view: View, by: str | None = None) -> Renderer:
    """Open a renderer by egl, osmesa or rays (`choose_depth_by`); of a painted world by itself."""
    if isinstance(world, PaintedWorld):
        return PaintedRenderer(world, view)
    if not isinstance(world, PhysicsWorld):
        raise TypeError(type(world).__name__)
    chosen = choose_depth_by(by)
    return RayRenderer(world, view) if chosen == "rays" else GlRenderer(world, view, chosen)


class GlRenderer:
    """Depth and colour by mujoco.Renderer."""

    def __init__(self, world: PhysicsWorld, view: View, by: str) -> None:
        self._mujoco = mujoco = require("mujoco", "sim")
        # What MUJOCO_GL said when mujoco was imported does not matter.
        mujoco.gl_context.GLContext = importlib.import_module(f"mujoco.{by}").GLContext
        self.by = by
        self._world, self._view = world, view
        self._renderer = mujoco.Renderer(world.model, view.height, view.width)
        self._option = mujoco.MjvOption()
        self._option.sitegroup[:] = 0
        self._camera = world.model.camera(world.camera).id  # borrowed, and moved to the view
        self._quaternion = np.zeros(4)
        # MuJoCo's cameras look along -z with y up.
        mujoco.mju_mat2Quat(self._quaternion, (view.rotation * [1, -1, -1]).reshape(-1))

    def render(self, color: bool) -> tuple[NDArray[np.uint16], NDArray[np.uint8] | None]:
        """Render; see Renderer."""
        renderer, mujoco = self._renderer, self._mujoco
        model, data = self._world.model, self._world.data
        with self._world.changed:
            model.cam_pos[self._camera] = self._view.position
            model.cam_quat[self._camera] = self._quaternion
            model.cam_fovy[self._camera] = self._view.fovy_deg
            mujoco.mj_camlight(model, data)
            renderer.update_scene(data, self._camera, self._option)
        for flag in (mujoco.mjtRndFlag.mjRND_SHADOW, mujoco.mjtRndFlag.mjRND_REFLECTION):
            renderer.scene.flags[flag] = 0  # update_scene sets them again
        renderer.enable_depth_rendering()
        depth = quantise(renderer.render(), self._view.depth_unit_m)
        renderer.disable_depth_rendering()
        return depth, renderer.render() if color else None

    def close(self) -> None:
        """Close; see Renderer."""
        renderer = self._renderer
        if renderer._mjr_context is not None:
            # mujoco would free its GL objects in whichever context is current: not this one's,
            # where another renderer lives.
            renderer._gl_context.make_current()
            renderer._mjr_context.free()
            renderer._mjr_context = None
        renderer.close()


class RayRenderer:
    """Depth by mj_multiRay, which is slower, needs no GL library and gives no colour."""

    by = "rays"

    def __init__(self, world: PhysicsWorld, view: View) -> None:
        self._mujoco = require("mujoco", "sim")
        self._world, self._view = world, view
        self._data = self._mujoco.MjData(world.model)
        p = view.parameters()
        u, v = np.meshgrid(np.arange(p.width), np.arange(p.height))
        optical = np.stack([(u - p.cx) / p.fx, (v - p.cy) / p.fy, np.ones(u.shape)], axis=-1)
        self._length = np.linalg.norm(optical, axis=-1)  # (H, W), of the ray per metre of depth
        directions = (optical / self._length[..., None]) @ view.rotation.T
        self._directions = np.ascontiguousarray(directions, dtype=np.float64).reshape(-1)
        self._position = np.asarray(view.position, dtype=np.float64)
        self._geoms = np.full(p.width * p.height, -1, dtype=np.int32)
        self._distance = np.empty(p.width * p.height)

    def render(self, color: bool) -> tuple[NDArray[np.uint16], NDArray[np.uint8] | None]:
        """Render; see Renderer. Raises OfpError when colour is asked for."""
        if color:
            raise OfpError(
                "colour needs OpenGL, which does not start here. Leave colour out, or run: sudo "
                "apt-get install -y libosmesa6"
            )
        model = self._world.model
        with self._world.changed:  # a copy, so that the robot need not wait for the rays
            for name in _POSES:
                getattr(self._data, name)[:] = getattr(self._world.data, name)
        self._mujoco.mj_multiRay(
            model,
            self._data,
            self._position,
            self._directions,
            _SHOWN_GROUPS,
            1,
            -1,
            self._geoms,
            self._distance,
            len(self._geoms),
            FAR_M,
        )
        distance = self._distance.reshape(self._length.shape)
        depth_m = np.where(distance > 0, distance / self._length, FAR_M)
        return quantise(depth_m, self._view.depth_unit_m), None

    def close(self) -> None:
        """Close; see Renderer."""
