"""The policy network u(z, t, r | o) predicts the average velocity of the flow over [t, r].

`z_r = z_t + (r - t) u(z_t, t, r | o)`, time running from noise (0) to data (1); u(z, t, t | o) is
the instantaneous velocity (One-Step Flow Policy, arXiv 2603.12480). Chunks are flat, normalised
(B, horizon * action_dim), time-major.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ofp_edge.policy.codes import Codes
from ofp_edge.policy.parts import Actions, Embedding, Encoder
from ofp_edge.policy.prefix import Prefix
from ofp_edge.spec import PolicySpec


class PolicyNetwork(nn.Module):
    """Joins encoder, time embedding and trunk, and normalises inputs and actions itself.

    Every kind of network is this module, built from its own parts (see `Network.build`). learns:
    whether it learns what stands for a dropped condition, `null`; otherwise that is zeros.
    committed_steps: the longest prefix that it is told (see prefix.py), 0 where its trunk takes
    none. codes: what chooses the way of a jump (see codes.py), None where nothing does.
    """

    null: Tensor

    def __init__(
        self,
        spec: PolicySpec,
        encoder: Encoder,
        time: Embedding,
        trunk: nn.Module,
        actions: Actions,
        *,
        learns: bool = True,
        committed_steps: int = 0,
        codes: Codes | None = None,
    ) -> None:
        super().__init__()
        self.spec = spec
        self.chunk_size = spec.horizon * spec.action_dim
        self.encoder, self.time, self.trunk, self.actions = encoder, time, trunk, actions
        self.committed_steps, self.codes = committed_steps, codes
        if learns:
            # Stands in for the features of a dropped condition ("null" in the paper).
            self.null = nn.Parameter(torch.zeros(spec.n_obs_steps * encoder.feature_dim))
        else:
            self.register_buffer("null", torch.zeros(1), persistent=False)  # for any size

    def encode(self, observations: Sequence[Tensor]) -> Tensor:
        """Map raw fields, in spec order, to (B, To*F): state (B, To, D), points (B, To, 3, N) and
        images (B, To, 3, H, W) in 0..1. TypeError for images as they are stored."""
        if any(x.dtype == torch.uint8 for x in observations):
            raise TypeError("images are encoded as 0..1, not as uint8: see image.as_input")
        batch, steps = observations[0].shape[:2]
        frames = [
            x.flatten(0, 1).unsqueeze(2)
            if len(f.input_shape) > len(f.shape) + 1
            else x.flatten(0, 1)
            for f, x in zip(self.spec.observations, observations, strict=True)
        ]  # (B*To, D), (B*To, 3, 1, N) and (B*To, 3, H, W)
        features: Tensor = self.encoder(*frames)
        return features.view(batch, steps * self.encoder.feature_dim)

    def forward(
        self,
        z: Tensor,
        t: Tensor,
        r: Tensor,
        features: Tensor,
        prefix: Prefix | None = None,
        code: Tensor | None = None,
    ) -> Tensor:
        """Map z (B, H*A), t and r (B,), features (B, To*F) to u (B, H*A), whose part inside the
        prefix means nothing. Without one it is the u of an empty prefix. code: (B, codes), 1 at the
        code that a jump takes; None is all zeros, as the velocity at r = t has none."""
        time = self.time(t, r)
        if self.codes is not None:
            code = z.new_zeros(1, self.codes.count) if code is None else code
            time = time + self.codes.embedding(code)
        z, told = _told(z, prefix)
        u: Tensor = self.trunk(z, features, time, *told)
        return u

    def code_logits(
        self, z: Tensor, t: Tensor, r: Tensor, features: Tensor, prefix: Prefix | None = None
    ) -> Tensor:
        """Return what speaks for each code of a jump, (B, codes), of a network that has them. No
        gradient reaches the embedding of time."""
        if self.codes is None:
            raise TypeError("this network has no codes")
        with torch.no_grad():
            time = self.time(t, r)
        z, told = _told(z, prefix)
        logits: Tensor = self.codes.chooser(z, features, time, *told)
        return logits

    def normalize_actions(self, chunk: Tensor) -> Tensor:
        """Normalise raw actions (B, H, A) and flatten them to (B, H*A)."""
        flat: Tensor = self.actions(chunk.flatten(1))
        return flat

    def denormalize_actions(self, flat: Tensor) -> Tensor:
        """Undo `normalize_actions`: (B, H*A) -> raw (B, H, A), unclamped."""
        raw = self.actions.back(flat)
        return raw.view(-1, self.spec.horizon, self.spec.action_dim)

    @property
    def counted(self) -> Tensor | None:
        """The weight (1, H*A) of each number of a chunk in an error; None: all alike."""
        return self.actions.counted

    @property
    def parameter_count(self) -> int:
        """The number of trained parameters."""
        return sum(parameter.numel() for parameter in self.parameters())


def _told(z: Tensor, prefix: Prefix | None) -> tuple[Tensor, tuple[Tensor, ...]]:
    """z with what is committed in its place, and what a trunk is told of it."""
    return (z, ()) if prefix is None else (prefix.put_into(z), (prefix.told,))
