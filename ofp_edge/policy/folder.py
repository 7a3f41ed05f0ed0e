"""The policy folder: config.json, model.safetensors (evaluation weights), statistics.json.

config.json names the hashes of the other two, which are checked before they are opened.
A policy that came as a program has that file too, and no weights in model.safetensors.
quantize adds quantization.json and calibration.npz (where asked for, sensitivity.json, its page and
gate.json); tune adds tuning.json, what it measured;
training adds validation.json and best/ (the policy of lowest validation loss, a folder like this
one), and training/ while it is unfinished.
Nothing is ever pickled.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save
from torch import Tensor

from ofp_edge.errors import PolicyError, SpecMismatch
from ofp_edge.files import put_back, sha256_file, write_json
from ofp_edge.normalize import FieldStatistics, statistics_from_json, statistics_to_json
from ofp_edge.outside import open_plain, require_memory, require_plain, said_by
from ofp_edge.policy.build import build_network
from ofp_edge.policy.config import PolicyConfig
from ofp_edge.policy.imported.config import ProgramConfig
from ofp_edge.policy.network import PolicyNetwork
from ofp_edge.strict import read_json_file, shown

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
    config = read_config(path)
    check_files(path, config)
    try:
        statistics = statistics_from_json(own_json(path, STATISTICS))
    except SpecMismatch as cause:
        raise PolicyError(f"{path / STATISTICS}: {cause}") from None
    # A cloud (3, N) has three statistics, one an axis: as many as its first dimension.
    sizes = {f.name: f.shape[0] for f in config.spec.observations}
    sizes.update({f.name: f.shape[0] for f in config.spec.actions})
    for name, size in sizes.items():
        if name not in statistics or len(statistics[name].low) != size:
            raise PolicyError(f"{path / STATISTICS}: {name!r} is missing or not {size} long.")
    if isinstance(config.network, ProgramConfig):  # it brings its weights along
        return Policy(config, build_network(config, statistics, path).eval(), statistics)
    with said_by(f"{path / CONFIG}: no network can be built from it", PolicyError):
        with torch.device("meta"):  # its shapes alone: they may be absurd
            shapes = build_network(config, statistics).state_dict()
        require_shapes(shapes, read_shapes(path / MODEL, inside=path), str(path / MODEL))
        network = build_network(config, statistics)
    load_weights(network, path / MODEL)
    return Policy(config, network.eval(), statistics)


def own_json(path: Path, name: str) -> Any:
    """A JSON file of a policy folder, which no link may lead out of. PolicyError."""
    return read_json_file(path / name, PolicyError, inside=path)


def read_config(path: Path) -> PolicyConfig:
    """config.json of a policy folder. PolicyError, with the file's place."""
    try:
        return PolicyConfig.from_json(own_json(path, CONFIG))
    except PolicyError as cause:
        where = "" if str(path) in str(cause) else f"{path}: "
        raise PolicyError(f"{where}{cause}") from None


def check_files(path: Path, config: PolicyConfig) -> None:
    """Raise PolicyError where a file is not the one that config.json names, before it is opened."""
    for name, wanted in config.files.items():
        got = sha256_file(require_plain(path / name, PolicyError, inside=path))
        if got != wanted:
            raise PolicyError(
                f"{path / name} is damaged or was changed: its SHA-256 is {got[:12]}…, {CONFIG} "
                f"names {wanted[:12]}…. Copy the policy again."
            )


def policy_files(config: PolicyConfig) -> tuple[str, ...]:
    """Every file that a policy with this configuration consists of."""
    network = config.network
    if not isinstance(network, ProgramConfig):
        return CONFIG, MODEL, STATISTICS
    own = (network.program, *([network.encoder] if network.encoder else []))
    return (CONFIG, MODEL, STATISTICS, *(x.file for x in own))


def load_weights(network: PolicyNetwork, path: Path) -> None:
    """Fill a network from a safetensors file; PolicyError names the first tensor that differs."""
    fill_network(network, read_tensors(path, inside=path.parent), str(path))


def read_tensors(path: Path, *, inside: Path | None = None) -> dict[str, Tensor]:
    """What a safetensors file holds. PolicyError. inside: see `open_plain`."""
    with open_plain(path, PolicyError, inside=inside) as file:
        require_memory(os.fstat(file.fileno()).st_size, str(path), PolicyError)
    with said_by(f"{path} is damaged", PolicyError):
        return load_file(path)


def read_shapes(path: Path, *, inside: Path | None = None) -> dict[str, tuple[int, ...]]:
    """The shapes alone, from the head of the file. PolicyError."""
    with open_plain(path, PolicyError, inside=inside), said_by(f"{path} is damaged", PolicyError):
        with safe_open(path, framework="pt") as found:
            return {name: tuple(found.get_slice(name).get_shape()) for name in found.keys()}


def require_shapes(
    expected: Mapping[str, Tensor], got: Mapping[str, tuple[int, ...]], what: str
) -> None:
    """Raise PolicyError at the first tensor of `what` that differs."""
    for name in sorted(set(expected) ^ set(got)):
        problem = "missing" if name in expected else "unknown"
        raise PolicyError(
            f"{what}: tensor {shown(name)} is {problem}: not what its config describes."
        )
    for name, tensor in expected.items():
        if got[name] != tuple(tensor.shape):
            want = tuple(tensor.shape)
            raise PolicyError(f"{what}: tensor {name!r}: expected shape {want}, got {got[name]}.")


def fill_network(network: PolicyNetwork, tensors: Mapping[str, Tensor], what: str) -> None:
    """Copy every tensor into its place; PolicyError names the first of `what` that differs."""
    expected = network.state_dict()
    require_shapes(expected, {name: tuple(x.shape) for name, x in tensors.items()}, what)
    for name, tensor in expected.items():
        if tensors[name].is_floating_point() != tensor.is_floating_point():
            raise PolicyError(
                f"{what}: tensor {name!r}: expected {tensor.dtype}, got {tensors[name].dtype}."
            )
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
    hashes = {name: sha256_file(folder / name) for name in (MODEL, STATISTICS)}
    write_json(folder / CONFIG, replace(policy.config, files=hashes).to_json())
