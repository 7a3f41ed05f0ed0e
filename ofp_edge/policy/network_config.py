"""NetworkConfig: the networks that `train` makes, an encoder of points and images, and a trunk."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ofp_edge.errors import PolicyError
from ofp_edge.normalize import STATE_BOUND, Affine, FieldStatistics
from ofp_edge.policy.codes import Codes
from ofp_edge.policy.encoder import ObservationEncoder
from ofp_edge.policy.kind import Network
from ofp_edge.policy.network import PolicyNetwork
from ofp_edge.policy.parts import ScaleOffset
from ofp_edge.policy.prefix import check_committed
from ofp_edge.policy.sizes import NetworkSizes, RgbConfig, read_sizes
from ofp_edge.policy.trunks import find_trunks
from ofp_edge.policy.trunks.mlp import MlpConfig
from ofp_edge.policy.trunks.trunk import TimeEmbedding
from ofp_edge.spec import PolicySpec
from ofp_edge.strict import shown

_FROM_0 = ("committed_steps", "codes", "task_features")
_LATER = (*_FROM_0, "state_bound")  # written where it is not 0
_TASK_FEATURES = 32


@dataclass(frozen=True)
class NetworkConfig(NetworkSizes, Network):
    """The sizes of our own network (see NetworkSizes); config.json stores it without "kind"."""

    @property
    def trunk_kind(self) -> str:
        """The trunk's kind; see Network."""
        return self.trunk.kind

    def for_spec(self, spec: PolicySpec, committed_steps: int | None, codes: int) -> NetworkConfig:
        """Return the same sizes, to be told committed prefixes of up to so many steps, to choose
        among so many codes, to be told instructions where the data have any, and to see a state no
        further off than STATE_BOUND."""
        told = any(field.told for field in spec.observations)
        return replace(
            self,
            committed_steps=committed_steps or 0,
            codes=codes,
            task_features=_TASK_FEATURES if told else 0,
            state_bound=STATE_BOUND,
        )

    def build(self, spec: PolicySpec, statistics: Mapping[str, FieldStatistics]) -> PolicyNetwork:
        """Build the network; see Network."""
        encoder = ObservationEncoder(self, spec.observations, statistics)
        time = TimeEmbedding(self.time_features, self.condition)
        features = spec.n_obs_steps * encoder.feature_dim
        kind = find_trunks()[self.trunk.kind]
        trunk = kind(self.trunk, self.condition, spec.horizon, spec.action_dim, features)
        if self.committed_steps:
            check_committed(self.committed_steps, spec)
            trunk.hear()
        codes = self._codes(spec, features)
        affine = Affine.concatenated([Affine.of(statistics[f.name]) for f in spec.actions])
        return PolicyNetwork(
            spec,
            encoder,
            time,
            trunk,
            ScaleOffset(affine, spec.horizon),
            committed_steps=self.committed_steps,
            codes=codes,
        )

    def task_rows(self, network: PolicyNetwork) -> NDArray[np.float32] | None:
        """Return the encoder's rows; see Network."""
        encoder = network.encoder
        rows = encoder.task_rows if isinstance(encoder, ObservationEncoder) else None
        return None if rows is None else rows.table.weight.detach().cpu().numpy().copy()

    def _codes(self, spec: PolicySpec, features: int) -> Codes | None:
        if not self.codes:
            return None
        made = Codes(self.codes, self.condition, spec.horizon, spec.action_dim, features)
        if self.committed_steps:
            made.chooser.hear()
        return made

    def committing(
        self,
        network: PolicyNetwork,
        steps: int,
        statistics: Mapping[str, FieldStatistics],
        what: str,
    ) -> tuple[Network, PolicyNetwork]:
        """Add the trunk's layers for a prefix, which start at 0; see Network."""
        if steps == self.committed_steps:
            return self, network
        if steps == 0:
            raise PolicyError(
                f"{what}: trained with committed prefixes of up to {self.committed_steps} steps, "
                "which can't be taken out: expected 1 or more, got 0."
            )
        return replace(self, committed_steps=steps)._grown_from(network, statistics)

    def coding(
        self,
        network: PolicyNetwork,
        count: int,
        statistics: Mapping[str, FieldStatistics],
        what: str,
    ) -> tuple[Network, PolicyNetwork]:
        """Put new codes, whose embeddings start at 0, in the place of those it has; see Network."""
        if count == self.codes:
            return self, network
        return replace(self, codes=count)._grown_from(network, statistics, but=("codes.",))

    def _grown_from(
        self,
        network: PolicyNetwork,
        statistics: Mapping[str, FieldStatistics],
        but: tuple[str, ...] = (),
    ) -> tuple[Network, PolicyNetwork]:
        """Build it and fill in a network's weights, `but` those whose names begin so."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            built = self.build(network.spec, statistics)
        kept = {name: x for name, x in network.state_dict().items() if not name.startswith(but)}
        built.load_state_dict({**built.state_dict(), **kept})
        return self, built.train(network.training)

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values; see Network."""
        value = {**asdict(self), "trunk": {"kind": self.trunk.kind, **vars(self.trunk)}}
        for name in _LATER:
            if not value[name]:
                del value[name]  # as it was before there were any
        return value

    @classmethod
    def from_json(cls, value: Any) -> NetworkConfig:
        """Read the sizes. Raises PolicyError. Without "trunk", "width" and "blocks" describe an
        MLP; without "rgb" there is no image encoder: the forms from before other kinds existed."""
        if not isinstance(value, dict):
            raise PolicyError(f"config.network: expected an object, got {shown(value)}.")
        if "trunk" not in value:
            mlp = {key: value[key] for key in ("width", "blocks") if key in value}
            rest = {key: item for key, item in value.items() if key not in mlp}
            value = {**rest, "trunk": {"kind": MlpConfig.kind, **mlp}}
        value, trunks = {"rgb": None, **value}, find_trunks()
        trunk = value["trunk"]
        kind = trunk.get("kind") if isinstance(trunk, dict) else None
        if not isinstance(kind, str) or kind not in trunks:
            raise PolicyError(
                f"config.network.trunk.kind: expected one of {', '.join(trunks)}, got "
                f"{shown(kind)}."
            )
        rest = {key: item for key, item in trunk.items() if key != "kind"}
        sizes = read_sizes(trunks[kind].sizes, rest, "config.network.trunk")
        rgb = value["rgb"]
        if rgb is not None:
            rgb = read_sizes(RgbConfig, rgb, "config.network.rgb")
            if len(rgb.channels) != len(rgb.blocks):
                raise PolicyError(
                    f"config.network.rgb.blocks: expected one number for each of "
                    f"{len(rgb.channels)} channels, got {len(rgb.blocks)}."
                )
        made = read_sizes(cls, value, "config.network", from_0=_FROM_0, trunk=sizes, rgb=rgb)
        if made.state_bound and not 1 <= made.state_bound < math.inf:
            raise PolicyError(
                "config.network.state_bound: expected 0 or a number from 1 on, got "
                f"{made.state_bound:g}."
            )
        return made
