"""Observation encoders: they turn the raw fields of one frame into one feature vector.

Every operation delegates to XNNPACK and has a TensorRT kernel: convolutions on 4-D input,
`max_pool2d`, softmax, linear layers and concatenation. No operation mixes frames, so the features
of an old frame can be kept.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ofp_edge.errors import PolicyError
from ofp_edge.fields import Points, Rgb, State, Text
from ofp_edge.fields.measured import Measured
from ofp_edge.normalize import Affine, FieldStatistics
from ofp_edge.policy.parts import Encoder
from ofp_edge.policy.resnet import MEAN, STD, RgbEncoder
from ofp_edge.policy.sizes import NetworkSizes
from ofp_edge.spec import ObservationField

_CACHE_CLOUDS = 16  # clouds whose activations stay in a core's cache


class Normalize(nn.Module):
    """Maps x (B, D, ...) in physical units to about [-1, 1], by constants that are not trained.

    bound: where the result is cut off on both sides; 0 cuts nothing off.
    """

    scale: Tensor
    offset: Tensor

    def __init__(self, statistics: FieldStatistics, axes: int, bound: float = 0.0) -> None:
        super().__init__()
        self.bound = bound
        affine = Affine.of(statistics)
        shape = (1, -1) + (1,) * (axes - 2)
        # One multiplication and one addition: the scale that INT8 sees is that of the result.
        self.register_buffer(
            "scale", torch.from_numpy(1 / affine.scale).view(shape), persistent=False
        )
        offset = torch.from_numpy(-affine.offset / affine.scale).view(shape)
        self.register_buffer("offset", offset, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return x normalised, in the same shape."""
        x = x * self.scale + self.offset
        return x.clamp(-self.bound, self.bound) if self.bound else x


class PointEncoder(nn.Module):
    """Maps points (B, 3, 1, N) to (B, point_features): shared layers, maximum over points, linear.

    PointNet (Qi et al., CVPR 2017) without its transforms.
    """

    def __init__(self, config: NetworkSizes) -> None:
        super().__init__()
        sizes = (3, *config.point_channels)
        pairs = zip(sizes, sizes[1:], strict=False)
        self.layers = [nn.Conv2d(a, b, 1) for a, b in pairs]
        self.convs = nn.ModuleList(self.layers)  # registers what `layers` lists with its type
        self.out = nn.Linear(sizes[-1], config.point_features)

    def forward(self, x: Tensor) -> Tensor:
        """Encode the points; in training the same value and gradient are computed a faster way."""
        if self.training and torch.is_grad_enabled():
            return self._winners_only(x)
        for conv in self.layers:
            x = F.relu(conv(x))
        pooled: Tensor = self.out(F.max_pool2d(x, (1, x.shape[3])).flatten(1))
        return pooled

    def _winners_only(self, x: Tensor) -> Tensor:
        """Only the points that win a channel of the maximum carry gradient, a few of each cloud:
        find them without gradient, then run just those again with it."""
        batch, _, _, count = x.shape
        columns = x[:, :, 0].transpose(0, 1).reshape(3, batch * count)  # all points, planar
        *hidden, last = ((conv.weight.flatten(1), cast(Tensor, conv.bias)) for conv in self.layers)
        with torch.no_grad():
            found = []
            for h in torch.split(columns, _CACHE_CLOUDS * count, dim=1):
                for w, b in hidden:
                    h = torch.addmm(b[:, None], w, h).relu_()
                found.append((last[0] @ h).view(len(last[0]), -1, count).argmax(2))
            first = count * torch.arange(batch, device=x.device)[:, None]
            winners = torch.cat(found, 1).T + first  # (B, C)
            kept, place = torch.unique(winners, return_inverse=True)  # (M,), (B, C)
        h = columns[:, kept].T  # (M, 3)
        for w, b in hidden:
            h = F.relu(F.linear(h, w, b))
        pooled = F.linear(h, last[0]).gather(
            0, place
        )  # (B, C): channel c of the point that wins it
        result: Tensor = self.out(F.relu(pooled + last[1]))
        return result


class TaskRows(nn.Module):
    """Maps the numbers (B,) of instructions to their rows (B, W). A deployed function is given the
    row itself, so that its graph looks nothing up: floats (B, W) are passed on."""

    def __init__(self, count: int, width: int) -> None:
        super().__init__()
        self.table = nn.Embedding(count, width)

    def forward(self, x: Tensor) -> Tensor:
        """Return the rows."""
        if x.is_floating_point():
            return x
        rows: Tensor = self.table(x.flatten())
        return rows


class ObservationEncoder(Encoder):
    """Maps the fields of one frame, in spec order, to one feature (B, F): it encodes points, images
    and an instruction, and passes state on."""

    def __init__(
        self,
        config: NetworkSizes,
        observations: Sequence[ObservationField],
        statistics: Mapping[str, FieldStatistics],
    ) -> None:
        super().__init__()
        self.fields = tuple(observations)
        require_parts(self.fields, told=config.task_features > 0)
        self.normalize = nn.ModuleList(
            nn.Identity()
            if f.told
            else Normalize(
                _seen(f, statistics),
                len(f.input_shape),
                config.state_bound if isinstance(f, State) else 0.0,
            )
            for f in self.fields
        )
        self.encoders = nn.ModuleList()
        self._uses: list[int] = []  # which encoder a field goes through: shared ones stand once
        for field in self.fields:
            self._uses.append(self._twin(config, field))
            new = self._uses[-1] == len(self.encoders)
            self.encoders.append(_encoder(config, field) if new else nn.Identity())
        lengths = {
            Points.part: config.point_features,
            Rgb.part: config.rgb.features if config.rgb else 0,
            Text.part: config.task_features,
        }
        self.feature_dim = sum(lengths.get(f.part, math.prod(f.shape)) for f in self.fields)

    def forward(self, *observations: Tensor) -> Tensor:
        """Map state (B, D) in its own units, points (B, 3, 1, N) in metres, images (B, 3, H, W) in
        0..1 and an instruction's number (B,), or its row, to (B, F)."""
        by_name = {f.name: x for f, x in zip(self.fields, observations, strict=True)}
        parts = []
        for field, normalize, uses in zip(self.fields, self.normalize, self._uses, strict=True):
            x = by_name[field.name]
            if isinstance(field, Measured) and field.origin is not None:
                x = x - by_name[field.origin][:, :3].view(-1, 3, 1, 1)
            parts.append(self.encoders[uses](normalize(x)))
        return torch.cat(parts, 1) if len(parts) > 1 else parts[0]

    @property
    def task_rows(self) -> TaskRows | None:
        """What maps the instruction, None where there is none."""
        return next((x for x in self.encoders if isinstance(x, TaskRows)), None)

    def _twin(self, config: NetworkSizes, field: ObservationField) -> int:
        """The number of the earlier field whose encoder this one shares, else its own."""
        shares = field.part == Rgb.part and config.rgb is not None and config.rgb.shared
        for i, other in enumerate(self.fields[: len(self.encoders)]):
            if shares and other.part == Rgb.part and other.shape == field.shape:
                return i
        return len(self.encoders)


def require_parts(fields: Sequence[ObservationField], *, told: bool = False) -> None:
    """Raise PolicyError when no network here has a part for one of these fields. told: whether it
    has one for an instruction."""
    if len(texts := [f.name for f in fields if f.told]) > 1:
        raise PolicyError(f"expected one instruction, got the text fields {', '.join(texts)}.")
    known = ("", Points.part, Rgb.part, *((Text.part,) if told else ()))
    if others := [f for f in fields if f.part not in known]:
        raise PolicyError(
            f"observation {others[0].name!r} is of kind {others[0].kind}, and this network has no "
            "part that takes it. Leave the field out."
        )


def _encoder(config: NetworkSizes, field: ObservationField) -> nn.Module:
    if field.part == "":  # no operation in the graph where there is nothing to do
        return nn.Identity() if len(field.shape) == 1 else nn.Flatten(1)
    if field.part == Points.part:
        return PointEncoder(config)
    if isinstance(field, Text):
        return TaskRows(len(field.choices), config.task_features)
    if config.rgb is None:
        raise PolicyError(
            f"observation {field.name!r} is an image and this network takes none. Train with a "
            "preset for images: --preset rgb or resnet18."
        )
    return RgbEncoder(config.rgb, *field.shape[1:])


def _seen(field: ObservationField, statistics: Mapping[str, FieldStatistics]) -> FieldStatistics:
    """The range that reaches the encoder: a box seen from a moving origin has no offset; images
    have ImageNet's mean at 0 and its spread at 1."""
    if field.part == Rgb.part:
        low = tuple(m - s for m, s in zip(MEAN, STD, strict=True))
        high = tuple(m + s for m, s in zip(MEAN, STD, strict=True))
        return FieldStatistics.of_range(low, high)
    if not isinstance(field, Measured) or field.origin is None:
        return statistics[field.name]
    half = [(b - a) / 2 for a, b in zip(field.low, field.high, strict=True)]
    return FieldStatistics.of_range(tuple(-x for x in half), tuple(half))
