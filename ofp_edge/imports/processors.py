"""LeRobot's processor files: the one step that normalises, and no step that does anything else.

A step that names a Python class would import it: refused, as is any step that is not listed here
and any setting of theirs that is not read.
"""

from __future__ import annotations

from pathlib import Path

from torch import Tensor

from ofp_edge.errors import PolicyError
from ofp_edge.imports.spec_file import small_json
from ofp_edge.imports.values import Values, numbers
from ofp_edge.policy.weights import read_tensors
from ofp_edge.strict import shown

Statistics = dict[str, tuple[float, ...]]
_STEPS = {
    "rename_observations_processor", "to_batch_processor", "device_processor",
    "normalizer_processor", "unnormalizer_processor",
}  # fmt: skip
_EPS = 1e-8
_PLACES = ("device", "dtype")  # where it computed, which is another machine here


def read_processor(
    path: Path, features: dict[str, str]
) -> tuple[dict[str, str], dict[str, Statistics]]:
    """The modes by feature type and the statistics by feature, of the one (un)normalising step.

    features: the types by name that it must know: it leaves others as they are. PolicyError.
    """
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
        if name not in _STEPS:
            raise PolicyError(
                f"{path}: step {shown(name)} can't be imported. Known: {sorted(_STEPS)}."
            )
        options = Values(entry.get("config", {}), f"{entry.what}, {name}")
        if options.get("rename_map"):
            raise PolicyError(f"{path}: a step renames observations: save it without.")
        if name.endswith("normalizer_processor"):
            found.append((options, str(entry.get("state_file", ""))))
        else:
            if options.get("float_dtype") not in (None, "float32"):
                options.require("float_dtype", "float32")
            options.require_all_read(_PLACES)
        entry.require_all_read()
    whole.require_all_read()
    if len(found) != 1:
        raise PolicyError(f"{path}: expected one step that normalises, got {len(found)}.")
    options, file = found[0]
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
