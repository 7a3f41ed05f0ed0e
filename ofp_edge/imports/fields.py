"""Match a checkpoint's inputs to fields of ours, by a spec file, a dataset, or its names alone.

A checkpoint has one state vector, images and perhaps an environment vector, and knows neither units
nor rates. A field goes where its name, or its camera's, says; one that is left over takes the only
place that it fits. Fields of kind state that no name binds are laid end to end until the state
vector is full. Where neither names nor sizes decide, the fields are refused: exchanged cameras look
right.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ofp_edge.camera_parameters import CameraParameters
from ofp_edge.errors import PolicyError, SpecMismatch
from ofp_edge.fields import Rgb, State
from ofp_edge.imports.spec_file import read_spec_file
from ofp_edge.normalize import FieldStatistics, joined
from ofp_edge.spec import ActionField, ObservationField, PolicySpec


@dataclass(frozen=True)
class Feature:
    """An input or output of a checkpoint; its statistics normalise it according to `mode`."""

    key: str
    image: bool
    shape: tuple[int, ...]
    statistics: FieldStatistics
    mode: str

    @property
    def name(self) -> str:
        """The key without its folders: observation.images.top is top."""
        return self.key.rpartition(".")[2]


@dataclass(frozen=True)
class Times:
    """The numbers of steps that the checkpoint states."""

    n_obs_steps: int
    horizon: int
    n_action_steps: int
    start_index: int


@dataclass(frozen=True)
class Wanted:
    """Says which fields the user wants: by a spec file, a dataset, or the rate alone.
    n_action_steps: when the next inference begins, in place of the checkpoint's own number."""

    spec: Path | None = None
    dataset: Path | None = None
    control_hz: float | None = None
    n_action_steps: int | None = None

    def acted(self, own: int) -> int:
        """Return n_action_steps, where the checkpoint states `own`."""
        return own if self.n_action_steps is None else self.n_action_steps


@dataclass(frozen=True)
class Fields:
    """The fields that `resolve` found. statistics, modes: by field of `spec`."""

    spec: PolicySpec
    cameras: dict[str, CameraParameters]
    task: str | None
    statistics: dict[str, FieldStatistics]
    modes: dict[str, str]


def resolve(wanted: Wanted, features: Sequence[Feature], action: Feature, times: Times) -> Fields:
    """Return fields for features in the network's order. Raises PolicyError, SpecMismatch."""
    cameras: dict[str, CameraParameters] = {}
    task, control_hz = None, wanted.control_hz
    if sum(x is not None for x in (wanted.spec, wanted.dataset, wanted.control_hz)) != 1:
        raise PolicyError(
            "a checkpoint knows no units and no rate: give one of --dataset, --spec, --control-hz."
        )
    if wanted.spec is not None:
        given = read_spec_file(wanted.spec)
        observations, actions = given.spec.observations, given.spec.actions
        cameras, task, control_hz = given.cameras, given.task, given.spec.control_hz
        for name in ("n_obs_steps", "horizon", "n_action_steps", "start_index"):
            expected, got = getattr(times, name), getattr(given.spec, name)
            if expected != got:
                raise SpecMismatch(f"{wanted.spec}, {name} (of the checkpoint)", expected, got)
    elif wanted.dataset is not None:
        from ofp_edge.data.open import open_dataset

        dataset = open_dataset(wanted.dataset)
        observations, actions = dataset.interface.observations, dataset.interface.actions
        cameras, task, control_hz = dataset.cameras, dataset.task, dataset.control_hz
    else:
        if any(f.image for f in features):
            raise PolicyError(
                "the checkpoint sees images, and nothing says of which cameras: give --dataset or "
                "--spec."
            )
        observations = tuple(_observation(f) for f in features)
        actions = (_action(action),)
    if wanted.control_hz is None and sum(isinstance(x, State) for x in observations) == 1:
        features = _joined_states(features)
    ordered = _ordered(observations, features)
    statistics, modes = spread(ordered, features)
    action_statistics, action_modes = spread(actions, [action])
    spec = PolicySpec(
        tuple(ordered),
        tuple(actions),
        times.n_obs_steps,
        times.horizon,
        times.n_action_steps,
        control_hz or 0.0,
        times.start_index,
    )
    return Fields(
        spec,
        {name: cameras[name] for name in spec.cameras},
        task,
        {**statistics, **action_statistics},
        {**modes, **action_modes},
    )


def _joined_states(features: Sequence[Feature]) -> Sequence[Feature]:
    """State and environment as one vector where nothing stands between them and both are scaled
    alike: the one field of ours may then lie across."""
    if any(f.image for f in features) or len({f.mode for f in features}) != 1:
        return features
    whole = joined([f.statistics for f in features])
    key = "+".join(f.key for f in features)
    return [Feature(key, False, (len(whole.low),), whole, features[0].mode)]


def _ordered(
    fields: Sequence[ObservationField], features: Sequence[Feature]
) -> list[ObservationField]:
    """The fields in the network's order. SpecMismatch when they do not fill it."""
    if others := [f.name for f in fields if not isinstance(f, (State, Rgb))]:
        raise SpecMismatch("observations of the checkpoint", "state and images", others[0])
    bound = {
        **bind([f for f in fields if isinstance(f, Rgb)], [x for x in features if x.image]),
        **bind([f for f in fields if isinstance(f, State)], [x for x in features if not x.image]),
    }
    for feature in features:
        taken = bound[feature.key]
        size = taken[0].shape if feature.image and taken else (_length(taken),)
        if not taken or size != feature.shape:
            got = [f"{f.name} {f.shape}" for f in taken] or "none left"
            raise SpecMismatch(f"fields for {feature.key}", feature.shape, got)
    ordered = [field for feature in features for field in bound[feature.key]]
    if left := [f.name for f in fields if f not in ordered]:
        raise SpecMismatch("observations of the checkpoint", [f.key for f in features], left)
    return ordered


def bind(
    fields: Sequence[ObservationField], features: Sequence[Feature]
) -> dict[str, list[ObservationField]]:
    """By feature its fields, all images or all states: those of its name, then what no name binds.

    SpecMismatch where several could go to several places.
    """
    found = {x.key: [f for f in fields if _is_named(f, x)][:1] for x in features}
    taken = [f for own in found.values() for f in own]
    rest = [f for f in fields if f not in taken]
    open_ended = [x for x in features if _size(found[x.key]) != math.prod(x.shape)]
    if len(open_ended) > 1 and len(rest) > 1:
        shapes = [f.shape for f in rest]
        if len(set(shapes)) < len(shapes) or sorted(shapes) != sorted(x.shape for x in open_ended):
            raise SpecMismatch(
                "names of the fields (sizes do not tell which is which: name each field, or its "
                "camera, as the checkpoint does)",
                [x.name for x in features],
                [f.name for f in fields],
            )
        return {**found, **{x.key: [f for f in rest if f.shape == x.shape] for x in open_ended}}
    for feature in open_ended:
        while rest and _size(found[feature.key]) < math.prod(feature.shape):
            found[feature.key].append(rest.pop(0))
        found[feature.key].sort(key=list(fields).index)
    return found


def _size(fields: Sequence[ObservationField]) -> int:
    return sum(math.prod(f.shape) for f in fields)


def _is_named(field: ObservationField, feature: Feature) -> bool:
    """Whether a field, or its camera, has a feature's name: rgb_front is front."""
    names = (field.name, field.name.removeprefix("rgb_"), field.camera)
    return feature.name in (names if feature.image else names[:1])


def _length(fields: Sequence[ObservationField]) -> int:
    return sum(f.shape[0] for f in fields)


def spread(
    fields: Sequence[ObservationField] | Sequence[ActionField], features: Sequence[Feature]
) -> tuple[dict[str, FieldStatistics], dict[str, str]]:
    """Each field's part of the features' statistics, which lie end to end as the fields do."""
    statistics: dict[str, FieldStatistics] = {}
    modes: dict[str, str] = {}
    rest = list(features)
    start = 0
    for field in fields:
        feature, size = rest[0], field.shape[0]
        end = start + size
        if end > feature.shape[0]:
            raise SpecMismatch(f"length of {feature.key}", feature.shape[0], end)
        modes[field.name] = feature.mode
        statistics[field.name] = replace(
            feature.statistics,
            **{
                k: getattr(feature.statistics, k)[start:end] for k in ("low", "high", "mean", "std")
            },
        )
        start = end
        if start == feature.shape[0]:
            rest, start = rest[1:], 0
    if rest:
        raise SpecMismatch(f"length of {rest[0].key}", rest[0].shape[0], start)
    return statistics, modes


def _observation(feature: Feature) -> ObservationField:
    low, high = _range(feature.statistics)
    return State(feature.name, feature.shape, "unknown", "unknown", low, high)


def _action(feature: Feature) -> ActionField:
    low, high = _range(feature.statistics)
    size = (feature.shape[0],)
    return ActionField(feature.name, size, "unknown", "unknown", "absolute", 1.0, low, high)


def _range(statistics: FieldStatistics) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """What the training saw, opened where it was one value only."""
    pairs = [
        (a, b) if a < b else (a - 0.5, a + 0.5)
        for a, b in zip(statistics.low, statistics.high, strict=True)
    ]
    return tuple(a for a, _ in pairs), tuple(b for _, b in pairs)
