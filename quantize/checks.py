"""Check a plan without a simulator: its samples, weights, ranges, and error in robot units.

A fault that a mean error over whole chunks would dilute (in one layer's scale, or one channel's) is
checked where it occurs.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, fx, nn

from ofp_edge.calibration.windows import ObservationWindows
from ofp_edge.quantize.functions import Modules
from ofp_edge.quantize.gate import Check
from ofp_edge.quantize.inputs import Inputs
from ofp_edge.quantize.layer_nodes import export_graph, find_layers, is_layer
from ofp_edge.quantize.plan import ActionError, Layer, Range
from ofp_edge.quantize.simulate import in_batches
from ofp_edge.quantize.units import shown

FEWEST_SAMPLES = 16
LARGEST_OUTSIDE = 0.05
"""The share of a tensor's values on held-out windows that its range may cut off."""
WIDEST = 16.0
"""The most a range may exceed what held-out windows show, as a factor: 4 of the 8 bits remain."""
_HALF_STEP = 0.5 + 1e-3
_NEARLY_ZERO = 1e-5  # no trained channel is so small


def check_samples(samples: ObservationWindows) -> Check:
    """Check that there are enough samples, and different ones."""
    distinct, count = samples.distinct(), len(samples)
    passed = distinct >= FEWEST_SAMPLES and 2 * distinct > count
    return Check(
        "samples",
        passed,
        f"{distinct} of {count} calibration samples differ, expected at least {FEWEST_SAMPLES} and "
        "more than half",
        {"samples": count, "distinct": distinct, "fewest": FEWEST_SAMPLES},
    )


def check_error(errors: Sequence[ActionError], measured_on: str) -> Check:
    """Check that the worst dimension's mean error is within its budget. A NaN fails."""
    worst = max(errors, key=lambda e: e.mean / e.budget if e.mean == e.mean else float("inf"))
    return Check(
        "error",
        all(e.mean <= e.budget for e in errors),
        f"{worst.name}: mean {shown(worst.mean, worst.unit)}, largest "
        f"{shown(worst.max, worst.unit)}, allowed in the mean {shown(worst.budget, worst.unit)} "
        f"({measured_on})",
        {
            "worst": worst.name,
            "unit": worst.unit,
            "mean": worst.mean,
            "max": worst.max,
            "budget": worst.budget,
        },
    )


def check_weights(floats: Modules, built: Modules, example: dict[str, Inputs]) -> Check:
    """Check that every weight of the quantised functions is within half a step of the float one."""
    worst, where, layers, largest = 0.0, "", 0, 1.0
    for function, module in floats.items():
        names = [layer.name for layer in find_layers(export_graph(module, example[function]))]
        for name, weight, step in _held(built[function], names):
            exact = module.get_parameter(f"{name}.weight").detach()
            # In steps of the float weights' own grid: a wrong scale must not excuse itself.
            axis = int(torch.tensor(step.shape).argmax())
            other = [d for d in range(exact.dim()) if d != axis]
            own = (exact.abs().amax(other, keepdim=True) / 127).clamp_min(1e-12)
            steps = ((weight - exact).abs() / own).amax(other)
            off, channel = float(steps.max()), int(steps.argmax())
            layers += 1
            if not off <= worst:
                worst, where = off, f"{function}.{name}"
                largest = float(exact.abs().amax(other)[channel])
    says = f"{where or 'no layer'}: a weight is {worst:.3g} steps from the float one, allowed 0.5"
    if worst > _HALF_STEP and largest < _NEARLY_ZERO:
        says = (
            f"{where}: weights near their initial zeros (at most {largest:.2g}), which no eight "
            "bits hold: the policy has hardly been trained. Train longer"
        )
    return Check(
        "weights",
        worst <= _HALF_STEP,
        says,
        {"layer": where, "steps": worst, "limit": 0.5, "layers": layers},
    )


def check_ranges(
    floats: Modules, layers: Sequence[Layer], calls: Mapping[str, Sequence[Inputs]]
) -> Check:
    """Check that every range fits its tensor on held-out windows: it cuts little off and is not far
    too wide."""
    worst: dict[str, Any] = {"layer": "", "outside": 0.0, "wider": 0.0}
    bad: dict[str, Any] | None = None
    for function, module in floats.items():
        used = [x for x in layers if x.function == function and x.precision == "int8"]
        if not used:
            continue
        for name, outside, wider in _fit(module, used, calls[function]):
            found = {"layer": f"{function}.{name}", "outside": outside, "wider": wider}
            misfit = outside > LARGEST_OUTSIDE or wider > WIDEST
            if misfit and (bad is None or outside > bad["outside"]):
                bad = found
            if outside >= worst["outside"]:
                worst = found
    told = bad or worst
    return Check(
        "ranges",
        bad is None,
        f"{told['layer'] or 'no layer'}: {100 * told['outside']:.2g} % of its values are cut off, "
        f"allowed {100 * LARGEST_OUTSIDE:g} %; the range is {told['wider']:.3g} times what is "
        f"seen, allowed {WIDEST:g}",
        {**told, "largest_outside": LARGEST_OUTSIDE, "widest": WIDEST},
    )


def _held(graph: nn.Module, names: Sequence[str]) -> Sequence[tuple[str, Tensor, Tensor]]:
    """Name, weight as the quantised graph computes it, and its steps (one axis longer than 1)."""
    if not isinstance(graph, fx.GraphModule):
        return []
    found = []
    nodes = [node for node in graph.graph.nodes if is_layer(node)]
    for name, node in zip(names, nodes, strict=True):
        weight = node.args[1]
        if not isinstance(weight, fx.Node) or "dequantize_per_channel" not in str(weight.target):
            continue
        whole, steps, _, axis = (_value(graph, x) for x in weight.args[:4])
        shape = [1] * whole.dim()
        shape[axis] = -1
        spread = steps.view(shape)
        found.append((name, whole.float() * spread.float(), spread))
    return found


def _value(graph: fx.GraphModule, argument: Any) -> Any:
    if not isinstance(argument, fx.Node):
        return argument
    value: Any = graph
    for part in str(argument.target).split("."):
        value = getattr(value, part)
    return value


def _fit(
    module: nn.Module, layers: Sequence[Layer], calls: Sequence[Inputs]
) -> Sequence[tuple[str, float, float]]:
    """Layer, largest share of values outside its ranges, most that a range is wider than needed."""
    counts: dict[tuple[str, str], list[float]] = {}

    def see(key: tuple[str, str], range_: Range, x: Tensor) -> None:
        if range_.low >= 0:
            x = x.clamp_min(0)  # the activation that is fused comes before rounding
        size, cut, top = counts.setdefault(key, [0.0, 0.0, 0.0])
        beyond = float((x.abs() > 127.5 * range_.scale).sum())
        counts[key] = [size + x.numel(), cut + beyond, max(top, float(x.abs().max()))]

    with contextlib.ExitStack() as stack:
        for layer in layers:
            part = module.get_submodule(layer.name)
            read, given = layer.input, layer.output
            if read is None or given is None:
                continue

            def before(_: Any, inputs: Any, name: str = layer.name, r: Range = read) -> None:
                see((name, "reads"), r, inputs[0])

            def after(
                _: Any, inputs: Any, output: Tensor, name: str = layer.name, r: Range = given
            ) -> None:
                see((name, "gives"), r, output)

            stack.callback(part.register_forward_pre_hook(before).remove)
            stack.callback(part.register_forward_hook(after).remove)
        in_batches(module, calls)
    found = []
    for layer in layers:
        ends = {"reads": layer.input, "gives": layer.output}
        outside = wider = 0.0
        for end, range_ in ends.items():
            if range_ is None or (layer.name, end) not in counts:
                continue
            size, cut, top = counts[layer.name, end]
            outside = max(outside, cut / size)
            if top > 1e-6:
                wider = max(wider, 127 * range_.scale / top)
        found.append((layer.name, outside, wider))
    return found
