"""The operations of torch that an imported program may use: what networks are made of.

Not all of `aten`: some of it writes files, shares memory or trusts its arguments
(`segment_reduce(unsafe=True)` reads past a tensor's end). In-place forms are allowed where the
plain one is.
"""

from __future__ import annotations

import re

_ELEMENTWISE = """
abs acos acosh add addcdiv addcmul asin asinh atan atan2 atanh bitwise_and bitwise_not bitwise_or
bitwise_xor ceil celu clamp clamp_max clamp_min clip copysign cos cosh deg2rad div divide elu eq erf
erfc exp exp2 expm1 fill floor floor_divide fmod frac ge gelu glu greater greater_equal gt
hardsigmoid hardswish hardtanh heaviside hypot isfinite isinf isnan le leaky_relu lerp less
less_equal log log10 log1p log2 log_sigmoid logical_and logical_not logical_or logical_xor lt
masked_fill maximum minimum mish mul multiply nan_to_num ne neg negative pow prelu rad2deg
reciprocal relu relu6 remainder round rsqrt rsub selu sigmoid sign silu sin sinc sinh softplus
softsign sqrt
square sub subtract tan tanh threshold true_divide trunc where xlogy
"""
_REDUCTIONS = """
all amax amin any argmax argmin cumprod cumsum linalg_vector_norm log_softmax logsumexp max mean min
norm prod softmax std std_mean sum var var_mean _log_softmax _softmax
"""
_LAYERS = """
adaptive_avg_pool1d adaptive_avg_pool2d adaptive_max_pool1d adaptive_max_pool2d addmm avg_pool1d
avg_pool2d baddbmm batch_norm bilinear bmm conv1d conv2d conv3d conv_transpose1d conv_transpose2d
convolution cross dot dropout einsum embedding feature_dropout group_norm gru instance_norm
layer_norm linalg_cross linear lstm matmul max_pool1d max_pool2d max_pool2d_with_indices mm mv
native_group_norm native_layer_norm outer pixel_shuffle pixel_unshuffle rms_norm rnn_relu rnn_tanh
scaled_dot_product_attention upsample_bilinear2d upsample_linear1d upsample_nearest1d
upsample_nearest2d _adaptive_avg_pool2d _native_batch_norm_legit_no_training
"""
_SHAPES = """
alias broadcast_tensors broadcast_to cat chunk clone concat concatenate constant_pad_nd contiguous
detach diff expand expand_as flatten flip gather hstack index index_select lift_fresh
lift_fresh_copy movedim narrow one_hot pad permute reflection_pad1d reflection_pad2d repeat
repeat_interleave
replication_pad1d replication_pad2d reshape roll select slice split split_with_sizes squeeze stack
swapaxes t tile to transpose tril triu type_as unbind unflatten unfold unsqueeze view view_as vstack
_assert_tensor_metadata _to_copy _unsafe_view
"""
_MADE = """
arange eye full full_like linspace new_full new_ones new_zeros ones ones_like rand rand_like randn
randn_like scalar_tensor zeros zeros_like
"""
OPERATIONS = frozenset(" ".join((_ELEMENTWISE, _REDUCTIONS, _LAYERS, _SHAPES, _MADE)).split())
_RECURRENT = ("gru", "lstm", "rnn_relu", "rnn_tanh")
_NAME = re.compile(r"torch\.ops\.aten\.([a-z0-9_]+)\.([A-Za-z0-9_]+)")


def is_allowed(target: str) -> bool:
    """Say whether a node's target ("torch.ops.aten.add.Tensor") is on the list."""
    if target == "_operator.getitem":
        return True
    found = _NAME.fullmatch(target)
    if found is None or found[2].endswith("out"):
        return False
    if found[1] in _RECURRENT and found[2] != "input":
        return False  # packed sequences: their batch sizes are taken on trust
    return found[1] in OPERATIONS or found[1].removesuffix("_") in OPERATIONS
