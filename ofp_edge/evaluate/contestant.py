"""What is evaluated, a policy folder or a bundle, behind the one `Inference` that robots run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ofp_edge.bundle import MANIFEST, TimeRow, open_bundle
from ofp_edge.camera_parameters import CameraParameters, CameraTolerance
from ofp_edge.errors import OfpError, UnknownName
from ofp_edge.files import sha256_folder
from ofp_edge.runtime.guard import check_guard
from ofp_edge.runtime.inference import Inference, load_inference
from ofp_edge.runtime.sampler import Scheme, Step
from ofp_edge.spec import PolicySpec

if TYPE_CHECKING:
    from ofp_edge.policy.deployed import Deployed
    from ofp_edge.policy.folder import Policy

POLICY, BUNDLE = "policy", "bundle"
TORCH = "torch"


@dataclass(frozen=True)
class Choice:
    """How to run it. None takes the artefact's own default.

    nfe: network evaluations a chunk; by default 1, or what its method needs. t_w: time of the warm
    start, 0..1. cold: never start warm. guard: noises that a cold start chooses among.
    """

    nfe: int | None = None
    engine: str | None = None
    precision: str | None = None
    t_w: float | None = None
    cold: bool = False
    guard: int = 1


@dataclass
class Contestant:
    """An opened policy or bundle, ready to act. t_w is None when every start is cold; nfe:
    network evaluations a chunk."""

    kind: str
    sha256: str
    inference: Inference
    cameras: dict[str, CameraParameters]
    tolerance: CameraTolerance
    engine: str
    precision: str
    t_w: float | None
    nfe: int

    @property
    def spec(self) -> PolicySpec:
        """What it sees and does."""
        return self.inference.spec


def open_contestant(path: Path, choice: Choice) -> Contestant:
    """Open a policy folder (config.json) or a bundle (manifest.json).

    Raises OfpError when it is neither, or when `choice` asks for what it can't do.
    """
    if choice.cold and choice.t_w is not None:
        raise OfpError("--cold and --t-w exclude each other.")
    if choice.t_w is not None and not 0 <= choice.t_w < 1:
        raise OfpError(f"--t-w {choice.t_w:g}: expected 0 <= t_w < 1.")
    check_guard(choice.guard)
    if (path / MANIFEST).exists():
        return _open_bundle(path, choice)
    if (path / "config.json").exists():
        return _open_policy(path, choice)
    raise OfpError(
        f"{path} is neither a bundle ({MANIFEST}) nor a policy (config.json). "
        "Give what `ofp-edge train` or `ofp-edge compile` wrote."
    )


def _open_bundle(path: Path, choice: Choice) -> Contestant:
    bundle = open_bundle(path)
    engine, precision = bundle.choose(choice.engine, choice.precision)
    shipped = next((row.t for row in bundle.manifest.time_rows if row.name == "warm"), None)
    if choice.t_w is not None and choice.t_w != shipped:
        raise OfpError(
            f"--t-w {choice.t_w:g}: this bundle was compiled for t_w {shipped:g}. "
            "Evaluate the policy folder instead."
            if shipped is not None
            else "--t-w: this bundle ships no warm start."
        )
    nfe = 1 if choice.nfe is None else choice.nfe
    inference = load_inference(
        bundle, engine, precision, nfe=nfe, warm=not choice.cold, guard=choice.guard
    )
    manifest = bundle.manifest
    t_w = None if choice.cold else shipped
    return Contestant(
        BUNDLE, bundle.sha256, inference, manifest.cameras, manifest.camera_tolerance, engine,
        precision, t_w, nfe,
    )  # fmt: skip


def _open_policy(path: Path, choice: Choice) -> Contestant:
    if choice.engine not in (None, TORCH):
        raise UnknownName("engine of a policy folder", str(choice.engine), [TORCH])
    if choice.nfe is not None and choice.nfe < 1:
        raise OfpError(f"--nfe {choice.nfe}: expected 1 or more.")
    from ofp_edge.extras import require

    require("torch", "train")
    from ofp_edge.policy.deployed import method_of
    from ofp_edge.policy.folder import load_policy

    policy = load_policy(path)
    config, method = policy.config, method_of(policy)
    nfe = method.own_nfe if choice.nfe is None else choice.nfe
    if method.velocity:
        t_w = None if choice.cold else choice.t_w if choice.t_w is not None else config.t_w
        inference, precision = _torch_inference(path, policy, choice, t_w, nfe)
    else:
        t_w = None
        inference, precision = _sampled_inference(policy, choice, nfe), "fp32"
    return Contestant(
        POLICY, sha256_folder(path), inference, config.cameras, config.camera_tolerance, TORCH,
        precision, t_w, nfe,
    )  # fmt: skip


def _sampled_inference(policy: Policy, choice: Choice, nfe: int) -> Inference:
    """For a method whose chunk is no ladder of (t, r) rows: its own `sample`, as one call."""
    from ofp_edge.policy.deployed import SampledAct, method_of, split

    method = method_of(policy)
    if choice.t_w is not None:
        raise OfpError(f"--t-w: method {method.name} starts every chunk from noise.")
    if choice.precision not in (None, "fp32"):
        raise UnknownName("precision of this policy folder", str(choice.precision), ["fp32"])
    deployed = split(policy)
    act = SampledAct(policy.network, method, nfe)
    row = next(row for row in deployed.time_rows if row.name == "cold")
    inference = _inference(deployed, deployed.encode, act, Scheme((Step(row),), None), choice.guard)
    inference.warm_up(1)  # an nfe that the method can't do is told here
    return inference


def _torch_inference(
    path: Path, policy: Policy, choice: Choice, t_w: float | None, nfe: int
) -> tuple[Inference, str]:
    from ofp_edge.policy.deployed import deploy
    from ofp_edge.quantize.plan import read_plan

    deployed = deploy(policy)
    encode: Any = deployed.encode
    act: Any = deployed.act
    plan = read_plan(path)
    known = ["fp32"] if plan is None else ["fp32", plan.precision]
    precision = choice.precision or known[-1]
    if precision not in known:
        raise UnknownName("precision of this policy folder", precision, known)
    if plan is not None and precision != "fp32":
        from ofp_edge.quantize.apply import build_functions

        functions = build_functions(deployed, plan)
        encode, act = functions.encode, functions.act
    return _inference(deployed, encode, act, _ladders(policy, nfe, t_w), choice.guard), precision


def _inference(deployed: Deployed, encode: Any, act: Any, scheme: Scheme, guard: int) -> Inference:
    from ofp_edge.bundle import Tensor
    from ofp_edge.policy.torch_runner import TorchRunner

    spec = deployed.spec
    flat = (1, spec.horizon * spec.action_dim)
    act_inputs = [
        Tensor("features", (1, spec.n_obs_steps * deployed.feature_dim)),
        Tensor("z", flat),
        Tensor("time_row", (1, len(deployed.time_rows[0].row))),
    ]
    return Inference(
        spec,
        TorchRunner(encode, deployed.encode_inputs, [Tensor("feature", (1, deployed.feature_dim))]),
        TorchRunner(act, act_inputs, [Tensor("chunk", flat), Tensor("chunk_normalised", flat)]),
        deployed.time_rows,
        deployed.feature_dim,
        0,
        scheme=scheme,
        guard=guard,
    )


def _ladders(policy: Policy, nfe: int, t_w: float | None) -> Scheme:
    """`nfe` even steps from 0 to 1, and from t_w to 1 after a warm start."""
    from ofp_edge.policy.deployed import time_row
    from ofp_edge.policy.sampler import ladder

    def steps(start: float) -> tuple[Step, ...]:
        times = ladder(nfe, start)
        rows: list[TimeRow] = [
            time_row(policy, f"ladder {t:g}", t, r) for t, r in zip(times, times[1:], strict=False)
        ]
        return tuple(Step(row) for row in rows)

    return Scheme(steps(0.0), None if t_w is None else steps(t_w))
