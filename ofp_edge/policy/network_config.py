"""NetworkConfig: the networks that `train` makes, an encoder of points and images, and a trunk."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from ofp_edge.errors import PolicyError
from ofp_edge.normalize import Affine, FieldStatistics
from ofp_edge.policy.encoder import ObservationEncoder
from ofp_edge.policy.kind import Network
from ofp_edge.policy.network import PolicyNetwork
from ofp_edge.policy.parts import ScaleOffset
from ofp_edge.policy.sizes import NetworkSizes, RgbConfig, read_sizes
from ofp_edge.policy.trunks import find_trunks
from ofp_edge.policy.trunks.mlp import MlpConfig
from ofp_edge.policy.trunks.trunk import TimeEmbedding
from ofp_edge.spec import PolicySpec
from ofp_edge.strict import shown


@dataclass(frozen=True)
class NetworkConfig(NetworkSizes, Network):
    """The sizes of our own network (see NetworkSizes); config.json stores it without "kind"."""

    @property
    def trunk_kind(self) -> str:
        """The trunk's kind; see Network."""
        return self.trunk.kind

    def build(self, spec: PolicySpec, statistics: Mapping[str, FieldStatistics]) -> PolicyNetwork:
        """Build the network; see Network."""
        encoder = ObservationEncoder(self, spec.observations, statistics)
        time = TimeEmbedding(self.time_features, self.condition)
        features = spec.n_obs_steps * encoder.feature_dim
        kind = find_trunks()[self.trunk.kind]
        trunk = kind(self.trunk, self.condition, spec.horizon, spec.action_dim, features)
        affine = Affine.concatenated([Affine.of(statistics[f.name]) for f in spec.actions])
        return PolicyNetwork(spec, encoder, time, trunk, ScaleOffset(affine, spec.horizon))

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values; see Network."""
        return {**asdict(self), "trunk": {"kind": self.trunk.kind, **vars(self.trunk)}}

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
        return read_sizes(cls, value, "config.network", trunk=sizes, rgb=rgb)
