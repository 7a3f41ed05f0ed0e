"""A program's layers as modules again: the same numbers, the names they had before the export."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ofp_edge.errors import OfpError
from ofp_edge.policy.imported.layer_modules import with_layers
from ofp_edge.quantize.ptq import measure_layers
from ofp_edge.quantize.recipes import recipe


class Network(nn.Module):
    """One layer used twice, a grouped and strided convolution, a bare product."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(4, 8), nn.ReLU())
        self.down = nn.Conv2d(2, 4, 3, stride=2, padding=1, groups=2)
        self.up = nn.ConvTranspose2d(4, 2, (1, 4), stride=(1, 2), padding=(0, 1), bias=False)

    def forward(self, x: Tensor, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        twice = self.body(x) + self.body(2 * x)
        return twice, self.up(self.down(image)), F.linear(x, 2 * self.body[0].weight)


def test_the_same_answers_from_named_layers() -> None:
    torch.manual_seed(0)
    network, inputs = Network().eval(), (torch.randn(1, 4), torch.randn(1, 2, 6, 8))
    program = with_layers(torch.export.export(network, inputs).module(check_guards=False))
    for got, wanted in zip(program(*inputs), network(*inputs), strict=True):
        torch.testing.assert_close(got, wanted, rtol=0, atol=0)
    kinds = (nn.Linear, nn.Conv2d, nn.ConvTranspose2d)
    assert {n for n, m in program.named_modules() if isinstance(m, kinds)} == {
        "body.0", "down", "up",
    }  # fmt: skip
    assert len([n for n in program.graph.nodes if n.op == "call_module"]) == 4


def test_a_computed_weight_is_named_when_it_is_quantised() -> None:
    inputs = (torch.randn(1, 4), torch.randn(1, 2, 6, 8))
    program = torch.export.export(Network().eval(), inputs).module(check_guards=False)
    with pytest.raises(OfpError, match="act: the weight of a linear is computed in the graph"):
        measure_layers(with_layers(program), "act", [inputs], recipe("int8"))


class Strides(nn.Module):
    """One convolution's weight with two strides, and a linear layer that keeps a constant."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 2, 3, padding=1)
        self.scaled = nn.Linear(4, 4)
        self.scaled.register_buffer("scale", torch.tensor(3.0), persistent=False)

    def forward(self, x: Tensor, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        again = F.conv2d(image, self.conv.weight, self.conv.bias, stride=2, padding=1)
        return self.conv(image), again, self.scaled(x) * self.scaled.scale


def test_a_layer_is_what_its_weight_is_used_as_first_and_keeps_what_lies_beside_it() -> None:
    torch.manual_seed(0)
    network, inputs = Strides().eval(), (torch.randn(1, 4), torch.randn(1, 2, 6, 8))
    program = with_layers(torch.export.export(network, inputs).module(check_guards=False))
    for got, wanted in zip(program(*inputs), network(*inputs), strict=True):
        torch.testing.assert_close(got, wanted, rtol=0, atol=0)
    assert [n.target for n in program.graph.nodes if n.op == "call_module"] == ["conv"]
