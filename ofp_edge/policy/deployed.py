"""The deployed functions: `encode` (newest frame -> feature) and `act` (features, z -> chunk).

Normalisation is inside. The time embedding is folded into constant rows, one a shipped (t, r)
pair. Inputs and outputs are flat (points 4-D); an MLP's graph holds no reshape at all.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

from ofp_edge import manifest
from ofp_edge.errors import PolicyError
from ofp_edge.policy.act import Act
from ofp_edge.policy.folder import Policy
from ofp_edge.policy.parts import Encoder
from ofp_edge.spec import PolicySpec


@dataclass
class Deployed:
    """What `compile` exports and `quantize` quantises; both modules are in evaluation mode.

    encode takes the observation fields in spec order, state (1, D) raw, points (1, 3, 1, N) in
    metres and images (1, 3, H, W) in 0..1, and gives (1, feature_dim). The
    modules share the policy's weights. walks: whether a chunk takes all time rows,
    one evaluation each. own_nfe: evaluations a chunk where nobody asks for another number: all
    rows, or one, and one more to refine.
    """

    spec: PolicySpec
    encode: Encoder
    act: Act
    time_rows: tuple[manifest.TimeRow, ...]
    encode_inputs: tuple[manifest.Tensor, ...]
    feature_dim: int
    walks: bool
    own_nfe: int


def deploy(policy: Policy, nfe: int | None = None) -> Deployed:
    """Split a policy into its deployed functions. PolicyError when its method has no such form.

    nfe: network evaluations a chunk, of a policy that takes many; None: its own number.
    """
    method, name = policy.sampling, policy.config.method
    if not method.deployable:
        raise PolicyError(f"method {name} answers in many steps; evaluate it with `eval --nfe`.")
    if nfe is not None and nfe < 1:
        raise PolicyError(f"--nfe {nfe}: expected 1 or more.")
    if nfe is not None and method.jumps:
        raise PolicyError(f"--nfe {nfe}: method {name} takes one step; `run --nfe 2` refines.")
    return split(policy, nfe)


def split(policy: Policy, nfe: int | None = None) -> Deployed:
    """`deploy` for looking at any policy: its functions' shapes and costs, a call."""
    network, config, method = policy.network.eval(), policy.config, policy.sampling
    inputs = tuple(
        manifest.Tensor(f.name, (1, 3, 1, f.shape[1]) if f.kind == "points" else (1, *f.shape))
        for f in config.spec.observations
    )
    functions = config.network.functions(network, method)
    encode, act = cast(Encoder, functions["encode"].eval()), cast(Act, functions["act"].eval())
    rows = method.time_rows(network, config.time_rows, nfe)
    walks = rows[0].name == "ladder"
    nfe = len(rows) if walks else 1 if config.t_refine is None else 2
    return Deployed(config.spec, encode, act, rows, inputs, encode.feature_dim, walks, nfe)
