"""Action Chunking with Transformers (Zhao et al., RSS 2023), as LeRobot has it: deterministic.

`encode` turns the fields of a frame into tokens: one of the state, one of the environment, one of
each place of each camera's feature map. `act` is encoder and decoder of a transformer. The latent
of the variational objective is 0 when a chunk is made, so its token is one vector.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from ofp_edge.errors import PolicyError
from ofp_edge.fields import Rgb
from ofp_edge.normalize import FieldStatistics, joined
from ofp_edge.policy.imported.attention import ACTIVATIONS, Layer, LayerNorm
from ofp_edge.policy.imported.images import RESNETS, dilates, resnet
from ofp_edge.policy.imported.normalize import NORMALIZATIONS, ModeNormalize, require_modes
from ofp_edge.policy.kind import Network
from ofp_edge.policy.network import PolicyNetwork
from ofp_edge.policy.parts import Encoder, Untimed
from ofp_edge.policy.sizes import read_sizes, require_one_of
from ofp_edge.spec import PolicySpec
from ofp_edge.strict import shown

_HALVINGS = 5  # of a ResNet, from an image to its last feature map
_LONGEST = 10000.0  # the ratio of the longest wave of the positions to the shortest
_END = 2 * math.pi  # of an axis
_EPSILON = 1e-6


@dataclass(frozen=True)
class ActConfig(Network):
    """Describes the network. state, environment: lengths of the two vectors, 0 where there is none.

    width: of a token, a multiple of heads. backbone: a ResNet that all cameras share, None without
    cameras; dilated: its last layer keeps the resolution. pre_norm: layers normalise before each
    part and not after it. normalization: by field, one of NORMALIZATIONS.
    """

    kind: ClassVar[str | None] = "act"
    width: int
    heads: int
    feedforward: int
    activation: str
    encoder_layers: int
    decoder_layers: int
    pre_norm: bool
    state: int
    environment: int
    backbone: str | None
    dilated: bool
    normalization: dict[str, str]

    @property
    def draws(self) -> bool:
        """The same as for Network: it is deterministic."""
        return False

    @property
    def refusals(self) -> Mapping[str, str]:
        """The same as for Network."""
        return {
            "train": "was imported from LeRobot, which trains it: import it again afterwards.",
            "distill": "answers in one evaluation already: there is nothing to distil.",
        }

    @classmethod
    def from_json(cls, value: Any) -> ActConfig:
        """Read the entry; see Network."""
        what = "config.network"
        made = read_sizes(cls, value, what, from_0=("state", "environment"))
        require_one_of(f"{what}.activation", made.activation, tuple(ACTIVATIONS))
        if made.backbone is not None:
            require_one_of(f"{what}.backbone", made.backbone, RESNETS)
            if made.dilated and not dilates(made.backbone):
                raise PolicyError(f"{what}.dilated: {made.backbone} can't be.")
        if made.width % made.heads or made.width % 4:
            raise PolicyError(
                f"{what}.width: expected a multiple of 4 and of {made.heads} heads, got "
                f"{made.width}."
            )
        for name, mode in made.normalization.items():
            require_one_of(f"{what}.normalization.{shown(name)[1:-1]}", mode, NORMALIZATIONS)
        return made

    def build(self, spec: PolicySpec, statistics: Mapping[str, FieldStatistics]) -> PolicyNetwork:
        """Build it; see Network."""
        mode = require_modes(self.normalization, spec)
        if spec.n_obs_steps != 1:
            raise PolicyError(f"n_obs_steps: expected 1, got {spec.n_obs_steps}.")
        encoder = Tokens(self, spec, statistics)
        trunk = ChunkTransformer(self, spec, encoder.maps)
        ranges = joined([statistics[f.name] for f in spec.actions])
        actions = ModeNormalize(mode, ranges, 2, spec.horizon)
        return PolicyNetwork(spec, encoder, Untimed(), trunk, actions, learns=False)


class Tokens(Encoder):
    """Maps fields in spec order, vectors before images, to their tokens, laid end to end.

    maps: rows and columns of each camera's feature map.
    """

    def __init__(
        self, config: ActConfig, spec: PolicySpec, statistics: Mapping[str, FieldStatistics]
    ) -> None:
        super().__init__()
        fields, width = spec.observations, config.width
        self.normalize = nn.ModuleList(
            ModeNormalize(config.normalization[f.name], statistics[f.name], len(f.input_shape))
            for f in fields
        )
        self.parts = tuple(f.part for f in fields)
        images = [f for f in fields if f.part == Rgb.part]
        sizes = config.state, config.environment
        numbers = sum(f.shape[0] for f in fields if f.part == "")
        if numbers != sum(sizes) or bool(images) != (config.backbone is not None):
            raise PolicyError(
                f"config.network: expected {sum(sizes)} numbers and "
                f"{'images' if config.backbone else 'no images'}, got {numbers} and "
                f"{len(images)} images in the spec."
            )
        self.sizes = [size for size in sizes if size]
        self.vectors = nn.ModuleList(nn.Linear(size, width) for size in self.sizes)
        halvings = _HALVINGS - config.dilated
        self.maps = [tuple(-(-n // 2**halvings) for n in f.shape[1:]) for f in images]
        if config.backbone is not None:
            self.backbone, channels = resnet(config.backbone, False, config.dilated)
            self.project = nn.Conv2d(channels, width, 1)
        places = sum(rows * columns for rows, columns in self.maps)
        self.feature_dim = width * (len(self.sizes) + places)

    def forward(self, *observations: Tensor) -> Tensor:
        """Map vectors (B, D), images (B, 3, H, W) in 0..1 to (B, F)."""
        numbers: list[Tensor] = []
        images: list[Tensor] = []
        for part, normalize, x in zip(self.parts, self.normalize, observations, strict=True):
            (images if part == Rgb.part else numbers).append(normalize(x))
        tokens, start = [], 0
        vector = torch.cat(numbers, 1) if len(numbers) > 1 else None if not numbers else numbers[0]
        for size, project in zip(self.sizes, self.vectors, strict=True):
            if vector is not None:
                tokens.append(project(vector[:, start : start + size]))
            start += size
        for image in images:
            seen = self.project(self.backbone(image))
            tokens.append(seen.flatten(2).transpose(1, 2).flatten(1))
        return torch.cat(tokens, 1)


class ChunkTransformer(nn.Module):
    """Maps the tokens of a frame (B, F) to a normalised chunk (B, H*A)."""

    pictures: Tensor
    start: Tensor

    def __init__(self, config: ActConfig, spec: PolicySpec, maps: list[tuple[int, ...]]) -> None:
        super().__init__()
        width = self.width = config.width

        def layers(count: int, crosses: bool) -> nn.ModuleList:
            sizes = width, config.heads, config.feedforward, config.activation, config.pre_norm
            return nn.ModuleList(Layer(*sizes, crosses) for _ in range(count))

        self.encoder = layers(config.encoder_layers, False)
        self.encoder_norm = LayerNorm(width) if config.pre_norm else None
        self.decoder = layers(config.decoder_layers, True)
        self.decoder_norm = LayerNorm(width)
        vectors = bool(config.state) + bool(config.environment)
        self.latent = nn.Parameter(torch.zeros(width))
        self.places = nn.Parameter(torch.zeros(1 + vectors, width))
        self.queries = nn.Parameter(torch.zeros(spec.horizon, width))
        self.head = nn.Linear(width, spec.action_dim)
        pictures = [positions(rows, columns, width) for rows, columns in maps]
        self.register_buffer(
            "pictures", torch.cat([torch.zeros(0, width), *pictures]), persistent=False
        )
        self.register_buffer("start", torch.zeros(1, spec.horizon, width), persistent=False)

    def forward(self, features: Tensor) -> Tensor:
        """Make the chunk; see the class."""
        batch = len(features)
        latent, start = self.latent.view(1, 1, -1), self.start
        if batch > 1:
            latent, start = latent.expand(batch, -1, -1), start.expand(batch, -1, -1)
        seen = torch.cat([latent, features.view(batch, -1, self.width)], 1)
        at = torch.cat([self.places, self.pictures]) if len(self.pictures) else self.places
        at, queries = at[None], self.queries[None]
        for layer in self.encoder:
            seen = layer(seen, at)
        if self.encoder_norm is not None:
            seen = self.encoder_norm(seen)
        out = start
        for layer in self.decoder:
            out = layer(out, queries, seen, at)
        chunk: Tensor = self.head(self.decoder_norm(out))
        return chunk.flatten(1)


def positions(rows: int, columns: int, width: int) -> Tensor:
    """Return the sines and cosines of each place of a map, row by row, (rows * columns, width): the
    first half of the width tells the row, the other the column."""
    each = width // 2
    rate = _LONGEST ** (2 * (torch.arange(each, dtype=torch.float32) // 2) / each)

    def waves(count: int) -> Tensor:
        place = torch.arange(1, count + 1, dtype=torch.float32)
        angle = (place / (count + _EPSILON) * _END)[:, None] / rate
        return torch.stack([angle[:, 0::2].sin(), angle[:, 1::2].cos()], 2).flatten(1)

    down, across = waves(rows), waves(columns)
    return torch.cat([down.repeat_interleave(columns, 0), across.repeat(rows, 1)], 1)
