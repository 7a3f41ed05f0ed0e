"""Each layer alone in int8: the same as the module that is built; and the fewest kept in float."""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from ofp_edge.errors import OfpError
from ofp_edge.policy.deployed import Deployed, deploy
from ofp_edge.policy.folder import load_policy
from ofp_edge.quantize.apply import quantize_policy
from ofp_edge.quantize.inputs import Inputs, act_inputs, encode_inputs, synthetic_windows
from ofp_edge.quantize.plan import Layer
from ofp_edge.quantize.ptq import build_quantized, measure_layers
from ofp_edge.quantize.recipes import recipe
from ofp_edge.quantize.sensitivity import (
    TO_SPARE,
    Trial,
    float_macs_percent,
    keep_within_budget,
    measure_sensitivity,
)
from ofp_edge.quantize.simulate import in_batches, in_int8, macs
from ofp_edge.quantize.units import shown
from tests.quantize.conftest import Quantised
from tests.rendering import require_readable
from tests.synthetic import tiny_policy


def layers_and_calls(deployed: Deployed) -> tuple[list[Layer], dict[str, list[Inputs]]]:
    windows = synthetic_windows(deployed.spec, 6, 0)
    calls = {
        "encode": [frame for frames in encode_inputs(deployed, windows) for frame in frames],
        "act": [values for _, values in act_inputs(deployed, windows, 0)],
    }
    everything = replace(recipe("int8"), keep_float=())
    layers = [
        layer
        for function, samples in calls.items()
        for layer in measure_layers(getattr(deployed, function), function, samples, everything)
    ]
    return layers, calls


@pytest.mark.parametrize(
    ("obs", "trunk"), [("points", "mlp"), ("rgb", "transformer"), ("state", "unet")]
)
def test_simulated_int8_is_what_is_built(obs: str, trunk: str, tmp_path: Path) -> None:
    deployed = deploy(load_policy(tiny_policy(tmp_path / "p", obs, trunk=trunk)))
    layers, calls = layers_and_calls(deployed)
    for function in ("encode", "act"):
        module, samples = getattr(deployed, function), calls[function]
        own = [layer for layer in layers if layer.function == function]
        if not own:
            continue
        before = copy.deepcopy(module.state_dict())
        exact = in_batches(module, samples)
        for chosen in (own, own[len(own) // 2 : len(own) // 2 + 1]):
            names = {x.name for x in chosen}
            plan = [x if x.name in names else replace(x, precision="fp32") for x in own]
            built = build_quantized(module, function, samples[0], plan)
            with in_int8(module, chosen):
                simulated = in_batches(module, samples)
            error = (exact - simulated).abs().mean()
            assert error > 0
            # Sums in another order may fall on the other side of a step, now and then.
            assert (in_batches(built, samples[:1])[0] - simulated[0]).abs().mean() < 0.3 * error
        assert all(torch.equal(before[name], x) for name, x in module.state_dict().items())


@pytest.fixture(scope="module")
def measured(quantised: Quantised) -> tuple[Deployed, list[Layer]]:
    deployed = deploy(load_policy(quantised.policy))
    return deployed, layers_and_calls(deployed)[0]


@pytest.fixture
def trial(measured: tuple[Deployed, list[Layer]]) -> tuple[Trial, list[Layer]]:
    deployed, layers = measured
    return Trial(deployed, synthetic_windows(deployed.spec, 12, 1), 0, 0.05), layers


def test_the_layer_with_a_coarse_grid_ranks_first(trial: tuple[Trial, list[Layer]]) -> None:
    measure, layers = trial
    spoiled = next(x for x in layers if x.name.endswith("up"))
    assert spoiled.output is not None
    wide = replace(spoiled.output, low=-100 * abs(spoiled.output.low), high=100.0)
    layers = [replace(x, output=wide) if x is spoiled else x for x in layers]
    others = [x for x in layers if x.output is not wide]
    ranked = measure_sensitivity(measure, layers)
    assert (ranked[0].function, ranked[0].name) == (spoiled.function, spoiled.name)
    assert [x.share for x in ranked] == sorted((x.share for x in ranked), reverse=True)
    assert measure.share(others) < 0.5 * ranked[0].share
    measure.budget_percent *= 0.7 * ranked[0].share
    kept = keep_within_budget(measure, layers, ranked)
    left = [x.name for x in kept if x.precision == "fp32"]
    assert left == [spoiled.name]


def test_mixed_meets_the_budget_and_can_spare_none_of_what_it_keeps(
    trial: tuple[Trial, list[Layer]],
) -> None:
    measure, layers = trial
    ranked = measure_sensitivity(measure, layers)
    every = measure.share(layers)
    measure.budget_percent *= every / 2  # all in int8 is twice what is allowed
    kept = keep_within_budget(measure, layers, ranked)
    low = [x for x in kept if x.precision == "int8"]
    high = [x for x in kept if x.precision == "fp32"]
    assert low and high and measure.share(low) <= TO_SPARE
    for layer in high:
        assert measure.share([*low, layer]) > TO_SPARE, layer.name
        assert layer.reason is not None and "alone in int8 it costs" in layer.reason
    percent = float_macs_percent(measure.macs(), kept)
    assert 0 < percent < 100


def test_macs_are_counted_by_layer() -> None:
    module = torch.nn.Sequential(torch.nn.Conv2d(3, 4, (1, 3)), torch.nn.Flatten(),
                                 torch.nn.Linear(24, 5))  # fmt: skip
    assert macs(module, (torch.zeros(1, 3, 1, 8),)) == {"0": 4 * 6 * 9, "2": 24 * 5}
    up = torch.nn.ConvTranspose2d(4, 2, (1, 4), stride=(1, 2))
    assert macs(torch.nn.Sequential(up), (torch.zeros(1, 4, 1, 8),)) == {"0": 4 * 8 * 2 * 4}


def test_quantize_writes_the_ranking_and_the_page(
    quantised: Quantised, tmp_path: Path, chromium: str
) -> None:
    done = quantize_policy(
        quantised.policy, "mixed", quantised.dataset, tmp_path / "m", samples=16,
        error_budget_percent=0.001,
    )  # fmt: skip
    value = json.loads((tmp_path / "m/sensitivity.json").read_text())
    ranked = [x["share"] for x in value["layers"]]
    assert ranked == sorted(ranked, reverse=True) and len(ranked) == len(done.plan.layers)
    kept = [x for x in done.plan.layers if "error budget" in str(x.reason)]
    assert kept and done.plan.float_macs_percent > 0
    page = (tmp_path / "m/sensitivity.html").read_text()
    assert page.count("<rect") == len(ranked) and kept[0].name in page
    require_readable(chromium, tmp_path / "m/sensitivity.html", tmp_path)
    assert "<td class=words>float: " in page
    with pytest.raises(OfpError, match="quantises no layer"):
        quantize_policy(quantised.policy, "fp16", quantised.dataset, tmp_path / "x",
                        sensitivity=True)  # fmt: skip


def test_units_are_the_robot_s() -> None:
    assert shown(0.0012, "m") == "1.2 mm"
    assert shown(0.0174532925, "rad") == "1°"
    assert shown(0.25, "1") == "0.25"
