"""Several datasets as one to train on: their specs agree, and each has a share of the windows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ofp_edge.camera_parameters import CameraParameters, CameraTolerance
from ofp_edge.data.alike import require_alike, require_same_rate
from ofp_edge.data.dataset import Dataset, Split
from ofp_edge.errors import DatasetError, OfpError, SpecMismatch
from ofp_edge.fields import State, Text
from ofp_edge.files import canonical_json, sha256_bytes
from ofp_edge.normalize import FieldStatistics
from ofp_edge.spec import ActionField, Interface
from ofp_edge.strict import shown

_MOST_SHOWN = 6


@dataclass(frozen=True)
class Mixture:
    """parts: the datasets, two or more. shares: of the windows that are drawn from each; they sum
    to 1. Its episodes are those of the first, then of the second, and so on. The rest is as in a
    Dataset."""

    parts: tuple[Dataset, ...]
    shares: tuple[float, ...]
    interface: Interface

    @property
    def path(self) -> Path:
        """The datasets' names, for people."""
        return Path(" + ".join(x.path.name for x in self.parts))

    @property
    def sha256(self) -> str:
        """The hash of the datasets and of their shares."""
        parts = [[x.sha256, share] for x, share in zip(self.parts, self.shares, strict=True)]
        return sha256_bytes(canonical_json(parts))

    @property
    def task(self) -> str | None:
        """The task that all have, None where they differ."""
        tasks = {x.task for x in self.parts}
        return tasks.pop() if len(tasks) == 1 else None

    @property
    def control_hz(self) -> float:
        """The rate that all have."""
        return self.parts[0].control_hz

    @property
    def cameras(self) -> dict[str, CameraParameters]:
        """The first one's cameras, from which the others' hardly differ."""
        return self.parts[0].cameras

    def require_task(self) -> None:
        """As Dataset.require_task, of each dataset."""
        for dataset in self.parts:
            dataset.require_task()

    @property
    def guessed(self) -> tuple[str, ...]:
        """Each dataset's guesses."""
        return tuple(f"{x.path.name}: {line}" for x in self.parts for line in x.guessed)

    @property
    def odd(self) -> tuple[str, ...]:
        """What is odd about each dataset, and that they are of several tasks, where the policy is
        told none."""
        own = tuple(f"{x.path.name}: {line}" for x in self.parts for line in x.odd)
        tasks = dict.fromkeys(x.task for x in self.parts if x.task is not None)
        if len(tasks) < 2 or any(isinstance(x, Text) for x in self.interface.observations):
            return own
        listed = ", ".join(map(shown, list(tasks)[:_MOST_SHOWN]))
        more = ", …" * (len(tasks) > _MOST_SHOWN)
        return (
            *own,
            f"{len(tasks)} tasks ({listed}{more}), and the policy is not told which: --instructed "
            "tells it",
        )

    @property
    def mapped(self) -> list[str]:
        """The fields of any dataset that are mapped from a disk."""
        return list(dict.fromkeys(name for x in self.parts for name in x.mapped))

    def frames(self, episodes: Sequence[int]) -> NDArray[np.int64]:
        """As Dataset.frames, of each dataset by its own numbers."""
        parts = [dataset.frames(own) for dataset, own in self.of_each(episodes) if own]
        return np.concatenate(parts)

    def split(self) -> Split:
        """Split each dataset by its own rule."""
        train: list[int] = []
        held_out: list[int] = []
        first = 0
        for dataset in self.parts:
            split = dataset.split()
            train += [first + x for x in split.train]
            held_out += [first + x for x in split.held_out]
            first += dataset.episodes
        return Split(tuple(train), tuple(held_out))

    def of_each(self, episodes: Sequence[int]) -> Iterator[tuple[Dataset, list[int]]]:
        """Yield each dataset with those of the episodes that are its own, by its own numbers."""
        first = 0
        for dataset in self.parts:
            end = first + dataset.episodes
            yield dataset, [x - first for x in episodes if first <= x < end]
            first = end

    def statistics(self, episodes: Sequence[int]) -> dict[str, FieldStatistics]:
        """As Dataset.statistics: the range of all, mean and deviation by their shares."""
        parts = [dataset.statistics(own) for dataset, own in self.of_each(episodes)]
        return {name: _together([x[name] for x in parts], self.shares) for name in parts[0]}


def mixture_of(datasets: Sequence[Dataset], weights: Sequence[float] | None) -> Dataset | Mixture:
    """Join datasets; a single one stays as it is. weights: how often each is drawn from, relative
    to the others; by default each window is as likely as any other. Raises OfpError, one line,
    naming what differs."""
    if weights is not None and len(weights) != len(datasets):
        raise OfpError(
            f"--weights: expected {len(datasets)} numbers, one a dataset, got {len(weights)}."
        )
    for dataset, weight in zip(datasets, weights or [], strict=False):
        if not (np.isfinite(weight) and weight > 0):
            raise OfpError(
                f"--weights: {dataset.path}: expected more than 0, got {weight:g}. Leave the "
                "dataset out instead."
            )
    if len(datasets) == 1:
        return datasets[0]
    seen: dict[str, Dataset] = {}
    for dataset in datasets:
        if dataset.sha256 in seen:
            raise OfpError(
                f"{dataset.path} holds the same as {seen[dataset.sha256].path}: give it once, with "
                "a larger share in --weights."
            )
        seen[dataset.sha256] = dataset
    for dataset in datasets[1:]:
        _require_same(datasets[0], dataset)
    sizes = [float(len(x.frames(x.split().train))) for x in datasets]
    wanted = list(weights) if weights is not None else sizes
    shares = tuple(x / sum(wanted) for x in wanted)
    return Mixture(tuple(datasets), shares, _interface(datasets))


def _interface(datasets: Sequence[Dataset]) -> Interface:
    """The first one's fields; ranges that were measured span all datasets."""
    observations = tuple(
        _widened(f, [_by_name(x.interface.observations)[f.name] for x in datasets])
        for f in datasets[0].interface.observations
    )
    actions = tuple(
        _widened(f, [_by_name(x.interface.actions)[f.name] for x in datasets])
        for f in datasets[0].interface.actions
    )
    return Interface(observations, actions)


def _by_name(items: Sequence[Any]) -> dict[str, Any]:
    return {x.name: x for x in items}


def _widened(item: Any, all_of_them: Sequence[Any]) -> Any:
    if not isinstance(item, (State, ActionField)):
        return item
    low = tuple(map(min, *(x.low for x in all_of_them)))
    high = tuple(map(max, *(x.high for x in all_of_them)))
    return replace(item, low=low, high=high)


def _require_same(one: Dataset, other: Dataset) -> None:
    """Fields of the same names and kinds; actions, which are columns of one array, in one order."""
    where = f"{other.path} cannot be mixed with {one.path}"
    require_same_rate(one.control_hz, other.control_hz, where)
    wanted, have = one.interface, other.interface
    require_alike(wanted.observations, have.observations, f"{where}: observation", exact=True)
    require_alike(wanted.actions, have.actions, f"{where}: action", exact=True)
    orders = [", ".join(x.name for x in side.actions) for side in (wanted, have)]
    if orders[0] != orders[1]:
        raise SpecMismatch(f"{where}: order of the actions", *orders)
    for name, camera in one.cameras.items():
        if name not in other.cameras:
            raise DatasetError(f"{where}: camera {name!r} is not there.")
        CameraTolerance().require(
            name, camera, other.cameras[name], only_images=wanted.only_images(name)
        )


def _together(parts: Sequence[FieldStatistics], shares: Sequence[float]) -> FieldStatistics:
    low = np.min([x.low for x in parts], 0)
    high = np.max([x.high for x in parts], 0)
    weight = np.asarray(shares)[:, None]
    means, stds = (np.asarray([getattr(x, n) for x in parts]) for n in ("mean", "std"))
    mean = (weight * means).sum(0)
    std = np.sqrt(np.maximum(0, (weight * (stds**2 + means**2)).sum(0) - mean**2))
    return FieldStatistics(
        tuple(low.tolist()),
        tuple(high.tolist()),
        tuple(mean.tolist()),
        tuple(std.tolist()),
        sum(x.count for x in parts),
    )
