"""The tables, the verdicts in words and the page, from cells that were written by hand."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from ofp_edge.bench import cells
from ofp_edge.bench.results import Document, gather, write_reports
from ofp_edge.bench.store import open_store
from ofp_edge.bench.suite import Suite
from ofp_edge.bench.suite_file import read_suite
from ofp_edge.bench.tables import success
from ofp_edge.cli.main import build_app
from tests.bench.conftest import Edit, write_suite
from tests.rendering import require_readable

FLOWS = "flow @2", "flow @1"
RATES = {"ofp-plus": 0.9, "flow": 0.5}


def filled(suite: Suite, folder: Path, episodes: int = 200) -> Document:
    """Every cell of the suite with these success rates, the last task's missing."""
    random = np.random.default_rng(0)
    with open_store(folder, suite.name, any_code=True) as store:
        for unit in cells.units(suite):
            store.write("dataset", cells.dataset_inputs(suite, unit.task), {"sha256": "d"})
            inputs = cells.training_inputs(suite, store, unit)
            assert inputs is not None
            cost = {"ofp-plus": 0.03, "flow": 0.01}[unit.method]
            training = store.write("training", inputs, {
                "finished": True, "sha256": f"{unit}", "policy": "p", "steps": 4,
                "seconds": len(unit.task.name),
                "cpu_s_per_step": cost, "parameters": 7, "memory_before_mib": 300.0,
                "peak_memory_mib": 350.0,
            })  # fmt: skip
            for row, nfe in cells.variants(unit):
                went = (random.random(episodes) < RATES[unit.method]).tolist()
                values = {
                    "seed": list(range(episodes)), "success": went, "steps": [9] * episodes,
                    "jump": [1e9, *[0.1] * (episodes - 1)], "jerk": [None] * episodes,
                    "flips": [2] * episodes,
                }  # fmt: skip
                if row.tuned:
                    gain = 0.01 * unit.seed
                    refine = [{"t": 0.3, "difference": -0.5}, {"t": 0.7, "difference": gain}]
                    chosen = {
                        "t_w": 0.1 * unit.seed,
                        "warm_step": "mean",
                        "noise_cold": 1.0,
                        "noise_warm": 0.25,
                        "refine": unit.seed == 2,
                    }
                    store.write(
                        "tuning", cells.tuning_inputs(suite, unit, training, nfe),
                        {"warm": [], "refine": refine, "chosen": chosen},
                    )  # fmt: skip
                inputs = cells.episodes_inputs(suite, unit, training, row, nfe)
                store.write("episodes", inputs, values)
                if cells.has_modes(unit, row):
                    store.write(
                        "modes", cells.modes_inputs(suite, unit, training, row, nfe),
                        {"between": 0.25, "left": 0.5, "right": 0.25,
                         "demonstrations": {"between": 0.0, "left": 0.5, "right": 0.5}},
                    )  # fmt: skip
        return gather(suite, store, command=["ofp-edge", "bench"], pool="here", workers=1)


@pytest.fixture(scope="module")
def values(tmp_path_factory: pytest.TempPathFactory) -> Document:
    folder = tmp_path_factory.mktemp("reports")
    reach = "[[tasks]]\nname = 'metaworld/reach'\nsteps = 4\ngroup = 'two-sided'"
    changes = ["seeds = [0] -> seeds = [0, 1, 2]", f"steps = 4 -> steps = 4\n{reach}"]
    return filled(read_suite(write_suite(folder / "s.toml", changes)), folder / "work")


def test_the_document_says_what_was_measured(values: Document) -> None:
    standard, two_sided = values["comparisons"]
    assert standard["verdict"] == "better" and standard["estimate"]["low"] > 0.2
    assert (standard["pairs"], standard["planned"], standard["episodes"]) == (3, 3, 200)
    assert two_sided["tasks"] == ["metaworld/reach"]
    ours = next(r for r in values["rows"] if r["row"] == "ours")
    assert 0.8 < ours["interval"][0] < ours["success"] < ours["interval"][1] <= 1
    assert ours["jump"] == pytest.approx(0.1)  # one that ran away is not all of them
    assert len(values["cells"]) == values["cells_planned"] == 2 * 3 * 4
    assert sum(values["cells"][0]["successes"]) == 200 * values["cells"][0]["success"]
    costs = {cost["method"]: cost for cost in values["costs"]}
    assert costs["ofp-plus"]["relative_to_flow"] == pytest.approx(3)
    assert costs["ofp-plus"]["rows"] == ["ours", "cold"]
    assert costs["flow"]["training_memory_mib"] == 50


def test_the_reports_hold_the_same_figures(values: Document, tmp_path: Path, chromium: str) -> None:
    as_json, markdown, page = write_reports(tmp_path / "out", values)
    assert json.loads(as_json.read_text()) == values
    text, html = markdown.read_text(), page.read_text()
    assert max(map(len, text.splitlines())) <= 100
    assert "better: the whole interval is above 0" in text
    assert re.search(r"\| reach +\| ours @1 +\| +25.0 \| +50 / 25 \| +50 \| 2.000 \|", text)
    assert "What tune chooses" not in text
    rate = 100 * next(r["success"] for r in values["rows"] if r["row"] == "flow")
    assert f"{rate:.1f} (" in text and f"{rate:.1f} (" in html
    slow, quick = len("metaworld/button-press-topdown-wide"), len("metaworld/reach")
    assert f"| {quick} … {slow} |" in text  # a training's seconds, task by task
    assert html.count("<svg") >= 4
    assert not re.search(r"<script|<link|src=|https?://", html)
    require_readable(chromium, page, tmp_path)


def test_what_tune_chose_is_a_figure_a_training_seed(edited: Edit, tmp_path: Path) -> None:
    suite = edited(a="cold = true -> tuned = true", b="seeds = [0] -> seeds = [0, 1, 2]")
    _, markdown, page = write_reports(tmp_path / "out", filled(suite, tmp_path / "work", 2))
    starts = r"0, 0.1, 0.2 +\| mean, mean, mean +\| 1, 1, 1 +\|"
    # A wide table is in parts.
    refined = r"wide +\| cold @1 +\| 0.25, 0.25, 0.25 +\| 0.0, \+1.0, \+2.0 +\| 0.7, 0.7, 0.7 +\|"
    for part in (rf"wide +\| cold @1 +\| {starts}", refined):
        assert re.search(part, markdown.read_text())
    assert "What tune chooses" in page.read_text()


def test_a_mean_is_over_the_tasks_that_every_row_with_a_result_has(
    edited: Edit, tmp_path: Path
) -> None:
    more = [f"[[tasks]]\nname = 'metaworld/{x}'\nsteps = 4\n" for x in ("reach", "door-open")]
    suite = edited(a="steps = 4\n -> steps = 4\n" + "".join(more))
    found = filled(suite, tmp_path / "work")
    rates = {r["task"]: r for r in found["rows"] if r["row"] == "ours"}
    head, rows = success(found).head, {row[0]: row for row in success(found).rows}
    assert head[:2] == ("row", "mean of 3") and set(rows) == {"ours @1", "cold @1", *FLOWS}
    mean = sum(r["success"] for r in rates.values()) / 3
    assert rows["ours @1"][1] == f"{100 * mean:.1f}"

    for entry in found["rows"]:
        if entry["row"] == "cold" or (entry["row"] == "flow" and "reach" in entry["task"]):
            entry["success"] = None
    head, rows = success(found).head, {row[0]: row for row in success(found).rows}
    assert head[1] == "mean of 2" and set(rows) == {"ours @1", *FLOWS}
    mean = sum(r["success"] for task, r in rates.items() if "reach" not in task) / 2
    assert rows["ours @1"][1] == f"{100 * mean:.1f}"
    assert "over the tasks that every row has" in success(found).caption

    for entry in found["rows"]:
        if "reach" in entry["task"]:
            entry["success"] = None
    assert success(found).head[1:2] == ("mean of 2",) and "reach" not in success(found).head
    assert success(found).caption.endswith("1 of 3 tasks have no result yet.")


def test_trainings_that_needed_no_more_memory_are_a_report_too(
    edited: Edit, tmp_path: Path
) -> None:
    """A process whose imports once needed more than the training after them."""
    found = filled(edited(), tmp_path / "work", 2)
    for cost in found["costs"]:
        cost["training_memory_mib"] = 0.0
    _, _, page = write_reports(tmp_path / "out", found)
    assert "Memory of training, MiB" in page.read_text()


def test_says_plainly_where_it_falls_short(edited: Edit, tmp_path: Path) -> None:
    from ofp_edge.bench.findings import findings

    suite = edited(a='["ours", 1]\nagainst = ["flow", 2] -> ["flow", 1]\nagainst = ["ours", 1]')
    found = filled(suite, tmp_path / "work")
    (said,) = findings(found)
    assert "worse, by more than 3 points (−" in said
    assert "One training seed" in said and "Asked for: ± 0.1; measured: ±" in said
    found["cells"].pop()
    assert "1 of 4 cells are not done" in findings(found)[-1]


def test_trainings_that_ran_away_are_one_line_a_row_and_task(edited: Edit, tmp_path: Path) -> None:
    from ofp_edge.bench.findings import findings

    found = filled(edited(a="seeds = [0] -> seeds = [0, 1, 2]"), tmp_path / "work", 2)
    for cell in found["cells"]:
        if cell["row"] == "flow" and cell["seed"] != 1:
            cell["training"].update({"diverged": True, "steps": 10 + cell["seed"]})
    (said,) = (line for line in findings(found) if "ran away" in line)
    assert "flow on metaworld/" in said and "at 2 training seeds (0, 2)" in said
    assert "(step 10, 12)" in said


def test_a_wide_table_is_split_with_its_first_column(edited: Edit, tmp_path: Path) -> None:
    names = (
        "button-press-topdown-wall",
        "pick-place-wall",
        "plate-slide-back-side",
        "push",
        "reach",
    )
    more = "".join(f"[[tasks]]\nname = 'metaworld/{n}'\nsteps = 4\n" for n in names)
    values = filled(edited(a=f"steps = 4 -> steps = 4\n{more}"), tmp_path / "work", 2)
    _, markdown, _ = write_reports(tmp_path / "out", values)
    lines = markdown.read_text().splitlines()
    assert max(map(len, lines)) <= 100
    assert sum(line.startswith("| flow @2 ") for line in lines) >= 3


def test_a_wrong_suite_is_one_line_and_leaves_nothing(tmp_path: Path) -> None:
    path = write_suite(tmp_path / "s.toml", ['"flow"\nnfe -> "flw"\nnfe'])
    arguments = ["bench", str(path), "-o", str(tmp_path / "work"), "--json"]
    result = CliRunner().invoke(build_app(), arguments)
    assert result.exit_code == 1
    assert "unknown method 'flw'" in json.loads(result.stdout)["error"]
    assert not (tmp_path / "work").exists()
