"""The observation and action fields of a simulated task: names, units, ranges."""

from __future__ import annotations

from typing import Literal

from ofp_edge.fields import Points, Rgb, State, Text
from ofp_edge.sim.adroit_task import AdroitTask
from ofp_edge.sim.planar_task import PlanarTask
from ofp_edge.sim.tasks import AnyTask, Task
from ofp_edge.sim.view import BASE_FRAME
from ofp_edge.spec import ActionField, ObservationField

Observe = Literal["depth", "state", "rgb"]
CAMERA = "front"
IMAGE_SIZE = 48, 64
"""The height and width of an image, in pixels."""
HAND_DIM, FULL_DIM = 4, 39

_HAND_LOW, _HAND_HIGH = (-0.525, 0.348, -0.0525, 0.0), (0.525, 1.025, 0.7, 1.0)


def observation_fields(
    task: AnyTask, observe: Observe, image_size: tuple[int, int] = IMAGE_SIZE
) -> tuple[ObservationField, ...]:
    """Return the fields that a policy sees.

    With depth they are `state` (4,), which is the hand's x, y, z (m) and the gripper's opening (0
    closed to 1 open), and `points` (3, N), which the network sees from the hand. With rgb they are
    the same `state`, and `rgb_<camera>` (3, *image_size) for every camera of the task. With state
    there is only `state` (39,), everything that Meta-World gives, the object and the goal included.
    A task that is told has `instruction` last.
    The Adroit hand's are AdroitTask's, a planar task's its own; OfpError for one that it has not.
    """
    if isinstance(task, PlanarTask | AdroitTask):
        return task.observation_fields(observe, image_size)
    told = (Text("instruction", choices=task.instructions),) if task.instructions else ()
    return *_seen(task, observe, image_size), *told


def _seen(
    task: Task, observe: Observe, image_size: tuple[int, int]
) -> tuple[ObservationField, ...]:
    if observe == "state":
        bound = (3.0,) * FULL_DIM
        low = tuple(-x for x in bound)
        return (State("state", (FULL_DIM,), "m", BASE_FRAME, low, bound),)
    hand = State("state", (HAND_DIM,), "m, m, m, 1", BASE_FRAME, _HAND_LOW, _HAND_HIGH)
    if observe == "rgb":
        return hand, *(
            Rgb(f"rgb_{name}", (3, *image_size), "1", name, (0.0,) * 3, (1.0,) * 3, camera=name)
            for name in task.views
        )
    points = Points(
        "points",
        (3, task.n_points),
        "m",
        BASE_FRAME,
        task.crop_low,
        task.crop_high,
        camera=CAMERA,
        origin="state",
    )
    return hand, points


def action_fields(task: AnyTask) -> tuple[ActionField, ...]:
    """Return the action fields: `hand` (3,), how far the hand's target moves in one control step,
    where a raw 1.0 is `scale` metres, and `gripper` (1,), the fingers' effort, where -1 opens and 1
    closes. Planar tasks and the Adroit hand's have their own."""
    if isinstance(task, PlanarTask | AdroitTask):
        return task.action_fields()
    return (
        ActionField(
            "hand", (3,), "m", BASE_FRAME, "delta", task.step_m, (-1.0,) * 3, (1.0,) * 3, 0.0
        ),
        ActionField(
            "gripper",
            (1,),
            "1",
            BASE_FRAME,
            "absolute",
            1.0,
            (-1.0,),
            (1.0,),
            interpolation="nearest",
        ),
    )
