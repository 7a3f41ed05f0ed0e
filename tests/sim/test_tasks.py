"""The task table is whole and says what exists."""

import numpy as np
import pytest

from ofp_edge.errors import UnknownName
from ofp_edge.sim.fields import action_fields, observation_fields
from ofp_edge.sim.tasks import ENV_HZ, FIFTY, TASKS, Task, find_task
from ofp_edge.sim.view import View
from ofp_edge.spec import PolicySpec
from tests.task_spec import spec_of


def test_every_metaworld_task_is_listed_under_its_name():
    environments = pytest.importorskip("metaworld.env_dict").ALL_V3_ENVIRONMENTS
    ours = [task for task in TASKS.values() if isinstance(task, Task)]
    assert {task.env_name for task in ours} == set(environments)
    assert all(task.name == name for name, task in TASKS.items())


def test_metaworlds_fifty_can_be_one_network():
    tasks = [find_task(name) for name in FIFTY]
    assert len({task.env_name for task in tasks}) == 50
    specs = {str(spec_of(task, "state").to_json()) for task in tasks}
    assert len(specs) == 1 and tasks[0].control_hz == 40.0
    slow, fine = (find_task(f"metaworld/door-open{x}") for x in ("", "-fine"))
    assert fine.max_steps / fine.control_hz == slow.max_steps / slow.control_hz


def test_an_unknown_task_lists_what_exists_the_nearest_first():
    with pytest.raises(UnknownName, match="Did you mean 'metaworld/door-open'.*metaworld/assembly"):
        find_task("metaworld/dor-open")


def test_an_episode_lasts_at_most_metaworlds_500_steps():
    assert all(
        task.max_steps * task.repeat <= 500 for task in TASKS.values() if isinstance(task, Task)
    )


def test_fields_make_a_valid_spec_that_survives_json():
    for observe in ("depth", "state"):
        spec = spec_of(find_task("metaworld/door-open"), observe)
        assert PolicySpec.from_json(spec.to_json()) == spec
        assert spec.control_hz == 20.0 and spec.action_dim == 4


def test_depth_observations_hold_the_hand_and_nothing_of_the_object():
    hand, points = observation_fields(find_task("metaworld/door-open"), "depth")
    assert (hand.name, hand.shape, points.kind) == ("state", (4,), "points")
    assert points.camera == "front"


def test_an_action_of_one_moves_the_hand_by_its_scale():
    task = find_task("metaworld/door-open")
    assert action_fields(task)[0].scale == pytest.approx(0.01 * ENV_HZ / task.control_hz)


def test_the_views_pose_looks_at_its_target():
    view = View()
    p = view.parameters()
    target = np.linalg.inv(p.pose) @ [*view.target, 1.0]
    assert abs(target[0]) < 1e-9 and abs(target[1]) < 1e-9 and target[2] > 0
    assert p.pose[2, 1] < 0  # y is down
