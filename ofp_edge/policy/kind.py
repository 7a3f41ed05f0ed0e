"""Network is the interface of every kind of network: its files, loading, sampling and limits.

The kinds stand in one table, `NETWORKS` in config.py.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import asdict
from pathlib import Path
from typing import Any, ClassVar, cast

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save
from torch import nn

from ofp_edge.errors import OfpError, PolicyError
from ofp_edge.functions import ACT, ENCODE, Function, encode_and_act
from ofp_edge.normalize import FieldStatistics
from ofp_edge.outside import said_by
from ofp_edge.policy.methods import build_method
from ofp_edge.policy.methods.method import Deterministic, Sampling
from ofp_edge.policy.network import PolicyNetwork
from ofp_edge.policy.prompting import Prompting
from ofp_edge.policy.weights import (
    MODEL,
    fill_network,
    read_shapes,
    read_tensors,
    require_shapes,
    shapes_of,
)
from ofp_edge.spec import PolicySpec


class Network(ABC):
    """A network as config.json describes it; each kind is a frozen dataclass.

    kind: its name in config.json; our own networks have none. one_row: its functions take one row a
    call, so they cannot run batches. committed_steps: the longest committed prefix that it is told.
    codes: the number of codes that a jump chooses among.
    """

    kind: ClassVar[str | None] = None
    committed_steps: int = 0
    codes: int = 0
    one_row: ClassVar[bool] = False
    keeps_encoder: ClassVar[bool] = False
    """Whether training on from given weights leaves the encoder as it is."""
    half_on_gpu: ClassVar[bool] = False
    """Whether it is too large for a GPU board in anything but half precision, or less."""

    @property
    def draws(self) -> bool:
        """Whether its chunks begin from noise; otherwise it is deterministic."""
        return True

    @property
    def state_bound(self) -> float:
        """Where the numbers of a state are cut off, in half-ranges of what was demonstrated; 0:
        nowhere."""
        return 0.0

    @property
    def trunk_kind(self) -> str:
        """The kind of trunk that makes the chunk, in a word."""
        return str(self.kind)

    @property
    def files(self) -> tuple[str, ...]:
        """The files in the policy folder, beside config.json and statistics.json."""
        return (MODEL,)

    @property
    def refusals(self) -> Mapping[str, str]:
        """Whatever the network can't do: forms of program (`Engine.form`), each with a sentence
        that says why and what to do; commands (quantize, train, distill, eval) and targets, each
        with the rest of a sentence that begins with the policy."""
        return {}

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values; `network_from_json` is the inverse."""
        return {"kind": self.kind, **asdict(cast(Any, self))}

    @classmethod
    @abstractmethod
    def from_json(cls, value: Any) -> Network:
        """Read `to_json`'s values, without "kind". Raises PolicyError naming the entry."""

    @abstractmethod
    def build(self, spec: PolicySpec, statistics: Mapping[str, FieldStatistics]) -> PolicyNetwork:
        """Build the network with new weights. Raises PolicyError where spec or sizes do not fit."""

    def load(
        self, folder: Path, spec: PolicySpec, statistics: Mapping[str, FieldStatistics]
    ) -> PolicyNetwork:
        """Load a policy folder's network. PolicyError when a file is missing, changed or unfit."""
        path = folder / MODEL
        what = f"{folder / 'config.json'}: no network can be built from it"
        with said_by(what, PolicyError):
            with torch.device("meta"):  # its shapes alone: they may be absurd
                shapes = shapes_of(self.build(spec, statistics).state_dict())
            require_shapes(shapes, read_shapes(path, inside=folder), str(path))
            network = self.build(spec, statistics)
        fill_network(network, read_tensors(path, inside=folder), str(path))
        return network

    def save(self, network: PolicyNetwork, folder: Path) -> tuple[str, ...]:
        """Write the weights into an existing folder; return the files that config.json hashes."""
        weights = {name: x.detach().contiguous() for name, x in network.state_dict().items()}
        (folder / MODEL).write_bytes(save(weights))  # not save_file: a full disk is an OSError here
        return (MODEL,)

    def begin(self, network: PolicyNetwork) -> PolicyNetwork:
        """Return a network that was just built with all that it needs to be trained from nothing,
        drawn by torch's own generator."""
        return network

    def sampling(self, method: str, options: Mapping[str, float]) -> Sampling:
        """Return how chunks are sampled: by the training method, or as the network was imported."""
        return build_method(method, options) if self.draws else Deterministic()

    def functions(self, network: PolicyNetwork, row_size: int) -> tuple[Function, ...]:
        """Return the exported functions, in the order in which they run; row_size: the length of a
        time row."""
        return encode_and_act(
            network.spec,
            network.encoder.feature_dim,
            row_size,
            committed=network.committed_steps > 0,
            task_size=0 if (rows := self.task_rows(network)) is None else rows.shape[1],
        )

    def modules(self, network: PolicyNetwork, method: Sampling) -> dict[str, nn.Module]:
        """Return the module of each function, by name; they share the network's weights."""
        return {ENCODE: network.encoder, ACT: method.act(network)}

    def prompting(self, network: PolicyNetwork) -> Prompting | None:
        """Return how a prompt becomes inputs of the functions; None where they take none."""
        return None

    def task_rows(self, network: PolicyNetwork) -> NDArray[np.float32] | None:
        """Return the row (W,) of each instruction that `encode` takes in its place, (N, W); None
        where it takes none."""
        return None

    def quantised(self, operations: tuple[str, ...]) -> tuple[str, ...]:
        """Return those of a recipe's operations that may be quantised: all of them."""
        return operations

    def fitted(self, network: PolicyNetwork, words: int | None) -> Network:
        """Return the kind of a network that is told prompts of at most `words`; `network` is
        changed. None: as long as its longest one. OfpError for a number that it can't take."""
        if words is not None:
            raise OfpError(f"--prompt-words {words}: this policy reads no prompt. Leave it out.")
        return self

    def committing(
        self,
        network: PolicyNetwork,
        steps: int,
        statistics: Mapping[str, FieldStatistics],
        what: str,
    ) -> tuple[Network, PolicyNetwork]:
        """Let the network be told committed prefixes of up to `steps`; until it is trained so, its
        output is unchanged. Raises PolicyError, naming `what`, where it has no such form."""
        raise PolicyError(f"{what}: its network takes no committed prefix. Leave it out.")

    def coding(
        self,
        network: PolicyNetwork,
        count: int,
        statistics: Mapping[str, FieldStatistics],
        what: str,
    ) -> tuple[Network, PolicyNetwork]:
        """Let jumps choose among `count` new codes (see codes.py), unless it has so many; until
        they are trained, it answers as without any. Raises PolicyError, naming `what`, where it
        has no such form."""
        if count == self.codes:
            return self, network
        raise PolicyError(f"{what}: its network takes no codes. Leave it out.")

    def widened(
        self,
        network: PolicyNetwork,
        method: str,
        statistics: Mapping[str, FieldStatistics],
        what: str,
    ) -> tuple[Network, PolicyNetwork]:
        """Turn a policy of many steps into the start of one that jumps: widen its time embedding to
        (t, r).

        At r = t its output is unchanged, and until it is trained it is the same at every r. Raises
        PolicyError, naming `what`, where the network has no such form.
        """
        if (why := self.refusals.get("distill")) is not None:
            raise PolicyError(f"{what} {why}")
        require_many_steps(method, what)
        network = deepcopy(network)
        network.time.blind_to_steps()
        return self, network


def require_many_steps(method: str, what: str) -> None:
    """Raise PolicyError, naming `what`, unless a policy of this method is one to be distilled."""
    if method != "flow":
        raise PolicyError(
            f"{what}: its method is {method}: expected a policy of many steps, flow or an "
            "imported diffusion policy. To go on training one of ours: train --init."
        )
