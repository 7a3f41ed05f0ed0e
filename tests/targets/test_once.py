"""What this folder's tests export is kept: an equal module's, and of no other."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn

from ofp_edge.functions import Tensor
from ofp_edge.targets.export import Exported
from tests.targets.once import once

INPUTS = [Tensor("x", (1, 2))]


def module(seed: int = 0, last: type[nn.Module] = nn.ReLU) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(2, 3), last())


def test_an_equal_module_is_exported_once_and_any_other_anew(tmp_path: Path) -> None:
    asked: list[Any] = []

    def export(*given: Any) -> Exported:
        asked.append(given)
        return Exported(b"\0\xff", {"Gemm": len(asked)}, 1, 0.5, ("aten.relu",))

    known, again = (once(export, "pte", tmp_path) for _ in range(2))  # of two processes
    trace = torch.fx.symbolic_trace
    different = (
        (module(), INPUTS), (module(1), INPUTS), (module(last=nn.Tanh), INPUTS),
        (module().train(False), INPUTS), (module().half(), INPUTS),
        (module(), [Tensor("x", (2, 2))]), (trace(module()), INPUTS), (trace(module(1)), INPUTS),
    )  # fmt: skip
    for number, (made, inputs) in enumerate(different, 1):
        found = known(made, inputs, INPUTS)
        assert found == Exported(b"\0\xff", {"Gemm": number}, 1, 0.5, ("aten.relu",))
        assert again(made, inputs, INPUTS) == found and len(asked) == number
    assert known(module(), INPUTS, INPUTS).operations == {"Gemm": 1}
    assert known(trace(module(1)), INPUTS, INPUTS).operations == {"Gemm": 8}
