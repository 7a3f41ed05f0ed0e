"""The deployed functions: `encode` (newest frame -> feature) and `act` (features, z -> chunk).

Normalisation is inside. The time embedding is folded into constant rows, one a shipped (t, r)
pair. Inputs and outputs are flat (points 4-D); an MLP's graph holds no reshape at all.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from ofp_edge import manifest
from ofp_edge.errors import PolicyError
from ofp_edge.functions import ACT, ENCODE, Function, named
from ofp_edge.normalize import Affine
from ofp_edge.policy.folder import Policy
from ofp_edge.policy.methods.method import Act, Predict
from ofp_edge.policy.network import PolicyNetwork
from ofp_edge.policy.parts import Encoder
from ofp_edge.policy.prompting import Prompting
from ofp_edge.policy.sampler import ladder
from ofp_edge.spec import PolicySpec
from ofp_edge.start import FROM_COLD, Start, without_effect


@dataclass
class Deployed:
    """Holds the functions that `compile` exports and `quantize` quantises, in evaluation mode.

    functions: inputs and outputs of each module, in the order in which they run. modules: one for
    each function; they share the policy's weights. walks: whether a chunk takes all time rows, one
    evaluation each; a deterministic policy has none. own_nfe: the default number of evaluations a
    chunk: all rows, or one, and one more to refine. start: the policy's; its cold ladder is among
    the time rows.
    committed: the prefix that `act` can be told; None: not trained with one. prompt: what the
    functions are given of a prompt; None for a policy that reads none. task_rows: (N, W), the row
    of each instruction, which `encode` takes in its place; None for a policy that has none.
    state_bounds: where `encode` cuts a state off, by field.
    """

    spec: PolicySpec
    functions: tuple[Function, ...]
    modules: dict[str, nn.Module]
    time_rows: tuple[manifest.TimeRow, ...]
    walks: bool
    own_nfe: int
    start: Start
    committed: manifest.Committed | None = None
    prompt: Prompting | None = None
    task_rows: NDArray[np.float32] | None = None
    state_bounds: dict[str, manifest.StateBounds] = field(default_factory=dict)

    def function(self, name: str) -> Function:
        """Return the inputs and outputs of one module."""
        return named(self.functions, name)

    @property
    def encode(self) -> Encoder:
        """The module that turns a frame into a feature."""
        return cast(Encoder, self.modules[ENCODE])

    @property
    def act(self) -> Act | Predict:
        """The module that makes a chunk."""
        return cast("Act | Predict", self.modules[ACT])

    @property
    def feature_dim(self) -> int:
        """The length of one frame's feature."""
        return self.encode.feature_dim


def deploy(policy: Policy, nfe: int | None = None) -> Deployed:
    """Split a policy into its deployed functions. Raises PolicyError when its method has none.

    nfe: network evaluations a chunk, for a policy that takes many; None takes its own number.
    """
    config, method, name = policy.config, policy.sampling, policy.config.method
    if not method.deployable:
        raise PolicyError(f"method {name} answers in many steps; evaluate it with `eval --nfe`.")
    if nfe is not None and nfe < 1:
        raise PolicyError(f"--nfe {nfe}: expected 1 or more.")
    if not method.draws:
        config.start.require_plain()
        if nfe not in (None, 1):
            raise PolicyError(without_effect(f"--nfe {nfe}"))
        return split(policy)
    if nfe is not None and method.jumps:
        raise PolicyError(f"--nfe {nfe}: method {name} takes one step; `run --nfe 2` refines.")
    if config.start.cold_nfe is not None and not method.jumps:
        raise PolicyError(f"--cold-nfe: method {name} takes all its steps at every start.")
    return split(policy, nfe)


def split(policy: Policy, nfe: int | None = None) -> Deployed:
    """Split any policy, without `deploy`'s checks, to look at its functions' shapes and costs."""
    network, config, method = policy.network.eval(), policy.config, policy.sampling
    rows = method.time_rows(network, config.time_rows, nfe)
    if rows and (steps := config.start.cold_steps()) > 1 and rows[0].name != "ladder":
        times = ladder(steps)
        rows += tuple(
            method.time_row(network, FROM_COLD, t, r)
            for t, r in zip(times, times[1:], strict=False)
        )
    modules = {k: x.eval() for k, x in config.network.modules(network, method).items()}
    functions = config.network.functions(network, len(rows[0].row) if rows else 0)
    walks = bool(rows) and rows[0].name == "ladder"
    nfe = len(rows) if walks else 1 if config.t_refine is None else 2
    told = _committed(network)
    return Deployed(
        config.spec,
        functions,
        modules,
        rows,
        walks,
        nfe,
        config.start,
        told,
        config.network.prompting(network),
        config.network.task_rows(network),
        _state_bounds(policy),
    )


def _state_bounds(policy: Policy) -> dict[str, manifest.StateBounds]:
    found = {}
    if bound := policy.config.network.state_bound:
        for item in policy.config.spec.states:
            known = Affine.of(policy.statistics[item.name])
            middle, reach = known.offset.astype(np.float64), bound * known.scale
            low, high = middle - reach, middle + reach  # float32 would lose 1.5 beside 1e8
            found[item.name] = manifest.StateBounds(tuple(low.tolist()), tuple(high.tolist()))
    return found


def _committed(network: PolicyNetwork) -> manifest.Committed | None:
    if not network.committed_steps:
        return None
    size, nothing = network.spec.action_dim, torch.zeros(1, network.chunk_size)
    offset = network.actions.back(nothing)[0, :size].tolist()
    slope = network.actions.slope.reshape(-1)[:size].tolist()
    return manifest.Committed(network.committed_steps, tuple(slope), tuple(offset))
