"""Exporting takes most of a compile's time: here an equal module is exported once in a run, and in
two thirds of the time.

What is kept is what the exporter gave, by everything that it was given; that an equal module gives
equal bytes is shown by test_compile.py, which asks the exporters themselves.
"""

from __future__ import annotations

import base64
import contextlib
import copy
import hashlib
import io
import json
import os
import pickle
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import torch
from torch import nn

from ofp_edge.functions import Tensor
from ofp_edge.targets import export as exporting
from ofp_edge.targets.export import Exported, weight_bytes

Exporter = Callable[..., Exported]


def once(export: Exporter, form: str, folder: Path) -> Exporter:
    """`export`, with `folder` for what it has given; several processes may share that."""

    def exported(
        module: nn.Module,
        inputs: Sequence[Tensor],
        outputs: Sequence[Tensor] = (),
        beside: Path | None = None,
    ) -> Exported:
        if beside is not None and weight_bytes(module) > exporting.LARGEST_INSIDE:
            return export(module, inputs, outputs, beside)
        try:
            kept = folder / f"{_digest(module, inputs, outputs)}.{form}"
        except TypeError:  # it holds what can't be written down: a session of an engine
            with _quick_passes():
                return export(module, inputs, outputs)
        if not kept.exists():
            with _quick_passes():
                found = asdict(export(module, inputs, outputs))
            found["model"] = base64.b85encode(found["model"]).decode()
            partial = kept.with_suffix(f".{os.getpid()}")
            partial.write_text(json.dumps(found))
            partial.replace(kept)
        found = json.loads(kept.read_text())
        found["model"] = base64.b85decode(found["model"])
        return Exported(**{**found, "left_out": tuple(found["left_out"])})

    return exported


@contextlib.contextmanager
def _quick_passes() -> Iterator[None]:
    """Every pass over a graph copies, deeply, which nodes each one came from, and ExecuTorch checks
    the graph before and after: two fifths of its time, and nothing of either is in the program."""
    import executorch.exir as exir

    def shallow(x: Any, *memo: Any) -> Any:
        return list(x) if isinstance(x, list) else copy.deepcopy(x, *memo)

    lower, config = exir.to_edge_transform_and_lower, exir.EdgeCompileConfig

    def unchecked(program: Any, **how: Any) -> Any:
        return lower(program, compile_config=config(_check_ir_validity=False), **how)

    with (
        patch.object(torch.fx.traceback, "copy", SimpleNamespace(deepcopy=shallow, copy=copy.copy)),
        patch.object(exir, "to_edge_transform_and_lower", unchecked),
    ):
        yield


class _Contents(pickle.Pickler):
    """Written to be hashed, never read: all that a module holds, its tensors by their numbers."""

    def reducer_override(self, item: Any) -> Any:
        """See pickle."""
        if isinstance(item, torch.Tensor):
            numbers = item.detach().reshape(-1).contiguous().view(torch.uint8).numpy().tobytes()
            return tuple, ((str(item.dtype), tuple(item.shape), item.requires_grad, numbers),)
        if isinstance(item, torch.fx.GraphModule):  # what it does stands in its code
            tensors = [*item.named_parameters(), *item.named_buffers()]
            parts = [(name, repr(part)) for name, part in item.named_children()]
            return tuple, ((item.code, item.training, tensors, parts),)
        if isinstance(item, nn.Module):  # some of what it holds is a set, in no order
            held = {k: sorted(v) if isinstance(v, set) else v for k, v in vars(item).items()}
            return tuple, ((type(item), held),)
        return NotImplemented


def _digest(*given: Any) -> str:
    written = io.BytesIO()
    contents = _Contents(written)
    contents.fast = True  # otherwise equal texts and one text twice would differ
    contents.dump(given)
    return hashlib.sha256(written.getvalue()).hexdigest()
