"""`run --log` where the log can't be written: the run goes on, unless it was asked not to."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

pytest.importorskip("onnxruntime")
pytest.importorskip("onnx")

from ofp_edge.cli.main import build_app  # noqa: E402
from ofp_edge.runtime.log import file as log_file  # noqa: E402
from ofp_edge.runtime.log.reader import LogReader  # noqa: E402
from tests.cli.test_replay import RIG, SPEC  # noqa: E402
from tests.disks import small_disk  # noqa: E402
from tests.runtime.small_bundle import write_small_bundle  # noqa: E402


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("log")
    write_small_bundle(folder / "bundle", SPEC, {})
    (folder / "rig.toml").write_text(RIG)
    return folder


def run(made: Path, log: Path, *more: str, seconds: str = "1.5") -> tuple[int, dict[str, Any], str]:
    words = ["run", str(made / "bundle"), "--rig", str(made / "rig.toml"), "--duration", seconds]
    result = CliRunner().invoke(build_app(), [*words, "--log", str(log), "--json", *more])
    said = " ".join(result.stderr.split())
    return result.exit_code, json.loads(result.stdout), said


def full(*args: Any) -> None:
    raise OSError(28, os.strerror(28))


def test_a_log_that_ends_early_costs_the_run_nothing_and_is_told_at_once(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_file.LogFile, "sync", full)  # from the first second on
    code, document, said = run(made, tmp_path / "run.mcap", seconds="2.5")
    assert code == 1 and document["stopped_because"] == "2.5 s are over"
    assert document["ticks"] > 15 and document["log_rows_lost"] > 0
    assert "the log can't be written: [Errno 28] No space left on device; the run goes on" in said
    assert "the log is incomplete" in said


def test_require_log_stops_the_run_in_order(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_file.LogFile, "sync", full)
    code, document, said = run(made, tmp_path / "run.mcap", "--require-log", seconds="60")
    assert code == 1 and document["seconds"] < 30
    assert document["stopped_because"].startswith("the log can't be written: ")
    assert "the run is stopped (--require-log)" in said


@pytest.fixture
def full_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk with 36 kB left."""
    with small_disk(tmp_path / "disk", taken_bytes=28_000) as disk:
        yield disk


def test_on_a_disk_that_is_really_full_the_log_is_readable_up_to_there(
    made: Path, full_disk: Path
) -> None:
    code, document, said = run(made, full_disk / "run.mcap", seconds="3")
    assert code == 1 and document["stopped_because"] == "3 s are over"
    assert document["log_rows_lost"] > 0 and "No space left" in said
    rows = list(LogReader(full_disk / "run.mcap").rows())
    (full_disk / "run.mcap").unlink()
    (full_disk / "others").write_bytes(bytes(65_000))
    code, document, _ = run(made, full_disk / "run.mcap")
    assert code == 1 and "the disk is full" in document["error"]
    assert [path.name for path in full_disk.iterdir()] == ["others"]
    assert 5 < len(rows) < 200


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["--log-limit-mb", "15"], "--log-limit-mb 15: expected 16 or more."),
        (["--require-log"], "--require-log: give the log's file with --log."),
        (
            ["--log", "/dev/null"],
            "/dev/null is a device, a pipe or a socket, which is not replaced",
        ),
        (["--log", "/dev/null/run.mcap"], "/dev/null/run.mcap cannot be made: Not a directory"),
    ],
)
def test_what_can_be_no_log_is_refused_before_anything_is_opened(
    made: Path, words: list[str], line: str
) -> None:
    command = ["run", str(made / "bundle"), "--rig", str(made / "rig.toml"), "--json", "--force"]
    result = CliRunner().invoke(build_app(), [*command, *words])
    assert result.exit_code == 1 and line in json.loads(result.stdout)["error"]
