from __future__ import annotations

import json
import threading
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mcap.reader import make_reader

from ofp_edge.errors import OfpError
from ofp_edge.runtime.log.telemetry import McapLog, array_from_json


def rows_of(path: Path) -> dict[str, list[dict[str, Any]]]:
    rows: dict[str, list[dict[str, Any]]] = defaultdict(list)
    with path.open("rb") as file:
        for schema, channel, message in make_reader(file).iter_messages():
            assert schema is not None and schema.encoding == "jsonschema"
            value = json.loads(message.data)
            assert set(value) == set(json.loads(schema.data)["required"])
            rows[channel.topic].append(value)
    return rows


def plan_row(chunk: np.ndarray) -> dict[str, Any]:
    return {
        "t_obs_ns": 5, "tick_ns": 6, "ready_ns": 7, "due_ns": 8, "refined": False,
        "warm_from_ns": 4, "warm_from_refined": False, "refine_budget_ns": None, "wanted_ns": 9,
        "nfe": 1, "evaluations": 1,
        "chunk": chunk, "chunk_normalised": chunk, "infer_ns": 8, "act_ns": 9,
    }  # fmt: skip


def test_the_file_reads_back_whole_and_bit_exact(tmp_path: Path) -> None:
    chunks = np.random.default_rng(0).standard_normal((300, 8, 4)).astype(np.float32)
    chunks[0, 0, 0] = np.nan
    log = McapLog(tmp_path / "run.mcap", {"seed": 7})
    for chunk in chunks:
        log.write("/plan", 6, **plan_row(chunk))
    log.write("/event", 1, t_ns=1, what="stop", detail="done", episode=0)
    log.close()
    assert log.lost == 0
    rows = rows_of(tmp_path / "run.mcap")
    back = np.stack([array_from_json(row["chunk"]) for row in rows["/plan"]])
    assert back.dtype == np.float32 and back.tobytes() == chunks.tobytes()
    assert rows["/event"] == [{"t_ns": 1, "what": "stop", "detail": "done", "episode": 0}]
    with (tmp_path / "run.mcap").open("rb") as file:
        (metadata,) = make_reader(file).iter_metadata()
    header = json.loads(metadata.metadata["json"])
    series = header.pop("series")
    assert header == {"seed": 7} and (series["number"], series["name"]) == (1, "run.mcap")


def test_whatever_a_driver_says_is_written_and_the_log_goes_on(tmp_path: Path) -> None:
    log = McapLog(tmp_path / "run.mcap", {})
    for stamp in (np.int64(5), float("nan"), {1, 2}, 7):
        log.write("/event", 1, t_ns=stamp, what="x", detail="", episode=0)
    log.close()
    rows = rows_of(tmp_path / "run.mcap")["/event"]
    assert log.lost == 0 and [row["t_ns"] for row in rows][::3] == [5, 7]
    assert rows[2]["t_ns"] == "{1, 2}"


def test_a_row_is_copied_before_the_caller_writes_on(tmp_path: Path) -> None:
    log = McapLog(tmp_path / "run.mcap", {})
    inputs = {"state": np.zeros(4, np.float32)}
    for value in range(50):
        inputs["state"][:] = value
        log.write("/observation", value, t_obs_ns=value, state_ns=value, inputs=inputs,
                  observe_ns=0, encode_ns=0)  # fmt: skip
    log.close()
    rows = rows_of(tmp_path / "run.mcap")["/observation"]
    assert [array_from_json(r["inputs"]["state"])[0] for r in rows] == list(range(50))


def test_rows_are_lost_and_counted_before_the_caller_waits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = threading.Event()
    log = McapLog(tmp_path / "run.mcap", {})
    add = log.series.add

    def blocked(*args: Any, **values: Any) -> bool:
        gate.wait()
        return add(*args, **values)

    monkeypatch.setattr(log.series, "add", blocked)
    for k in range(2000):
        log.write("/event", k, t_ns=k, what="x", detail="", episode=k)
    gate.set()
    log.close()
    kept = rows_of(tmp_path / "run.mcap")["/event"]
    assert log.lost > 900 and len(kept) == 2000 - log.lost
    order = [row["episode"] for row in kept]
    assert order == sorted(set(order))


def test_a_full_disk_ends_the_log_and_not_the_run(tmp_path: Path) -> None:
    log = McapLog(Path("/dev/full"), {})
    for k in range(3000):
        log.write("/plan", k, **plan_row(np.zeros((8, 100), np.float32)))
    log.close()
    assert "space" in log.trouble and log.lost > 0


def test_a_log_that_cannot_be_opened_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OfpError, match="can't be written"):
        McapLog(tmp_path / "file" / "run.mcap", {})
