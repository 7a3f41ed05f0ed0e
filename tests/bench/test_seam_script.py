"""scripts/seam.py: what was done is not done again, a killed run goes on, and its document."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")

from ofp_edge.fields import State  # noqa: E402
from ofp_edge.spec import ActionField, PolicySpec  # noqa: E402

TASK = "planar/obstacle"
SEEN = (State("state", (1,), "m", "base", (-1.0,), (1.0,)),)
HAND = ActionField("hand", (2,), "m", "base", "delta", 0.5, (-1.0,) * 2, (1.0,) * 2, 0.0)
SPEC = PolicySpec(SEEN, (HAND,), 1, 8, 2, 20.0)
RIG = """
schema_version = 1
[robot]
driver = "none.of:Ours"
[timing]
latency_ms = 50.0
max_plan_age_ms = 400.0
[safety]
max_cut_in_a_row = 1000
[safety.limits.hand]
max_velocity = 0.05
"""
MOST_M = 0.05 / 20  # a command, at 20 Hz
SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"


@pytest.fixture(scope="module")
def cells() -> Iterator[ModuleType]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(SCRIPTS))
        import seam_cells

        yield seam_cells


@pytest.fixture(scope="module")
def seam(cells: ModuleType) -> ModuleType:
    import seam

    return seam


def contents(folder: Path) -> dict[str, bytes]:
    return {str(x.relative_to(folder)): x.read_bytes() for x in folder.rglob("*") if x.is_file()}


def test_a_killed_run_goes_on_and_a_finished_one_runs_nothing(
    seam: ModuleType, cells: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "rig.toml").write_text(RIG)
    rig = tmp_path / "rig.toml"
    settings = cells.Settings(tmp_path, 1, (100.0,), 2, steps=2, demonstrations=2, rig=rig)
    ran: list[str] = []
    run, train = cells._run, cells.train

    def until(count: int) -> None:
        def counted(settings: Any, folder: Path, inputs: Any, choice: Any) -> Any:
            if len(ran) == count:
                raise KeyboardInterrupt
            ran.append(inputs["policy"])
            return run(settings, folder, inputs, choice)

        monkeypatch.setattr(cells, "_run", counted)

    until(5)
    with pytest.raises(KeyboardInterrupt):
        seam.measure(settings, [TASK], [0], 1)
    before = contents(tmp_path)
    assert len(set(ran)) == 2, "four cells of the policy that is not told, one of the other"
    marks = (tmp_path / "policies").glob("*.json")
    (mark,) = (x for x in marks if '"committed_steps": 2' in x.read_text())  # killed at its end
    mark.write_text(mark.read_text().replace('"finished": true', '"finished": false'))
    until(100)
    found = seam.measure(settings, [TASK], [0], 1)
    after = contents(tmp_path)
    assert len(ran) == len(found) == 8
    assert {k: after[k] for k in before} == before, "nothing that was there is made again"

    def never(*_: Any) -> Any:
        raise AssertionError("it trains, or runs episodes, again")

    monkeypatch.setattr(cells, "_run", never)
    monkeypatch.setattr(cells, "train", never)
    assert seam.measure(settings, [TASK], [0], 1) == found
    assert contents(tmp_path) == after
    monkeypatch.setattr(cells, "train", train)

    for cell in found.values():
        commands = np.concatenate([x["commands"] for x in cell["traces"]])
        assert 0.9 * MOST_M < np.abs(commands).max() <= 1.001 * MOST_M, "the rig's limit holds"
    rows = {(x["start"], x["row"]): x for x in seam.table(found, [TASK], 100.0, [0])}
    assert list(rows) == [(a, b) for a in cells.STARTS for b in cells.ROWS]
    for (start, row), values in rows.items():
        own, plain = (found[TASK, 0, 100.0, x, start]["jump"][0] for x in (row, "plain"))
        assert values["jump"] == own
        assert values["jump_of_plain"]["mean"] == pytest.approx(own / plain)
        assert ("against_cross_fade" in values) == (row != "cross-fade")


def test_a_setting_more_is_a_cell_more(cells: ModuleType, tmp_path: Path) -> None:
    asked: list[Any] = []
    settings = cells.Settings(tmp_path, 1, (100.0,), 2)
    (tmp_path / "policy").mkdir()
    (tmp_path / "policy/config.json").write_text("{}")

    def cell(**changes: Any) -> None:
        given = {"seed": 0, "latency_ms": 100.0, "row": "plain", "start": "noisy", **changes}
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(cells, "_run", lambda *x: asked.append(x) or {"success": []})
            patch.setattr(cells, "read_config", lambda _: SimpleNamespace(spec=SPEC))
            cells.cell(settings, tmp_path / "policy", TASK, **given, say=lambda _: None)

    changed = [{}, {"seed": 1}, {"latency_ms": 50.0}, {"row": "cross-fade"}, {"start": "follower"}]
    for _ in range(2):
        for changes in changed:
            cell(**changes)
    assert len(asked) == len(changed)
    (tmp_path / "policy/config.json").write_text("{ }")  # another policy in its place
    cell()
    assert len(asked) == len(changed) + 1


def test_a_panel_shades_what_is_committed_and_has_units(seam: ModuleType) -> None:
    calm = {"first": -4, "commands": [[0.01 * i, 0.1] for i in range(8)]}
    jumps = {"first": -4, "commands": [[0.0, 0.1]] * 4 + [[0.0, 0.3]] * 4}
    drawn = {100.0: {"noisy": {"plain": [calm, jumps], "told": [calm]}}}
    page = seam.seam_plots.render(TASK, SPEC, drawn)
    assert page.count('class="committed"') == page.count("<svg") == 2
    assert page.count("<polyline") == 3 and page.count("<circle") == 24
    assert "hand[1], m a step" in page and "ms from the first free command" in page
    assert "prefers-color-scheme: dark" in page


def test_what_was_demonstrated_is_measured_at_every_planned_seam(
    cells: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    switched = np.float32([[0, 0]] * 2 + [[0.2, 0]] * 2 + [[0.4, 0]] * 2)  # at both of its seams
    still = np.zeros((6, 2), np.float32)
    data = SimpleNamespace(
        episodes=2, action=np.concatenate([switched, still]),
        episode=lambda i: slice(6 * i, 6 * i + 6),
    )  # fmt: skip
    monkeypatch.setattr(cells, "collect", lambda *_: tmp_path)
    monkeypatch.setattr(cells, "open_dataset", lambda _: data)
    found = cells.demonstrated(cells.Settings(tmp_path, 1, (100.0,), 2), TASK, SPEC)
    assert found["jump"] == pytest.approx(0.5 * 0.2 / np.sqrt(2))
    assert found["jerk"] > 0


@pytest.mark.parametrize("steps", [0, 2])
def test_with_a_rig_told_plans_fade_as_the_cell_says(
    cells: ModuleType, tmp_path: Path, steps: int
) -> None:
    (tmp_path / "rig.toml").write_text(RIG)
    rig = cells._handing_over(cells.read_rig(tmp_path / "rig.toml"), steps)
    assert rig.timing.fade_steps(SPEC, committed=True) == rig.timing.fade_steps(SPEC) == steps
