"""Everything that changes while training, and its exact copy on disk (safetensors and JSON).

training/state.safetensors   weights, the optimiser's moments, the generator's state
training/state.json          step, seconds, running losses
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from ofp_edge.errors import PolicyError
from ofp_edge.files import read_json, write_json
from ofp_edge.policy.config import TrainingConfig
from ofp_edge.policy.draws import RowGenerator
from ofp_edge.policy.network import PolicyNetwork

FOLDER, TENSORS, NUMBERS = "training", "state.safetensors", "state.json"
_MOMENTS = ("exp_avg", "exp_avg_sq", "step")


@dataclass
class TrainState:
    """network: being trained. average: its moving average, what gets evaluated and shipped."""

    network: PolicyNetwork
    average: PolicyNetwork
    optimizer: torch.optim.AdamW
    generator: RowGenerator
    step: int = 0
    seconds: float = 0.0
    losses: dict[str, float] = field(default_factory=dict)

    def tensors(self) -> dict[str, Tensor]:
        """Flat, by name; `restore` is the inverse."""
        found = {f"weight/{name}": p.detach() for name, p in self.network.named_parameters()}
        for name, parameter in self.network.named_parameters():
            for moment, value in self.optimizer.state[parameter].items():
                found[f"{moment}/{name}"] = value
        found["generator"] = self.generator.get_state()
        return {name: x.contiguous() for name, x in found.items()}

    def restore(self, tensors: dict[str, Tensor]) -> None:
        """Raises KeyError or RuntimeError when a tensor is missing or of another shape."""
        with torch.no_grad():
            for name, parameter in self.network.named_parameters():
                parameter.copy_(tensors[f"weight/{name}"])
                self.optimizer.state[parameter] = {
                    moment: tensors[f"{moment}/{name}"].clone() for moment in _MOMENTS
                }
        self.generator.set_state(tensors["generator"])


def new_state(network: PolicyNetwork, settings: TrainingConfig, seed: int) -> TrainState:
    """Step 0: the average starts at the weights.

    The second moment follows within a hundred steps (0.99, not 0.999): with a live teacher an error
    can grow by itself, and a slower one lets it run away before the steps shrink.
    """
    average = copy.deepcopy(network).eval().requires_grad_(False)
    optimizer = torch.optim.AdamW(
        network.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay,
        betas=(0.9, 0.99), fused=True,
    )  # fmt: skip
    generator = RowGenerator()
    generator.manual_seed(seed)
    return TrainState(network.train(), average, optimizer, generator)


def save_state(state: TrainState, folder: Path) -> None:
    """Write training/ below a policy folder that is being made."""
    (folder / FOLDER).mkdir()
    (folder / FOLDER / TENSORS).write_bytes(save(state.tensors()))
    numbers = {"step": state.step, "seconds": state.seconds, "losses": state.losses}
    write_json(folder / FOLDER / NUMBERS, numbers)


def load_state(state: TrainState, folder: Path) -> None:
    """Fill `state` (but for `average`, which is the policy's model.safetensors). PolicyError."""
    path = folder / FOLDER
    numbers: Any = read_json(path / NUMBERS, PolicyError)
    try:
        state.restore(load_file(path / TENSORS))
        state.step, state.seconds = int(numbers["step"]), float(numbers["seconds"])
        state.losses = {str(name): float(x) for name, x in numbers["losses"].items()}
    except (OSError, SafetensorError, KeyError, RuntimeError, TypeError, ValueError) as cause:
        raise PolicyError(
            f"{path} is damaged: {cause}. Train anew, or start from its weights with --init."
        ) from None
