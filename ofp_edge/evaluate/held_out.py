"""Measure a policy on a dataset's held-out episodes, open loop: chunk error, and jumps.

Every n_action_steps the policy plans from what was recorded, warm from its own last plan; the
robot is not moved by it. Says less than closed-loop episodes, and needs no simulator.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ofp_edge.data.dataset import Dataset
from ofp_edge.data.open import open_dataset
from ofp_edge.data.windows import windows
from ofp_edge.errors import DatasetError
from ofp_edge.evaluate.choice import Choice
from ofp_edge.evaluate.contestant import open_contestant
from ofp_edge.evaluate.replanned import planning_moments
from ofp_edge.evaluate.smoothness import half_ranges, jump
from ofp_edge.evaluate.tuning import Measured, Setting
from ofp_edge.policy.config import PolicyConfig
from ofp_edge.runtime.chunk import Chunk


def open_training_data(path: Path, config: PolicyConfig) -> Dataset:
    """Open the dataset a policy was trained on, its held-out episodes known. DatasetError else."""
    dataset = open_dataset(path)
    if config.training.held_out_of(dataset.sha256) is None:
        raise DatasetError(
            f"{path} is not what the policy was trained on ({config.training.dataset}): which of "
            "its episodes are unseen is not known. Give that one."
        )
    return dataset


def measure_held_out(path: Path, dataset: Dataset, choice: Choice, setting: Setting) -> Measured:
    """Measure the policy. scores: minus each episode's chunk error, RMS over its plans in half
    ranges of the action; actions past an episode's end are left out. jump: as of an Episode."""
    contestant = open_contestant(path, choice)
    inference, spec = contestant.inference, contestant.spec
    half = half_ranges(spec)
    errors, jumps = [], []
    for episode in dataset.split().held_out:
        span = dataset.episode(episode)
        chunks = windows(dataset, [episode], 1, spec.plan_steps).chunks
        inference.reseed(episode)
        plan: Chunk | None = None
        squares = []
        for k in planning_moments(inference, dataset, episode):
            t_ns = k * spec.dt_ns
            new = inference.infer(t_ns, plan)
            left = min(spec.plan_steps, span.stop - span.start - k)
            squares.append(((new.actions - chunks[k]) / half)[:left] ** 2)
            if plan is not None:
                jumps.append(jump(plan, new, t_ns, half))
            plan = new
        errors.append(float(np.sqrt(np.mean(np.concatenate(squares)))))
    contestant.close()
    mean_jump = float(np.mean(jumps)) if jumps else None
    summary = {"chunk_error": float(np.mean(errors)), "chunk_boundary_jump": mean_jump}
    return Measured(setting, tuple(-error for error in errors), mean_jump, None, summary)
