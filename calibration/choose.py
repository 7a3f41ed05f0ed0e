"""Chooses calibration samples for a policy, from a dataset or from what a robot's loop recorded.

Candidates come from training episodes, and the windows that check them come from held-out ones, by
the split of the dataset with which the policy was trained. A recording is split in the same way.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from ofp_edge.calibration.coverage import coverage, farthest_points
from ofp_edge.calibration.samples import CalibrationSet, read_npz, windows_of
from ofp_edge.calibration.windows import ObservationWindows, choose_windows, joined
from ofp_edge.data.dataset import Dataset
from ofp_edge.data.open import is_dataset, open_dataset
from ofp_edge.data.telling import told_as
from ofp_edge.errors import OfpError, PolicyError
from ofp_edge.fields import Rgb, State, Text
from ofp_edge.files import sha256_file
from ofp_edge.functions import observed
from ofp_edge.image import as_input
from ofp_edge.policy.deployed import Deployed, deploy
from ofp_edge.policy.folder import Policy
from ofp_edge.progress import Progress, silent
from ofp_edge.runtime.log.recording import KIND as RECORDING
from ofp_edge.strict import shown

LIMIT_BYTES = 4_000_000
DEFAULT_SAMPLES = 128
_BATCH = 32  # windows that are encoded at once
_SIDE = 8  # pixels of a small picture
_CANDIDATES = 8  # candidates for each sample, at most
_STRETCHES = 10  # parts that a recording of one episode is cut into


def choose_samples(
    sources: Sequence[Path], policy: Policy, count: int, seed: int, progress: Progress = silent
) -> CalibrationSet:
    """Choose at most `count` samples and half as many held-out windows; fewer where they exceed 4
    MB.

    `sources` are datasets, each with the same number of candidates, or one file of
    `run --record-calibration`. Raises OfpError (an overlap with held-out episodes, too few
    episodes), DatasetError, SpecMismatch.
    """
    if count < 1:
        raise OfpError(f"--samples {count}: expected 1 or more.")
    if seed < 0:
        raise OfpError(f"--seed {seed}: expected 0 or more.")
    deployed = deploy(policy)
    if len(sources) == 1 and not is_dataset(sources[0]):
        candidates, held_out, sha256 = _of_recording(sources[0], deployed, count)
    else:
        candidates, held_out, sha256 = _of_datasets(sources, policy, deployed, count, seed)
    features = window_features(deployed, candidates, progress)
    order = farthest_points(features, count)
    checking = len(held_out)
    while True:
        samples = candidates.take(np.sort(order))
        spaced = np.unique(np.linspace(0, len(held_out) - 1, checking).astype(np.int64))
        found = CalibrationSet(
            samples,
            held_out.take(spaced),
            " + ".join(x.name for x in sources),
            sha256,
            seed,
            coverage(features, order, seed),
        )
        size = len(found.to_bytes())
        if size <= LIMIT_BYTES or (len(order) == 1 and checking == 1):
            break
        shrink = min(0.9, 0.95 * LIMIT_BYTES / size)
        order, checking = order[: max(1, int(len(order) * shrink))], max(1, int(checking * shrink))
    found.check_apart(_names(sources))
    return found


def _names(sources: Sequence[Path]) -> str:
    return ", ".join(map(str, sources))


def check_unseen(found: CalibrationSet, policy: Policy, sources: Sequence[Path]) -> None:
    """Raises OfpError when samples come from an episode that the policy's training held out."""
    training = policy.config.training
    unseen = training.held_out_of(found.source_sha256) or ()
    if shared := sorted(set(found.samples.episode.tolist()) & set(unseen)):
        raise OfpError(
            f"{_names(sources)}: calibration samples from episode {shared[0]}, which is held out "
            "for evaluation. Choose them again: ofp-edge calibrate samples."
        )


def window_features(
    deployed: Deployed, windows: ObservationWindows, progress: Progress = silent
) -> NDArray[np.float32]:
    """Return the features (K, n_obs_steps * feature_dim) that the policy's encoder makes of each
    window; of a policy that reads a prompt, whose encoder takes seconds, what it sees, in brief."""
    found = []
    with torch.no_grad():
        for start in range(0, len(windows), _BATCH):
            progress(start, len(windows), "encoding")
            part = windows.take(np.arange(start, min(len(windows), start + _BATCH)))
            frames = {
                x.name: torch.from_numpy(as_input(part.fields[x.name])).reshape(-1, *x.shape[1:])
                for x in observed(deployed.spec)
            }
            if deployed.prompt is None:
                feature = deployed.encode(*frames.values()).reshape(len(part), -1)
            else:
                feature = _seen(deployed, frames)
            found.append(feature)
    progress(len(windows), len(windows))
    return torch.cat(found).numpy()


def _seen(deployed: Deployed, frames: Mapping[str, Tensor]) -> Tensor:
    """Small pictures, states by their range, and a 1 in the place of the instruction."""
    parts = []
    for field in deployed.spec.observations:
        x = frames[field.name]
        if isinstance(field, Rgb):
            parts.append(F.adaptive_avg_pool2d(x, _SIDE).flatten(1))
        elif isinstance(field, Text):
            parts.append(F.one_hot(x.long().flatten(), len(field.choices)).float())
        elif isinstance(field, State):
            low, high = (torch.tensor(y) for y in (field.low, field.high))
            parts.append((x - low) / (high - low).clamp_min(1e-6))
    return torch.cat(parts, 1)


def _of_datasets(
    sources: Sequence[Path], policy: Policy, deployed: Deployed, count: int, seed: int
) -> tuple[ObservationWindows, ObservationWindows, str]:
    """Windows of all, as many of each. Episodes are numbered through, as in training."""
    spec, first, seen = deployed.spec, 0, dict[str, Path]()
    known: list[ObservationWindows] = []
    unseen: list[ObservationWindows] = []
    most, checking = (-(-x // len(sources)) for x in (_CANDIDATES * count, max(1, count // 2)))
    for source in sources:
        if not is_dataset(source):
            raise OfpError(f"{source}: expected a dataset, as there are several. Give it alone.")
        dataset = told_as(open_dataset(source), spec.observations)
        if dataset.sha256 in seen:
            raise OfpError(f"{source} holds the same as {seen[dataset.sha256]}: give it once.")
        seen[dataset.sha256] = source
        train, held_out = _episodes(dataset, policy)
        known.append(choose_windows(dataset, spec, train, most, seed).numbered_from(first))
        chosen = choose_windows(dataset, spec, held_out, checking, seed + 1)
        unseen.append(chosen.numbered_from(first))
        first += dataset.episodes
    return joined(known), joined(unseen), policy.config.training.sha256_of(list(seen))


def _episodes(dataset: Dataset, policy: Policy) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the training and the held-out episodes, which share none, whatever the policy's own
    record says."""
    training, split = policy.config.training, dataset.split()
    unseen = training.held_out_of(dataset.sha256)
    if unseen is None:
        return split.train, split.held_out
    train = tuple(e for e in split.train if e not in set(unseen))
    held_out = tuple(sorted(set(unseen) - set(train))) or split.held_out
    if not train:
        raise PolicyError(f"{dataset.path}: the policy was trained on none of its episodes.")
    return train, held_out


def _of_recording(
    source: Path, deployed: Deployed, count: int
) -> tuple[ObservationWindows, ObservationWindows, str]:
    values, about = read_npz(source)
    if about.get("kind") != RECORDING:
        raise OfpError(
            f"{source} holds {shown(about.get('kind'))}: expected a dataset or a file that "
            "`ofp-edge run --record-calibration` wrote."
        )
    every = windows_of(values, deployed.spec, source)
    episodes = np.unique(every.episode)
    if len(episodes) < 2:  # in one long run, stretches of time take the place of episodes
        stretches = (np.arange(len(every)) * _STRETCHES // len(every)).astype(np.int64)
        every = ObservationWindows(every.fields, stretches, every.frame)
        episodes = np.unique(stretches)
    if len(episodes) < 2:
        raise OfpError(f"{source}: {len(every)} moments, expected at least 2. Record longer.")
    held = episodes[-max(1, len(episodes) // 10) :]
    apart = np.isin(every.episode, held)
    return (
        every.take(_spaced(np.flatnonzero(~apart), _CANDIDATES * count)),
        every.take(_spaced(np.flatnonzero(apart), max(1, count // 2))),
        sha256_file(source),
    )


def _spaced(rows: NDArray[np.int64], most: int) -> NDArray[np.int64]:
    return rows[np.unique(np.linspace(0, len(rows) - 1, min(most, len(rows))).astype(np.int64))]
