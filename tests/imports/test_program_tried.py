"""A program is tried on real inputs before it is taken: what does not fit is refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from ofp_edge.errors import CheckFailed, OfpError, PolicyError
from ofp_edge.imports.program import import_program
from tests.imports.program_parts import (
    SPEC,
    Own,
    saved,
    spec_file,
)

pytestmark = pytest.mark.usefixtures("exports")


def refuse(module: nn.Module, tmp_path: Path, **more: Any) -> str:
    path = saved(module, tmp_path / "u.pt2")
    with pytest.raises(OfpError) as caught:
        import_program("exported", path, spec_file(tmp_path / "s.json", **more))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_other_shapes_are_told_apart(tmp_path: Path) -> None:
    path = saved(Own(), tmp_path / "u.pt2")
    wrong = spec_file(tmp_path / "s.json")
    wrong.write_text(json.dumps({"spec": replace(SPEC, n_obs_steps=3).to_json()}))
    with pytest.raises(PolicyError, match=r"observations: expected shape \(1, 3, 5\).*\(1, 2, 5\)"):
        import_program("exported", path, wrong)


def test_a_division_by_r_minus_t_is_found(tmp_path: Path) -> None:
    class Divides(Own):
        def forward(self, z: Tensor, t: Tensor, *rest: Tensor) -> Tensor:
            return super().forward(z, t, *rest) / (rest[0] - t)[:, None, None]

    assert "NaN or infinity at t = 0, r = 0" in refuse(Divides(), tmp_path)


def test_a_blind_network_is_found(tmp_path: Path) -> None:
    class Blind(Own):
        def forward(self, z: Tensor, t: Tensor, *rest: Tensor) -> Tensor:
            return super().forward(z, t, rest[0], rest[1] * 0)

    assert "whatever it sees" in refuse(Blind(), tmp_path)


def test_a_velocity_in_disguise_is_remarked(tmp_path: Path) -> None:
    class Velocity(Own):
        def forward(self, z: Tensor, t: Tensor, *rest: Tensor) -> Tensor:
            return super().forward(z, t, rest[0] * 0, rest[1])

    path = saved(Velocity(), tmp_path / "u.pt2")
    found = import_program("exported", path, spec_file(tmp_path / "s.json"))
    assert "does not change with r" in found.remarks[0]


@pytest.mark.parametrize("kind", ["noise", "pi0"])
def test_other_predictions_are_refused(tmp_path: Path, kind: str) -> None:
    assert f"got '{kind}'" in refuse(Own(), tmp_path, predicts=kind)


def test_noise_inside_a_network_is_found(tmp_path: Path) -> None:
    class Noisy(Own):
        def forward(self, z: Tensor, t: Tensor, *rest: Tensor) -> Tensor:
            return super().forward(z, t, *rest) + torch.randn_like(z)

    path = saved(Noisy(), tmp_path / "u.pt2")
    with pytest.raises(CheckFailed, match="it draws noise"):
        import_program("exported", path, spec_file(tmp_path / "s.json"))
