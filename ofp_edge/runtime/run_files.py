"""What a run is asked for, and its files, checked against each other; nothing is opened."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from ofp_edge.bundle import Bundle, open_bundle
from ofp_edge.errors import RigError
from ofp_edge.fields.text import told
from ofp_edge.rig.file import Rig, read_rig
from ofp_edge.runtime.control.controller import Controller
from ofp_edge.runtime.control.refining import RefineBudget
from ofp_edge.runtime.infer.engine_choice import EngineChoice, choose_engine
from ofp_edge.runtime.infer.inference import Inference
from ofp_edge.runtime.infer.load import load_inference
from ofp_edge.runtime.infer.sampler import Nfe
from ofp_edge.runtime.log.series import DEFAULT_MB
from ofp_edge.runtime.safety.layer import SafetyLayer
from ofp_edge.spec import PolicySpec
from ofp_edge.start import Start

if TYPE_CHECKING:
    from ofp_edge.runtime.openpi.line import PolicyAddress


@dataclass(frozen=True)
class Request:
    """The user's request. robot: a driver in place of the rig's own, built without options. start:
    gives the run's start from the bundle's. committed: whether a policy that can be told what is
    committed is told. policy_server: what computes in place of an engine; `bundle` is then the
    policy's description."""

    bundle: Path
    rig: Path
    engine: str | None = None
    precision: str | None = None
    threads: int | None = None
    seed: int = 0
    nfe: Nfe | None = None
    guard: int = 1
    robot: str | None = None
    log: Path | None = None
    log_limit_mb: int = DEFAULT_MB
    record_calibration: Path | None = None
    instruction: str | None = None
    start: Callable[[Start], Start] = lambda own: own
    committed: bool = True
    policy_server: PolicyAddress | None = None


@dataclass(frozen=True)
class RunFiles:
    """The files of a run, read and checked against each other; nothing is started yet."""

    request: Request
    bundle: Bundle
    rig: Rig
    choice: EngineChoice
    load: Callable[..., Inference] = load_inference

    @property
    def committed(self) -> bool:
        """Return whether plans are told what is committed: trained so, and not asked otherwise."""
        return self.request.committed and self.bundle.manifest.committed is not None


def read_run(request: Request) -> RunFiles:
    """Read the bundle and the rig, once. Raises OfpError (one line) when they do not fit."""
    remote = None
    if request.policy_server is not None:
        from ofp_edge.runtime.openpi.described import read_description
        from ofp_edge.runtime.openpi.remote import RemotePolicy

        remote = RemotePolicy(read_description(request.bundle), request.policy_server)
    bundle = open_bundle(request.bundle) if remote is None else remote.bundle
    rig = read_rig(request.rig)
    if request.instruction is not None:
        rig = replace(rig, instruction=request.instruction)
    told(bundle.spec.observations, rig.instruction)  # what is no instruction is refused here
    if rig.instruction_socket is not None and rig.instruction is None:
        raise RigError(f"{rig.path}: instruction_socket: the policy takes no instruction.")
    if remote is None:
        load: Callable[..., Inference] = load_inference
        choice = choose_engine(bundle, rig, request.engine, request.precision, request.threads)
    else:
        load = remote.loader(rig)
        choice = remote.choice(request.engine, request.precision, request.threads)
    rig.require_fits(bundle.spec)
    make_controller(bundle.spec, rig, None)  # what no schedule can meet is refused here
    return RunFiles(request, bundle, rig, choice, load)


def make_controller(
    spec: PolicySpec, rig: Rig, refine_first_ns: int | None, *, committed: bool = False,
    foresees: bool = False,
) -> Controller:  # fmt: skip
    """Build a rig's state machine. refine_first_ns: for --nfe auto, the slowest evaluation yet.
    committed, foresees: see Controller."""
    return Controller(
        spec,
        round(rig.timing.latency_ms * 1e6),
        round(rig.timing.max_plan_age_ms * 1e6),
        cold_latency_ns=round(rig.timing.cold_ms * 1e6),
        delay_ns=rig.timing.delay_ns,
        fade_steps=rig.timing.fade_steps(spec, committed=committed),
        safety=SafetyLayer(spec, rig.safety),
        refine=None if refine_first_ns is None else RefineBudget(refine_first_ns),
        committed=committed,
        foresees=foresees,
    )
