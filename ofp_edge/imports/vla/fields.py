"""A VLA checkpoint's inputs as fields of ours: cameras by name, states end to end, a text.

A camera of the checkpoint that training masked, LeRobot's `empty_camera_0` and so on, changes
nothing of the others and is left out of the network. Any other must be there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ofp_edge.camera_parameters import CameraParameters
from ofp_edge.errors import PolicyError, SpecMismatch
from ofp_edge.fields import Rgb, State, Text
from ofp_edge.imports.fields import Feature, Fields, Times, Wanted, spread
from ofp_edge.imports.spec_file import read_spec_file
from ofp_edge.spec import ActionField, ObservationField, PolicySpec

TASK = "task"
_IMAGES, _MASKED = "observation.images.", ".empty_camera_"


@dataclass(frozen=True)
class Told:
    """What only the user knows of a VLA: its instructions, tokenizer, and the VLM's config.json."""

    instructions: tuple[str, ...] = ()
    tokenizer: Path | None = None
    vlm: Path | None = None

    @property
    def anything(self) -> bool:
        """Return whether the user said anything."""
        return self != Told()


@dataclass(frozen=True)
class Bound:
    """The fields, and the checkpoint's cameras that none of them is."""

    fields: Fields
    missing: tuple[str, ...]
    instructions: tuple[str, ...]


def bind_vla(
    wanted: Wanted,
    told: Told,
    features: Sequence[Feature],
    action: Feature,
    times: Times,
    renamed: Mapping[str, str],
) -> Bound:
    """Return fields for features. renamed: a robot's own name of a feature, by the checkpoint's.

    Raises PolicyError, SpecMismatch.
    """
    observations, actions, cameras, control_hz, task, tasks = _given(wanted)
    pictures = [x for x in observations if isinstance(x, Rgb)]
    states = [x for x in observations if isinstance(x, State)]
    texts = [x for x in observations if isinstance(x, Text)]
    if others := [x.name for x in observations if not isinstance(x, (Rgb, State, Text))]:
        raise SpecMismatch("observations of the checkpoint", "images, state and text", others[0])
    seen = [x for x in features if x.image]
    told_state = [x for x in features if not x.image]
    by_feature = _cameras(pictures, seen, renamed)
    size = sum(x.shape[0] for x in states)
    if len(told_state) != 1 or (size,) != told_state[0].shape:
        expected = [x.shape[0] for x in told_state]
        raise SpecMismatch("length of all state fields together", expected, size)
    text = _text(texts, told, tasks)
    statistics, modes = spread(states, told_state)
    action_statistics, action_modes = spread(actions, [action])
    for feature, field in by_feature.items():
        modes[field.name] = feature.mode
        statistics[field.name] = feature.statistics
    spec = PolicySpec(
        (*by_feature.values(), *states, text), tuple(actions), times.n_obs_steps, times.horizon,
        times.n_action_steps, control_hz, times.start_index,
    )  # fmt: skip
    lacking = sorted(set(spec.cameras) - set(cameras))
    if lacking:
        raise PolicyError(f"cameras: the parameters of {lacking[0]!r} are missing.")
    fields = Fields(
        spec, {name: cameras[name] for name in spec.cameras}, task,
        {**statistics, **action_statistics}, {**modes, **action_modes},
    )  # fmt: skip
    missing = tuple(x.key for x in seen if x not in by_feature)
    if trained := [x for x in missing if _MASKED not in x]:
        raise SpecMismatch(
            "cameras of the checkpoint",
            f"a picture that is {trained[0]!r}, which it was trained with",
            [x.name for x in pictures],
            f"Only what training masked, {_MASKED.strip('.')}…, may be missing.",
        )
    return Bound(fields, missing, text.choices)


def _given(
    wanted: Wanted,
) -> tuple[
    Sequence[ObservationField], Sequence[ActionField], Mapping[str, CameraParameters], float,
    str | None, tuple[str, ...],
]:  # fmt: skip
    """Observations, actions, cameras, rate, the one task, and all that episodes were asked for."""
    if wanted.spec is not None and wanted.dataset is None and wanted.control_hz is None:
        given = read_spec_file(wanted.spec)
        spec = given.spec
        return (
            spec.observations, spec.actions, given.cameras, spec.control_hz, given.task,
            (given.task,) if given.task else (),
        )  # fmt: skip
    if wanted.dataset is not None and wanted.spec is None and wanted.control_hz is None:
        from ofp_edge.data.open import open_dataset

        found = open_dataset(wanted.dataset)
        interface = found.interface
        asked = dict.fromkeys(x for x in (found.task, *found.tasks) if x)
        return (
            interface.observations, interface.actions, found.cameras, found.control_hz, found.task,
            tuple(asked),
        )  # fmt: skip
    raise PolicyError(
        "the checkpoint sees images, and knows no units, no cameras and no rate: give one of "
        "--dataset, --spec."
    )


def _cameras(
    pictures: Sequence[Rgb], seen: Sequence[Feature], renamed: Mapping[str, str]
) -> dict[Feature, Rgb]:
    """Each bound feature's field, in the checkpoint's order. SpecMismatch for one left over."""
    names = {
        x: {
            key.removeprefix(_IMAGES).rpartition(".")[2]
            for key in (x.key, renamed.get(x.key, x.key))
        }
        for x in seen
    }
    found: dict[Feature, Rgb] = {}
    for feature in seen:
        for field in pictures:
            own = {field.name, field.name.removeprefix("rgb_"), field.camera}
            if names[feature] & own and field not in found.values():
                found[feature] = field
                break
    left = [x for x in pictures if x not in found.values()]
    free = [x for x in seen if x not in found and _MASKED not in x.key]
    if len(left) == 1 and len(free) == 1:
        found[free[0]] = left.pop()
    if left or not found:
        raise SpecMismatch(
            "cameras of the checkpoint (name each field, or its camera, as the checkpoint does)",
            [x.name for x in seen],
            [x.name for x in pictures],
        )
    return {x: found[x] for x in seen if x in found}


def _text(texts: Sequence[Text], told: Told, tasks: tuple[str, ...]) -> Text:
    if len(texts) > 1:
        raise SpecMismatch("text fields", "one", [x.name for x in texts])
    if texts and told.instructions:
        return replace(texts[0], choices=told.instructions)
    if texts:
        return texts[0]
    choices = told.instructions or tasks
    if not choices:
        raise PolicyError(
            "which instructions is it to take? Give --instruction TEXT, once or more, or a dataset "
            "that has its tasks."
        )
    return Text(TASK, choices=choices)
