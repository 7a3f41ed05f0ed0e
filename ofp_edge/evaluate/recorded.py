"""Recorded episodes to hold a contestant against: are they of its kind, which ones, and unseen?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ofp_edge.data.alike import require_alike, require_same_rate
from ofp_edge.data.dataset import Dataset
from ofp_edge.data.open import open_dataset
from ofp_edge.data.telling import told_as
from ofp_edge.errors import DatasetError
from ofp_edge.evaluate.contestant import Contestant
from ofp_edge.spec import Interface, PolicySpec


@dataclass(frozen=True, eq=False)
class Recorded:
    """The episodes of a dataset that are used. action: (T, A) of all of it, in the policy's order.
    unseen: whether training held all of them out; None: unknown. why: the same in a line.
    left_out: held-out episodes that are shorter than a chunk."""

    dataset: Dataset
    action: NDArray[np.float32]
    episodes: tuple[int, ...]
    unseen: bool | None
    why: str
    left_out: tuple[int, ...] = ()


def open_recorded(path: Path, contestant: Contestant, wanted: Sequence[int] | None) -> Recorded:
    """Open demonstrations for a contestant. wanted: numbers of episodes, by default those that its
    training held out where that is known, else all.

    Raises SpecMismatch where they are not of its kind, DatasetError where an episode is not there,
    or is too short for a chunk.
    """
    spec = contestant.spec
    dataset = told_as(open_dataset(path), spec.observations)
    require_fits(dataset.interface, dataset.control_hz, spec, str(path))
    for name in spec.cameras:
        trained, recorded = contestant.cameras[name], dataset.cameras[name]
        contestant.tolerance.require(name, trained, recorded, only_images=spec.only_images(name))
    chosen, unseen, why = _choose(dataset, contestant, wanted)
    lengths = np.diff(dataset.episode_ends, prepend=0)
    short = tuple(e for e in chosen if lengths[e] < spec.plan_steps)
    kept = tuple(e for e in chosen if e not in short)
    if short and (wanted is not None or not kept):
        raise DatasetError(
            f"{path}: episode {short[0]} has {lengths[short[0]]} frames, a chunk of this policy "
            f"{spec.plan_steps} actions: not one whole chunk to hold it against. "
            "Name longer episodes with --episodes."
        )
    return Recorded(dataset, _in_order(dataset, spec), kept, unseen, why, short)


def require_fits(have: Interface, control_hz: float, spec: PolicySpec, where: str) -> None:
    """Raise SpecMismatch naming the first difference between a dataset and what a policy sees and
    does; the dataset may have more to see."""
    seen, done = f"{where}, observation", f"{where}, action"
    require_alike(spec.observations, have.observations, seen, exact=False, unstated=True)
    require_alike(spec.actions, have.actions, done, exact=True, unstated=True)
    require_same_rate(spec.control_hz, control_hz, where)


def _choose(
    dataset: Dataset, contestant: Contestant, wanted: Sequence[int] | None
) -> tuple[tuple[int, ...], bool | None, str]:
    path, known = dataset.path, contestant.training
    every = range(dataset.episodes)
    held_out: tuple[int, ...] | None = None
    if (own := known.parts.get(dataset.sha256)) is not None:
        held_out = tuple(e for e in own if e in every)
    elif known.sha256 is None:
        why = "what it was trained on is not known, nor whether it knows these episodes"
    elif known.sha256 != dataset.sha256:
        why = "it was not trained on this data: whether it knows these episodes is not known"
    elif known.held_out is None:
        why = "it does not say which episodes its training held out"
    else:
        held_out = tuple(e for e in known.held_out if e in every)
    if wanted is None and held_out is not None and not held_out:
        raise DatasetError(
            f"{path}: the policy's training held out none of its episodes. Name some with "
            "--episodes, or give other data."
        )
    if wanted is not None:
        missing = [e for e in wanted if e not in every]
        if missing:
            raise DatasetError(
                f"{path}: there is no episode {missing[0]}: it has 0 to {dataset.episodes - 1}."
            )
    chosen = tuple(every) if wanted is None else tuple(dict.fromkeys(wanted))
    if held_out is None:
        return chosen, None, why
    if wanted is None:
        return held_out, True, "its training held these episodes out"
    seen = [e for e in chosen if e not in held_out]
    if not seen:
        return chosen, True, "its training held these episodes out"
    return chosen, False, f"it was trained on {len(seen)} of these episodes: {_listed(seen)}"


def _listed(numbers: Sequence[int]) -> str:
    shown = ", ".join(map(str, numbers[:8]))
    return f"{shown}, …" if len(numbers) > 8 else shown


def _in_order(dataset: Dataset, spec: PolicySpec) -> NDArray[np.float32]:
    """The recorded actions, their columns in the policy's order."""
    places, start = {}, 0
    for field in dataset.interface.actions:
        places[field.name] = np.arange(start, start + field.shape[0])
        start += field.shape[0]
    return dataset.action[:, np.concatenate([places[f.name] for f in spec.actions])]
