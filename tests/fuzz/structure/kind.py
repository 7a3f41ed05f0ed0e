"""Sets that are well-formed and wrong, read as `data info` and `train` read them: what was noticed.

An outcome, of what a set says against what the same set said before it was changed:

    refused    one line, by `data info` or by `train`
    said       a line of what is odd that was not there before, whatever its numbers
    harmless   nothing, and training sees the very same values under the same names
    shown      nothing odd, but what is printed of rates, tasks, names and kinds is another
    unnoticed  nothing, and training sees other values

So a change that only moves a smallest or largest value in the table of keys is unnoticed.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from tests.fuzz import command
from tests.fuzz.damage import Rng
from tests.fuzz.structure.changes import changes
from tests.fuzz.structure.editor import Editor
from tests.fuzz.structure.prepared import LAYOUTS, opened, prepared

_STEP_EVERY = 20
_SEEN = ("layout", "task", "episodes", "lengths", "rates_hz", "names", "robot", "guessed")


class Changed:
    """A kind for the campaign: one change a case."""

    counts = (1,)
    may = (
        "subprocess.Popen", "os.remove", "os.rename", "os.rmdir", "shutil.rmtree", "ctypes.dlopen",
    )  # fmt: skip

    def __init__(self, layout: str) -> None:
        self.name, self._layout = f"structure-{layout}", layout
        self.operations: tuple[Callable[[Rng, Path], str], ...] = (self._change,)
        self._before: dict[str, Any] = {}

    def warm(self) -> None:
        """Import what reading takes."""
        os.environ["OMP_NUM_THREADS"] = "1"
        import torch
        import torch._dynamo  # noqa: F401  (an optimiser's first step would, in every child again)

        from tests.fuzz.dataset import Datasets

        Datasets("zarr").warm()
        import ofp_edge.train.loop
        import ofp_edge.train.plan  # noqa: F401

        torch.set_num_threads(1)

    def prepare(self, good: Path) -> None:
        """The sets, and what each says and gives while it is whole."""
        self.warm()
        for name in LAYOUTS[self._layout]:
            (good / name).mkdir()
            path = prepared(name, good / name)
            document, values = looked_at(path, good / name / "policy")
            shutil.rmtree(good / name / "policy", ignore_errors=True)
            (good / f"{name}.json").write_text(json.dumps(document))
            np.savez(good / f"{name}.npz", **values)

    def place(self, rng: Rng, good: Path, home: Path) -> str:
        name = str(rng.choice(LAYOUTS[self._layout]))
        source = good / name / name
        copy: Any = shutil.copytree if source.is_dir() else shutil.copy
        copy(source, home / name)
        with np.load(good / f"{name}.npz") as values:
            self._before = {"values": dict(values), "step": rng.random() < 1 / _STEP_EVERY}
        self._before["document"] = json.loads((good / f"{name}.json").read_text())
        self._before["name"] = name
        return name

    def _change(self, rng: Rng, home: Path) -> str:
        editor: Editor = opened(home / self._before["name"])
        found = changes(editor)
        name = sorted(found)[int(rng.integers(len(found)))]
        said = found[name](rng)
        editor.save()
        return f"{name}: {said}"

    def seal(self, rng: Rng, home: Path) -> None:
        """A dataset has no hashes."""

    def read(self, home: Path) -> str:
        path, before = home / self._before["name"], self._before
        document, values = looked_at(path, home / "policy")
        if before["step"]:
            (home / "out").mkdir()
            out = str(home / "out" / "policy")
            command.command("train", str(path), "-o", out, "--preset", "tiny", "--steps", "1")
        if _odd(document) - _odd(before["document"]):
            return "said"
        if same(values, before["values"]) and _seen(document) == _seen(before["document"]):
            return "harmless"
        return "shown" if _seen(document) != _seen(before["document"]) else "unnoticed"


def looked_at(path: Path, policy: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """(`data info`'s document with the words of `train`, what training sees). DatasetError."""
    from ofp_edge.train.plan import Request, make_plan

    document = command.command("data", "info", str(path))
    plan = make_plan(Request(path, policy, preset="tiny", steps=1))
    data = plan.dataset
    document = {k: document[k] for k in (*_SEEN, "odd", "refused")}
    document["odd"] = [x.replace(str(path), "SET") for x in (*document["odd"], *data.odd)]
    document["fields"] = [
        (x.name, x.unit, x.frame, getattr(x, "kind", None), getattr(x, "interpolation", None))
        for x in (*data.interface.observations, *data.interface.actions)
    ]
    document["seen"] = [data.control_hz, data.task, list(data.success)]
    values = {f"field {k}": np.asarray(v) for k, v in data.fields.items()}
    return json.loads(json.dumps(document)), {
        **values,
        "action": data.action,
        "ends": data.episode_ends,
    }


def same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Whether two sets give the same arrays, bit for bit."""
    return one.keys() == other.keys() and all(np.array_equal(one[k], other[k]) for k in one)


def _odd(document: dict[str, Any]) -> Counter[str]:
    """The lines, without their numbers: those that a change merely moves are not new."""
    return Counter(re.sub(r"-?\d+(\.\d+)?(e[-+]?\d+)?", "#", x) for x in document["odd"])


def _seen(document: dict[str, Any]) -> list[Any]:
    return [document[k] for k in (*_SEEN, "fields", "seen")]
