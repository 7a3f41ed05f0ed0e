"""`compile`: turn a policy into a bundle, with every engine checked against the torch reference."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from ofp_edge import files
from ofp_edge.boards.cpu import Board
from ofp_edge.boards.orin import OrinBoard
from ofp_edge.bundle import MANIFEST, write_manifest
from ofp_edge.errors import CheckFailed, MissingExtra, OfpError, ParityError
from ofp_edge.manifest import Default, Manifest, Prompted
from ofp_edge.policy.deployed import Deployed, deploy
from ofp_edge.policy.folder import Policy, load_policy
from ofp_edge.progress import Progress, silent
from ofp_edge.quantize.functions import Modules, build_functions, in_half
from ofp_edge.quantize.gate import Gate, read_gate
from ofp_edge.quantize.inputs import calibration_windows, synthetic_windows
from ofp_edge.quantize.plan import Plan, read_plan
from ofp_edge.quantize.threads import one_thread
from ofp_edge.runtime.runners import Runner
from ofp_edge.runtime.runners.table import ENGINES
from ofp_edge.start import Start
from ofp_edge.targets.agreement import measure_agreement
from ofp_edge.targets.built import Built, build
from ofp_edge.targets.export import Exported
from ofp_edge.targets.fastest import fastest
from ofp_edge.targets.fit import estimate_for, require_delegated
from ofp_edge.targets.golden import candidates, make_golden
from ofp_edge.targets.leave_out import left_out_pairs
from ofp_edge.targets.limits import half_unfit, limits
from ofp_edge.targets.orin_fit import fit, fit_lines, need_of, require_board
from ofp_edge.targets.provenance import provenance
from ofp_edge.targets.registry import (
    board_for,
    checked_on,
    orin_boards_of,
    require_fit,
    target,
)
from ofp_edge.targets.target import Target
from ofp_edge.targets.tensorrt_graph import check_graphs
from ofp_edge.targets.unsigned import unsigned_integers
from ofp_edge.targets.written import artefacts_of, check_written, write_files

_HALF_FRACTION = 0.02  # of each action's range that rounding to float16 may cost on golden inputs
_SEED = 0  # of golden inputs: fixed, so that equal policies give equal bundles


@dataclass(frozen=True)
class Compiled:
    """The written bundle. parity: worst difference by artefact file and output, in its own units.
    unfit: why an engine of the target can't run this policy at all."""

    manifest: Manifest
    sha256: str
    exported: dict[str, Exported]
    parity: dict[str, dict[str, float]]
    unfit: dict[str, str]


@one_thread()
def compile_policy(
    policy_folder: Path,
    target_name: str,
    output: Path,
    *,
    board_name: str | None = None,
    nfe: int | None = None,
    start: Callable[[Start], Start] | None = None,
    prompt_words: int | None = None,
    leave_out: Sequence[str] = (),
    strict: bool = False,
    force: bool = False,
    progress: Progress = silent,
    say: Callable[[str], None] | None = None,
) -> Compiled:
    """Build, check and write a bundle.

    nfe: network evaluations a chunk, for a policy that takes many; None: its own number. start:
    gives the bundle's start from the policy's; None: the same. prompt_words: the longest prompt
    that the bundle takes; None: as long as the policy's longest.
    An engine that is not installed here is left out: nothing enters a bundle unchecked. leave_out:
    further omissions, each "ENGINE" or "ENGINE:PRECISION".
    strict: an operation that XNNPACK does not take is an error. say: is told a line about each Orin
    before anything is built for one. Raises UnknownName, MissingExtra,
    PolicyError, OutputExists, ParityError (an engine differs from torch by more than the cap),
    OfpError (a recipe that does not fit the target), CheckFailed (a plan whose gate failed, a board
    with too little memory, an operation left out under `strict`).
    """
    chosen = _with_installed_engines(target(target_name))
    board = board_for(target_name, board_name)
    files.check_output(output, force=force, marker=MANIFEST)
    policy, plan = load_policy(policy_folder), read_plan(policy_folder)
    refusals = policy.config.network.refusals
    if (why := refusals.get(target_name)) is not None:
        raise OfpError(f"{policy_folder} {why}")
    unfit = {e: refusals[x] for e in chosen.engines if (x := ENGINES[e].form) in refusals}
    chosen = _without(chosen, unfit)
    gate = _passed_gate(policy_folder) if plan is not None else None
    precisions = _precisions(chosen, plan, policy)
    dropped = left_out_pairs(leave_out, target(target_name), precisions)
    kept = [(e, p) for p in precisions for e in chosen.engines if (e, p) not in dropped]
    if not kept:
        raise OfpError(f"--leave-out leaves no engine that is installed: {chosen.engines}.")
    precisions = [p for p in precisions if p in {precision for _, precision in kept}]
    config = policy.config
    config = replace(config, network=config.network.fitted(policy.network, prompt_words))
    if start is not None:
        config = replace(config, start=start(config.start))
    policy = replace(policy, config=config)
    deployed = deploy(policy, nfe)
    fits = _fits(chosen, board, deployed, precisions[-1], say)
    references: dict[str, Modules] = {"fp32": deployed.modules}
    engines = tuple(e for e in chosen.engines if not ENGINES[e].on_device)
    steps = 3 + len(precisions) * len(deployed.functions) * len(engines)
    progress(0, steps, "golden inputs")
    count = candidates(deployed)
    windows = synthetic_windows(deployed.spec, count, _SEED)
    if plan is not None:
        windows = calibration_windows(policy_folder, deployed.spec, count)
        references[plan.precision] = build_functions(deployed, plan)
    if "fp16" in precisions:
        references["fp16"] = in_half(deployed)
    asked = {*precisions, *(["fp32"] if "fp16" in precisions else [])}  # half is held against it
    golden = make_golden(
        deployed, {p: x for p, x in references.items() if p in asked}, windows, _SEED
    )
    left_out = {f"{e} {p}": "by --leave-out" for e, p in sorted(dropped)}
    if "fp16" in precisions and (why := half_unfit(golden, deployed, _HALF_FRACTION)) is not None:
        if precisions == ["fp16"] or (plan is not None and plan.precision == "fp16"):
            raise ParityError(f"fp16 does not fit this policy: {why}. No bundle was written.")
        left_out["fp16"] = why
        precisions.remove("fp16")
    references = {precision: references[precision] for precision in precisions}
    golden = golden.of(references)
    draft = _draft(chosen, board_name, policy, deployed)
    unsigned = _unsigned(plan) if plan is not None and chosen.unsigned_integers else None
    built: list[Built] = []
    pairs: dict[tuple[str, str], dict[str, Runner]] = {}
    with files.new_folder(output, force=force, marker=MANIFEST) as folder:
        for precision, modules in references.items():
            for engine in engines:
                if (engine, precision) in dropped:
                    continue
                form = unsigned if ENGINES[engine].unsigned_int8 and precision == "int8" else None
                before = pairs.setdefault((engine, precision), {})
                for function in deployed.functions:
                    progress(1 + len(built), steps, f"{function.name} {precision} for {engine}")
                    module = modules[function.name]
                    item = build(
                        draft, engine, precision, function, module, golden, folder, form, before
                    )
                    before[function.name] = item.runner
                    built.append(item)
                    if strict:
                        require_delegated(item.file, item.exported.left_out)
        graphs = None
        for device in (e for e in chosen.engines if ENGINES[e].on_device):
            graphs = check_graphs([b for b in built if b.engine == checked_on(device)])
        agreement = measure_agreement(deployed, references, pairs, windows, _SEED)
        fraction = plan.budget_fraction() / 4 if plan is not None else 0.01
        tolerances = limits(built, golden, deployed, fraction, agreement)
        default = Default(*next(pair for pair in kept if pair[1] == precisions[-1]))
        if chosen.picks_fastest:
            default = fastest({(b.engine, b.precision, b.function): b.runner for b in built})
        default = replace(default, nfe=deployed.own_nfe)
        exported = {b.file: b.exported for b in built}
        estimate = None
        if isinstance(board, Board):
            sizes = [(b.engine, b.precision, b.size) for b in built]
            estimate = estimate_for(board, sizes, references, deployed.functions, default)
        progress(steps - 2, steps, "writing")
        written = write_files(folder, policy_folder, built, golden, deployed, plan)
        manifest = replace(
            draft,
            artefacts=artefacts_of(chosen, built, folder, tolerances, dropped),
            files=written,
            default=default,
            provenance={
                **provenance(policy_folder, policy, plan, deployed, exported),
                "gate": gate.summary() if gate else None,
                "agreement": agreement,
                "left_out": left_out,
                "tensorrt": graphs,
                "estimate": estimate,
                "boards": fits,
            },
        )
        write_manifest(folder, manifest)
        for pair in pairs.values():
            for runner in pair.values():
                runner.close()
        progress(steps - 1, steps, "checking what was written")
        sha256, parity = check_written(folder)
        progress(steps, steps)
    return Compiled(manifest, sha256, exported, parity, unfit)


def _fits(
    chosen: Target, board: Board | OrinBoard | None, deployed: Deployed, precision: str,
    say: Callable[[str], None] | None,
) -> list[dict[str, Any]]:  # fmt: skip
    """Of the board, or of every Orin, what the policy needs and how fast it can be; CheckFailed for
    a board that is too small."""
    boards = orin_boards_of(chosen.name)
    if not boards:
        return []
    need = need_of(deployed, precision, deployed.own_nfe)
    fits = [fit(x, need) for x in boards if board in (None, x)]
    if say is not None:
        for line in fit_lines(fits):
            say(line)
    if isinstance(board, OrinBoard):
        require_board(board, need, boards)
    return fits


def _with_installed_engines(chosen: Target) -> Target:
    """The target without engines that could not be checked here. MissingExtra when none is left."""
    engines = tuple(e for e in chosen.engines if ENGINES[checked_on(e)].installed())
    if not engines:
        first = checked_on(chosen.engines[0])
        raise MissingExtra(ENGINES[first].module, first)
    return replace(chosen, engines=engines)


def _without(chosen: Target, unfit: Mapping[str, str]) -> Target:
    """The target without the engines that a policy's network can't be exported for, each with the
    reason. OfpError when none is left."""
    engines = tuple(e for e in chosen.engines if e not in unfit)
    if not engines:
        why = unfit[chosen.engines[0]]
        raise OfpError(f"target {chosen.name} has no engine here for this policy. {why}")
    return replace(chosen, engines=engines)


def _precisions(chosen: Target, plan: Plan | None, policy: Policy) -> list[str]:
    """Those the bundle will hold; the last one is the best. OfpError when the plan's is unfit."""
    precisions = list(chosen.float_precisions)
    if "fp16" in precisions and policy.config.network.half_on_gpu:
        precisions = ["fp16"]
    if plan is not None:
        require_fit(chosen.name, plan.recipe)
        if plan.precision not in precisions:
            precisions.append(plan.precision)
    return precisions


_MIXED = "Quantise again with --recipe mixed, or a larger --calibration set."
_MENDS = {
    "samples": "Quantise again with more --samples, or a larger --calibration set.",
    "weights": "Train longer, or quantise again with --recipe mixed.",
    "ranges": "Quantise again with --method percentile, entropy or mse, or more --samples.",
    "error": "Quantise again with --recipe mixed, or --method percentile, entropy or mse.",
}
"""What to write where a check of the gate has failed; of the others _MIXED."""


def _passed_gate(folder: Path) -> Gate | None:
    """The plan's gate, if it was run. CheckFailed when it failed."""
    gate = read_gate(folder)
    if gate is not None and not gate.passed:
        check = gate.failed[0]
        mend = _MENDS.get(check.name, _MIXED)
        raise CheckFailed(f"{folder} has failed its gate, {check.name}: {check.says}. {mend}")
    return gate


def _draft(chosen: Target, board_name: str | None, policy: Policy, deployed: Deployed) -> Manifest:
    """The manifest as far as it is known before anything is built."""
    return Manifest(
        target=chosen.name,
        board=board_name,
        spec=deployed.spec,
        cameras=policy.config.cameras,
        camera_tolerance=policy.config.camera_tolerance,
        functions=deployed.functions,
        time_rows=deployed.time_rows,
        artefacts=(),
        files=(),
        default=Default("", ""),
        provenance={},
        start=deployed.start,
        committed=deployed.committed,
        prompt=None if deployed.prompt is None else Prompted(deployed.prompt.first),
        state_bounds=deployed.state_bounds,
    )


def _unsigned(plan: Plan) -> Callable[[bytes], bytes]:
    # The other methods cut values off, and every engine must cut the same.
    return partial(unsigned_integers, relu_from_zero=plan.method == "min-max")
