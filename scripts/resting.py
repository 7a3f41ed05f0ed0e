"""How still a robot stands where its demonstrations rest, by how its chunks start. Prints JSON.

    python scripts/resting.py extend DATASET OUT [--steps 40]
    python scripts/resting.py measure POLICY TASK [--one-fresh-chunk] [--t-w 0.3] [--noise-warm 1]

`extend` makes of demonstrations that `collect --obs state` wrote others, each with its last state
so many control steps longer, in which the hand is commanded to stay. `measure` runs a policy that
`train` made of them, at the task's success, too, for 120 control steps an episode, and says of the
second half how the hand moves and what is commanded. --one-fresh-chunk: a plan that repeats itself
is followed by one chunk from noise alone, and never shaken.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import zarr

from ofp_edge.data.writer import MARKER, write_replay
from ofp_edge.evaluate.choice import Choice
from ofp_edge.evaluate.closed_loop import Job
from ofp_edge.evaluate.contestant import open_contestant
from ofp_edge.evaluate.episode import Evaluator
from ofp_edge.evaluate.seeds import evaluation_seeds
from ofp_edge.files import new_folder
from ofp_edge.runtime.infer import repeats
from ofp_edge.sim.world import World

_CONTROL_STEPS, _EPISODES = 120, 6
_HAND = 3  # numbers of a state, and of an action


def extend(dataset: Path, output: Path, steps: int) -> None:
    """Write the demonstrations with a rest at the end of each."""
    stored: Any = zarr.open(str(dataset), mode="r")
    rows = {name: stored["data"][name][:] for name in ("state", "action")}
    ends = stored["meta/episode_ends"][:].tolist()
    made: dict[str, list[Any]] = {name: [] for name in rows}
    for first, end in zip([0, *ends], ends, strict=False):
        for name, values in rows.items():
            rest = np.repeat(values[end - 1 : end], steps, axis=0)
            if name == "action":
                rest[:, :_HAND] = 0
            made[name] += [values[first:end], rest]
    later = [end + steps * (number + 1) for number, end in enumerate(ends)]
    with new_folder(output, force=False, marker=MARKER) as folder:
        arrays = {name: np.concatenate(parts) for name, parts in made.items()}
        write_replay(folder, stored.attrs["ofp_edge"], arrays, later)


def measure(policy: Path, task: str, choice: Choice) -> dict[str, float]:
    """Means over episodes: spread and furthest of the hand from its mean place, in mm, and the RMS
    of the commands."""
    World.over = property(lambda self: self.steps >= _CONTROL_STEPS)  # type: ignore[method-assign, assignment]
    evaluator = Evaluator(Job(policy, task, choice), open_contestant(policy, choice, alone=True), 0)
    world, seen = evaluator.simulator.world, []
    step = world.step

    def watched(action: Any) -> None:
        seen.append((world.state(39)[:_HAND].copy(), action[:_HAND].copy()))
        step(action)

    world.step = watched  # type: ignore[method-assign]
    found = []
    for seed in evaluation_seeds(0, _EPISODES):
        seen.clear()
        evaluator.run(seed)
        places, commands = (np.array(x) for x in zip(*seen[_CONTROL_STEPS // 2 :], strict=True))
        away = np.abs(places - places.mean(0))
        spread = np.linalg.norm(places.std(0))
        found.append((1e3 * spread, 1e3 * away.max(), np.sqrt(np.mean(commands**2))))
    names = ("spread_mm", "furthest_mm", "command_rms")
    return dict(zip(names, [round(float(x), 2) for x in np.mean(found, axis=0)], strict=True))


def main() -> None:
    """Write, or measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("extend", "measure"))
    parser.add_argument("path", type=Path)
    parser.add_argument("to", help="The new dataset, or the task.")
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--one-fresh-chunk", action="store_true")
    parser.add_argument("--t-w", type=float, default=None)
    parser.add_argument("--noise-warm", type=float, default=None)
    given = parser.parse_args()
    if given.what == "extend":
        extend(given.path, Path(given.to), given.steps)
        return
    if given.one_fresh_chunk:
        repeats.OWED = (1,)  # type: ignore[assignment]
    choice = Choice(nfe=1, t_w=given.t_w, noise_warm=given.noise_warm)
    found = measure(given.path, given.to, choice)
    asked = {"task": given.to, "episodes": _EPISODES, "one_fresh_chunk": given.one_fresh_chunk}
    print(
        json.dumps({**asked, "t_w": given.t_w, "noise_warm": given.noise_warm, **found}, indent=1)
    )


if __name__ == "__main__":
    main()
