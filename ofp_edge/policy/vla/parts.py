"""What both families' deployed functions share: pictures as words, layers of the cache."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ofp_edge.fields import Rgb
from ofp_edge.normalize import FieldStatistics
from ofp_edge.policy.imported.normalize import ModeNormalize
from ofp_edge.policy.vla.sizes import DecoderSizes, VisionSizes
from ofp_edge.policy.vla.vision import Fit, Vision


class Pictures(nn.Module):
    """Maps the pictures of all cameras, (B, 3, H, W) each, 0..1, to words (B, cameras * n, W)."""

    def __init__(
        self,
        sizes: VisionSizes,
        width: int,
        fields: Sequence[Rgb],
        modes: dict[str, str],
        statistics: dict[str, FieldStatistics],
        *,
        centred: bool,
    ) -> None:
        super().__init__()
        self.normalize = nn.ModuleList(
            nn.Identity()
            if modes[f.name] == "identity"
            else ModeNormalize(modes[f.name], statistics[f.name], 4)
            for f in fields
        )
        self.fit = nn.ModuleList(
            Fit(f.shape[1], f.shape[2], sizes.image, centred=centred) for f in fields
        )
        self.vision = Vision(sizes, width)

    def forward(self, images: Sequence[Tensor]) -> Tensor:
        """Encode them, all in one batch."""
        batch = len(images[0])
        steps = zip(images, self.normalize, self.fit, strict=True)
        words = self.vision(torch.cat([fit(normalize(x)) for x, normalize, fit in steps]))
        return torch.cat([words[i : i + batch] for i in range(0, len(words), batch)], 1)


def layer_of(kv: Tensor, layer: int, sizes: DecoderSizes) -> tuple[Tensor, Tensor]:
    """Return key and value, (B, G, P, D), of a layer of the cache (B, layers * 2 * G, P, D)."""
    groups = sizes.kv_heads
    first = 2 * layer * groups
    return kv[:, first : first + groups], kv[:, first + groups : first + 2 * groups]


def actions_in(z: Tensor, horizon: int) -> Tensor:
    """Split flat chunks (B, H * M) into actions (B, H, M)."""
    return z.view(len(z), horizon, -1)
