"""Pictures as words: fitted into a square, through a SigLIP tower, shuffled and projected."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ofp_edge.policy.vla.attention import attend, heads_of
from ofp_edge.policy.vla.sizes import VisionSizes


class Fit(nn.Module):
    """Shrinks or grows pictures (B, 3, H, W), 0..1, into a black square and maps them to -1..1.

    Bilinear, without antialiasing, the aspect ratio kept. centred: the picture is in the middle;
    otherwise at the right and the bottom. It is one matrix along each axis, the black border
    included. A picture of the right size is not resized.
    """

    rows: Tensor
    columns: Tensor

    def __init__(self, height: int, width: int, size: int, *, centred: bool) -> None:
        super().__init__()
        self.fits = (height, width) == (size, size)
        ratio = max(width / size, height / size)
        rows = _resizing(height, int(height / ratio), size, centred)
        columns = _resizing(width, int(width / ratio), size, centred).T.contiguous()
        self.register_buffer("rows", rows, persistent=False)  # (S, H)
        self.register_buffer("columns", columns, persistent=False)  # (W, S)

    def forward(self, image: Tensor) -> Tensor:
        """Return (B, 3, S, S)."""
        if not self.fits:
            image = torch.matmul(torch.matmul(self.rows, image), self.columns)
        return image * 2.0 - 1.0


def _resizing(old: int, new: int, size: int, centred: bool) -> Tensor:
    """(size, old): bilinear resizing of one axis to `new`, among rows of zeros."""
    identity = torch.eye(old)[None, None]  # resized along its first axis only
    found = F.interpolate(identity, (new, old), mode="bilinear", align_corners=False)[0, 0]
    before = (size - new) // 2 if centred else size - new
    return F.pad(found, (0, 0, before, size - new - before)).contiguous()


class Block(nn.Module):
    """A layer of the tower: attention among all patches, then an MLP, each after a norm."""

    def __init__(self, sizes: VisionSizes) -> None:
        super().__init__()
        width = sizes.width
        self.heads = sizes.heads
        self.norm1, self.norm2 = (nn.LayerNorm(width, sizes.epsilon) for _ in range(2))
        self.q, self.k, self.v, self.out = (nn.Linear(width, width) for _ in range(4))
        self.fc1, self.fc2 = nn.Linear(width, sizes.hidden), nn.Linear(sizes.hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, patches, width) to the same shape."""
        seen = self.norm1(x)
        q, k, v = (heads_of(part(seen), self.heads) for part in (self.q, self.k, self.v))
        x = x + self.out(attend(q, k, v, None))
        hidden = F.gelu(self.fc1(self.norm2(x)), approximate="tanh")
        found: Tensor = x + self.fc2(hidden)
        return found


class Vision(nn.Module):
    """Maps pictures (B, 3, S, S), -1..1, to words (B, words, W).

    SigLIP (Zhai et al., ICCV 2023) without its head; then squares of patches are laid end to end
    (Idefics3's pixel shuffle) and projected.
    """

    places: Tensor

    def __init__(self, sizes: VisionSizes, width: int) -> None:
        super().__init__()
        self.shuffle, self.side = sizes.shuffle, sizes.image // sizes.patch
        self.patch = nn.Conv2d(3, sizes.width, sizes.patch, sizes.patch)
        self.position = nn.Parameter(torch.zeros(sizes.side**2, sizes.width))
        places = _places(self.side, sizes.side)
        self.register_buffer("places", places, persistent=False)
        self.blocks = nn.ModuleList(Block(sizes) for _ in range(sizes.layers))
        self.norm = nn.LayerNorm(sizes.width, sizes.epsilon)
        self.project = nn.Linear(sizes.width * sizes.shuffle**2, width, bias=sizes.bias)

    def forward(self, images: Tensor) -> Tensor:
        """Encode pictures; see the class."""
        x = self.patch(images).flatten(2).transpose(1, 2) + self.position[self.places]
        for block in self.blocks:
            x = block(x)
        x = self.norm(x)
        if self.shuffle > 1:
            batch, _, width = x.shape
            edge = self.side // self.shuffle
            x = x.view(batch, edge, self.shuffle, edge, self.shuffle, width)
            x = x.permute(0, 1, 3, 2, 4, 5).reshape(batch, edge * edge, -1)
        words: Tensor = self.project(x)
        return words


def _places(count: int, side: int) -> Tensor:
    """The entries of a table of side x side positions for a picture of count x count patches, by
    the float32 arithmetic that the towers were trained with."""
    ends = torch.arange(1 / side, 1.0, 1 / side)
    share = (torch.arange(count, dtype=torch.float32) * (1.0 / torch.tensor(count))).clamp(
        max=1.0 - 1e-6
    )
    line = torch.bucketize(share, ends, right=True)
    return (line[:, None] * side + line).flatten()
