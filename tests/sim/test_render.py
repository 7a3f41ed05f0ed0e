"""OpenGL and rays see the same depth; neither sees goals; views do not disturb each other."""

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("metaworld")

from ofp_edge.errors import OfpError, UnknownName  # noqa: E402
from ofp_edge.preprocess import PointCloud  # noqa: E402
from ofp_edge.sim.gl import choose_depth_by  # noqa: E402
from ofp_edge.sim.open import shared_world  # noqa: E402
from ofp_edge.sim.render import open_renderer, quantise  # noqa: E402


@pytest.fixture
def world():
    found = shared_world("metaworld/door-open", "metaworld/door-open")
    found.reset(3)
    return found


@pytest.fixture(params=["gl", "rays"])
def renderer(request, world):
    by = request.getfixturevalue("gl") if request.param == "gl" else "rays"
    opened = open_renderer(world, world.task.view, by)
    yield opened
    opened.close()


def test_gl_and_rays_agree_to_a_millimetre_on_98_percent_of_pixels(world, gl):
    one, other = (open_renderer(world, world.task.view, by) for by in (gl, "rays"))
    for seed in range(3):
        world.reset(seed)
        for _ in range(8):
            world.step(world.expert_action())
        a, b = (x.render(False)[0].astype(np.int64) for x in (one, other))
        apart_mm = np.abs(a - b) * 1000 * world.task.view.depth_unit_m
        assert (apart_mm <= 1.0).mean() >= 0.98
        assert np.median(apart_mm) <= 0.1
    one.close()


def test_goals_are_invisible(world, renderer):
    model = world.model
    before = renderer.render(False)[0]
    places = model.site_pos.copy()
    model.site_pos[:] = np.random.default_rng(0).uniform([-0.4, 0.4, 0.1], [0.4, 0.9, 0.4],
                                                         places.shape)  # fmt: skip
    world._mujoco.mj_forward(model, world.data)
    after = renderer.render(False)[0]
    model.site_pos[:] = places
    np.testing.assert_array_equal(after, before)


def test_the_scene_stands_where_the_camera_parameters_say(world, renderer):
    view = world.task.view
    depth = renderer.render(False)[0]
    cloud = PointCloud(view.parameters(), (-0.6, 0.3, -0.05), (0.6, 1.0, 0.6), 4096)(depth)
    on_table = np.abs(cloud[2]) < 0.002  # the table's top is at z = 0
    assert on_table.mean() > 0.3
    hand = world.state(4)[:3]
    assert np.linalg.norm(cloud.T - hand, axis=1).min() < 0.06


def test_depth_follows_the_world(world, renderer):
    before = renderer.render(False)[0]
    world.step(np.array([1, 0, 0, 0], np.float32))
    assert (renderer.render(False)[0] != before).any()
    world.reset(3)
    np.testing.assert_array_equal(renderer.render(False)[0], before)


def test_two_views_of_one_world_do_not_disturb_each_other(world, gl):
    view = world.task.view
    one = open_renderer(world, view, gl)
    first = one.render(False)[0]
    other = open_renderer(world, replace(view, position=(0.6, 0.3, 0.6)), gl)
    assert (other.render(False)[0] != first).mean() > 0.5
    other.close()
    np.testing.assert_array_equal(one.render(False)[0], first)
    one.close()


def test_colour_needs_gl(world, gl):
    renderer = open_renderer(world, world.task.view, gl)
    _, color = renderer.render(True)
    assert color.shape == (48, 64, 3) and color.dtype == np.uint8 and color.std() > 5
    renderer.close()
    with pytest.raises(OfpError, match="libosmesa6"):
        open_renderer(world, world.task.view, "rays").render(True)


def test_what_the_depth_unit_cannot_hold_is_unknown():
    raw = quantise(np.array([[0.0, 0.00014, 6.5535, 6.5536, 10.0]]), 1e-4)
    np.testing.assert_array_equal(raw, [[0, 1, 65535, 0, 0]])


def test_an_unknown_way_to_make_depth_lists_the_known_ones():
    with pytest.raises(UnknownName, match="egl, osmesa, rays"):
        choose_depth_by("vulkan")
