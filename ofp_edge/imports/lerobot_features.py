"""The inputs and outputs of a LeRobot policy, and how each is normalised.

Every value is the file's own, never a default: those have changed between versions. Normalisation
is in processor files (processors.py), or, in older checkpoints, in buffers among the weights.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from torch import Tensor

from ofp_edge.errors import PolicyError
from ofp_edge.imports.fields import Feature
from ofp_edge.imports.processors import Statistics, feature_of, finite_numbers, read_processor
from ofp_edge.imports.values import Values
from ofp_edge.strict import shown

STATE, VISUAL, ENVIRONMENT = "STATE", "VISUAL", "ENV"
NORMALIZATION = ("normalize_inputs.", "normalize_targets.", "unnormalize_outputs.")
"""How the buffers of older checkpoints begin; those of targets are for training's loss."""
PROCESSORS = {"observations": "policy_preprocessor.json", "actions": "policy_postprocessor.json"}
# What training, its hardware and the hub were told: nothing of it is there when a chunk is made.
NO_EFFECT = (
    "device", "use_amp", "push_to_hub", "repo_id", "private", "tags", "license",
    "pretrained_path", "pretrained_revision", "pretrained_backbone_weights",
    "optimizer_lr", "optimizer_weight_decay",
    "normalization_mapping",  # read where there is no processor, which has its own
)  # fmt: skip


@dataclass(frozen=True)
class Features:
    """The inputs, by type in the order of the network and by name in the file's, and the action."""

    inputs: list[Feature]
    action: Feature
    types: dict[str, str]

    def sizes(self, kind: str) -> list[tuple[int, ...]]:
        """Return the shapes of the inputs of a type."""
        return [x.shape for x in self.inputs if self.types[x.key] == kind]


def read_features(
    folder: Path, config: Values, tensors: Mapping[str, Tensor], order: Sequence[str]
) -> Features:
    """Read them from config.json and the processors, or the weights. order: of the types of the
    network's inputs. Raises PolicyError.
    """
    sources = {name: folder / file for name, file in PROCESSORS.items()}
    modern = any(path.exists() for path in sources.values())
    found: list[tuple[str, Feature]] = []
    for group, key in (("observations", "input_features"), ("actions", "output_features")):
        listed = Values(config[key], f"{config.what}, {key}")
        entries = {
            name: Values(item, f"{listed.what}.{name}") for name, item in listed.value.items()
        }
        if modern:
            types = {name: entry.text("type") for name, entry in entries.items()}
            norm_map, statistics = read_processor(sources[group], types)
        else:
            norm_map = config.texts("normalization_mapping")
            statistics = _legacy(
                tensors, "normalize_inputs" if group == "observations" else "unnormalize_outputs"
            )
        for name, entry in entries.items():
            kind, shape = entry.text("type"), entry.wholes("shape")
            entry.require_all_read()
            mode = norm_map.get(kind, "IDENTITY")
            known = statistics.get(name if modern else name.replace(".", "_"), {})
            try:
                feature = feature_of(name, kind, shape, mode, known)
            except PolicyError as cause:
                raise PolicyError(f"{folder}: {cause}") from None
            if not modern and mode == "MIN_MAX":
                feature = replace(feature, mode="min_max_eps")
            found.append((kind, feature))
    if unknown := [kind for kind, _ in found if kind not in (*order, "ACTION")]:
        raise PolicyError(
            f"{config.what}: a feature of type {shown(unknown[0])} can't be imported."
        )
    actions = [feature for kind, feature in found if kind == "ACTION"]
    if len(actions) != 1:
        raise PolicyError(f"{config.what}: expected one action, got {len(actions)}.")
    inputs = [f for kind in order for k, f in found if k == kind]
    return Features(inputs, actions[0], {f.key: kind for kind, f in found})


def _legacy(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Statistics]:
    """Buffers `<prefix>.buffer_<feature>.<statistic>`, the feature's dots as underscores."""
    statistics: dict[str, Statistics] = {}
    start = f"{prefix}.buffer_"
    for key, tensor in tensors.items():
        if key.startswith(start):
            feature, _, name = key[len(start) :].rpartition(".")
            statistics.setdefault(feature, {})[name] = finite_numbers(tensor)
    return statistics
