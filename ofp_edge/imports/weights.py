"""Rename foreign weights to our names, and fill a network with them."""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from torch import Tensor

from ofp_edge.errors import PolicyError
from ofp_edge.imports.fields import Fields
from ofp_edge.imports.lerobot_features import NORMALIZATION
from ofp_edge.outside import said_by
from ofp_edge.policy.config import network_from_json
from ofp_edge.policy.imported.schedule import ScheduleConfig, rungs
from ofp_edge.policy.kind import Network
from ofp_edge.policy.network import PolicyNetwork
from ofp_edge.policy.weights import fill_network, require_shapes, shapes_of

_STEP = re.compile(r"^diffusion_step_encoder\.([13])\.")
_STEP_PLACES = {"1": "0", "3": "2"}  # the embedding itself stands at 0 there


def from_lerobot(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename a DiffusionPolicy's `diffusion.` weights; compiled ones carry `_orig_mod`."""
    found = {}
    for name, tensor in tensors.items():
        if name.startswith(NORMALIZATION):
            continue  # old checkpoints: read beside the features
        ours, rest = name.startswith("diffusion."), name.removeprefix("diffusion.")
        rest = rest.replace("_orig_mod.", "")
        if rest.endswith("pool.pos_grid"):
            continue  # follows from the sizes
        if ours and rest.startswith("unet."):
            found[_unet(rest.removeprefix("unet."))] = tensor
        elif ours and rest.startswith("rgb_encoder."):
            rest = rest.removeprefix("rgb_encoder.").replace("pool.nets.", "nets.")
            found[
                f"encoder.cameras.{rest}" if rest[0].isdigit() else f"encoder.cameras.0.{rest}"
            ] = tensor
        else:
            found[name] = tensor  # refused by name where it is filled in
    return found


def from_diffusion_policy(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename the `model.` weights of a policy of the diffusion_policy repository."""
    found = {}
    for name, tensor in tensors.items():
        if name.startswith("normalizer.") or name.endswith("_dummy_variable"):
            continue  # read beside the features; tells a device there
        if not name.startswith("model."):
            found[name] = tensor  # refused by name where it is filled in
            continue
        rest = name.removeprefix("model.")
        rest = re.sub(r"\.blocks\.([01])\.", lambda m: f".conv{int(m[1]) + 1}.", rest)
        rest = re.sub(r"\.2\.conv\.", ".2.", rest)
        found[_unet(rest)] = tensor
    return found


def _unet(name: str) -> str:
    if step := _STEP.match(name):
        return f"time.step.mlp.{_STEP_PLACES[step[1]]}.{name[step.end() :]}"
    return f"trunk.{name}"


def require_rungs(schedule: ScheduleConfig, what: str) -> None:
    """Raise PolicyError, naming `what`, where its noise scheduler makes no steps."""
    try:
        rungs(schedule, schedule.steps)
    except PolicyError as cause:
        raise PolicyError(f"{what}: its noise scheduler: {cause}") from None


def built(
    config: Network, fields: Fields, tensors: Mapping[str, Tensor], what: str
) -> PolicyNetwork:
    """Build the network, filled; their convolutions have one axis, ours two. Raises PolicyError.

    Its shapes are known before it is built: a configuration may ask for any size.
    """
    network_from_json(config.to_json())  # held to the limits of a policy folder
    with said_by(f"{what}: no network can be built from its configuration", PolicyError):
        with torch.device("meta"):
            places = config.build(fields.spec, fields.statistics).state_dict()
    shaped = {
        name: x.unsqueeze(2) if x.dim() == 3 and name in places and places[name].dim() == 4 else x
        for name, x in tensors.items()
    }
    require_shapes(shapes_of(places), shapes_of(shaped), what)
    network = config.build(fields.spec, fields.statistics)
    fill_network(network, shaped, what)
    return network
