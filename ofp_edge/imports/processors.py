"""LeRobot's processor files: the one step that normalises, and no step that does anything else.

A step that names a Python class would import it: refused, as is any step that is not listed here
and any setting of theirs that is not read.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from ofp_edge.errors import PolicyError
from ofp_edge.imports.fields import Feature
from ofp_edge.imports.spec_file import small_json
from ofp_edge.imports.values import Values, numbers
from ofp_edge.normalize import FieldStatistics
from ofp_edge.policy.weights import read_tensors
from ofp_edge.strict import shown

Statistics = dict[str, tuple[float, ...]]
_STEPS = {
    "rename_observations_processor", "to_batch_processor", "device_processor",
    "normalizer_processor", "unnormalizer_processor",
}  # fmt: skip
MODES = {
    "MEAN_STD": "mean_std", "MIN_MAX": "min_max", "QUANTILES": "quantiles",
    "QUANTILE10": "quantiles", "IDENTITY": "identity",
}  # fmt: skip
_ENDS = {"QUANTILES": ("q01", "q99"), "QUANTILE10": ("q10", "q90")}
_EPS = 1e-8
_PLACES = ("device", "dtype")  # where it computed, which is another machine here


@dataclass(frozen=True)
class Step:
    """One step of a processor file: its registered name, its settings, its file of statistics."""

    name: str
    options: Values
    state_file: str


def read_steps(path: Path, known: Collection[str]) -> list[Step]:
    """The steps of a processor file, in their order. PolicyError where one is not in `known`."""
    whole = Values(small_json(path), str(path))
    whole.get("name")
    found = []
    for entry in whole.entries("steps"):
        if "class" in entry.value:
            raise PolicyError(
                f"{path}: a step names the class {shown(entry['class'])}, which would be "
                "imported and run: refused. Only LeRobot's registered steps are read."
            )
        name = entry.text("registry_name")
        if name not in known:
            raise PolicyError(
                f"{path}: step {shown(name)} can't be imported. Known: {sorted(known)}."
            )
        options = Values(entry.get("config", {}), f"{entry.what}, {name}")
        found.append(Step(name, options, str(entry.get("state_file", ""))))
        entry.require_all_read()
    whole.require_all_read()
    return found


def require_plain_step(step: Step) -> None:
    """PolicyError unless a step that only moves values does nothing else."""
    if step.options.get("float_dtype") not in (None, "float32"):
        step.options.require("float_dtype", "float32")
    step.options.require_all_read(_PLACES)


def normalisation(
    path: Path, steps: Sequence[Step], features: dict[str, str]
) -> tuple[dict[str, str], dict[str, Statistics]]:
    """The modes by feature type and the statistics by feature, of the one (un)normalising step.

    features: the types by name that it must know: it leaves others as they are. PolicyError.
    """
    found = [step for step in steps if step.name.endswith("normalizer_processor")]
    if len(found) != 1:
        raise PolicyError(f"{path}: expected one step that normalises, got {len(found)}.")
    options, file = found[0].options, found[0].state_file
    if options["eps"] != _EPS or options.get("normalize_observation_keys"):
        raise PolicyError(f"{path}: its normaliser has options of its own that are not read.")
    modes = options.texts("norm_map")
    _require_features(options, features)
    options.require_all_read(_PLACES)
    plain = file.isprintable() and 0 < len(file) < 200 and "/" not in file
    if not plain or not (path.parent / file).exists():
        got = shown(file) if file else "no state_file"
        raise PolicyError(f"{path}: the statistics of its normaliser are missing ({got}).")
    statistics: dict[str, Statistics] = {}
    for key, tensor in read_tensors(path.parent / file).items():
        feature, _, name = key.rpartition(".")
        statistics.setdefault(feature, {})[name] = finite_numbers(tensor)
    return modes, statistics


def read_processor(
    path: Path, features: dict[str, str]
) -> tuple[dict[str, str], dict[str, Statistics]]:
    """What `normalisation` says of a file whose other steps do nothing. PolicyError."""
    steps = read_steps(path, _STEPS)
    for step in steps:
        if step.options.get("rename_map"):
            raise PolicyError(f"{path}: a step renames observations: save it without.")
        if not step.name.endswith("normalizer_processor"):
            require_plain_step(step)
    return normalisation(path, steps, features)


def feature_of(
    name: str, kind: str, shape: tuple[int, ...], mode: str, known: Mapping[str, Sequence[float]]
) -> Feature:
    """A feature with the statistics that LeRobot's `mode` needs. PolicyError where they are not
    there, or the mode is unknown. The low and high quantiles become low and high."""
    if mode not in MODES:
        raise PolicyError(f"normalisation {shown(mode)} of {shown(name)} is unknown.")
    known = dict(known)
    if mode in _ENDS:
        known["min"], known["max"] = (known.get(x, ()) for x in _ENDS[mode])
    found = _statistics(known, MODES[mode], shape[0])
    if found is None:
        raise PolicyError(
            f"the statistics of {shown(name)} that {mode} needs are missing. Save the policy with "
            "its dataset's statistics."
        )
    return Feature(name, kind == "VISUAL", shape, found, MODES[mode])


def _statistics(
    values: Mapping[str, Sequence[float]], mode: str, size: int
) -> FieldStatistics | None:
    """Statistics as ours; None where those that `mode` needs are missing or not finite. Others that
    are missing follow from these."""
    needs = {"mean_std": ("mean", "std"), "identity": ()}.get(mode, ("min", "max"))
    if any(len(values.get(name, ())) != size for name in needs):
        return None
    values = {name: x for name, x in values.items() if len(x) == size or name == "count"}
    mean, std = values.get("mean"), values.get("std")
    low, high = values.get("min"), values.get("max")
    if mean is None or std is None:
        ends = zip(low or (-1.0,) * size, high or (1.0,) * size, strict=True)
        middle = [((a + b) / 2, (b - a) / 2) for a, b in ends]
        mean, std = [m for m, _ in middle], [s for _, s in middle]
    if low is None or high is None:
        low = [m - s for m, s in zip(mean, std, strict=True)]
        high = [m + s for m, s in zip(mean, std, strict=True)]
    count = int((values.get("count") or (0,))[0])
    return FieldStatistics(tuple(low), tuple(high), tuple(mean), tuple(std), count)


def finite_numbers(tensor: Tensor) -> tuple[float, ...]:
    """Its finite numbers; none where it holds others, as those of a policy that was not trained
    do, or is too large for statistics."""
    try:
        return numbers(tensor, "statistics")
    except PolicyError:
        return ()


def _require_features(options: Values, features: dict[str, str]) -> None:
    known = Values(options["features"], f"{options.what}, features")
    for name, kind in features.items():
        got = Values(known[name], f"{known.what}.{shown(name)[1:-1]}").text("type")
        if got != kind:
            raise PolicyError(
                f"{known.what}: {shown(name)} is of type {shown(got)} there and {shown(kind)} in "
                "config.json: which of the normalisations is its own?"
            )
