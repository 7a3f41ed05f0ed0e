"""A policy folder behind `Inference`, in torch: the modules and evaluations that make its chunk."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ofp_edge.errors import OfpError, UnknownName
from ofp_edge.evaluate.choice import Choice
from ofp_edge.functions import ACT, ENCODE, Function
from ofp_edge.manifest import TimeRow
from ofp_edge.policy.deployed import Deployed, deploy, split
from ofp_edge.policy.folder import Policy
from ofp_edge.policy.methods.method import Sampling
from ofp_edge.policy.network import PolicyNetwork
from ofp_edge.policy.prefix import Prefix
from ofp_edge.policy.sampler import ladder
from ofp_edge.policy.torch_batch import TorchBatch
from ofp_edge.policy.torch_runner import TorchRunner
from ofp_edge.quantize.plan import read_plan
from ofp_edge.runtime.infer.inference import Inference
from ofp_edge.runtime.infer.prompt_inputs import PromptInputs
from ofp_edge.runtime.infer.sampler import Scheme, Step, starting
from ofp_edge.runtime.infer.task_inputs import TaskInputs
from ofp_edge.start import MEAN, Start, time_asked

ROWS = 16
"""Episodes sharing a call of a many-step policy. A world costs 0.2 s and 26 MB, so no more."""
MANY_STEPS = 10
"""The nfe from which rows are batched; below it the physics dominate and a batch gains little."""


@dataclass
class Acting:
    """The modules, the evaluations that make a chunk, and how many of the network's they are.

    row: length of what `act` takes in place of a time row, 0: none. fixed: for one row alone."""

    encode: Any
    act: Any
    scheme: Scheme
    nfe: int
    row: int
    fixed: bool = False


def sampled(policy: Policy, choice: Choice) -> Acting:
    """Return the Acting of a method that has no (t, r) rows: its own `sample`, as one call."""
    method = policy.sampling
    _never_warm(choice, f"method {method.name}")
    if choice.precision not in (None, "fp32"):
        raise UnknownName("precision of this policy folder", choice.precision, ["fp32"])
    nfe = method.own_nfe if choice.nfe is None else choice.nfe
    deployed = split(policy)
    act = SampledAct(policy.network, method, nfe)
    row = next(row for row in deployed.time_rows if row.name == "cold")
    scheme = Scheme((Step(row, noise=_only_noise(policy, choice)),), None)
    return Acting(deployed.encode, act, scheme, nfe, len(row.row))


def walking(path: Path, policy: Policy, choice: Choice) -> tuple[Acting, str]:
    """Return the Acting of a diffusion policy: its sampler's steps one by one, as in a bundle."""
    _never_warm(choice, "a diffusion policy")
    deployed = deploy(policy, choice.nfe)
    encode, act, precision, _ = _functions(path, deployed, choice)
    rows = deployed.time_rows
    scheme = Scheme(starting([Step(row) for row in rows], _only_noise(policy, choice)), None)
    return Acting(encode, act, scheme, len(rows), len(rows[0].row), fixed=True), precision


def predicting(path: Path, policy: Policy, choice: Choice) -> tuple[Acting, str]:
    """Return the Acting of a deterministic policy: one evaluation, of the features alone."""
    choice.start(policy.config.start).require_plain()
    deployed = deploy(policy, choice.nfe)
    encode, act, precision, quantised = _functions(path, deployed, choice)
    scheme = Scheme((Step(None),), None)
    fixed = quantised or policy.config.network.one_row
    return Acting(encode, act, scheme, 1, 0, fixed), precision


def _never_warm(choice: Choice, what: str) -> None:
    given = {"--t-w": choice.t_w, "--warm-step": choice.warm_step, "--t-refine": choice.t_refine}
    if option := next((name for name, value in given.items() if value is not None), None):
        raise OfpError(f"{option}: {what} starts every chunk from noise.")


def _only_noise(policy: Policy, choice: Choice) -> float:
    """The noise of a policy whose every chunk starts from it, and takes all its steps."""
    for option, value in (("--cold-nfe", choice.cold_nfe), ("--noise-warm", choice.noise_warm)):
        if value is not None:
            raise OfpError(f"{option}: every chunk of method {policy.config.method} starts alike.")
    return choice.start(policy.config.start).noise_cold


def _functions(path: Path, deployed: Deployed, choice: Choice) -> tuple[Any, Any, str, bool]:
    """encode, act, their precision, and whether they are quantised."""
    encode: Any = deployed.encode
    act: Any = deployed.act
    plan = read_plan(path)
    known = ["fp32"] if plan is None else ["fp32", plan.precision]
    precision = choice.precision or known[-1]
    if precision not in known:
        raise UnknownName("precision of this policy folder", precision, known)
    quantised = plan is not None and precision != "fp32"
    if plan is not None and quantised:
        from ofp_edge.quantize.functions import build_functions

        functions = build_functions(deployed, plan)
        encode, act = functions[ENCODE], functions[ACT]
    return encode, act, precision, quantised


def stepping(path: Path, policy: Policy, choice: Choice, t_w: float | None) -> tuple[Acting, str]:
    """Return the Acting of one step, one and a refining step, or a ladder, in float or by plan; a
    cold start walks a ladder of its own where it takes more evaluations."""
    start = choice.start(policy.config.start)
    deployed = deploy(policy)
    encode, act, precision, quantised = _functions(path, deployed, choice)
    fixed = quantised or policy.config.network.one_row
    size = len(deployed.time_rows[0].row)
    t_refine = choice.t_refine
    if t_refine is None and choice.nfe is None:
        t_refine = policy.config.t_refine
    if t_refine is not None and choice.nfe not in (None, 2):
        raise OfpError(f"--nfe {choice.nfe}: a refined chunk takes 2 evaluations.")
    own = policy.sampling.own_nfe if choice.nfe is None else choice.nfe
    nfe = 2 if t_refine is not None else own
    if choice.warm_step is not None:
        _require_steps(policy, choice, ladder_of=nfe if t_refine is None else 1)
    if nfe >= MANY_STEPS and start.cold_steps(nfe) == nfe:
        return _batched(policy, encode, act, nfe, t_w, start, fixed=fixed), precision

    def walk(t: float, steps: int, r: float = 1.0) -> list[Step]:
        row, network = policy.sampling.time_row, policy.network
        if t_refine is None or steps != nfe:
            pairs = list(pairwise(ladder(steps, t))) if steps > 1 else [(t, r)]
            return [Step(row(network, "ladder", *pair)) for pair in pairs]
        second = Step(row(network, "refine", t_refine, 1.0), renoise=True)
        return [Step(row(network, "start", t, r)), second]

    cold = starting(walk(0.0, start.cold_steps(nfe)), start.noise_cold)
    warm = None
    if t_w is not None:
        end = time_asked(t_w, policy.config.warm_step(choice.warm_step))
        warm = starting(walk(t_w, nfe, end), start.noise_warm)
    afresh = () if warm is None or start.noise_warm >= 1 else tuple(walk(0.0, nfe))
    scheme = Scheme(cold, warm, afresh=afresh)
    return Acting(encode, act, scheme, scheme.nfe, size, fixed or nfe >= MANY_STEPS), precision


def _require_steps(policy: Policy, choice: Choice, *, ladder_of: int) -> None:
    """Raise OfpError where a policy, or a chunk of so many steps, has no choice of a way."""
    if not policy.sampling.jumps:
        raise OfpError(f"--warm-step: method {policy.config.method} learned no jumps.")
    if ladder_of > 1 and choice.warm_step == MEAN:
        raise OfpError(
            f"--warm-step {MEAN}: it takes one evaluation, and --nfe {ladder_of} as many jumps."
        )


def _batched(
    policy: Policy, encode: Any, act: Any, nfe: int, t_w: float | None, start: Start, *, fixed: bool
) -> Acting:
    """`nfe` even steps from 0 to 1, and from t_w to 1 after a warm start, as one call each."""
    starts = [(0.0, start.noise_cold)] + ([] if t_w is None else [(t_w, start.noise_warm)])
    row = policy.sampling.time_row
    rows = [
        [row(policy.network, "ladder", *pair).row for pair in pairwise(ladder(nfe, t))]
        for t, _ in starts
    ]
    steps = [
        (Step(TimeRow("ladder", t, 1.0, (float(number),)), noise=noise),)
        for number, (t, noise) in enumerate(starts)
    ]
    afresh = () if t_w is None or start.noise_warm >= 1 else (Step(steps[0][0].row),)
    scheme = Scheme(steps[0], None if t_w is None else steps[1], afresh=afresh)
    inputs = split(policy).function(ACT).inputs
    walking_act = LadderAct(act, torch.tensor(rows), [x.role for x in inputs])
    return Acting(encode, walking_act, scheme, nfe, 1, fixed)


def inferences_of(
    policy: Policy, acting: Acting, guard: int, *, alone: bool = False
) -> tuple[tuple[Inference, ...], TorchBatch | None]:
    """Make inferences over the same two modules: `ROWS` in a batch where many steps reward that,
    and others are to run beside it; `alone`: a single one."""
    deployed = split(policy)
    encode, act = functions = _asked(deployed, acting.row)
    rows = ROWS if acting.nfe >= MANY_STEPS and not acting.fixed and not alone else 1
    batch = TorchBatch(acting.act, act.inputs, act.outputs, rows)
    if rows > 1 and not batch.rows_are_alike():
        batch = TorchBatch(acting.act, act.inputs, act.outputs, 1)
    found = []
    for row in batch.rows:
        into = {x.fed_by[1]: row.inputs[x.name] for x in act.inputs if x.resident}
        before = TorchRunner(acting.encode, encode.inputs, encode.outputs, into)
        runners: dict[str, Any] = {ENCODE: before, ACT: row}
        found.append(
            Inference(
                deployed.spec,
                functions,
                runners,
                deployed.time_rows,
                0,
                scheme=acting.scheme,
                guard=guard,
                committed=deployed.committed,
                prompt=_told_by(deployed, functions, runners),
            )
        )
    found[0].warm_up(1)  # an nfe that the method can't do is told here
    return tuple(found), batch if len(found) > 1 else None


def _asked(deployed: Deployed, row: int) -> tuple[Function, ...]:
    """The functions, where `act` takes `row` numbers in place of a time row."""
    *before, act = deployed.functions
    inputs = (replace(x, shape=(1, row)) if x.role == "time" else x for x in act.inputs)
    return (*before, replace(act, inputs=tuple(inputs)))


def _told_by(
    deployed: Deployed, functions: Sequence[Function], runners: Mapping[str, Any]
) -> PromptInputs | TaskInputs | None:
    if deployed.task_rows is not None:
        return TaskInputs(functions, runners, deployed.task_rows)
    if (told := deployed.prompt) is None:
        return None
    return PromptInputs(deployed.spec, functions, runners, told.prompt, told.table, told.first)


class LadderAct(nn.Module):
    """A module with act's inputs, but one, and its outputs: one call for several evaluations.

    ladders: (L, nfe, E) time rows. In place of a time row comes the number of the ladder to walk,
    (B, 1): each row of a batch walks its own. roles: of act's inputs.
    """

    ladders: torch.Tensor

    def __init__(self, act: nn.Module, ladders: torch.Tensor, roles: Sequence[Any]) -> None:
        super().__init__()
        self.act, self.noise, self.time = act, roles.index("noise"), roles.index("time")
        self.register_buffer("ladders", ladders, persistent=False)

    def forward(self, *inputs: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return (chunk, chunk_normalised) at the end of the ladder."""
        given, z = list(inputs), inputs[self.noise]
        rows = self.ladders[inputs[self.time][:, 0].long()]  # (B, nfe, E)
        for k in range(rows.shape[1]):
            given[self.noise], given[self.time] = z, rows[:, k]
            chunk, z = self.act(*given)
        return chunk, z


class SampledAct(nn.Module):
    """A module with act's inputs and outputs whose whole chunk comes from `Sampling.sample`.

    For evaluating in torch what has no deployed form; the time row is ignored.
    """

    def __init__(self, network: PolicyNetwork, method: Sampling, nfe: int) -> None:
        super().__init__()
        self.network, self.method, self.nfe = network, method, nfe
        self.first = network.spec.start_index * network.spec.action_dim

    def forward(
        self,
        features: torch.Tensor,
        z: torch.Tensor,
        time_row: torch.Tensor,
        *told: torch.Tensor,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return (chunk, chunk_normalised) after `nfe` evaluations from noise z."""
        prefix = Prefix.of(*told) if told else None
        chunk = self.method.sample(self.network, features, z, self.nfe, prefix)
        return self.network.actions.back(chunk)[:, self.first :], chunk
