"""Golden inputs are steady ones, and the tolerance follows from what was measured."""

from __future__ import annotations

import importlib
from pathlib import Path

import numpy as np
import pytest

from ofp_edge.policy.deployed import Deployed, deploy
from ofp_edge.policy.folder import load_policy
from ofp_edge.quantize.inputs import synthetic_windows
from ofp_edge.targets.golden import COUNT, make_golden, tolerance
from tests.synthetic import tiny_policy


@pytest.fixture(scope="module")
def deployed(tmp_path_factory: pytest.TempPathFactory) -> Deployed:
    folder: Path = tmp_path_factory.mktemp("golden") / "p"
    return deploy(load_policy(tiny_policy(folder)))


def test_covers_every_time_row_and_runs_the_reference(deployed: Deployed) -> None:
    windows = synthetic_windows(deployed.spec, 2 * COUNT, 0)
    references = {"fp32": {"encode": deployed.encode, "act": deployed.act}}
    golden = make_golden(deployed, references, windows, 0)
    rows = golden.arrays["input/act/time_row"]
    assert {tuple(x) for x in rows} == {tuple(np.float32(r.row)) for r in deployed.time_rows}
    assert len(rows) == len(golden.arrays["input/encode/state"]) == COUNT
    assert golden.arrays["input/encode/points"].shape == (
        COUNT,
        *deployed.function("encode").inputs[1].shape[1:],
    )
    again = make_golden(deployed, references, windows, 0)
    assert again.to_bytes() == golden.to_bytes()


def test_inputs_on_the_border_of_a_step_are_not_chosen(deployed: Deployed) -> None:
    """A reference that jumps by a whole unit for every other cloud when its input is touched."""
    import torch

    windows = synthetic_windows(deployed.spec, 2 * COUNT, 0)
    borders = {float(x) for x in windows.fields["state"][::2, -1, 0]}

    class Jumpy(torch.nn.Module):
        def forward(self, state: torch.Tensor, points: torch.Tensor) -> torch.Tensor:
            near = min(borders, key=lambda b: abs(b - float(state[0, 0])))
            moved = 0 < abs(near - float(state[0, 0])) < 1e-5
            return deployed.encode(state, points) + float(moved)

    references = {"int8": {"encode": Jumpy(), "act": deployed.act}}
    golden = make_golden(deployed, references, windows, 0)
    chosen = golden.arrays["input/encode/state"][:, 0].tolist()
    assert not set(chosen) & borders
    assert golden.wobble["encode", "int8", "feature"].max() < 1e-3


def test_inputs_on_a_border_deep_inside_are_not_chosen(deployed: Deployed) -> None:
    """The first rounding hides a disturbed input; what it leaves may be a tie of the second."""
    import torch

    importlib.import_module("ofp_edge.quantize.pt2e")  # registers the operation

    def rounded(x: torch.Tensor, step: float) -> torch.Tensor:
        whole = torch.ops.quantized_decomposed.quantize_per_tensor.default(
            x, step, 0, -128, 127, torch.int8
        )
        return step * whole.float()

    class Deep(torch.nn.Module):
        def forward(self, state: torch.Tensor, points: torch.Tensor) -> torch.Tensor:
            return deployed.encode(state, points) + rounded(rounded(state[:, :1], 1 / 32), 1 / 16)

    references = {"int8": {"encode": Deep(), "act": deployed.act}}
    golden = make_golden(deployed, references, synthetic_windows(deployed.spec, 6 * COUNT, 0), 0)
    steps = np.round(golden.arrays["input/encode/state"][:, 0] * 32)
    assert not (steps % 2).any()
    assert golden.wobble["encode", "int8", "feature"].max() < 1e-3
    # What stands beside them is the reference's own answer, disturbed by nothing.
    inputs = (golden.arrays[f"input/encode/{x}"] for x in ("state", "points"))
    for state, points, told in zip(
        *inputs, golden.arrays["output/encode/int8/feature"], strict=True
    ):
        with torch.no_grad():
            answer = Deep()(*(torch.from_numpy(x[None]) for x in (state, points)))
        np.testing.assert_array_equal(answer[0].numpy(), told)


def test_tolerance_is_three_times_the_difference() -> None:
    limit = tolerance(np.array([1e-3, 2e-3]), np.zeros(2), 1.0, 20, np.full(2, 1.0))
    assert limit.tolist() == pytest.approx([3e-3, 6e-3])


def test_tolerance_allows_the_references_own_wobble_and_float_rounding() -> None:
    wobbling = tolerance(np.array([0.0]), np.array([1e-4]), 1.0, 20, np.array([1.0]))
    assert wobbling[0] == pytest.approx(3e-4)
    rounding = tolerance(np.array([0.0]), np.array([0.0]), 2.0, 20, np.array([1.0]))
    assert rounding[0] == pytest.approx(20 * 2.0 * 2**-23)


def test_tolerance_never_exceeds_the_cap() -> None:
    limit = tolerance(np.array([1e-2]), np.array([1.0]), 1.0, 20, np.array([0.02]))
    assert limit[0] == 0.02
