"""Sizes of a network, as data: its trunk, its encoders; strict JSON both ways."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, ClassVar, TypeVar

from ofp_edge.errors import PolicyError
from ofp_edge.strict import read_as, shown

T = TypeVar("T")
_LARGEST_SIZE, _MOST_LAYERS = 1 << 16, 64


@dataclass(frozen=True)
class MlpConfig:
    """Residual blocks of `width` over the flat chunk."""

    kind: ClassVar[str] = "mlp"
    width: int
    blocks: int


@dataclass(frozen=True)
class UnetConfig:
    """channels: of each level, the first at the chunk's full length, each next at half of it.

    blocks: residual blocks a level, on the way down and up. kernel: steps that a convolution sees.
    """

    kind: ClassVar[str] = "unet"
    channels: tuple[int, ...]
    blocks: int
    kernel: int


@dataclass(frozen=True)
class TransformerConfig:
    """width: of a token, a multiple of heads. expand: the feed-forward's width over the token's."""

    kind: ClassVar[str] = "transformer"
    width: int
    blocks: int
    heads: int
    expand: int


TrunkConfig = MlpConfig | UnetConfig | TransformerConfig
TRUNKS: dict[str, type[TrunkConfig]] = {
    kind.kind: kind for kind in (MlpConfig, UnetConfig, TransformerConfig)
}


@dataclass(frozen=True)
class RgbConfig:
    """ResNet of basic blocks and a spatial softmax.

    channels, blocks: of each layer; the stem has the first layer's channels. keypoints: places that
    the softmax tells. features: length of one image's feature. shared: one set of weights for all
    cameras, or one a camera.
    """

    channels: tuple[int, ...]
    blocks: tuple[int, ...]
    keypoints: int
    features: int
    shared: bool


@dataclass(frozen=True)
class NetworkConfig:
    """Sizes of the network.

    point_channels: outputs of the shared point layers. point_features: length of one cloud's
    feature. condition: length of the vector that modulates the trunk. time_features: sines and
    cosines of (t, r), a multiple of 4. trunk: its kind and sizes. rgb: sizes of the image encoder;
    None takes no images.
    """

    point_channels: tuple[int, ...]
    point_features: int
    condition: int
    time_features: int
    trunk: TrunkConfig
    rgb: RgbConfig | None = None

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values; `from_json` is the inverse."""
        return {**asdict(self), "trunk": {"kind": self.trunk.kind, **asdict(self.trunk)}}

    @staticmethod
    def from_json(value: Any) -> NetworkConfig:
        """Raises PolicyError. Without "trunk", "width" and "blocks" are those of an MLP, and
        without "rgb" there is none: the forms written before there were others."""
        if isinstance(value, dict) and "trunk" not in value:
            mlp = {key: value[key] for key in ("width", "blocks") if key in value}
            rest = {key: item for key, item in value.items() if key not in mlp}
            value = {**rest, "trunk": {"kind": MlpConfig.kind, **mlp}}
        if isinstance(value, dict):
            value = {"rgb": None, **value}
        trunk = value.get("trunk") if isinstance(value, dict) else None
        kind = trunk.get("kind") if isinstance(trunk, dict) else None
        if not isinstance(kind, str) or kind not in TRUNKS:
            if not isinstance(value, dict):
                raise PolicyError(f"config.network: expected an object, got {shown(value)}.")
            raise PolicyError(
                f"config.network.trunk.kind: expected one of {', '.join(TRUNKS)}, got "
                f"{shown(kind)}."
            )
        sizes = read_sizes(
            TRUNKS[kind],
            {key: item for key, item in trunk.items() if key != "kind"},  # type: ignore[union-attr]
            "config.network.trunk",
        )
        rgb = value["rgb"]
        if rgb is not None:
            rgb = read_sizes(RgbConfig, rgb, "config.network.rgb")
            if len(rgb.channels) != len(rgb.blocks):
                raise PolicyError(
                    f"config.network.rgb.blocks: expected one number for each of "
                    f"{len(rgb.channels)} channels, got {len(rgb.blocks)}."
                )
        return read_sizes(NetworkConfig, value, "config.network", trunk=sizes, rgb=rgb)


def read_sizes(kind: type[T], value: Any, at: str, **built: Any) -> T:
    """`read_as` for sizes of a network: every number and list of them at least 1, none absurd."""
    sizes = read_as(kind, value, "", PolicyError, at, **built)
    for key, item in vars(sizes).items():
        numbers = item if isinstance(item, tuple) else (item,)
        if not all(type(x) is int for x in numbers):
            continue
        if not numbers or len(numbers) > _MOST_LAYERS:
            raise PolicyError(
                f"{at}.{key}: expected 1 to {_MOST_LAYERS} whole numbers, got {len(numbers)}."
            )
        if min(numbers) < 1:
            raise PolicyError(f"{at}.{key}: expected at least 1, got {item}.")
        if max(numbers) > _LARGEST_SIZE:
            raise PolicyError(f"{at}.{key}: expected at most {_LARGEST_SIZE}, got {item}.")
    return sizes
