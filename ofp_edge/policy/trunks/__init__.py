"""Trunks by kind: one file each, one interface (`Trunk`)."""

from __future__ import annotations

from ofp_edge.policy.network_config import MlpConfig, NetworkConfig, UnetConfig
from ofp_edge.policy.trunks.mlp import FilmMlp
from ofp_edge.policy.trunks.transformer import FilmTransformer
from ofp_edge.policy.trunks.trunk import Trunk
from ofp_edge.policy.trunks.unet import FilmUnet


def build_trunk(config: NetworkConfig, horizon: int, action_dim: int, features: int) -> Trunk:
    """The trunk that `config.trunk` describes; features: length of all frames' features.

    Raises PolicyError where the sizes do not fit the chunk.
    """
    sizes = config.trunk
    if isinstance(sizes, MlpConfig):
        return FilmMlp(config, sizes, horizon * action_dim, features)
    if isinstance(sizes, UnetConfig):
        return FilmUnet(config, sizes, horizon, action_dim, features)
    return FilmTransformer(config, sizes, horizon, action_dim, features)
