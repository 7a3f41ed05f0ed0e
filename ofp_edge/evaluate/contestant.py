"""A contestant of an evaluation, a policy folder or a bundle, behind the `Inference` robots run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ofp_edge.bundle import MANIFEST, open_bundle
from ofp_edge.camera_parameters import CameraParameters, CameraTolerance
from ofp_edge.errors import OfpError, UnknownName
from ofp_edge.evaluate.choice import Choice
from ofp_edge.files import sha256_folder
from ofp_edge.runtime.infer.inference import Inference, load_inference
from ofp_edge.spec import PolicySpec

if TYPE_CHECKING:
    from ofp_edge.policy.torch_batch import TorchBatch

POLICY, BUNDLE = "policy", "bundle"
TORCH = "torch"


@dataclass
class Contestant:
    """An opened policy or bundle, ready to act. t_w is None when every start is cold; nfe:
    network evaluations a chunk.

    trained_on: the task of its demonstrations, where that is known. inferences: one for each
    episode that may run at the same time; more than one share `batch`.
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

    @property
    def inference(self) -> Inference:
        """Return the first inference."""
        return self.inferences[0]

    @property
    def spec(self) -> PolicySpec:
        """Return the spec of what it sees and does."""
        return self.inference.spec

    def close(self) -> None:
        """Release the engines."""
        for inference in self.inferences:
            inference.close()


def open_contestant(path: Path, choice: Choice) -> Contestant:
    """Open a policy folder (config.json) or a bundle (manifest.json).

    Raises OfpError when it is neither, or when `choice` asks for what it can't do.
    """
    if choice.cold and choice.t_w is not None:
        raise OfpError("--cold and --t-w exclude each other.")
    for name, t in (("t_w", choice.t_w), ("t_refine", choice.t_refine)):
        if t is not None and not 0 <= t < 1:
            raise OfpError(f"--{name.replace('_', '-')} {t:g}: expected 0 <= {name} < 1.")
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
    if choice.t_refine is not None:
        raise OfpError("--t-refine: a bundle's is fixed when it is compiled; take --nfe 2.")
    inference = load_inference(
        bundle,
        engine,
        precision,
        nfe="auto" if choice.if_time else choice.nfe,
        warm=not choice.cold,
        guard=choice.guard,
    )
    manifest = bundle.manifest
    t_w = None if choice.cold else shipped
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
    )


def _open_policy(path: Path, choice: Choice) -> Contestant:
    if choice.engine not in (None, TORCH):
        raise UnknownName("engine of a policy folder", str(choice.engine), [TORCH])
    if choice.if_time:
        raise OfpError("--nfe auto: a policy folder always refines or never. Give a bundle.")
    if choice.nfe is not None and choice.nfe < 1:
        raise OfpError(f"--nfe {choice.nfe}: expected 1 or more.")
    from ofp_edge.extras import require

    require("torch", "train")
    from ofp_edge.evaluate.torch_inference import inferences_of, sampled, stepping, walking
    from ofp_edge.policy.folder import load_policy

    policy = load_policy(path)
    config, method = policy.config, policy.sampling
    if method.velocity:
        t_w = None if choice.cold else choice.t_w if choice.t_w is not None else config.t_w
        acting, precision = stepping(path, policy, choice, t_w)
    elif method.deployable:
        t_w, (acting, precision) = None, walking(path, policy, choice)
    else:
        t_w, precision = None, "fp32"
        acting = sampled(policy, choice)
    inferences, batch = inferences_of(policy, acting, choice.guard)
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
    )
