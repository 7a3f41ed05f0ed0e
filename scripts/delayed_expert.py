"""How late an expert's own command may come: success where each comes some control steps after the
observation that it answers. Prints JSON.

    python scripts/delayed_expert.py TASK [TASK ...] [--episodes 40] [--most-steps 6]

A robot of L ms does what a policy answered to an observation L ms old. The expert is a law of
feedback without a plan: the delay from which it fails is that from which a policy has to foresee
what its own committed commands will do. Until the first command comes, the robot is commanded 0.
"""

from __future__ import annotations

import argparse
import json
from collections import deque
from typing import Any

import numpy as np

from ofp_edge.evaluate.seeds import evaluation_seeds
from ofp_edge.sim.open import shared_world
from ofp_edge.sim.world import World


def succeeds(world: World, seed: int, steps: int) -> bool:
    """Whether the expert succeeds in an episode, `steps` control steps late."""
    world.reset(seed)
    late = deque([np.zeros(world.action_dim, np.float32)] * steps)
    while not world.over:
        late.append(world.expert_action().copy())
        world.step(late.popleft())
    return world.success


def measure(task: str, episodes: int, most_steps: int) -> dict[str, Any]:
    """The share of unseen episodes in which it succeeds, by delay in ms."""
    world = shared_world(task, task, 0)
    seeds = evaluation_seeds(0, episodes)
    shares = {
        f"{1e3 * steps / world.task.control_hz:g}": sum(succeeds(world, s, steps) for s in seeds)
        / episodes
        for steps in range(most_steps + 1)
    }
    return {"task": task, "control_hz": world.task.control_hz, "success_by_delay_ms": shares}


def main() -> None:
    """Print what was measured."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("tasks", nargs="+")
    parser.add_argument("--episodes", type=int, default=40)
    parser.add_argument("--most-steps", type=int, default=6)
    asked = parser.parse_args()
    found = [measure(task, asked.episodes, asked.most_steps) for task in asked.tasks]
    print(json.dumps({"episodes": asked.episodes, "tasks": found}, indent=1))


if __name__ == "__main__":
    main()
