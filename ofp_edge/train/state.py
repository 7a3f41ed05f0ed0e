"""TrainState: all that changes while training, and its exact copy on disk (safetensors, JSON).

training/state.safetensors   weights, the optimiser's moments, the generator's state
training/state.json          step, seconds, running losses, the hash of the first
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from pathlib import Path

import torch
from safetensors.torch import save
from torch import Tensor, nn

from ofp_edge.errors import PolicyError
from ofp_edge.files import read_json, sha256_bytes, sha256_file, write_json
from ofp_edge.policy.config import TrainingConfig
from ofp_edge.policy.draws import RowGenerator
from ofp_edge.policy.network import PolicyNetwork
from ofp_edge.policy.weights import read_tensors
from ofp_edge.strict import read_as

FOLDER, TENSORS, NUMBERS = "training", "state.safetensors", "state.json"
_MOMENTS = ("exp_avg", "exp_avg_sq", "step")


@dataclass
class TrainState:
    """network: in training. average: its moving average, which is evaluated and shipped."""

    network: PolicyNetwork
    average: PolicyNetwork
    optimizer: torch.optim.AdamW
    generator: RowGenerator
    step: int = 0
    seconds: float = 0.0
    losses: dict[str, float] = field(default_factory=dict)

    @property
    def frozen(self) -> bool:
        """Whether the encoder keeps its weights, and is the average's too."""
        return self.network.encoder is self.average.encoder

    def tensors(self) -> dict[str, Tensor]:
        """Return all tensors flat, by name; `restore` is the inverse."""
        found = {f"weight/{name}": p.detach() for name, p in self._trained()}
        for name, parameter in self._trained():
            for moment, value in self.optimizer.state[parameter].items():
                found[f"{moment}/{name}"] = value
        found["generator"] = self.generator.get_state()
        return {name: x.contiguous() for name, x in found.items()}

    def restore(self, tensors: dict[str, Tensor]) -> None:
        """Restore `tensors`. KeyError or RuntimeError when one is missing or of another shape."""
        with torch.no_grad():
            for name, parameter in self._trained():
                parameter.copy_(tensors[f"weight/{name}"])
                self.optimizer.state[parameter] = {
                    moment: tensors[f"{moment}/{name}"].clone() for moment in _MOMENTS
                }
        self.generator.set_state(tensors["generator"])

    def _trained(self) -> list[tuple[str, nn.Parameter]]:
        return [(name, x) for name, x in self.network.named_parameters() if x.requires_grad]


@dataclass(frozen=True)
class _Numbers:
    """state.json. sha256: of the tensors; folders of before have none."""

    step: int
    seconds: float
    losses: dict[str, float]
    sha256: str | None = None


def new_state(network: PolicyNetwork, settings: TrainingConfig, seed: int) -> TrainState:
    """Start at step 0, with the average equal to the weights.

    The second moment follows within a hundred steps (0.99, not 0.999): with a live teacher an error
    can grow by itself, and a slower one lets it run away before the steps shrink. A frozen encoder
    is not copied: it is the average's too.
    """
    kept = {} if _learns(network.encoder) else {id(network.encoder): network.encoder}
    average = copy.deepcopy(network, kept).eval().requires_grad_(False)
    optimizer = torch.optim.AdamW(
        [x for x in network.parameters() if x.requires_grad],
        lr=settings.learning_rate,
        weight_decay=settings.weight_decay,
        betas=(0.9, 0.99),
        fused=True,
    )
    generator = RowGenerator()
    generator.manual_seed(seed)
    return TrainState(network.train(), average, optimizer, generator)


def _learns(module: nn.Module) -> bool:
    return any(x.requires_grad for x in module.parameters())


def save_state(state: TrainState, folder: Path) -> None:
    """Write training/ below a policy folder that is being made."""
    (folder / FOLDER).mkdir()
    tensors = save(state.tensors())
    (folder / FOLDER / TENSORS).write_bytes(tensors)
    numbers = {
        "step": state.step,
        "seconds": state.seconds,
        "losses": state.losses,
        "sha256": sha256_bytes(tensors),
    }
    write_json(folder / FOLDER / NUMBERS, numbers)


def load_state(state: TrainState, folder: Path) -> None:
    """Fill `state` (but for `average`, which is the policy's model.safetensors). PolicyError."""
    path = folder / FOLDER
    try:
        value = read_json(path / NUMBERS, PolicyError)
        numbers = read_as(_Numbers, value, str(path / NUMBERS), PolicyError)
        if numbers.sha256 is not None and sha256_file(path / TENSORS) != numbers.sha256:
            raise PolicyError(f"{path / TENSORS}: its SHA-256 is not the one in {NUMBERS}.")
        state.restore(read_tensors(path / TENSORS))
    except (OSError, PolicyError, KeyError, RuntimeError) as cause:
        raise PolicyError(
            f"{path} is damaged: {cause} Train anew, or start from its weights with --init."
        ) from None
    state.step, state.seconds = numbers.step, numbers.seconds
    state.losses = dict(numbers.losses)
