"""The policy folder: config.json, model.safetensors (evaluation weights), statistics.json.

A policy that came as a program has that file too, and no weights in model.safetensors.
quantize adds quantization.json and calibration.npz (where asked for, sensitivity.json, its page and
gate.json); tune adds tuning.json, what it measured;
training adds validation.json and best/ (the policy of lowest validation loss, a folder like this
one), and training/ while it is unfinished.
Nothing is ever pickled.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from ofp_edge.errors import PolicyError, SpecMismatch
from ofp_edge.files import put_back, read_json, write_json
from ofp_edge.normalize import FieldStatistics, statistics_from_json, statistics_to_json
from ofp_edge.policy.build import build_network
from ofp_edge.policy.config import PolicyConfig
from ofp_edge.policy.imported.config import ProgramConfig
from ofp_edge.policy.network import PolicyNetwork

CONFIG, MODEL, STATISTICS = "config.json", "model.safetensors", "statistics.json"
MARKER = CONFIG


@dataclass
class Policy:
    """A loaded policy; `network` is in evaluation mode and holds the averaged weights."""

    config: PolicyConfig
    network: PolicyNetwork
    statistics: dict[str, FieldStatistics]


def load_policy(path: Path) -> Policy:
    """Read a policy folder. Raises PolicyError when it is missing, damaged or of another schema."""
    put_back(path)
    if not path.is_dir():
        raise PolicyError(f"{path} is not a policy folder.")
    if (path / "manifest.json").exists():
        raise PolicyError(f"{path} is a bundle: give the policy folder that it was compiled from.")
    try:
        config = PolicyConfig.from_json(read_json(path / CONFIG, PolicyError))
        statistics = statistics_from_json(read_json(path / STATISTICS, PolicyError))
    except (PolicyError, SpecMismatch) as cause:
        where = "" if str(path) in str(cause) else f"{path}: "
        raise PolicyError(f"{where}{cause}") from None
    # A cloud (3, N) has three statistics, one an axis: as many as its first dimension.
    sizes = {f.name: f.shape[0] for f in config.spec.observations}
    sizes.update({f.name: f.shape[0] for f in config.spec.actions})
    for name, size in sizes.items():
        if name not in statistics or len(statistics[name].low) != size:
            raise PolicyError(f"{path / STATISTICS}: {name!r} is missing or not {size} long.")
    try:
        network = build_network(config, statistics, path)
    except (RuntimeError, TypeError, ValueError, ZeroDivisionError) as cause:
        raise PolicyError(f"{path / CONFIG}: no network can be built from it: {cause}") from None
    if not isinstance(config.network, ProgramConfig):  # a program brings its weights along
        load_weights(network, path / MODEL)
    return Policy(config, network.eval(), statistics)


def policy_files(config: PolicyConfig) -> tuple[str, ...]:
    """Every file that a policy with this configuration consists of."""
    network = config.network
    if not isinstance(network, ProgramConfig):
        return CONFIG, MODEL, STATISTICS
    own = (network.program, *([network.encoder] if network.encoder else []))
    return (CONFIG, MODEL, STATISTICS, *(x.file for x in own))


def load_weights(network: PolicyNetwork, path: Path) -> None:
    """Fill a network from a safetensors file; PolicyError names the first tensor that differs."""
    fill_network(network, read_tensors(path), str(path))


def read_tensors(path: Path) -> dict[str, Tensor]:
    """What a safetensors file holds. PolicyError."""
    try:
        return load_file(path)
    except (OSError, SafetensorError) as cause:
        raise PolicyError(f"{path} is missing or damaged: {cause}") from None


def fill_network(network: PolicyNetwork, tensors: Mapping[str, Tensor], what: str) -> None:
    """Copy every tensor into its place; PolicyError names the first of `what` that differs."""
    expected = network.state_dict()
    for name in sorted(set(expected) ^ set(tensors)):
        problem = "missing" if name in expected else "unknown"
        raise PolicyError(f"{what}: tensor {name!r} is {problem}: not what its config describes.")
    for name, tensor in expected.items():
        if tensors[name].shape != tensor.shape:
            want, got = tuple(tensor.shape), tuple(tensors[name].shape)
            raise PolicyError(f"{what}: tensor {name!r}: expected shape {want}, got {got}.")
        if not tensors[name].isfinite().all():
            raise PolicyError(f"{what}: tensor {name!r} holds NaN or infinity.")
    network.load_state_dict(tensors)


def save_policy(policy: Policy, folder: Path) -> None:
    """Write the three files into an existing folder (`files.new_folder` makes it appear whole).

    A program's own files are the caller's.
    """
    weights = {}
    if not isinstance(policy.config.network, ProgramConfig):
        weights = {name: x.detach().contiguous() for name, x in policy.network.state_dict().items()}
    (folder / MODEL).write_bytes(save(weights))  # not save_file: a full disk is an OSError here
    write_json(folder / STATISTICS, statistics_to_json(policy.statistics))
    write_json(folder / CONFIG, policy.config.to_json())
