"""planar/berths: looked at to know where, told to know which; nothing shows the side."""

import json
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("pyrealsense2")

from ofp_edge.data.open import open_dataset  # noqa: E402
from ofp_edge.errors import OfpError, SpecMismatch  # noqa: E402
from ofp_edge.fields.text import instructions_of  # noqa: E402
from ofp_edge.sim.berths_task import INSTRUCTIONS  # noqa: E402
from ofp_edge.sim.camera import start_cameras  # noqa: E402
from ofp_edge.sim.collect import collect_demonstrations  # noqa: E402
from ofp_edge.sim.fields import observation_fields  # noqa: E402
from ofp_edge.sim.open import open_world, shared_world  # noqa: E402
from ofp_edge.sim.render import open_renderer  # noqa: E402
from ofp_edge.sim.simulator import ManualClock  # noqa: E402
from ofp_edge.sim.tasks import find_task  # noqa: E402

TASK = find_task("planar/berths")


@pytest.fixture
def world():
    return open_world(TASK)


def shown(world, name, size=(32, 32)):
    depth, color = open_renderer(world, TASK.views[name].sized(size)).render(True)
    return depth, color


def sailed(world, seed, noise=0.0):
    """The places of an expert's episode (K, 2)."""
    random = np.random.default_rng(seed)
    world.reset(seed)
    places = [world.place]
    while not world.over:
        action = world.expert_action()
        world.step(action + noise * random.standard_normal(2).astype(np.float32))
        places.append(world.place)
    return np.stack(places)


def test_the_expert_docks_where_it_is_told_round_both_sides(world):
    sides, told = [], []
    for seed in range(200):
        places = sailed(world, seed, TASK.noise)
        assert world.success and world.steps < TASK.max_steps
        sides.append(world.sides.lateral(places))
        told.append(world.instruction)
    assert 0.4 < np.mean(np.array(sides) > 0) < 0.6
    assert np.abs(sides).min() > TASK.pass_m[0] / 2
    assert all(told.count(text) > 40 for text in INSTRUCTIONS)


def test_a_seed_gives_the_same_episode_whatever_came_before(world):
    first = sailed(open_world(TASK, 9), 5), world.instruction
    sailed(world, 1)
    np.testing.assert_array_equal(first[0], sailed(world, 5))


def test_the_words_alone_tell_the_berth_and_docking_elsewhere_is_no_success(world):
    world.reset(3)
    before = [shown(world, name)[1] for name in TASK.views]
    world._berth = (world._berth + 1) % 3
    world._goal = world._slots()[world._berth]
    for name, picture in zip(TASK.views, before, strict=True):
        np.testing.assert_array_equal(shown(world, name)[1], picture)
    gaps = np.linalg.norm(np.diff(world._slots(), axis=0), axis=1)
    assert gaps.min() > 2 * TASK.goal_m


def test_both_cameras_show_disc_quay_and_hand_wherever_they_are(world):
    for seed in range(40):
        world.reset(seed)
        for name in TASK.views:
            depth, color = shown(world, name, (96, 96))
            red, green, blue = color[..., 0], color[..., 1], color[..., 2]
            disc = (red > 180) & (green < 90)
            slots = (red > 200) & (green > 190)
            hand = (green > 200) & (red < 120)
            assert disc.sum() > 20 and slots.sum() > 20 and hand.sum() > 1
            edge = np.zeros_like(disc)
            edge[[0, -1]], edge[:, [0, -1]] = True, True
            assert not ((disc | slots) & edge).any()
            assert (blue > 0).all() and (depth > 3000).all()


def test_what_moves_is_seen_to_move_by_less_than_a_pixel(world):
    world.reset(0)
    _, before = shown(world, "front")
    world.step(np.array([0.1, 0.0], np.float32))  # 4 mm, a quarter of a pixel
    _, after = shown(world, "front")
    assert 10 < np.abs(after.astype(int) - before.astype(int)).sum()


@pytest.mark.parametrize("steps", [1, 6, 7, 8, 9, 30])
def test_a_camera_that_is_asked_after_a_pause_still_gives_depth_and_colour(steps):
    """A policy that executes its whole chunk looks once in as many steps."""
    clock = ManualClock()
    fields = observation_fields(TASK, "rgb", (16, 16))
    cameras = start_cameras("planar/berths", fields, clock)
    world = shared_world("planar/berths", "planar/berths")
    world.reset(0)
    try:
        for _ in range(4):
            clock.advance(steps * 50_000_000)
            world.version += 1
            for camera in cameras.values():
                frame = camera.read(0)
                assert frame.t_capture_ns == clock() and frame.color.shape == (16, 16, 3)
    finally:
        for camera in cameras.values():
            camera.close()


def test_each_demonstration_says_what_it_was_told(tmp_path):
    path = tmp_path / "d.zarr"
    collect_demonstrations("planar/berths", 6, path, observe="rgb", image_size=(16, 16), noise=0)
    data = open_dataset(path)
    assert instructions_of(data.interface.observations) == INSTRUCTIONS
    said = json.loads((path / ".zattrs").read_text())["ofp_edge"]["instructions"]["instruction"]
    world = open_world(TASK)
    for episode, seed in enumerate(data.seeds):
        world.reset(seed)
        assert said[episode] == world.instruction
        numbers = data.fields["instruction"][data.episode(episode)]
        assert {INSTRUCTIONS[x] for x in numbers} == {world.instruction}
    assert data.fields["rgb_front"].shape[1:] == (3, 16, 16)
    assert data.fields["state"].shape[1:] == (2,)


def test_depth_is_refused_and_another_state_too(world):
    with pytest.raises(OfpError, match="is flat"):
        observation_fields(TASK, "depth")
    with pytest.raises(SpecMismatch, match="state"):
        world.state(4)
    assert world.state(6).shape == (6,)
    assert replace(TASK, name="x").views.keys() == {"front", "side"}
