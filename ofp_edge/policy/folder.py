"""The policy folder: config.json, model.safetensors (evaluation weights), statistics.json.

config.json names the hashes of the other two, which are checked before they are opened. A policy
imported as a program has that file too, and no weights in model.safetensors. quantize adds
quantization.json and calibration.npz (on request also sensitivity.json, its page and gate.json);
tune adds tuning.json with its measurements; training adds validation.json and best/ (the policy of
lowest validation loss, a folder like this one), and training/ while it is unfinished. Nothing is
ever pickled.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ofp_edge.errors import PolicyError, SpecMismatch
from ofp_edge.files import put_back, sha256_file, write_json
from ofp_edge.normalize import FieldStatistics, statistics_from_json, statistics_to_json
from ofp_edge.outside import require_plain
from ofp_edge.policy.config import PolicyConfig
from ofp_edge.policy.methods.method import Sampling
from ofp_edge.policy.network import PolicyNetwork
from ofp_edge.strict import read_json_file

CONFIG, STATISTICS = "config.json", "statistics.json"
BEST = "best"
MARKER = CONFIG


@dataclass
class Policy:
    """A loaded policy; `network` is in evaluation mode and holds the averaged weights."""

    config: PolicyConfig
    network: PolicyNetwork
    statistics: dict[str, FieldStatistics]

    @property
    def sampling(self) -> Sampling:
        """The way chunks are sampled: by the policy's training method, or as it was imported."""
        return self.config.network.sampling(self.config.method, self.config.method_options)

    def widened(self, what: str) -> Policy:
        """Return a policy of many steps as one `ofp` can train. PolicyError, naming `what`."""
        network, module = self.config.network.widened(
            self.network, self.config.method, self.statistics, what
        )
        return Policy(replace(self.config, network=network), module, self.statistics)

    def committing(self, steps: int, what: str) -> Policy:
        """Return it as one that is told committed prefixes of up to `steps`. PolicyError, naming
        `what`."""
        network, module = self.config.network.committing(self.network, steps, self.statistics, what)
        return Policy(replace(self.config, network=network), module, self.statistics)

    def coding(self, count: int, what: str) -> Policy:
        """Return it as one whose jumps choose among `count` codes. PolicyError, naming `what`."""
        network, module = self.config.network.coding(self.network, count, self.statistics, what)
        return Policy(replace(self.config, network=network), module, self.statistics)


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
    # A text has none.
    sizes = {f.name: f.shape[0] for f in config.spec.observations if f.shape}
    sizes.update({f.name: f.shape[0] for f in config.spec.actions})
    for name, size in sizes.items():
        if name not in statistics or len(statistics[name].low) != size:
            raise PolicyError(f"{path / STATISTICS}: {name!r} is missing or not {size} long.")
    network = config.network.load(path, config.spec, statistics)
    return Policy(config, network.eval(), statistics)


def own_json(path: Path, name: str) -> Any:
    """Read a JSON file of a policy folder, which no link may lead out of. Raises PolicyError."""
    return read_json_file(path / name, PolicyError, inside=path)


def read_config(path: Path) -> PolicyConfig:
    """Read config.json of a policy folder. Raises PolicyError naming the file."""
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
    """Return the names of all files of a policy with this configuration."""
    return (CONFIG, STATISTICS, *config.network.files)


def save_policy(policy: Policy, folder: Path) -> None:
    """Write a policy's files into an existing folder (`files.new_folder` makes it appear whole).

    The caller writes a program's own files.
    """
    written = policy.config.network.save(policy.network, folder)
    write_json(folder / STATISTICS, statistics_to_json(policy.statistics))
    hashes = {name: sha256_file(folder / name) for name in (*written, STATISTICS)}
    write_json(folder / CONFIG, replace(policy.config, files=hashes).to_json())
