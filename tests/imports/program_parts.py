"""A network that is not ours, as a program or a graph, and its specification."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ofp_edge.fields import State
from ofp_edge.spec import ActionField, PolicySpec

H, A, TO, D = 8, 3, 2, 5
SPEC = PolicySpec(
    (State("state", (D,), "m", "base", (-1.0,) * D, (2.0,) * D),),
    (
        ActionField("move", (2,), "m", "base", "delta", 0.1, (-1.0,) * 2, (1.0,) * 2, 0.0),
        ActionField("grip", (1,), "1", "base", "absolute", 1.0, (-2.0,), (1.0,), None, "nearest"),
    ),
    TO, H, 4, 10.0, 1,
)  # fmt: skip


class Own(nn.Module):
    """u(z, t, r, observations), or v(z, t, observations)."""

    def __init__(self, velocity: bool = False, spec: PolicySpec = SPEC) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.chunk = spec.horizon, spec.action_dim
        count = spec.horizon * spec.action_dim
        self.first = nn.Linear(count + (1 if velocity else 2) + TO * D, 32)
        self.last = nn.Linear(32, count)

    def forward(self, z: Tensor, t: Tensor, *rest: Tensor) -> Tensor:
        *r, observations = rest
        times = [x[:, None] for x in (t, *r)]
        x = torch.cat([z.flatten(1), *times, observations.flatten(1)], 1)
        return self.last(torch.nn.functional.silu(self.first(x))).view(1, *self.chunk)


def arguments(velocity: bool = False) -> tuple[Tensor, ...]:
    # Not one tensor twice: torch.export would take two inputs for the same.
    times = [torch.zeros(1) for _ in range(1 if velocity else 2)]
    return (torch.zeros(1, H, A), *times, torch.zeros(1, TO, D))


def saved(module: nn.Module, path: Path, *, velocity: bool = False) -> Path:
    if path.suffix == ".onnx":
        program = torch.onnx.export(
            module, arguments(velocity), dynamo=True, opset_version=18, verbose=False
        )
        path.write_bytes(program.model_proto.SerializeToString())
    else:
        torch.export.save(torch.export.export(module, arguments(velocity)), path)
    return path


def spec_file(path: Path, **more: Any) -> Path:
    path.write_text(json.dumps({"spec": SPEC.to_json(), **more}))
    return path


def repacked(path: Path, change: Callable[[dict[str, bytes]], None]) -> bytes:
    """The archive with other files in it."""
    with zipfile.ZipFile(path) as archive:
        files = {item.filename: archive.read(item) for item in archive.infolist()}
    change(files)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return buffer.getvalue()


def entry(files: dict[str, bytes], end: str) -> str:
    return next(name for name in files if name.endswith(end))
