"""Calibration samples for quantisation: observation windows from training episodes only.

The split is the dataset's own (`Dataset.split`), so that no episode serves both calibration and
the evaluation of what was calibrated.
"""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ofp_edge.data.dataset import Dataset
from ofp_edge.errors import DatasetError, PolicyError, SpecMismatch
from ofp_edge.files import write_bytes
from ofp_edge.spec import PolicySpec

FILE = "calibration.npz"


@dataclass(frozen=True)
class ObservationWindows:
    """K moments of a dataset, each with the frames a policy sees then.

    fields: per observation field (K, n_obs_steps, *field.shape) of its dtype, oldest frame first.
    episode, frame: (K,) int64, where each comes from; `frame` counts within its episode.
    """

    fields: dict[str, NDArray[Any]]
    episode: NDArray[np.int64]
    frame: NDArray[np.int64]

    def __len__(self) -> int:
        """K."""
        return len(self.episode)


def choose_windows(
    dataset: Dataset, spec: PolicySpec, episodes: Sequence[int], count: int, seed: int
) -> ObservationWindows:
    """Up to `count` windows of the given episodes, spread evenly over their frames.

    The episodes' frames are laid end to end and cut into `count` equal stretches, one window drawn
    from each: every episode and every phase is there. Raises SpecMismatch when the dataset's
    observations are not the policy's, DatasetError when there is no frame.
    """
    if dataset.observations != spec.observations:
        names = [f.name for f in spec.observations]
        have = [f.name for f in dataset.observations]
        raise SpecMismatch(
            f"{dataset.path}: observation fields", names, have if names != have else "other ranges",
            "Take the dataset the policy was trained on, or one collected like it.",
        )  # fmt: skip
    if not episodes:
        raise DatasetError(f"{dataset.path}: no training episode to take calibration samples from.")
    frames = dataset.frames(episodes)
    rng = np.random.default_rng(seed)
    count = min(count, len(frames))
    edges = np.linspace(0, len(frames), count + 1)
    picks = frames[(edges[:-1] + rng.random(count) * np.diff(edges)).astype(np.int64)]
    episode = np.searchsorted(dataset.episode_ends, picks, side="right")
    starts = np.concatenate([[0], dataset.episode_ends[:-1]])[episode]
    past = picks[:, None] + np.arange(1 - spec.n_obs_steps, 1)
    past = np.maximum(past, starts[:, None])
    fields = {f.name: dataset.fields[f.name][past] for f in spec.observations}
    return ObservationWindows(fields, episode.astype(np.int64), (picks - starts).astype(np.int64))


def save_windows(windows: ObservationWindows, folder: Path) -> None:
    """Write calibration.npz: `observation/<field>`, `episode`, `frame`. Equal bytes every time."""
    arrays = {f"observation/{name}": values for name, values in windows.fields.items()}
    buffer = io.BytesIO()
    np.savez_compressed(
        buffer, allow_pickle=False, episode=windows.episode, frame=windows.frame, **arrays
    )
    write_bytes(folder / FILE, buffer.getvalue())


def load_windows(folder: Path, spec: PolicySpec) -> ObservationWindows:
    """Read calibration.npz; PolicyError when it is damaged or does not fit the spec."""
    try:
        with np.load(folder / FILE, allow_pickle=False) as arrays:
            values = {name: arrays[name] for name in arrays.files}
        episode, frame = values["episode"], values["frame"]
        fields = {f.name: values[f"observation/{f.name}"] for f in spec.observations}
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error) as cause:
        raise PolicyError(f"{folder / FILE} is missing or damaged: {cause}") from None
    for field in spec.observations:
        want = (len(episode), spec.n_obs_steps, *field.shape)
        found = fields[field.name]
        if found.shape != want or found.dtype != field.dtype:
            raise PolicyError(
                f"{folder / FILE}, {field.name!r}: expected shape {want} {field.dtype}, got "
                f"{found.shape} {found.dtype}."
            )
    return ObservationWindows(fields, episode, frame)
