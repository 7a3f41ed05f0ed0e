"""ExecuTorch without torch: what it refuses, its threads, and that nothing ends the interpreter."""

from __future__ import annotations

import importlib
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from ofp_edge.errors import BundleError, OfpError
from ofp_edge.functions import Tensor
from ofp_edge.runtime.runners import Runner
from ofp_edge.runtime.runners.table import load_runner
from ofp_edge.targets.export import export_executorch
from tests.needs import needs_engines

INPUTS = (Tensor("a", (1, 64)), Tensor("b", (1, 2)))
OUTPUTS = (Tensor("sum", (1, 64)),)


class Toy(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layer = nn.Linear(64, 64)

    def forward(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.silu(self.layer(a)) * b[:, :1]


@pytest.fixture(scope="module")
def model() -> bytes:
    needs_engines()
    return export_executorch(Toy().eval(), INPUTS).model


@pytest.fixture
def load(model: bytes) -> Iterator[Callable[..., Runner]]:
    opened: list[Runner] = []

    def opens(program: bytes = model, threads: int = 1) -> Runner:
        opened.append(load_runner("executorch", program, INPUTS, OUTPUTS, threads=threads))
        return opened[-1]

    yield opens
    for runner in opened:
        runner.close()


def in_a_process(model: bytes, folder: Path, code: str) -> None:
    """Run `code`, silent, with `program`, `inputs` and `outputs` in a fresh interpreter."""
    path = folder / "toy.pte"
    path.write_bytes(model)
    start = (
        "import os, threading\nimport numpy as np\nfrom ofp_edge.functions import Tensor\n"
        "from ofp_edge.errors import OfpError\n"
        "from ofp_edge.runtime.runners.table import load_runner\n"
        f"program = open({str(path)!r}, 'rb').read()\n"
        f"inputs, outputs = {INPUTS!r}, {OUTPUTS!r}\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", start + code], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda m: m[:4] + b"ET99" + m[8:], "'ET99' != expected 'ET12'. Compile the policy again"),
        (lambda m: m.replace(b"XH00", b"XH99"), "XNNPACK .*'XH99'.*Compile the policy again"),
        (lambda m: m.replace(b"XnnpackBackend", b"XnnpackBackenx"), "not registered"),
        (lambda m: m[: len(m) // 2], "size is too small"),
        (lambda m: b"", "cut short"),
    ],
)
def test_a_program_of_another_version_or_damaged_is_one_line_with_the_remedy(
    model: bytes, load: Callable[..., Runner], damage: Callable[[bytes], bytes], said: str
) -> None:
    assert damage(model) != model
    with pytest.raises(BundleError, match=f"executorch [0-9.]+ refuses the program: .*{said}"):
        load(damage(model))


def test_no_damage_to_a_program_ends_the_interpreter(model: bytes, tmp_path: Path) -> None:
    in_a_process(
        model, tmp_path,
        """
rng, refused = np.random.default_rng(0), 0
for _ in range(150):
    damaged = bytearray(program)
    for _ in range(rng.integers(1, 8)):
        damaged[rng.integers(0, min(len(program), 9000))] = rng.integers(0, 256)
    try:
        runner = load_runner("executorch", bytes(damaged), inputs, outputs)
        runner.infer()
        runner.close()
    except OfpError:
        refused += 1
    except RuntimeError:  # of `infer`
        refused += 1
assert refused > 50, refused
""",
    )  # fmt: skip


def test_too_little_memory_is_one_line(model: bytes, tmp_path: Path) -> None:
    in_a_process(
        model, tmp_path,
        """
import resource
load_runner("executorch", program, inputs, outputs).close()
now = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (now, resource.RLIM_INFINITY))
kept, said = [], ""
try:
    while len(kept) < 10000:
        kept.append(load_runner("executorch", program, inputs, outputs))
except OfpError as cause:
    said = str(cause)
except MemoryError:  # Python itself came first
    said = "Free memory"
resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
assert "Free memory" in said and "\\n" not in said, said
""",
    )  # fmt: skip


def test_one_thread_starts_none_and_two_start_one(model: bytes, tmp_path: Path) -> None:
    in_a_process(
        model, tmp_path,
        """
running = lambda: len(os.listdir("/proc/self/task"))
before = running()
one = load_runner("executorch", program, inputs, outputs, threads=1)
one.warm_up(20)
assert running() == before
two = load_runner("executorch", program, inputs, outputs, threads=2)
two.warm_up(20)
assert running() == before + 1
one.infer(), two.infer()
""",
    )  # fmt: skip


def test_programs_share_one_pool_so_two_counts_above_one_do_not_go_together(
    load: Callable[..., Runner],
) -> None:
    two = load(threads=2)
    load(threads=1).infer()  # the pool does not concern it
    load(threads=2).infer()
    with pytest.raises(BundleError, match="computes on 2 threads"):
        load(threads=3)
    two.infer()


def test_after_closing_another_thread_count_may_be_taken(load: Callable[..., Runner]) -> None:
    for threads in (2, 3, 1, 2):
        runner = load(threads=threads)
        runner.infer()
        runner.close()


def test_after_close_the_arrays_stay_and_infer_is_an_error(load: Callable[..., Runner]) -> None:
    runner = load()
    runner.inputs["a"][:], runner.inputs["b"][:] = 1, 1
    runner.infer()
    kept = runner.outputs["sum"].copy()
    assert kept.any()
    runner.close()
    runner.close()
    with pytest.raises(RuntimeError, match="closed"):
        runner.infer()
    assert np.array_equal(runner.outputs["sum"], kept)
    runner.inputs["a"][:] = 2


def test_two_threads_on_one_runner_get_an_error_at_worst(load: Callable[..., Runner]) -> None:
    runner, said = load(), set()

    def work() -> None:
        for _ in range(300):
            try:
                runner.infer()
            except RuntimeError as cause:
                said.add(str(cause))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all("runs in another thread" in text for text in said)


def test_a_program_that_plans_its_own_buffers_answers_the_same(
    model: bytes, load: Callable[..., Runner]
) -> None:
    exir = importlib.import_module("executorch.exir")
    xnnpack = importlib.import_module(
        "executorch.backends.xnnpack.partition.xnnpack_partitioner"
    ).XnnpackPartitioner
    example = (torch.zeros(1, 64), torch.zeros(1, 2))
    edge = exir.to_edge_transform_and_lower(
        torch.export.export(Toy().eval(), example), partitioner=[xnnpack()]
    )
    planned, shared = load(bytes(edge.to_executorch().buffer)), load()
    rng = np.random.default_rng(0)
    for _ in range(3):
        for name in ("a", "b"):
            values = rng.normal(size=shared.inputs[name].shape)
            planned.inputs[name][:] = shared.inputs[name][:] = values
        planned.infer()
        shared.infer()
        assert shared.outputs["sum"].any()
        assert np.array_equal(planned.outputs["sum"], shared.outputs["sum"])


def test_what_xnnpack_does_not_take_is_computed_all_the_same() -> None:
    class Outside(nn.Module):
        def forward(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
            return torch.nn.functional.layer_norm(a, (64,)) * b.amax(1, keepdim=True)

    needs_engines()
    exported = export_executorch(Outside(), INPUTS)
    assert exported.left_out
    runner = load_runner("executorch", exported.model, INPUTS, OUTPUTS)
    rng = np.random.default_rng(0)
    for _ in range(2):
        for array in runner.inputs.values():
            array[:] = rng.normal(size=array.shape)
        runner.infer()
        wanted = Outside()(*(torch.from_numpy(x) for x in runner.inputs.values()))
        np.testing.assert_allclose(runner.outputs["sum"], wanted.numpy(), atol=1e-5)
    runner.close()


def test_a_library_that_does_not_load_names_the_remedy(
    model: bytes, load: Callable[..., Runner], monkeypatch: pytest.MonkeyPatch
) -> None:
    real = importlib.import_module

    def broken(name: str, package: str | None = None) -> object:
        if name == "ofp_edge_executorch":
            raise OSError("libstdc++.so.6: version `GLIBCXX_3.4.21' not found")
        return real(name, package)

    monkeypatch.setattr(importlib, "import_module", broken)
    with pytest.raises(
        OfpError, match="does not load .*GLIBCXX.*Run: make .* wheels && .*pip install"
    ):
        load()
