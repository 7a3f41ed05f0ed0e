"""A prefix strays within its bounds, and what follows comes back from where it ends."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from ofp_edge.fields import State
from ofp_edge.normalize import FieldStatistics
from ofp_edge.policy.network import PolicyNetwork
from ofp_edge.policy.network_config import NetworkConfig
from ofp_edge.policy.prefix import Prefix
from ofp_edge.policy.presets import preset
from ofp_edge.policy.stray import MOST, RETURN_STEPS, stray
from ofp_edge.spec import ActionField, PolicySpec

STEPS, ROWS = 8, 512
WIDE = 100.0  # bounds that nothing reaches, in the network's scale


def field(name: str, kind: str, hold: float | None, **more: object) -> ActionField:
    size = 4 if "rotation" in more else 1
    low, high = (-WIDE,) * size, (WIDE,) * size
    return ActionField(name, (size,), "1", "base", kind, 2.0, low, high, hold, **more)  # type: ignore[arg-type]


FIELDS = (
    field("delta", "delta", 0.0),
    field("velocity", "velocity", 0.0),
    field("absolute", "absolute", None),
    field("gripper", "absolute", None, interpolation="nearest"),
    field("rotation", "absolute", None, rotation="quaternion"),
)
DELTA, VELOCITY, ABSOLUTE = 0, 1, 2
FIXED = slice(3, 8)


def network_of(*fields: ActionField, start: int = 0, low: float = -1.0) -> PolicyNetwork:
    seen = State("state", (1,), "m", "base", (-1.0,), (1.0,))
    spec = PolicySpec((seen,), fields, 1 + start, STEPS + start, 1, 20.0, start)
    unit = {
        x.name: FieldStatistics.of_range((low,) * x.shape[0], (1.0,) * x.shape[0]) for x in fields
    }
    one = FieldStatistics.of_range((-1.0,), (1.0,))
    sizes = preset("tiny").network
    assert isinstance(sizes, NetworkConfig)
    return sizes.build(spec, {"state": one, **unit})


def prefix_of(network: PolicyNetwork, counts: Tensor) -> tuple[Tensor, Prefix]:
    generator = torch.Generator().manual_seed(3)
    horizon, size = network.spec.horizon, network.spec.action_dim
    chunks = torch.rand(len(counts), horizon * size, generator=generator) - 0.5
    step = torch.arange(horizon) - network.spec.start_index
    mask = ((step >= 0) & (step < counts[:, None])).float()
    return chunks, Prefix(chunks, mask)


def strayed(network: PolicyNetwork, counts: Tensor, seed: int = 0) -> tuple[Tensor, Tensor, Prefix]:
    """The chunks (B, H, A) as they were, as they became, and the prefix that came with them."""
    chunks, prefix = prefix_of(network, counts)
    found, told = stray(network, chunks, prefix, torch.Generator().manual_seed(seed))
    assert told is not None
    shape = len(counts), network.spec.horizon, -1
    return chunks.view(shape), found.view(shape), told


@pytest.mark.parametrize("start", [0, 1])
@pytest.mark.parametrize("count", [1, 2, 5])
def test_the_distance_from_the_demonstrated_place_falls_as_stated(count: int, start: int) -> None:
    network = network_of(*FIELDS, start=start)
    before, after, _ = strayed(network, torch.full((ROWS,), count))
    off = (after - before)[:, start:].double()
    places = torch.cat([off[..., :ABSOLUTE].cumsum(1), off[..., ABSOLUTE : ABSOLUTE + 1]], 2)
    last = places[:, count - 1]
    assert last.abs().mean() > 0.05
    for step in range(count, STEPS):
        expected = last * math.exp(-(step - count + 1) / RETURN_STEPS)
        torch.testing.assert_close(places[:, step], expected, rtol=1e-5, atol=1e-6)


def test_the_prefix_is_the_beginning_of_the_chunk_and_strays_by_its_standard_deviation() -> None:
    network = network_of(*FIELDS)
    before, after, told = strayed(network, torch.full((ROWS * 40,), 2))
    shape = *told.mask.shape, -1
    inside = told.mask.bool()
    torch.testing.assert_close(told.actions.view(shape)[inside], after[inside], rtol=0, atol=0)
    spread = (after - before)[:, :2, : ABSOLUTE + 1].square().mean().sqrt()
    # E[(MOST share)^2] (1 + 1/4), of a share that is uniform in [0, 1]
    assert float(spread) == pytest.approx(MOST * math.sqrt(1.25 / 3), rel=0.03)


def test_no_prefix_no_gripper_no_absolute_rotation_and_no_earlier_step_is_moved() -> None:
    network = network_of(*FIELDS, start=1)
    counts = torch.arange(ROWS) % 4
    before, after, _ = strayed(network, counts)
    torch.testing.assert_close(after[counts == 0], before[counts == 0], rtol=0, atol=0)
    torch.testing.assert_close(after[:, :, FIXED], before[:, :, FIXED], rtol=0, atol=0)
    torch.testing.assert_close(after[:, 0], before[:, 0], rtol=0, atol=0)
    moved = (after != before).flatten(1).any(1)
    assert moved[counts > 0].all()


@pytest.mark.parametrize("kind", ["delta", "absolute"])
def test_nothing_leaves_its_range_and_what_was_outside_stays_there(kind: str) -> None:
    hold = None if kind == "absolute" else 0.0
    narrow = ActionField("x", (1,), "m", "base", kind, 1.0, (-0.4,), (0.3,), hold)  # type: ignore[arg-type]
    network = network_of(narrow, low=-2.0)  # normalised is not raw here
    before, after, _ = strayed(network, torch.full((ROWS,), 2))
    raw = network.denormalize_actions(after.flatten(1))[..., 0]
    demonstrated = network.denormalize_actions(before.flatten(1))[..., 0]
    moved = raw != demonstrated
    assert moved[:, :2].float().mean() > 0.5
    assert raw[moved].min() >= -0.4 - 1e-6
    assert raw[moved].max() <= 0.3 + 1e-6
    assert ((demonstrated < -0.4) | (demonstrated > 0.3)).any()


def test_without_prefixes_nothing_is_drawn() -> None:
    network = network_of(*FIELDS)
    chunks, _ = prefix_of(network, torch.zeros(4))
    generator = torch.Generator().manual_seed(0)
    state = generator.get_state()
    found, told = stray(network, chunks, None, generator)
    assert found is chunks
    assert told is None
    assert torch.equal(generator.get_state(), state)
