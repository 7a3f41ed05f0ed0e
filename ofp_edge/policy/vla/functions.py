"""The tensors of a VLA's two deployed functions."""

from __future__ import annotations

from ofp_edge.fields import Rgb, State
from ofp_edge.functions import ACT, ENCODE, Function, Tensor
from ofp_edge.policy.network import PolicyNetwork
from ofp_edge.policy.vla.folder import encoder_of


def vla_functions(
    network: PolicyNetwork, width: int, action_width: int, row_size: int, *, relative: bool
) -> tuple[Function, Function]:
    """Return `encode` and `act`. All float32, B = 1:

    encode takes each camera's picture (1, 3, H, W), 0..1, for SmolVLA the state fields (1, D) raw,
    `words` (1, N, W), rows of the table (rows of padding: any finite numbers), and `valid` (1, P).
    It gives `kv` (1, layers * 2 * G, P, D), which stays on the device. act takes `kv`, the same
    `valid`, `z` (1, H * M), `time_row` (1, E), and where actions are relative the state fields. It
    gives `chunk` (1, plan steps * A) and `chunk_normalised` (1, H * M).
    """
    spec, encoder = network.spec, encoder_of(network)
    pictures = _fields(network, Rgb)
    states = _fields(network, State)
    valid = Tensor("valid", (1, encoder.length), role="valid")
    flat = (1, spec.horizon * action_width)
    cache = (1, *encoder.kv)
    encode = Function(
        ENCODE,
        (
            *pictures,
            *(states if encoder.stated else ()),
            Tensor("words", (1, encoder.words, width), role="words"),
            valid,
        ),
        (Tensor("kv", cache, role="cache", resident=True),),
    )
    act = Function(
        ACT,
        (
            Tensor("kv", cache, role="cache", source=f"{ENCODE}.kv", resident=True),
            valid,
            Tensor("z", flat, role="noise"),
            Tensor("time_row", (1, row_size), role="time"),
            *(states if relative else ()),
        ),
        (
            Tensor("chunk", (1, spec.plan_steps * spec.action_dim), role="chunk"),
            Tensor("chunk_normalised", flat, role="chunk_normalised"),
        ),
    )
    return encode, act


def _fields(network: PolicyNetwork, kind: type[Rgb] | type[State]) -> tuple[Tensor, ...]:
    return tuple(
        Tensor(f.name, f.input_shape, f.input_dtype, "observation")
        for f in network.spec.observations
        if isinstance(f, kind)
    )
