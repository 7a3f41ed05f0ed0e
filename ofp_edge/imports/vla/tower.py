"""The tensors that both families name alike: SigLIP's tower, decoder layers, linear layers."""

from __future__ import annotations

from torch import Tensor

from ofp_edge.imports.vla.shards import Put, Taking
from ofp_edge.policy.vla.sizes import DecoderSizes, VisionSizes

LAST = "of the last layer only keys and values are read"
_VISION = {
    "self_attn.q_proj": "q", "self_attn.k_proj": "k", "self_attn.v_proj": "v",
    "self_attn.out_proj": "out", "mlp.fc1": "fc1", "mlp.fc2": "fc2", "layer_norm1": "norm1",
    "layer_norm2": "norm2",
}  # fmt: skip


def take_linear(
    take: Taking, put: Put, theirs: str, ours: str, outputs: int, inputs: int, *, bias: bool = True
) -> None:
    """Take a linear layer."""
    put(f"{ours}.weight", take.take(f"{theirs}.weight", (outputs, inputs)))
    if bias:
        put(f"{ours}.bias", take.take(f"{theirs}.bias", (outputs,)))


def take_vision(take: Taking, put: Put, theirs: str, ours: str, sizes: VisionSizes) -> None:
    """Take a tower; its projection to words has another name in each family."""
    width = sizes.width
    patch = (width, 3, sizes.patch, sizes.patch)
    put(f"{ours}.patch.weight", take.take(f"{theirs}.embeddings.patch_embedding.weight", patch))
    put(f"{ours}.patch.bias", take.take(f"{theirs}.embeddings.patch_embedding.bias", (width,)))
    table = take.take(f"{theirs}.embeddings.position_embedding.weight", (sizes.side**2, width))
    put(f"{ours}.position", table)
    for i in range(sizes.layers):
        for name, own in _VISION.items():
            outputs = sizes.hidden if own == "fc1" else width
            inputs = sizes.hidden if own == "fc2" else width
            shape = (width,) if own.startswith("norm") else (outputs, inputs)
            there, here = f"{theirs}.encoder.layers.{i}.{name}", f"{ours}.blocks.{i}.{own}"
            put(f"{here}.weight", take.take(f"{there}.weight", shape))
            put(f"{here}.bias", take.take(f"{there}.bias", (outputs,)))
    for kind in ("weight", "bias"):
        put(f"{ours}.norm.{kind}", take.take(f"{theirs}.post_layernorm.{kind}", (width,)))


def layer_shapes(sizes: DecoderSizes) -> dict[str, tuple[str, tuple[int, int]]]:
    """Return by the checkpoint's name of a layer's matrix our name and its shape."""
    width, heads, groups = (
        sizes.width, sizes.heads * sizes.head_dim, sizes.kv_heads * sizes.head_dim,
    )  # fmt: skip
    return {
        "self_attn.k_proj": ("k", (groups, width)), "self_attn.v_proj": ("v", (groups, width)),
        "self_attn.q_proj": ("q", (heads, width)), "self_attn.o_proj": ("out", (width, heads)),
        "mlp.gate_proj": ("mlp.gate", (sizes.hidden, width)),
        "mlp.up_proj": ("mlp.up", (sizes.hidden, width)),
        "mlp.down_proj": ("mlp.down", (width, sizes.hidden)),
    }  # fmt: skip


def take_prefix(
    take: Taking, put: Put, theirs: str, ours: str, sizes: DecoderSizes, *, plus: float
) -> None:
    """Take the language model's layers; plus: what is added to the weights of its norms."""
    for i in range(sizes.layers):
        last = i == sizes.layers - 1
        there, here = f"{theirs}.layers.{i}", f"{ours}.last" if last else f"{ours}.layers.{i}"
        for name, (own, shape) in layer_shapes(sizes).items():
            if last and own not in ("k", "v"):
                take.leave(f"{there}.{name}.weight", shape, LAST)
            else:
                put(f"{here}.{own}.weight", take.take(f"{there}.{name}.weight", shape))
        first = take.take(f"{there}.input_layernorm.weight", (sizes.width,))
        put(f"{here}.norm1.weight", plus + first)
        second = f"{there}.post_attention_layernorm.weight"
        if last:
            take.leave(second, (sizes.width,), LAST)
        else:
            put(f"{here}.norm2.weight", plus + take.take(second, (sizes.width,)))
    take.leave(f"{theirs}.norm.weight", (sizes.width,), LAST)


def take_words(take: Taking, table: str, head: str, shape: tuple[int, int]) -> Tensor:
    """Return the table of words in its own type: also where the head that shares it was saved."""
    if table in take.tensors:
        take.take(table, shape)
        take.leave(head, shape, "no word is ever predicted")
        return take.tensors[table]
    take.take(head, shape)
    return take.tensors[head]
