"""Sizes of a network, as data: its trunk, its encoders; strict JSON both ways."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, ClassVar, TypeVar

from ofp_edge.errors import PolicyError
from ofp_edge.policy.strict import checked, flat_from_json

T = TypeVar("T")


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
        trunk = checked(NetworkConfig, value, "config.network")["trunk"]
        kind = trunk.get("kind") if isinstance(trunk, dict) else None
        if kind not in tuple(TRUNKS):
            raise PolicyError(
                f"config.network.trunk.kind: expected one of {', '.join(TRUNKS)}, got {kind!r}."
            )
        sizes = _sizes(
            TRUNKS[kind],
            {key: item for key, item in trunk.items() if key != "kind"},
            "config.network.trunk",
        )
        rgb = value["rgb"]
        if rgb is not None:
            rgb = _sizes(RgbConfig, rgb, "config.network.rgb")
            if len(rgb.channels) != len(rgb.blocks):
                raise PolicyError(
                    f"config.network.rgb.blocks: expected one number for each of "
                    f"{len(rgb.channels)} channels, got {len(rgb.blocks)}."
                )
        flat = {key: item for key, item in value.items() if key not in ("trunk", "rgb")}
        return flat_from_json(NetworkConfig, flat, "config.network", trunk=sizes, rgb=rgb)


def _sizes(kind: type[T], value: Any, what: str) -> T:
    """`flat_from_json` for sizes of a network: every number at least 1."""
    sizes = flat_from_json(kind, value, what)
    for key, item in vars(sizes).items():
        if min(item if isinstance(item, tuple) else (item,)) < 1 and item is not False:
            raise PolicyError(f"{what}.{key}: expected at least 1, got {item}.")
    return sizes
