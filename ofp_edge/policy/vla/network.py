"""A vision-language-action network behind the parts of a PolicyNetwork.

Its feature is what `encode` gives and what of the prefix is valid, laid end to end, so every method
trains it and every sampler asks it as any other network. A feature of zeros is a prefix that is
masked as a whole: the null condition.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ofp_edge.errors import PolicyError
from ofp_edge.fields import Rgb, State, Text
from ofp_edge.normalize import FieldStatistics
from ofp_edge.policy.imported.normalize import ModeNormalize
from ofp_edge.policy.methods.method import Sampling
from ofp_edge.policy.parts import Actions, Encoder
from ofp_edge.policy.vla.smolvla import SmolVlaEncode
from ofp_edge.policy.vla.words import Words
from ofp_edge.prompt import Prompt
from ofp_edge.spec import ObservationField, PolicySpec


class VlaEncoder(Encoder):
    """Maps the raw fields of one frame, in spec order, to (B, feature_dim): it makes the prompt,
    looks its words up, and calls `module`, the function that is deployed.

    kv: shape of the cache of one row. cameras: words of all pictures; words: of the prompt.
    stated: whether `module` takes the state, which is then the prefix's last word.
    """

    def __init__(
        self,
        module: nn.Module,
        fields: Sequence[ObservationField],
        kv: tuple[int, ...],
        cameras: int,
        words: int,
        *,
        stated: bool,
    ) -> None:
        super().__init__()
        self.module, self.fields = module, tuple(fields)
        self.kv, self.cameras, self.words, self.stated = kv, cameras, words, stated
        self.length = cameras + words + stated
        self.feature_dim = math.prod(kv) + self.length
        self.prompt: Prompt | None = None
        self.table: Words | None = None

    @property
    def compiled(self) -> nn.Module:
        """The deployed function: prompts are looked up in Python. See Encoder."""
        return self.module

    def inputs(self, *observations: Tensor) -> tuple[Tensor, ...]:
        """Return what the deployed function takes: pictures, state where it does, words (B, N, W)
        and valid (B, P)."""
        of = dict(zip((f.name for f in self.fields), observations, strict=True))
        images = [of[f.name] for f in self.fields if isinstance(f, Rgb)]
        states = [of[f.name] for f in self.fields if isinstance(f, State)]
        made = self.prompted(of)
        device = observations[0].device
        told = (made["words"].to(device), made["valid"].to(device))
        return (*images, *(states if self.stated else ()), *told)

    def prompted(self, of: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return `words` (B, N, W) and `valid` (B, P) of raw fields by name."""
        states = [of[f.name] for f in self.fields if isinstance(f, State)]
        told = next((of[f.name] for f in self.fields if isinstance(f, Text)), None)
        words, valid = self._words(told, states, len(next(iter(of.values()))))
        valid = F.pad(F.pad(valid, (self.cameras, 0), value=1.0), (0, int(self.stated)), value=1.0)
        return {"words": words, "valid": valid}

    def _words(
        self, told: Tensor | None, states: Sequence[Tensor], rows: int
    ) -> tuple[Tensor, Tensor]:
        prompt, table = self.told_by()
        ids, valid = torch.zeros(rows, self.words, dtype=torch.long), torch.zeros(rows, self.words)
        state = torch.cat([x.cpu() for x in states], 1).numpy() if states else None
        for row in range(rows):
            number = 0 if told is None else int(told[row])
            found = prompt.ids(number, None if state is None else state[row])
            ids[row, : len(found)] = torch.from_numpy(found)
            valid[row, : len(found)] = 1
        return table.rows(ids), valid

    def shorten(self, words: int) -> None:
        """Take prompts of so many words at most, from now on. Padding means nothing, so what is
        shorter is answered as before."""
        prompt, _ = self.told_by()
        self.prompt, self.words = replace(prompt, length=words), words
        self.length = self.cameras + words + self.stated
        self.kv = (self.kv[0], self.length, self.kv[2])
        self.feature_dim = math.prod(self.kv) + self.length
        if isinstance(self.module, SmolVlaEncode):
            self.module.hide_state(self.length)

    def told_by(self) -> tuple[Prompt, Words]:
        """Return prompt and table. PolicyError where it has none yet."""
        if self.prompt is None or self.table is None:
            raise PolicyError("this network has no table of words yet.")
        return self.prompt, self.table

    def forward(self, *observations: Tensor) -> Tensor:
        """Encode one frame; see the class."""
        *inputs, valid = self.inputs(*observations)
        kv = self.module(*inputs, valid)
        return torch.cat([kv.flatten(1), valid], 1)


class VlaTrunk(nn.Module):
    """Maps z (B, H * M), features (B, F) of VlaEncoder, time (B, E) to u (B, H * M)."""

    def __init__(self, expert: nn.Module, kv: tuple[int, ...]) -> None:
        super().__init__()
        self.expert, self.kv = expert, kv

    def forward(self, z: Tensor, features: Tensor, time: Tensor) -> Tensor:
        """Unpack the cache and ask the expert."""
        size = math.prod(self.kv)
        kv, valid = features[:, :size].view(len(z), *self.kv), features[:, size:]
        u: Tensor = self.expert(z, kv, valid, time)
        return u


class PaddedActions(Actions):
    """Maps raw flat chunks (B, H * A) to normalised ones (B, H * M), zeros behind each action.

    What is behind is no part of a loss, as in LeRobot's training: the checkpoint never learned it.
    """

    real: Tensor

    def __init__(
        self, mode: str, statistics: FieldStatistics, horizon: int, size: int, width: int
    ) -> None:
        super().__init__()
        self.normalize = ModeNormalize(mode, statistics, 2, horizon)
        self.horizon, self.action_dim, self.width = horizon, size, width
        self.register_buffer("slope", self.normalize.slope, persistent=False)
        real = torch.zeros(horizon, width)
        real[:, :size] = width / size  # a mean over all numbers is then one over the robot's
        self.register_buffer("real", real.view(1, -1), persistent=False)

    @property
    def counted(self) -> Tensor | None:
        """See PolicyNetwork."""
        return self.real if self.width > self.action_dim else None

    def forward(self, raw: Tensor) -> Tensor:
        """Normalise raw actions; see Actions."""
        found = self.normalize(raw).view(len(raw), self.horizon, self.action_dim)
        return F.pad(found, (0, self.width - self.action_dim)).flatten(1)

    def back(self, flat: Tensor) -> Tensor:
        """Return the robot's part of normalised chunks (B, H * M) in raw units, (B, H * A)."""
        actions = flat.view(len(flat), self.horizon, self.width)[:, :, : self.action_dim]
        return self.normalize.back(actions.flatten(1))


class VlaAct(nn.Module):
    """The deployed `act`: one step of the method from a chunk at t to one at r.

    relative: by action dimension, whether the network's action is a difference to the state of the
    observation, which it then takes too; empty: none is.
    """

    relative: Tensor

    def __init__(
        self,
        expert: nn.Module,
        actions: Actions,
        method: Sampling,
        spec: PolicySpec,
        embedding: int,
        relative: tuple[bool, ...] = (),
    ) -> None:
        super().__init__()
        self.expert, self.actions, self.method = expert, actions, method
        self.embedding, self.first = embedding, spec.start_index * spec.action_dim
        self.size, self.horizon = spec.action_dim, spec.horizon
        mask = torch.tensor([relative], dtype=torch.float32)
        self.register_buffer("relative", mask, persistent=False)  # (1, A) or (1, 0)

    def forward(
        self, kv: Tensor, valid: Tensor, z: Tensor, time_row: Tensor, *state: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return chunk (B, plan steps * A), raw from the observation on, and chunk_normalised
        (B, H * M). kv, valid: of `encode`; z (B, H * M); time_row (B, E): embedding, r - t; state:
        its fields (B, D), raw, where actions are relative."""
        u = self.expert(z, kv, valid, time_row[:, : self.embedding])
        chunk = self.method.step(z, u, time_row, self.embedding)
        raw = self.actions.back(chunk)
        if state:
            base = torch.cat(state, 1)[:, : self.size] * self.relative
            raw = raw + base.repeat(1, self.horizon)
        return raw[:, self.first :], chunk
