"""Collects demonstrations of a simulated task by an expert, its own or a given one, into a replay
buffer."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ofp_edge.data.writer import MARKER, write_replay
from ofp_edge.errors import OfpError
from ofp_edge.extras import require
from ofp_edge.fields import Text
from ofp_edge.files import check_output, new_folder
from ofp_edge.progress import Progress, silent
from ofp_edge.sim.adroit import AdroitWorld, Expert, require_expert
from ofp_edge.sim.adroit_task import AdroitTask
from ofp_edge.sim.camera import SimulatedCamera, start_cameras
from ofp_edge.sim.fields import (
    IMAGE_SIZE,
    Observe,
    action_fields,
    observation_fields,
)
from ofp_edge.sim.open import shared_world
from ofp_edge.sim.simulator import ManualClock
from ofp_edge.sim.tasks import AnyTask, find_task
from ofp_edge.sim.world import World
from ofp_edge.spec import ObservationField

_TRIES = 4  # an expert that fails three times out of four is not one to learn from
_NOISE_STREAM = 7  # keeps the noise apart from the layout that the same seed draws


@dataclass(frozen=True)
class Collection:
    """What was collected. `failed` counts the episodes in which the expert failed and which were
    left out."""

    dataset: Path
    episodes: int
    steps: int
    failed: int
    depth_by: str | None
    seconds: float


@dataclass
class _Episode:
    """The arrays of one demonstration, with a row for each control step."""

    seed: int
    instruction: str | None
    rows: dict[str, list[NDArray[Any]]]

    @property
    def steps(self) -> int:
        return len(self.rows["action"])


@dataclass(frozen=True)
class _Looks:
    """What every camera sees now; `stored` is "depth", "rgb" or both."""

    cameras: dict[str, SimulatedCamera]
    stored: tuple[str, ...]

    def __call__(self) -> dict[str, NDArray[Any]]:
        images: dict[str, NDArray[Any]] = {}
        for name, camera in self.cameras.items():
            frame = camera.read(0)
            if frame is None:
                raise AssertionError("the world moved, and the simulated camera saw nothing")
            seen: dict[str, Any] = {"depth": frame.depth, "rgb": frame.color}
            images.update({f"{kind}_{name}": seen[kind] for kind in self.stored})
        return images


def collect_demonstrations(
    task: str, n: int, output: Path, *, expert: Expert | None = None, observe: Observe = "depth",
    noise: float | None = None, wander: int | None = None, seed: int = 0, color: bool = False,
    image_size: tuple[int, int] = IMAGE_SIZE, force: bool = False, depth_by: str | None = None,
    progress: Progress = silent,
) -> Collection:  # fmt: skip
    """Collect `n` successful demonstrations into the dataset `output`.

    expert: who shows a task of the Adroit hand; every other task has its own. The executed action
    is the expert's plus Gaussian noise (standard deviation `noise`, raw units, on the task's
    `noisy_axes`), and the recorded one is clean: the data then shows how to come back (DART, arXiv
    1703.09327). An episode begins with up to `wander` control steps in one random
    direction, which the expert labels too: it shows the way from anywhere. Where `noise` or
    `wander` is None, the task's own value holds. Seeds count up from `seed`; the next seed replaces
    a failed one. `color` stores colour beside depth. `image_size` is the height and width of the
    images that observe="rgb" takes. Raises UnknownName, SpecMismatch (another task's expert),
    OutputExists, MissingExtra, OfpError.
    """
    started = time.monotonic()
    found = find_task(task)
    _check_expert(found, expert)
    noise = found.noise if noise is None else noise
    wander = found.wander if wander is None else wander
    if n < 1:
        raise OfpError(f"-n: expected at least 1 episode, got {n}.")
    if seed < 0 or wander < 0 or not noise >= 0:
        got = f"{seed}, {noise:g} and {wander}"
        raise OfpError(f"--seed, --noise and --wander: expected 0 or more, got {got}.")
    if min(image_size) < 1:
        raise OfpError(f"--image-size: expected two numbers of 1 or more, got {image_size}.")
    require("zarr", "sim")
    check_output(output, force=force, marker=MARKER)
    world = shared_world(task, task, seed)
    if isinstance(world, AdroitWorld) and expert is not None:
        world.follow(expert)
    clock = ManualClock()
    fields = observation_fields(found, observe, image_size)
    cameras = start_cameras(task, fields, clock, color=color, depth_by=depth_by)
    stored = {"depth": ("depth", "rgb") if color else ("depth",), "rgb": ("rgb",), "state": ()}
    episodes: list[_Episode] = []
    tried = 0
    try:
        looks = _Looks(cameras, stored[observe])
        dim = fields[0].shape[0]
        for episode in _demonstrations(world, clock, looks, dim, noise, wander, seed, _TRIES * n):
            tried += 1
            if episode is not None:
                episodes.append(episode)
            progress(len(episodes), n, f"{tried - len(episodes)} failed")
            if len(episodes) == n:
                break
        if len(episodes) < n:
            raise OfpError(
                f"{task}: the expert failed in {tried - len(episodes)} of {tried} episodes with "
                f"noise {noise:g}. Give a smaller --noise or another task."
            )
        made_by = next((camera.depth_by for camera in cameras.values()), None)
        attrs = {
            "task": task,
            "control_hz": found.control_hz,
            "observations": [asdict(field) for field in fields],
            "actions": [asdict(field) for field in action_fields(found)],
            "cameras": {name: x.parameters.to_json() for name, x in cameras.items()},
            "seeds": [episode.seed for episode in episodes],
            "success": [True] * n,
            **_told(fields, episodes),
            "collector": {
                "noise": noise, "wander": wander, "depth_by": made_by,
                **({} if expert is None else {"expert_sha256": expert.sha256}),
            },
        }  # fmt: skip
    finally:
        for camera in cameras.values():
            camera.close()
    arrays = {
        name: np.stack([row for episode in episodes for row in episode.rows[name]])
        for name in episodes[0].rows
    }
    ends = np.cumsum([episode.steps for episode in episodes]).tolist()
    with new_folder(output, force=force, marker=MARKER) as folder:
        write_replay(folder, attrs, arrays, ends)
    seconds = time.monotonic() - started
    return Collection(output, n, ends[-1], tried - n, made_by, seconds)


def _told(fields: Sequence[ObservationField], episodes: Sequence[_Episode]) -> dict[str, Any]:
    """The attribute that tells what was asked for in each episode, where a field says it."""
    texts = [f.name for f in fields if isinstance(f, Text)]
    said = [episode.instruction for episode in episodes]
    return {"instructions": {name: said for name in texts}} if texts else {}


def _check_expert(task: AnyTask, expert: Expert | None) -> None:
    if not isinstance(task, AdroitTask):
        if expert is not None:
            raise OfpError(f"{task.name} has an expert of its own. Leave --expert out.")
    elif expert is None:
        raise OfpError(
            f"{task.name} has no expert of its own. Give --expert, a policy of mjrl: hand_dapg's "
            f"{task.name.partition('/')[2]}-v0.pickle (docs/data.md)."
        )
    else:
        require_expert(task, expert)


def _demonstrations(
    world: World, clock: ManualClock, looks: _Looks, dim: int, noise: float, wander: int,
    seed: int, tries: int,
) -> Iterator[_Episode | None]:  # fmt: skip
    """Yield one expert episode for each seed, None where it failed."""
    step_ns = round(1e9 / world.task.control_hz)
    axes = world.task.noisy_axes
    for episode_seed in range(seed, seed + tries):
        random = np.random.default_rng([episode_seed, _NOISE_STREAM])
        world.reset(episode_seed)
        clock.advance(step_ns)
        astray = random.integers(0, wander + 1)
        direction = (random.uniform(-1, 1, 3) * (1, 1, 0.5))[:axes]
        episode = _Episode(episode_seed, world.instruction, {"state": [], "action": []})
        while not world.over:
            action = world.expert_action()
            row: dict[str, NDArray[Any]] = {"state": world.state(dim), "action": action}
            row.update(looks())
            for name, value in row.items():
                episode.rows.setdefault(name, []).append(value)
            noisy = action.copy()
            if episode.steps < astray:
                noisy[: len(direction)] = direction
            noisy[:axes] += noise * random.standard_normal(axes).astype(np.float32)
            world.step(noisy)
            clock.advance(step_ns)
        yield episode if world.success else None
