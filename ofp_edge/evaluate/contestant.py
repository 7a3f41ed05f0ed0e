"""A contestant of an evaluation, a policy folder or a bundle, behind the `Inference` robots run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ofp_edge.bundle import MANIFEST, open_bundle
from ofp_edge.camera_parameters import CameraParameters, CameraTolerance
from ofp_edge.errors import OfpError, PolicyError, UnknownName
from ofp_edge.evaluate.choice import Choice
from ofp_edge.files import sha256_folder
from ofp_edge.runtime.infer.inference import Inference
from ofp_edge.runtime.infer.load import load_inference
from ofp_edge.spec import PolicySpec
from ofp_edge.start import Start, way_of, without_effect

if TYPE_CHECKING:
    from ofp_edge.policy.torch_batch import TorchBatch

POLICY, BUNDLE = "policy", "bundle"
TORCH = "torch"


@dataclass(frozen=True)
class TrainedOn:
    """What is known of the data a contestant was trained on. sha256: of the dataset. held_out: its
    episodes that were kept apart. parts: the same of each dataset of a mixture, by its hash.
    ranges: low and high of each field (D,) in training."""

    sha256: str | None = None
    held_out: tuple[int, ...] | None = None
    parts: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    ranges: Mapping[str, tuple[Sequence[float], Sequence[float]]] = field(default_factory=dict)


@dataclass
class Contestant:
    """An opened policy or bundle, ready to act. t_w is None when every start is cold; nfe:
    network evaluations a chunk. start: its noise, and the evaluations of a cold chunk.

    trained_on: the task of its demonstrations, where that is known. inferences: one for each
    episode that may run at the same time; more than one share `batch`. more_nfe: evaluations a
    chunk to hold `nfe` against; None where it can do no more. training: the data it was trained on.
    warm_step: of start.WARM_STEPS; None where there is one way, or no warm start.
    """

    kind: str
    sha256: str
    inferences: tuple[Inference, ...]
    cameras: dict[str, CameraParameters]
    tolerance: CameraTolerance
    engine: str
    precision: str
    t_w: float | None
    nfe: int
    trained_on: str | None
    batch: TorchBatch | None = None
    more_nfe: int | None = None
    training: TrainedOn = TrainedOn()
    start: Start = Start()
    warm_step: str | None = None

    @property
    def inference(self) -> Inference:
        """Return the first inference."""
        return self.inferences[0]

    @property
    def draws(self) -> bool:
        """Return whether its chunks begin from noise, so that a start can be chosen."""
        return self.inference.draws

    @property
    def own_start(self) -> dict[str, Any] | None:
        """Return its start as plain JSON values; None where it is deterministic."""
        return asdict(self.start) if self.draws else None

    @property
    def spec(self) -> PolicySpec:
        """Return the spec of what it sees and does."""
        return self.inference.spec

    def close(self) -> None:
        """Release the engines."""
        for inference in self.inferences:
            inference.close()


MANY_STEPS = 10
"""Evaluations that a policy's few are held against."""


def open_contestant(path: Path, choice: Choice, *, alone: bool = False) -> Contestant:
    """Open a policy folder (config.json) or a bundle (manifest.json).

    alone: one inference suffices, as no episode runs beside another. Raises OfpError when it is
    neither, or when `choice` asks for what it can't do.
    """
    if (path / MANIFEST).exists():
        return _open_bundle(path, choice)
    if (path / "config.json").exists():
        return _open_policy(path, choice, alone)
    raise OfpError(
        f"{path} is neither a bundle ({MANIFEST}) nor a policy (config.json). "
        "Give what `ofp-edge train` or `ofp-edge compile` wrote."
    )


def _open_bundle(path: Path, choice: Choice) -> Contestant:
    bundle = open_bundle(path)
    if bundle.manifest.deterministic:
        _require_no_times(choice)
    engine, precision = bundle.choose(choice.engine, choice.precision)
    warm = next((row for row in bundle.manifest.time_rows if row.name == "warm"), None)
    shipped = None if warm is None else warm.t
    if choice.t_w is not None and choice.t_w != shipped:
        raise OfpError(
            f"--t-w {choice.t_w:g}: this bundle was compiled for t_w {shipped:g}. "
            "Evaluate the policy folder instead."
            if shipped is not None
            else "--t-w: this bundle ships no warm start."
        )
    own_step = None if warm is None else way_of(warm.t, warm.r)
    if choice.warm_step not in (None, own_step):
        raise OfpError(
            f"--warm-step {choice.warm_step}: this bundle was compiled with {own_step}. "
            "Evaluate the policy folder instead."
            if own_step is not None
            else "--warm-step: this bundle ships no warm start."
        )
    if choice.t_refine is not None:
        raise OfpError("--t-refine: a bundle's is fixed when it is compiled; take --nfe 2.")
    inference = load_inference(
        bundle,
        engine,
        precision,
        nfe="auto" if choice.if_time else choice.nfe,
        start=choice.start(bundle.manifest.start),
        warm=not choice.cold,
        guard=choice.guard,
    )
    manifest = bundle.manifest
    t_w = None if choice.cold else shipped
    held_out = manifest.provenance.get("held_out")
    refines = any(row.name == "refine" for row in manifest.time_rows)
    return Contestant(
        BUNDLE,
        bundle.sha256,
        (inference,),
        manifest.cameras,
        manifest.camera_tolerance,
        engine,
        precision,
        t_w,
        inference.scheme.nfe,
        manifest.provenance.get("task"),
        more_nfe=2 if refines and inference.scheme.nfe == 1 else None,
        training=TrainedOn(
            manifest.provenance.get("dataset_sha256") or None,
            None if held_out is None else tuple(held_out),
            {x["sha256"]: tuple(x["held_out"]) for x in manifest.provenance.get("mixture", ())},
        ),
        start=choice.start(manifest.start),
        warm_step=None if choice.cold else own_step,
    )


def _require_no_times(choice: Choice) -> None:
    """Raise OfpError for an option that a deterministic artefact has no times for."""
    given = {"--t-w": choice.t_w, "--t-refine": choice.t_refine, "--warm-step": choice.warm_step}
    for option, value in given.items():
        if value is not None:
            raise OfpError(without_effect(f"{option} {value}"))
    if choice.if_time:
        raise OfpError(without_effect("--nfe auto"))


def _open_policy(path: Path, choice: Choice, alone: bool) -> Contestant:
    if choice.engine not in (None, TORCH):
        raise UnknownName("engine of a policy folder", str(choice.engine), [TORCH])
    if choice.if_time:
        raise OfpError("--nfe auto: a policy folder always refines or never. Give a bundle.")
    if choice.nfe is not None and choice.nfe < 1:
        raise OfpError(f"--nfe {choice.nfe}: expected 1 or more.")
    from ofp_edge.extras import require

    require("torch", "train")
    from ofp_edge.evaluate.torch_inference import (
        inferences_of,
        predicting,
        sampled,
        stepping,
        walking,
    )
    from ofp_edge.policy.folder import load_policy

    policy = load_policy(path)
    config, method = policy.config, policy.sampling
    if (why := config.network.refusals.get("eval")) is not None:
        raise PolicyError(f"{path} {why}")
    if not method.draws:
        _require_no_times(choice)
        t_w, (acting, precision) = None, predicting(path, policy, choice)
    elif method.velocity:
        t_w = None if choice.cold else choice.t_w if choice.t_w is not None else config.t_w
        acting, precision = stepping(path, policy, choice, t_w)
    elif method.deployable:
        t_w, (acting, precision) = None, walking(path, policy, choice)
    else:
        t_w, precision = None, "fp32"
        acting = sampled(policy, choice)
    inferences, batch = inferences_of(policy, acting, choice.guard, alone=alone)
    record = config.training
    known = record.dataset_sha256 and record.held_out
    return Contestant(
        POLICY,
        sha256_folder(path),
        inferences,
        config.cameras,
        config.camera_tolerance,
        TORCH,
        precision,
        t_w,
        acting.nfe,
        config.task,
        batch,
        MANY_STEPS
        if method.velocity and choice.t_refine is None and acting.nfe < MANY_STEPS
        else None,
        TrainedOn(
            record.dataset_sha256 or None,
            record.held_out if known else None,
            {x.dataset_sha256: x.held_out for x in record.mixture},
            {name: (x.low, x.high) for name, x in policy.statistics.items() if x.count},
        ),
        choice.start(config.start),
        None if t_w is None or not method.jumps else config.warm_step(choice.warm_step),
    )
