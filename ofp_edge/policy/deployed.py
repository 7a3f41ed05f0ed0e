"""The deployed functions: `encode` (newest frame -> feature) and `act` (features, z -> chunk).

Normalisation is inside. The time embedding is folded into constant rows, one a shipped (t, r)
pair. Inputs and outputs are flat (points 4-D); an MLP's graph holds no reshape at all.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ofp_edge import manifest
from ofp_edge.errors import PolicyError
from ofp_edge.policy.folder import Policy
from ofp_edge.policy.imported.config import DenoiserConfig
from ofp_edge.policy.imported.denoise import Denoise
from ofp_edge.policy.imported.schedule import CONSTANTS, rungs, stepped
from ofp_edge.policy.methods import build_method
from ofp_edge.policy.methods.method import Sampling
from ofp_edge.policy.network import PolicyNetwork
from ofp_edge.policy.parts import Encoder
from ofp_edge.policy.sampler import ladder
from ofp_edge.spec import PolicySpec

EULER_STEPS = 10
"""Of a bundle whose policy learned velocities at r = t alone; --nfe asks for another number."""


class Act(nn.Module):
    """(features (1, To*F), z (1, H*A), time_row (1, E)) -> (chunk, chunk_normalised (1, H*A)).

    chunk is in raw action units, unclamped, without the leading actions that lie before the
    observation. time_row: the folded time embedding, then r - t.
    """

    def __init__(self, network: PolicyNetwork) -> None:
        super().__init__()
        self.trunk = network.trunk
        self.embedding = network.time.size
        self.actions = network.actions
        self.first = network.spec.start_index * network.spec.action_dim

    def forward(self, features: Tensor, z: Tensor, time_row: Tensor) -> tuple[Tensor, Tensor]:
        """`z + (r - t) u(z, t, r | o)`, and the same in raw units."""
        u = self.trunk(z, features, time_row[:, : self.embedding])
        chunk = z + time_row[:, self.embedding :] * u
        return self.raw(chunk), chunk

    def raw(self, chunk: Tensor) -> Tensor:
        """In raw units, from the observation on."""
        raw = self.actions.back(chunk)
        return raw[:, self.first :] if self.first else raw


class DenoisingAct(Act):
    """Act's inputs and outputs for a network that tells noise: one step of its sampler a call.

    time_row: the step's embedding, the constants of imported/schedule.py, then r - t.
    """

    def __init__(self, network: PolicyNetwork, clip: float | None) -> None:
        super().__init__(network)
        self.clip = clip

    def forward(self, features: Tensor, z: Tensor, time_row: Tensor) -> tuple[Tensor, Tensor]:
        """z one step further, and the same in raw units."""
        out = self.trunk(z, features, time_row[:, : self.embedding])
        first = self.embedding
        constants = [time_row[:, i : i + 1] for i in range(first, first + CONSTANTS)]
        chunk = stepped(z, out, constants, self.clip)
        return self.raw(chunk), chunk


class LadderAct(nn.Module):
    """Act's first two inputs and its outputs, but several evaluations of `act` as one call.

    ladders: (L, nfe, E) time rows. In place of a time row comes the number of the ladder to walk,
    (B, 1): each row of a batch walks its own.
    """

    ladders: Tensor

    def __init__(self, act: nn.Module, ladders: Tensor) -> None:
        super().__init__()
        self.act = act
        self.register_buffer("ladders", ladders, persistent=False)

    def forward(self, features: Tensor, z: Tensor, ladder: Tensor) -> tuple[Tensor, Tensor]:
        """(chunk, chunk_normalised) at the end of the ladder."""
        rows = self.ladders[ladder[:, 0].long()]  # (B, nfe, E)
        chunk, z = self.act(features, z, rows[:, 0])
        for k in range(1, rows.shape[1]):
            chunk, z = self.act(features, z, rows[:, k])
        return chunk, z


class SampledAct(nn.Module):
    """Act's inputs and outputs, but the whole chunk comes from `Sampling.sample`.

    For evaluating in torch what has no deployed form; the time row is not looked at.
    """

    def __init__(self, network: PolicyNetwork, method: Sampling, nfe: int) -> None:
        super().__init__()
        self.network, self.method, self.nfe = network, method, nfe
        self.first = network.spec.start_index * network.spec.action_dim

    def forward(self, features: Tensor, z: Tensor, time_row: Tensor) -> tuple[Tensor, Tensor]:
        """(chunk, chunk_normalised) after `nfe` evaluations from noise z."""
        chunk = self.method.sample(self.network, features, z, self.nfe)
        return self.network.actions.back(chunk)[:, self.first :], chunk


@dataclass
class Deployed:
    """What `compile` exports and `quantize` quantises; both modules are in evaluation mode.

    encode takes the observation fields in spec order, state (1, D) raw, points (1, 3, 1, N) in
    metres and images (1, 3, H, W) in 0..1, and gives (1, feature_dim). The
    modules share the policy's weights.
    """

    spec: PolicySpec
    encode: Encoder
    act: Act
    time_rows: tuple[manifest.TimeRow, ...]
    encode_inputs: tuple[manifest.Tensor, ...]
    feature_dim: int


def method_of(policy: Policy) -> Sampling:
    """How a policy is sampled: by the method that it was trained with, or as it came."""
    network = policy.config.network
    if isinstance(network, DenoiserConfig) and not network.average:
        return Denoise(network.schedule)
    return build_method(policy.config.method, policy.config.method_options)


def deploy(policy: Policy, nfe: int | None = None) -> Deployed:
    """Split a policy into its deployed functions. PolicyError when its method has no such form.

    nfe: network evaluations a chunk, of a policy that takes many; None: its own number.
    """
    method = method_of(policy)
    if not (method.velocity or isinstance(method, Denoise)):
        raise PolicyError(
            f"method {policy.config.method} answers in many steps; evaluate it with `eval --nfe`."
        )
    if nfe is not None and nfe < 1:
        raise PolicyError(f"--nfe {nfe}: expected 1 or more.")
    if nfe is not None and method.jumps:
        raise PolicyError(
            f"--nfe {nfe}: method {policy.config.method} takes one step; `run --nfe 2` refines."
        )
    return split(policy, nfe)


def split(policy: Policy, nfe: int | None = None) -> Deployed:
    """`deploy` for looking at any policy: its functions' shapes and costs, a call."""
    network = policy.network.eval()
    fields = policy.config.spec.observations
    inputs = tuple(manifest.Tensor(f.name, f.input_shape, f.input_dtype) for f in fields)
    act, rows = _act(policy, nfe)
    encode = network.encoder
    return Deployed(policy.config.spec, encode, act.eval(), rows, inputs, encode.feature_dim)


def _act(policy: Policy, nfe: int | None) -> tuple[Act, tuple[manifest.TimeRow, ...]]:
    """The second function and the rows it ships with."""
    network, config, method = policy.network, policy.config, method_of(policy)
    if isinstance(method, Denoise):
        act = DenoisingAct(network, method.schedule.clip)
        return act, denoising_rows(policy, method, method.own_nfe if nfe is None else nfe)
    if method.velocity and not method.jumps:
        times = ladder(EULER_STEPS if nfe is None else nfe)
        pairs = zip(times, times[1:], strict=False)
        return Act(network), tuple(time_row(policy, "ladder", t, r) for t, r in pairs)
    return Act(network), tuple(time_row(policy, *row) for row in config.time_rows)


def denoising_rows(policy: Policy, method: Denoise, nfe: int) -> tuple[manifest.TimeRow, ...]:
    """The ladder of a diffusion policy: time 0 is its noisiest step, 1 the sample."""
    steps, rows, noise = rungs(method.schedule, nfe), [], 0.0
    times = [1 - (x.k + 1) / method.schedule.train_steps for x in steps] + [1.0]
    for step, t, r in zip(steps, times, times[1:], strict=False):
        with torch.no_grad():
            embedded = policy.network.time(torch.tensor([t]), torch.tensor([t]))[0].tolist()
        row = (*embedded, *step.constants, r - t)
        rows.append(manifest.TimeRow("ladder", t, r, row, noise))
        noise = step.sigma
    return tuple(rows)


def time_row(policy: Policy, name: str, t: float, r: float) -> manifest.TimeRow:
    """The constant input of `act` for the pair (t, r).

    A method that learned velocities at r = t alone is asked for that one: an Euler step.
    """
    asked = r if method_of(policy).jumps else t
    with torch.no_grad():
        embedded = policy.network.time(torch.tensor([t]), torch.tensor([asked]))[0]
    return manifest.TimeRow(name, t, r, (*embedded.tolist(), r - t))
