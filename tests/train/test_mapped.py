"""Training on what is mapped: the same run as on what is held, and nothing is read whole."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ofp_edge.cache_folder import cache_folder
from ofp_edge.cli.data_options import DataOptions
from ofp_edge.data.cache.access import Access
from ofp_edge.data.open import open_dataset
from ofp_edge.errors import OfpError
from ofp_edge.policy.folder import load_policy
from ofp_edge.progress import silent
from ofp_edge.train.loop import train
from ofp_edge.train.plan import Request, make_plan
from tests.synthetic import write_synthetic_dataset

ROOT = Path(__file__).resolve().parents[2]
Ask = Callable[..., Request]


def mapped(folder: Path) -> Access:
    return Access(folder / "cache", "always", workers=1)


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_policy(folder).network.state_dict()


def test_a_run_begun_in_memory_and_stopped_goes_on_mapped_bit_for_bit(
    ask: Ask, tmp_path: Path
) -> None:
    whole = ask(output=tmp_path / "whole", steps=14)
    train(make_plan(whole, Access(None, "never")))

    def stop(done: int, total: int, note: str = "") -> None:
        if done == 10:
            os.kill(os.getpid(), signal.SIGTERM)

    parts = ask(output=tmp_path / "parts", steps=14)
    assert train(make_plan(parts, Access(None, "never")), workers=2, progress=stop).interrupted
    plan = make_plan(replace(parts, resume=True, preset=None, steps=None), mapped(tmp_path))
    assert plan.dataset.mapped and plan.state.step == 10
    train(plan, workers=2)
    one, other = weights(whole.output), weights(parts.output)
    assert one.keys() == other.keys() and all(torch.equal(one[x], other[x]) for x in one)


def test_statistics_read_nothing_that_is_mapped(points_data: Path, tmp_path: Path) -> None:
    dataset = open_dataset(points_data, mapped(tmp_path))
    read: list[Any] = []

    class Watched(np.ndarray):
        def __getitem__(self, rows: Any) -> Any:
            made = super().__getitem__(rows)
            read.append(np.size(made))
            return made

    fields = {k: x.view(Watched) if k in dataset.mapped else x for k, x in dataset.fields.items()}
    held = open_dataset(points_data, Access(None, "never"))
    found = replace(dataset, fields=fields).statistics(range(6))
    expected = held.statistics(range(6))
    assert found.keys() == expected.keys() and sum(read) == 0
    for name, one in found.items():
        np.testing.assert_array_equal(one.low, expected[name].low)


TWO = ["--preset", "tiny", "--steps", "3", "--batch-size", "8", "--workers", "1"]


def test_two_processes_of_a_launcher_fill_one_cache_and_train_on_it(tmp_path: Path) -> None:
    pytest.importorskip("accelerate")
    data = write_synthetic_dataset(tmp_path / "set.zarr", episodes=4, length=12)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    words = [sys.executable, "-m", "ofp_edge", "train", str(data), "-o", str(tmp_path / "p"), *TWO]
    words += ["--cache", str(tmp_path / "cache"), "--json"]
    same = {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), "GLOO_SOCKET_IFNAME": "lo",
            "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": port}  # fmt: skip
    started = [
        subprocess.Popen(
            words, cwd=ROOT, env={**os.environ, **same, "RANK": rank, "LOCAL_RANK": rank},
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for rank in ("0", "1")
    ]  # fmt: skip
    try:
        answers = [process.communicate(timeout=300) for process in started]
    finally:
        for process in started:
            process.kill()
    assert [process.returncode for process in started] == [0, 0], answers
    said = json.loads(answers[0][0])
    assert said["mapped"] == ["points"] and said["processes"] == 2 and said["steps"] == 3
    assert load_policy(tmp_path / "p").config.training.step == 3


@pytest.mark.parametrize("limit", [float("nan"), float("inf"), -1.0, 0.0, 1e12])
def test_a_limit_that_is_none_is_refused(limit: float) -> None:
    with pytest.raises(OfpError, match="--cache-gb"):
        DataOptions(cache_gb=limit).access(Path("set"), silent)


def test_a_home_that_is_no_place_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OFP_EDGE_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", "relative")
    assert cache_folder() is None
