"""Board files are complete and sourced; broken ones are refused by the entry that is wrong."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ofp_edge.boards.cpu import Board, board, boards
from ofp_edge.boards.file import FOLDER, parse_board
from ofp_edge.boards.orin import OrinBoard, orin_boards
from ofp_edge.errors import OfpError, UnknownName
from ofp_edge.targets.registry import TARGETS, board_for, target


@pytest.fixture
def good() -> dict[str, Any]:
    value: dict[str, Any] = json.loads((FOLDER / "raspberry-pi-5.json").read_text())
    return value


def test_the_boards_are_there() -> None:
    known = {"raspberry-pi-5", "rk3588", "generic-armv8.2", "orin-nano-cpu", "agx-orin-cpu"}
    assert known <= set(boards())
    assert all(b.target in TARGETS for b in boards().values())


def test_peaks_follow_from_cores_and_clock() -> None:
    # Per Cortex-A76 class core and clock: 16 fp32 and 64 int8 operations.
    for item in boards().values():
        if item.target == "arm-cpu":
            cycles = item.cores * item.clock_hz / 1e9
            assert item.fp32_gflops == pytest.approx(16 * cycles, rel=0.01)
            assert item.int8_gops == pytest.approx(64 * cycles, rel=0.01)


def test_unknown_board_lists_the_known() -> None:
    with pytest.raises(UnknownName, match="Did you mean 'raspberry-pi-5'"):
        board("raspberry-pi5")


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"cores": 0}, "cores"),
        ({"cores": True}, "cores"),
        ({"clock_hz": "fast"}, "clock_hz"),
        ({"threads": 9}, "threads: 9 on 4 cores"),
        ({"schema_version": 2}, "schema version 2"),
        ({"surprise": 1}, "surprise"),
        ({"cpus": [0, 1]}, r"cpus: \[0, 1\] for 4 cores"),
        ({"cpus": [0, 0, 1, 2]}, "cpus"),
        ({"wheels": {"3.11": ["numpy"]}}, "wheels"),
        ({"sources": {}}, "sources: bandwidth_gb_s has none"),
    ],
)
def test_a_broken_board_file_names_the_entry(
    good: dict[str, Any], change: dict[str, Any], what: str
) -> None:
    with pytest.raises(OfpError, match=rf"^x\.json: .*{what}"):
        parse_board(Board, {**good, **change}, "x.json")


def test_a_missing_entry_is_named(good: dict[str, Any]) -> None:
    del good["memory_bytes"]
    with pytest.raises(OfpError, match="memory_bytes"):
        parse_board(Board, good, "x.json")


@pytest.mark.parametrize(
    ("change", "what"),
    [({"gpu_hz": 0}, "gpu_hz"), ({"gpu_hz": "fast"}, "gpu_hz"), ({"sources": {}}, "sources"),
     ({"cores": 4}, "cores"), ({"schema_version": 2}, "schema version 2")],
)  # fmt: skip
def test_an_orin_s_file_is_held_to_the_same_schema(change: dict[str, Any], what: str) -> None:
    value = json.loads((FOLDER / "orin-nano.json").read_text())
    assert parse_board(OrinBoard, value, "x.json") == orin_boards()["orin-nano"]
    with pytest.raises(OfpError, match=what):
        parse_board(OrinBoard, {**value, **change}, "x.json")


def test_wheels_are_what_the_extras_ask_for_on_that_board() -> None:
    """pyproject.toml's extras, judged as the board would."""
    from packaging.requirements import Requirement

    text = (Path(__file__).parents[2] / "pyproject.toml").read_text()
    for item in boards().values():
        if item.target != "arm-cpu":
            continue
        for python, wheels in item.wheels.items():
            wanted = {}
            for name in (
                "onnxruntime",
                "ofp-edge-executorch",
                "pyrealsense2",
                "dreamscale-pyrealsense2",
            ):
                for line in re.findall(rf'"({name}==[^"]*)"', text):
                    one = Requirement(line)
                    here = {"platform_machine": item.machine, "python_version": python}
                    if one.marker is None or one.marker.evaluate(here):
                        wanted[name] = str(one.specifier).removeprefix("==")
            assert wheels == wanted, f"{item.name}, {python}"


def test_unknown_target_lists_the_known() -> None:
    with pytest.raises(UnknownName, match="Known: arm-cpu, host"):
        target("arm-gpu")


def test_a_board_of_another_target_is_refused() -> None:
    assert board_for("arm-cpu", None) is None
    with pytest.raises(OfpError, match="built for by --target arm-cpu, not host"):
        board_for("host", "rk3588")


def test_targets_say_why_a_precision_is_missing() -> None:
    for item in TARGETS.values():
        offered = {*item.float_precisions, *item.plan_precisions}
        assert "fp32" in item.float_precisions
        assert "fp16" in offered or item.unfit["fp16"]


def test_boards_and_targets_need_no_torch() -> None:
    code = (
        "import sys, ofp_edge.targets.registry as r; r.boards_of('arm-cpu');"
        "sys.exit('torch' in sys.modules or 'onnxruntime' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
