"""The plan of a training run, settled before the first step: new, resumed, or on from a policy."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch

import ofp_edge
from ofp_edge.camera_parameters import CameraTolerance
from ofp_edge.data.alike import require_same_rate
from ofp_edge.data.cache.access import Access
from ofp_edge.data.dataset import SPLIT_RULE, Dataset
from ofp_edge.data.mixture import Mixture
from ofp_edge.data.telling import require_all_trained
from ofp_edge.errors import OfpError, PolicyError
from ofp_edge.fields import Rgb
from ofp_edge.files import check_output, put_back, sha256_file
from ofp_edge.normalize import FieldStatistics
from ofp_edge.policy.config import PolicyConfig, Share, TrainingConfig, TrainingRecord
from ofp_edge.policy.folder import MARKER, Policy, load_policy
from ofp_edge.policy.methods import DEFAULT, build_method, options_of
from ofp_edge.policy.methods.method import Method
from ofp_edge.policy.network import PolicyNetwork
from ofp_edge.policy.presets import preset
from ofp_edge.policy.resnet_weights import load_resnet_weights
from ofp_edge.spec import Chunking, PolicySpec
from ofp_edge.start import Start
from ofp_edge.train.asked import asked_settings, require_same
from ofp_edge.train.choice import chosen_method, method_of
from ofp_edge.train.coding import find_centres, with_codes
from ofp_edge.train.history import History, load_history
from ofp_edge.train.mixed import batches_of
from ofp_edge.train.request import Request
from ofp_edge.train.scene_shift import shown_range, with_shift
from ofp_edge.train.start import opened, require_fits, settings_of, start_of, weights_sha256
from ofp_edge.train.state import FOLDER, TrainState, load_state, new_state


@dataclass
class Plan:
    """A run that is ready to start. `policy.network` is the averaged network of `state`.

    checkpoints: the folder that holds the run while it is unfinished: the output if nothing was
    there, else `unfinished(output)`, so that the old content stays until this run is done. begun:
    whether that folder is this run's already. precision: that the run computes in.
    """

    request: Request
    dataset: Dataset | Mixture
    policy: Policy
    method: Method
    state: TrainState
    checkpoints: Path
    begun: bool = False
    resumed_from: int | None = None
    history: History = field(default_factory=History)
    precision: str = "float32"

    @property
    def settings(self) -> TrainingConfig:
        """The settings that the optimiser has."""
        return self.policy.config.training.settings

    @property
    def first_progress(self) -> float:
        """The progress at which a run starts. Trained weights skip the first half of every
        schedule, where an untrained teacher is kept out and the learning rate is highest."""
        return 0.5 if self.policy.config.training.init_sha256 else 0.0


def unfinished(output: Path) -> Path:
    """Return the folder of a run that will replace `output`, used until it is finished."""
    output = Path(os.path.abspath(output))
    return output.with_name(f"{output.name}.unfinished")


def make_plan(request: Request, access: Access | None = None) -> Plan:
    """Open, check and build a run, its data held as `access` says. A user's mistakes are all raised
    here, before any work."""
    if request.resume and request.init:
        raise OfpError("--resume and --init exclude each other: which weights to start from?")
    if request.rgb_weights and (request.resume or request.init):
        raise OfpError("--rgb-weights starts a new policy: leave it out with --resume and --init.")
    aside = unfinished(request.output)
    put_back(aside)
    if request.resume:
        place = aside if aside.exists() else request.output
        put_back(place)
        if not place.exists():
            raise PolicyError(f"{request.output} does not exist: nothing to resume.")
        saved = load_policy(place)
        require_same(request, saved.config)
        dataset = opened(request, access, saved.config.spec.observations)
        _require_same_data(dataset, saved.config)
        return _resumed(request, dataset, saved, place)
    check_output(request.output, force=request.force, marker=MARKER)
    if aside.exists() and not request.force:
        raise OfpError(
            f"{aside} is an unfinished run for {request.output}: --resume goes on with it, --force "
            "begins anew."
        )
    if request.seed is not None and not 0 <= request.seed < 2**63:
        raise OfpError(f"--seed {request.seed}: expected 0 or more, below 2^63.")
    start = start_of(request) if request.init else None
    if start and request.preset not in (None, start.config.preset):
        raise PolicyError(
            f"{request.init}: its preset is {start.config.preset}, got {request.preset}. "
            "Leave --preset out."
        )
    seen = start.config.spec.observations if start else None
    return _new(request, opened(request, access, seen), start)


def _steps(request: Request, name: str, own: int, start: Policy | None) -> int:
    """A length that the user may choose; a network that is there already has its own."""
    wanted: int | None = getattr(request, name)
    if start is not None and wanted not in (None, own):
        raise PolicyError(
            f"--{name.replace('_', '-')} {wanted}: {request.init} has {own}. Leave --init out, or "
            "the option."
        )
    return own if wanted is None else wanted


def _usual(dataset: Dataset | Mixture) -> str:
    """The preset for what a dataset shows: one that takes images where there are any."""
    images = any(isinstance(f, Rgb) for f in dataset.interface.observations)
    return "rgb" if images else "small"


def _new(request: Request, dataset: Dataset | Mixture, start: Policy | None) -> Plan:
    chosen = settings_of(start) if start else preset(request.preset or _usual(dataset))
    own = start and not request.distill
    method_name = request.method or (start.config.method if start and own else DEFAULT)
    method = chosen_method(request, method_name, chosen, start)
    if request.distill and not method.jumps:
        raise PolicyError(f"--method {method.name}: expected one that jumps: ofp or ofp-plus.")
    if start:
        start = with_codes(start, method, f"--init {request.init}")
    if start and own and (before := method_of(start).predicts) != method.predicts:
        raise PolicyError(
            f"{request.init}: it was trained to predict {before}, of method "
            f"{start.config.method}, got {method.name}, which predicts {method.predicts}. Leave "
            "--init out, or keep the method and what it predicts."
        )
    times = start.config.spec if start else chosen
    chunking = Chunking(
        times.n_obs_steps,
        _steps(request, "horizon", times.horizon, start),
        _steps(request, "n_action_steps", times.n_action_steps, start),
        dataset.control_hz,
        start.config.spec.start_index if start else 0,
    )
    dataset.require_task()
    split = dataset.split()
    interface = dataset.interface
    if start is None and not chosen.told:  # a VLA reads words, the others have a row for each text
        require_all_trained(dataset.of_each(split.train))
    if start:  # a network knows its fields by their order, a dataset by their names
        require_fits(start.config, dataset, f"--init {request.init}")
        require_same_rate(
            start.config.spec.control_hz, dataset.control_hz, f"--init {request.init}"
        )
        interface = start.config.spec.interface
    spec = PolicySpec.of(interface, chunking)
    # Weights mean nothing without the normalisation they were trained with.
    statistics = start.statistics if start else dataset.statistics(split.train)
    settings = asked_settings(request, chosen.training, method, spec)
    seed = 0 if request.seed is None else request.seed
    record = TrainingRecord(
        settings,
        seed,
        0,
        dataset.path.name,
        dataset.sha256,
        SPLIT_RULE,
        split.held_out,
        weights_sha256(request.init) if request.init else None,
        mixture=_shares(dataset),
        versions={
            "ofp-edge": ofp_edge.__version__,
            "torch": torch.__version__,
            "python": platform.python_version(),
        },
    )
    rows, first = chosen.starts(jumps=method.jumps)
    config = PolicyConfig(
        method=method.name,
        method_options=options_of(method),
        preset=chosen.name,
        network=start.config.network
        if start
        else chosen.network.for_spec(spec, request.committed_steps, method.code_count),
        spec=spec,
        task=dataset.task,
        cameras={name: dataset.cameras[name] for name in spec.cameras},
        camera_tolerance=start.config.camera_tolerance if start else CameraTolerance(),
        time_rows=start.config.time_rows if start else rows,
        training=record,
        start=_start_of(method, start.config.start) if start else first,
    )
    config = with_shift(config, dataset.parts)
    if not start:
        statistics = shown_range(statistics, config, dataset.parts)
    network = start.network if start else _seeded_network(config, statistics)
    if start and start.config.network.keeps_encoder:
        network.encoder.requires_grad_(False)
    if request.rgb_weights:
        load_resnet_weights(network, request.rgb_weights)
        digest = sha256_file(request.rgb_weights)
        config = replace(config, training=replace(config.training, rgb_weights_sha256=digest))
    if network.codes is not None:
        find_centres(network, batches_of(dataset, split.train, spec), seed)
    state = new_state(network, config.training.settings, seed)
    aside = unfinished(request.output)
    place = aside if aside.exists() or request.output.exists() else request.output
    return Plan(request, dataset, Policy(config, state.average, statistics), method, state, place)


def _start_of(method: Method, start: Start) -> Start:
    """A cold ladder is for methods that jump: the others take all their steps at every start."""
    return start if method.jumps else replace(start, cold_nfe=None)


def _shares(dataset: Dataset | Mixture) -> tuple[Share, ...]:
    if isinstance(dataset, Dataset):
        return ()
    pairs = zip(dataset.parts, dataset.shares, strict=True)
    return tuple(Share(x.path.name, x.sha256, share, x.split().held_out) for x, share in pairs)


def _resumed(request: Request, dataset: Dataset | Mixture, saved: Policy, place: Path) -> Plan:
    config = with_shift(saved.config, dataset.parts)
    method = build_method(config.method, config.method_options)
    if config.training.init_sha256 and config.network.keeps_encoder:
        saved.network.encoder.requires_grad_(False)
    state = new_state(saved.network, config.training.settings, config.training.seed)
    if config.training.step < config.training.settings.steps:
        if not (place / FOLDER).is_dir():
            raise PolicyError(f"{place} holds no {FOLDER}/: it can't be resumed.")
        load_state(state, place)
    else:
        state.step = config.training.step
    policy = Policy(config, state.average, saved.statistics)
    history = load_history(place)
    return Plan(request, dataset, policy, method, state, place, True, state.step, history)


def _seeded_network(config: PolicyConfig, statistics: dict[str, FieldStatistics]) -> PolicyNetwork:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.training.seed)
        return config.network.begin(config.network.build(config.spec, statistics))


def _require_same_data(dataset: Dataset | Mixture, config: PolicyConfig) -> None:
    record = config.training
    if dataset.sha256 != record.dataset_sha256:
        raise PolicyError(
            f"the run was trained on dataset {record.dataset} (SHA-256 "
            f"{record.dataset_sha256[:12]}…), got {dataset.path} ({dataset.sha256[:12]}…). "
            "Resume with the same data, or start from the weights with --init."
        )
