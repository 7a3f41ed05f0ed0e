"""The quantised module: int8 where the plan says, rebuilt bit-equal, biases on their grid."""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest
import torch
from torch import nn

from ofp_edge.errors import PolicyError
from ofp_edge.policy.deployed import deploy
from ofp_edge.policy.folder import load_policy
from ofp_edge.quantize.functions import build_functions
from ofp_edge.quantize.plan import read_plan
from ofp_edge.quantize.ptq import build_quantized, measure_layers
from ofp_edge.quantize.recipes import Recipe, recipe
from ofp_edge.targets.export import export_executorch
from tests.needs import needs_engines
from tests.quantize.conftest import Quantised

ALL = Recipe("all", "no layer left in float", "int8", ("conv2d", "conv_transpose2d", "linear"))


class Residual(nn.Module):
    """Shaped like `act`: (features, z, row); the residual stream leaves a layer `inlet`."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.inlet, self.film = nn.Linear(8, 16), nn.Linear(6, 16)
        self.up, self.down, self.outlet = nn.Linear(16, 16), nn.Linear(16, 16), nn.Linear(16, 8)

    def forward(
        self, features: torch.Tensor, z: torch.Tensor, row: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        h = self.inlet(z)
        x = torch.relu(self.up(torch.relu(h * self.film(features))))
        u = self.outlet(h + self.down(x))
        chunk = z + row * u
        return chunk * 0.5 + 0.1, chunk


def samples(count: int = 16) -> list[tuple[torch.Tensor, ...]]:
    generator = torch.Generator().manual_seed(0)
    shapes = ((1, 6), (1, 8), (1, 1))
    return [tuple(torch.randn(s, generator=generator) for s in shapes) for _ in range(count)]


def test_ends_of_the_flow_stay_in_float_with_the_reason() -> None:
    layers = {x.name: x for x in measure_layers(Residual(), "act", samples(), recipe("int8"))}
    assert {n for n, x in layers.items() if x.precision == "fp32"} == {"inlet", "outlet"}
    assert "reads z" in str(layers["inlet"].reason)
    assert "gives u" in str(layers["outlet"].reason)
    assert layers["up"].input is not None and layers["up"].input.low == 0  # after the relu


def test_recipe_fp32_quantises_nothing() -> None:
    layers = measure_layers(Residual(), "act", samples(), recipe("fp32"))
    assert {x.precision for x in layers} == {"fp32"}
    built = build_quantized(Residual(), "act", samples()[0], layers)
    assert not [n for n in built.graph.nodes if "quantize" in str(n.target)]


def test_ranges_are_the_extremes_over_all_samples() -> None:
    module, drawn = Residual(), samples()
    layers = {x.name: x for x in measure_layers(module, "act", drawn, ALL)}
    z = torch.cat([x[1] for x in drawn])
    assert layers["inlet"].input is not None
    assert layers["inlet"].input.low == pytest.approx(float(z.min()))
    assert layers["inlet"].input.high == pytest.approx(float(z.max()))


def test_the_float_module_is_left_as_it_was() -> None:
    module = Residual()
    before = copy.deepcopy(module.state_dict())
    build_quantized(module, "act", samples()[0], measure_layers(module, "act", samples(), ALL))
    assert all(torch.equal(before[name], x) for name, x in module.state_dict().items())


def test_error_is_about_a_step_of_the_grid_not_zero_and_not_large() -> None:
    module = Residual()
    layers = measure_layers(module, "act", samples(), recipe("int8"))
    built = build_quantized(module, "act", samples()[0], layers)
    with torch.no_grad():
        worst = max(float((built(*x)[1] - module(*x)[1]).abs().max()) for x in samples())
    assert 1e-5 < worst < 0.1


class Shrinking(nn.Module):
    """A convolution and a transposed one, each with outputs of very different size."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.shorten = nn.Conv2d(3, 5, (1, 3), stride=(1, 2), padding=(0, 1))
        self.lengthen = nn.ConvTranspose2d(5, 4, (1, 4), stride=(1, 2), padding=(0, 1))
        with torch.no_grad():
            self.shorten.weight *= 10.0 ** -torch.arange(5).view(5, 1, 1, 1)
            self.lengthen.weight *= 10.0 ** -torch.arange(4).view(1, 4, 1, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.lengthen(torch.relu(self.shorten(x)))
        return out


def test_each_output_channel_of_a_convolution_has_its_own_scale() -> None:
    from ofp_edge.functions import Tensor
    from ofp_edge.runtime.runners.table import load_runner

    module, generator = Shrinking(), torch.Generator().manual_seed(0)
    drawn = [(torch.randn(1, 3, 1, 8, generator=generator),) for _ in range(16)]
    layers = measure_layers(module, "encode", drawn, recipe("int8"))
    assert [x.operation for x in layers] == ["conv2d", "conv_transpose2d"]
    for layer, axis in zip(layers, (0, 1), strict=True):
        weight = module.get_parameter(f"{layer.name}.weight").detach().transpose(0, axis)
        scales = weight.abs().flatten(1).amax(1) / 127
        assert layer.weight_scale is not None
        assert layer.weight_scale.low == pytest.approx(float(scales.min()))
        assert layer.weight_scale.high == pytest.approx(float(scales.max()))
    built = build_quantized(module, "encode", drawn[0], layers)
    exported = export_executorch(built, (Tensor("x", (1, 3, 1, 8)),))
    assert (exported.delegates, exported.delegated_share) == (1, 1.0)
    ends = Tensor("x", (1, 3, 1, 8)), Tensor("y", (1, 4, 1, 8))
    needs_engines()
    runner = load_runner("executorch", exported.model, ends[:1], ends[1:])
    assert layers[1].output is not None
    for (x,) in drawn:
        runner.inputs["x"][:] = x.numpy()
        runner.infer()
        difference = torch.from_numpy(runner.outputs["y"]) - built(x)
        assert difference.abs().max() <= 1.01 * layers[1].output.scale
    runner.close()


def test_biases_lie_on_the_integer_grid_the_engines_hold_them_on() -> None:
    module = Residual()
    layers = measure_layers(module, "act", samples(), ALL)
    built = build_quantized(module, "act", samples()[0], layers)
    found = 0
    for layer in layers:
        assert layer.input is not None
        weight = module.get_parameter(f"{layer.name}.weight")
        step = layer.input.scale * (weight.abs().amax(1) / 127)
        bias = built.get_parameter(f"{layer.name}.bias")
        steps = (bias / step).double()
        assert (steps - steps.round()).abs().max() < 1e-2
        assert (bias - module.get_parameter(f"{layer.name}.bias")).abs().max() <= step.max()
        found += int((steps.round().abs() > 1).all())
    assert found > 0


def test_a_residual_stream_out_of_an_int8_layer_lowers_to_one_delegate() -> None:
    from ofp_edge.functions import Tensor

    module = Residual()
    layers = measure_layers(module, "act", samples(), ALL)
    built = build_quantized(module, "act", samples()[0], layers)
    inputs = (Tensor("features", (1, 6)), Tensor("z", (1, 8)), Tensor("time_row", (1, 1)))
    exported = export_executorch(built, inputs)
    assert (exported.delegates, exported.delegated_share) == (1, 1.0)


def test_a_plan_read_back_rebuilds_the_same_bits(quantised: Quantised) -> None:
    plan = read_plan(quantised.folder)
    assert plan is not None
    first = build_functions(deploy(load_policy(quantised.policy)), quantised.plan)
    again = build_functions(deploy(load_policy(quantised.folder)), plan)
    for a, b in zip(first.values(), again.values(), strict=True):
        one, two = a.state_dict(), b.state_dict()
        assert one.keys() == two.keys() and any(x.dtype == torch.int8 for x in one.values())
        assert all(torch.equal(one[name], two[name]) for name in one)
        assert a.code == b.code  # scales stand in the code  # type: ignore[attr-defined]


def test_a_layer_the_plan_does_not_know_is_an_error(quantised: Quantised) -> None:
    plan = replace(quantised.plan, layers=quantised.plan.layers[1:])
    missing = quantised.plan.layers[0].name
    with pytest.raises(PolicyError, match=missing):
        build_functions(deploy(load_policy(quantised.folder)), plan)
