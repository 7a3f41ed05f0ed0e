"""A program whose hash agrees and whose content does not is refused before its runtime sees it."""

from __future__ import annotations

import random
import struct

import numpy as np
import pytest
import torch
from torch import nn

from ofp_edge.apart import try_apart
from ofp_edge.errors import BundleError
from ofp_edge.functions import Tensor
from ofp_edge.runtime.runners.flatbuffer import Reader
from ofp_edge.runtime.runners.pte_file import require_consistent
from ofp_edge.runtime.runners.table import load_runner
from ofp_edge.targets.export import export_executorch
from tests.needs import needs_engines

INPUTS, OUTPUTS = (Tensor("x", (1, 3, 1, 8)),), (Tensor("y", (1, 20)),)


class Toy(nn.Module):
    """A convolution, a transposition, a slice, a concatenation, a linear layer."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.last = nn.Conv2d(3, 5, 1), nn.Linear(40, 20)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        made = torch.relu(self.first(x)).permute(0, 2, 3, 1).flatten(1)
        return self.last(torch.cat([made[:, 20:], made[:, :20]], 1))


@pytest.fixture(scope="module")
def program() -> bytes:
    needs_engines()
    return export_executorch(Toy().eval(), INPUTS).model


def test_a_program_of_ours_is_consistent_and_runs(program: bytes) -> None:
    require_consistent(program, "act.pte")
    runner = load_runner("executorch", program, INPUTS, OUTPUTS)
    runner.inputs["x"][:] = np.linspace(-1, 1, 24).reshape(1, 3, 1, 8)
    runner.infer()
    with torch.no_grad():
        wanted = Toy()(torch.from_numpy(runner.inputs["x"])).numpy()
    assert np.allclose(runner.outputs["y"], wanted, atol=1e-5)


def replaced(program: bytes, old: bytes, new: bytes) -> bytes:
    assert program.count(old) >= 1 and len(old) == len(new)
    return program.replace(old, new)


def test_a_weight_beyond_its_data_is_refused(program: bytes) -> None:
    dims, larger = struct.pack("<III", 2, 20, 40), struct.pack("<III", 2, 20, 40_000)
    with pytest.raises(BundleError, match="a weight is larger than its data"):
        require_consistent(replaced(program, dims, larger), "act.pte")


def test_constants_that_are_cut_off_are_refused(program: bytes) -> None:
    start = program.index(b"XH00") - 4
    for at, size in ((start + 22, 8), (start + 18, 4), (start + 14, 4)):
        data = bytearray(program)
        data[at : at + size] = b"\xff" * (size - 1) + b"\x0f"
        with pytest.raises(BundleError, match="cut off"):
            require_consistent(bytes(data), "act.pte")


@pytest.mark.parametrize("size", [0, 3, 8, 40, 100, 1000])
def test_a_program_that_is_cut_off_is_one_line(program: bytes, size: int) -> None:
    for data in (program[:size], program[:-size] if size else b"\xff" * 64):
        with pytest.raises(BundleError) as caught:
            require_consistent(data, "act.pte")
        assert "\n" not in str(caught.value)


def mutants(program: bytes, count: int) -> list[bytes]:
    """With bits, bytes and numbers changed where the structure is: not in the weights."""
    rng = random.Random(0)
    regions = [(0, 4000), (program.index(b"XH00") - 4, program.index(b"XH00") + 6000)]
    made = []
    for _ in range(count):
        data = bytearray(program)
        for _ in range(rng.choice((1, 1, 2))):
            start, stop = rng.choice(regions)
            at = rng.randrange(start, min(stop, len(data) - 4)) & ~3
            old = int.from_bytes(data[at : at + 4], "little")
            new = rng.choice((0, 1, 2, 255, 65535, 0x7FFFFFFF, 0xFFFFFFFF, 100_000, old ^ 1,
                              old + 1, old ^ 1 << rng.randrange(32)))  # fmt: skip
            data[at : at + 4] = (new & 0xFFFFFFFF).to_bytes(4, "little")
        made.append(bytes(data))
    return made


def test_what_passes_the_check_ends_no_process(program: bytes) -> None:
    """Of 300 damaged programs; those that are refused are refused in one line."""
    passed = []
    for data in mutants(program, 300):
        try:
            require_consistent(data, "act.pte")
            passed.append(data)
        except BundleError as cause:
            assert "\n" not in str(cause)
    assert 10 < len(passed) < 290

    def run() -> None:
        for data in passed:
            try:
                runner = load_runner("executorch", data, INPUTS, OUTPUTS)
                runner.infer()
                runner.close()
            except (BundleError, RuntimeError):
                continue

    try_apart(run, "a damaged program", BundleError)


def test_tables_that_lead_back_into_themselves_end() -> None:
    loop = struct.pack("<IiHHHHI", 4, -4, 6, 8, 4, 0, 0)  # root -> table whose field is itself
    with pytest.raises(ValueError):
        Reader(loop, {"A": ("next A",)}).root("A")
