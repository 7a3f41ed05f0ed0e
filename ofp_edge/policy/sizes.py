"""The sizes of our networks, and the functions that read them from JSON."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeVar

from ofp_edge.errors import PolicyError
from ofp_edge.policy.trunks.trunk import TrunkConfig
from ofp_edge.strict import read_as, shown

T = TypeVar("T")
_LARGEST_SIZE, _MOST_LAYERS = 1 << 16, 64


@dataclass(frozen=True)
class RgbConfig:
    """The sizes that an image encoder has: a ResNet of basic blocks, and a spatial softmax.

    channels, blocks: of each layer; the stem has the first layer's channels. keypoints: places that
    the softmax finds. features: length of one image's feature. shared: all cameras share one set of
    weights; otherwise each has its own.
    """

    channels: tuple[int, ...]
    blocks: tuple[int, ...]
    keypoints: int
    features: int
    shared: bool


@dataclass(frozen=True)
class NetworkSizes:
    """The sizes that one of our networks has.

    point_channels: outputs of the shared point layers. point_features: length of one cloud's
    feature. condition: length of the vector that modulates the trunk. time_features: sines and
    cosines of (t, r), a multiple of 4. trunk: its kind and sizes. rgb: sizes of the image encoder;
    None takes no images. committed_steps: the longest committed prefix that it is told; 0: none.
    codes: the number of codes that a jump chooses among (see codes.py); 0: none. task_features:
    length of an instruction's row; 0 takes no instructions. state_bound: where a number of the
    state, -1 to 1 over the demonstrations, is cut off on both sides; 0: nowhere. Of one that
    spanned a millimetre there, 10 cm is 200, and what a network makes of that is anything.
    """

    point_channels: tuple[int, ...]
    point_features: int
    condition: int
    time_features: int
    trunk: TrunkConfig
    rgb: RgbConfig | None = None
    committed_steps: int = 0
    codes: int = 0
    task_features: int = 0
    state_bound: float = 0.0


def read_sizes(
    kind: type[T], value: Any, at: str, *, from_0: tuple[str, ...] = (), **built: Any
) -> T:
    """Read network sizes with `read_as`: every number and list of them at least 1, none absurd.

    from_0: the entries that may be 0.
    """
    sizes = read_as(kind, value, "", PolicyError, at, **built)
    for key, item in vars(sizes).items():
        numbers = item if isinstance(item, tuple) else (item,)
        if not all(type(x) is int for x in numbers):
            continue
        if not numbers or len(numbers) > _MOST_LAYERS:
            raise PolicyError(
                f"{at}.{key}: expected 1 to {_MOST_LAYERS} whole numbers, got {len(numbers)}."
            )
        least = 0 if key in from_0 else 1
        if min(numbers) < least:
            raise PolicyError(f"{at}.{key}: expected at least {least}, got {item}.")
        if max(numbers) > _LARGEST_SIZE:
            raise PolicyError(f"{at}.{key}: expected at most {_LARGEST_SIZE}, got {item}.")
    return sizes


def require_one_of(what: str, value: str, known: tuple[str, ...]) -> None:
    """Raise PolicyError, naming the entry `what`, for a value that is not known."""
    if value not in known:
        raise PolicyError(f"{what}: expected one of {', '.join(known)}, got {shown(value)}.")
