"""The deployed functions: `encode` (newest frame -> feature) and `act` (features, z -> chunk).

Normalisation is inside. The time embedding is folded into constant rows, one a shipped (t, r)
pair. Inputs and outputs are flat (points 4-D); an MLP's graph holds no reshape at all.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

from torch import nn

from ofp_edge import manifest
from ofp_edge.errors import PolicyError
from ofp_edge.functions import ACT, ENCODE, Function, encode_and_act, named
from ofp_edge.policy.act import Act
from ofp_edge.policy.folder import Policy
from ofp_edge.policy.parts import Encoder
from ofp_edge.spec import PolicySpec


@dataclass
class Deployed:
    """What `compile` exports and `quantize` quantises; both modules are in evaluation mode.

    The modules share the policy's weights; `functions` says what they take and give. walks: whether
    a chunk takes all time rows, one evaluation each. own_nfe: evaluations a chunk where nobody asks
    for another number: all rows, or one, and one more to refine.
    """

    spec: PolicySpec
    encode: Encoder
    act: Act
    time_rows: tuple[manifest.TimeRow, ...]
    feature_dim: int
    walks: bool
    own_nfe: int

    @property
    def functions(self) -> tuple[Function, ...]:
        """What the modules take and give, in the order in which they run."""
        return encode_and_act(self.spec, self.feature_dim, len(self.time_rows[0].row))

    def function(self, name: str) -> Function:
        """What one of the modules takes and gives."""
        return named(self.functions, name)

    @property
    def modules(self) -> dict[str, nn.Module]:
        """The module of each function."""
        return {ENCODE: self.encode, ACT: self.act}


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
    functions = config.network.functions(network, method)
    encode, act = cast(Encoder, functions[ENCODE].eval()), cast(Act, functions[ACT].eval())
    rows = method.time_rows(network, config.time_rows, nfe)
    walks = rows[0].name == "ladder"
    nfe = len(rows) if walks else 1 if config.t_refine is None else 2
    return Deployed(config.spec, encode, act, rows, encode.feature_dim, walks, nfe)
