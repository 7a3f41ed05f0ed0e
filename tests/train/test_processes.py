"""Two real processes (gloo, CPU) train as one does, and end as one does."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from ofp_edge.errors import MissingExtra
from ofp_edge.policy.draws import RowGenerator, draw
from ofp_edge.policy.folder import load_policy
from ofp_edge.policy.methods import METHODS
from ofp_edge.train.loop import train
from ofp_edge.train.plan import make_plan
from ofp_edge.train.processes import ALONE, joined_processes
from ofp_edge.train.request import Request

ROOT = Path(__file__).resolve().parents[2]
Ask = Callable[..., Request]


def environment(**more: str) -> dict[str, str]:
    return {
        **os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), "GLOO_SOCKET_IFNAME": "lo",
        **more,
    }  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("two")


@pytest.fixture(scope="module")
def two(points_data: Path, folder: Path) -> list[dict[str, Any]]:
    """What each of two processes found."""
    pytest.importorskip("accelerate")
    pytest.importorskip("diffusers")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    started = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.train.together", str(points_data), str(folder)],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT,
            env=environment(RANK=rank, LOCAL_RANK=rank, WORLD_SIZE="2", LOCAL_WORLD_SIZE="2",
                            MASTER_ADDR="127.0.0.1", MASTER_PORT=port),
        )
        for rank in ("0", "1")
    ]  # fmt: skip
    try:
        answers = [process.communicate(timeout=300) for process in started]
    finally:
        for process in started:
            process.kill()
    assert [process.returncode for process in started] == [0, 0], answers
    return [json.loads(out.splitlines()[-1]) for out, _ in answers]


@pytest.mark.parametrize("method", sorted(METHODS))
def test_two_processes_have_losses_and_policy_of_one(
    ask: Ask, two: list[dict[str, Any]], folder: Path, method: str
) -> None:
    plan = make_plan(ask(method=method, steps=30))
    alone = train(plan, validate_every=10)
    for found in two:
        assert found["count"] == 2
        assert found[method]["loss"] == pytest.approx(alone.loss, abs=1e-4)
        assert found[method]["losses"] == pytest.approx(plan.state.losses, abs=1e-4)
        curve = [point.loss for point in plan.history.points]
        assert found[method]["curve"] == pytest.approx(curve, abs=1e-4)
    assert two[0][method]["losses"] == two[1][method]["losses"]  # to the last bit
    one, shared = load_policy(ask().output), load_policy(folder / method)
    assert shared.config == one.config
    for name, value in one.network.state_dict().items():
        torch.testing.assert_close(shared.network.state_dict()[name], value, atol=1e-4, rtol=0)


def test_nan_in_one_process_stops_both_and_keeps_the_checkpoint(
    two: list[dict[str, Any]], folder: Path
) -> None:
    for found in two:
        assert found["nan"].startswith("CheckFailed: the loss or its gradient is not finite")
        assert "at step 26" in found["nan"] and "checkpoint of step 20 stays" in found["nan"]
    assert load_policy(folder / "nan").config.training.step == 20


def test_a_mistake_seen_by_one_is_an_error_of_both(two: list[dict[str, Any]], folder: Path) -> None:
    assert all("disk is full" in found["disk"] for found in two)
    assert not (folder / "disk").exists()
    assert two[0]["lost"] == "OfpError: process 1: no such dataset."
    for found in two:
        assert "--batch-size 33: expected a multiple of 2" in found["uneven"]


def test_a_signal_to_one_stops_both_at_the_same_step_and_one_process_can_go_on(
    ask: Ask, two: list[dict[str, Any]], folder: Path
) -> None:
    steps = {found["stopped"] for found in two}
    assert steps == {10}
    train(make_plan(ask(method="flow", steps=30)))
    train(make_plan(Request(ask().dataset, folder / "stopped", resume=True)))
    one, resumed = load_policy(ask().output), load_policy(folder / "stopped")
    for name, value in one.network.state_dict().items():
        torch.testing.assert_close(resumed.network.state_dict()[name], value, atol=1e-4, rtol=0)


def drawn(rank: int, count: int, rows: int) -> torch.Tensor:
    generator = RowGenerator()
    generator.share(rank, count, torch.device("cpu"))
    generator.manual_seed(5)
    return draw(torch.randn, (2, rows // count), generator, axis=1)


def test_the_rows_of_all_processes_are_those_of_one() -> None:
    whole = drawn(0, 1, 6)
    assert torch.equal(whole, torch.randn(2, 6, generator=torch.Generator().manual_seed(5)))
    parts = [drawn(rank, 3, 6) for rank in range(3)]
    assert torch.equal(torch.stack(parts, 2).flatten(1), whole)


def test_without_a_launcher_accelerate_is_not_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "accelerate", None)
    assert joined_processes() is ALONE
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(MissingExtra, match=r"accelerate is not installed.*\[train\]"):
        joined_processes()


@pytest.fixture
def launched(points_data: Path, tmp_path: Path) -> Any:
    """`torchrun --nproc-per-node 2 -m ofp_edge train ...`, running; ended with the test."""
    pytest.importorskip("accelerate")
    process = subprocess.Popen(
        [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2",
         "-m", "ofp_edge", "train", str(points_data), "-o", str(tmp_path / "p"), "--preset", "tiny",
         "--steps", "100000", "--checkpoint-every", "5", "--json"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT, env=environment(),
    )  # fmt: skip
    deadline = time.monotonic() + 240
    while not (tmp_path / "p").exists() and process.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    yield process
    process.kill()


@pytest.mark.slow
def test_ctrl_c_of_the_launcher_leaves_a_policy_to_resume_and_one_document(
    launched: subprocess.Popen[str], tmp_path: Path
) -> None:
    launched.send_signal(signal.SIGINT)
    stdout, stderr = launched.communicate(timeout=100)
    (line,) = stdout.splitlines()
    document = json.loads(line)
    assert document["interrupted"] and document["processes"] == 2, stderr
    assert load_policy(tmp_path / "p").config.training.step == document["steps"]
    assert (tmp_path / "p" / "training" / "state.json").exists()


@pytest.mark.slow
def test_a_process_that_dies_ends_the_run(launched: subprocess.Popen[str], tmp_path: Path) -> None:
    listed = Path(f"/proc/{launched.pid}/task/{launched.pid}/children").read_text().split()
    ranks = {
        b"RANK=1\0" in Path(f"/proc/{child}/environ").read_bytes(): int(child) for child in listed
    }
    os.kill(ranks[True], signal.SIGKILL)
    launched.communicate(timeout=100)
    assert launched.returncode != 0
    assert not Path(f"/proc/{ranks[False]}").exists()
    load_policy(tmp_path / "p")  # the last checkpoint is whole
