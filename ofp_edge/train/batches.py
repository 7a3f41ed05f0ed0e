"""Batches reads windows of a dataset, in memory or mapped from a disk, and augments them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ofp_edge.data.cache.drawn import call_for, expect_draws
from ofp_edge.data.dataset import Dataset
from ofp_edge.data.windows import windows
from ofp_edge.fields import Points, Rgb
from ofp_edge.image import UNIT
from ofp_edge.policy.config import TrainingConfig
from ofp_edge.policy.draws import draw, indices, place_of
from ofp_edge.spec import PolicySpec
from ofp_edge.train.augment import jitter_colors, shift_images
from ofp_edge.train.scene_shift import scene_shift

Raw = tuple[list[Tensor], Tensor]
"""Windows as they are stored: fields (B, To, *shape), uint8 for images, and actions (B, H, A)."""


class Batches:
    """The windows of some episodes; observations come in spec order, raw units."""

    def __init__(self, dataset: Dataset, episodes: Sequence[int], spec: PolicySpec) -> None:
        self.spec = spec
        found = windows(dataset, episodes, spec.n_obs_steps, spec.horizon, spec.start_index)
        self.past = torch.from_numpy(found.past)  # (n, To)
        self.chunks = torch.from_numpy(found.chunks)  # (n, H, A)
        # Any, for a mapped file is to stay one.
        self.fields = [np.asanyarray(dataset.fields[f.name], order="C") for f in spec.observations]
        for field in self.fields:
            expect_draws(field)
        shift = scene_shift(spec, dataset.fields)
        self._positions = None if shift is None else shift.columns

    def __len__(self) -> int:
        return len(self.past)

    def drawn(self, count: int, generator: torch.Generator) -> Tensor:
        """Draw the numbers of `count` windows, this process's alone."""
        return indices(len(self), count, generator)

    def read(self, rows: Tensor) -> Raw:
        """Return windows by number (B,), as they are stored, on the CPU."""
        past = self.past[rows].numpy()  # (B, To)
        return [_taken(field, past) for field in self.fields], self.chunks[rows]

    def actions(self, rows: Tensor) -> Tensor:
        """Return the actions (B, H, A) of windows by number (B,)."""
        return self.chunks[rows]

    def take(self, rows: Tensor) -> tuple[list[Tensor], Tensor]:
        """Return windows by number (B,): fields as `PolicyNetwork.encode` takes them, and actions
        (B, H, A)."""
        observations, actions = self.read(rows)
        return [_as_input(x) for x in observations], actions

    def augmented(
        self, raw: Raw, settings: TrainingConfig, generator: torch.Generator
    ) -> tuple[list[Tensor], Tensor]:
        """Return what `read` gave in the form of `take`, augmented, on the generator's device: see
        `_augment`, and then each camera's images have another light."""
        observations, actions = raw
        place = place_of(generator)
        observations = [x.to(place, non_blocking=True) for x in observations]
        self._augment(observations, settings, generator)
        observations = [_as_input(x) for x in observations]
        for i, field in enumerate(self.spec.observations):
            if isinstance(field, Rgb):
                x = observations[i]
                observations[i] = jitter_colors(x, settings.color_jitter, generator)
        return observations, actions.to(place, non_blocking=True)

    def _augment(
        self, observations: list[Tensor], settings: TrainingConfig, generator: torch.Generator
    ) -> None:
        """Thin the clouds, jitter every point, and move cloud and hand sideways together where
        `scene_shift` allows it. Images are shifted, each camera's by itself."""
        if self._positions is None:
            move = None
        else:
            drawn = draw(torch.rand, (len(observations[0]), 1, 3), generator)
            move = settings.shift_m * (2 * drawn - 1)  # (B, 1, 3), the same for all To frames
            move[..., 2] = 0  # the table stays at its height
        for i, field in enumerate(self.spec.observations):
            x = observations[i]
            if isinstance(field, Points):
                count = x.shape[3]
                if 0 < settings.train_points < count:
                    kept = torch.randperm(count, generator=generator)[: settings.train_points]
                    x = observations[i] = x[..., kept]
                x += settings.jitter_m * draw(torch.randn, x.shape, generator)
                if move is not None:
                    x += move[..., None]
            elif isinstance(field, Rgb):
                observations[i] = shift_images(x, settings.shift_px, generator)
            elif move is not None and self._positions is not None:
                for start in self._positions[i]:
                    x[..., start : start + 3] += move


def _taken(field: NDArray[Any], past: NDArray[np.int64]) -> Tensor:
    """Frames (B, To, *shape). numpy copies them without Python's lock, and so do mapped files."""
    made = torch.empty(
        (*past.shape, *field.shape[1:]),
        dtype=torch.from_numpy(np.empty(0, field.dtype)).dtype,
        pin_memory=torch.cuda.is_available(),
    )
    call_for(field, past)
    # Any mode but "raise" copies straight to `out`; the numbers are valid.
    np.take(field, past.ravel(), 0, made.numpy().reshape(-1, *field.shape[1:]), "clip")
    return made


def _as_input(x: Tensor) -> Tensor:
    """ofp_edge.image.as_input, in torch: the same bits."""
    return x.float() * float(UNIT) if x.dtype == torch.uint8 else x
