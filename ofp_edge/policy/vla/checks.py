"""Sizes that fit together, or one line saying which do not."""

from __future__ import annotations

from ofp_edge.errors import PolicyError
from ofp_edge.policy.sizes import require_one_of
from ofp_edge.policy.vla.sizes import ACTIVATIONS, DecoderSizes, FlowSizes, VisionSizes


def check_vision(x: VisionSizes, at: str) -> None:
    """Raise PolicyError, naming the entry, where a tower can't have these sizes."""
    _divides(f"{at}.heads", x.heads, x.width)
    _divides(f"{at}.patch", x.patch, x.image)
    _divides(f"{at}.shuffle", x.shuffle, x.image // x.patch)
    _positive(f"{at}.epsilon", x.epsilon)


def check_decoder(x: DecoderSizes, at: str) -> None:
    """Raise PolicyError, naming the entry, where decoder layers can't have these sizes."""
    require_one_of(f"{at}.activation", x.activation, ACTIVATIONS)
    _divides(f"{at}.kv_heads", x.kv_heads, x.heads)
    _divides("2 (an even head_dim and width)", 2, x.head_dim)
    _divides("2 (an even head_dim and width)", 2, x.width)
    _positive(f"{at}.epsilon", x.epsilon)
    _positive(f"{at}.theta", x.theta)


def check_pair(language: DecoderSizes, expert: DecoderSizes, at: str) -> None:
    """Raise PolicyError unless the expert can attend to the language model's keys and values."""
    for name in ("layers", "heads", "kv_heads", "head_dim"):
        ours, theirs = getattr(expert, name), getattr(language, name)
        if ours != theirs:
            raise PolicyError(f"{at}.expert.{name}: expected {theirs}, as language, got {ours}.")


def check_flow(x: FlowSizes, action_dim: int, at: str) -> None:
    """Raise PolicyError where the chunk does not fit, or the periods are none."""
    _positive(f"{at}.shortest_period", x.shortest_period)
    if not x.shortest_period < x.longest_period:
        raise PolicyError(f"{at}.longest_period: expected above the shortest.")
    if action_dim > x.width:
        raise PolicyError(
            f"{at}.width: expected at least {action_dim} (the actions), got {x.width}."
        )


def _divides(what: str, part: int, whole: int) -> None:
    if whole % part:
        raise PolicyError(f"{what}: expected a divisor of {whole}, got {part}.")


def _positive(what: str, value: float) -> None:
    if not 0 < value < 1e9:
        raise PolicyError(f"{what}: expected a number above 0, got {value}.")
