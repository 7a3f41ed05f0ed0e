"""A wrong suite is one line, before any work; the shipped ones are right."""

from __future__ import annotations

from pathlib import Path

import pytest

from ofp_edge.bench.cells import units
from ofp_edge.bench.check import check_names
from ofp_edge.bench.store import open_store
from ofp_edge.bench.suite import SHIPPED, find_suite
from ofp_edge.bench.suite_file import read_suite
from ofp_edge.bench.work import request_of
from ofp_edge.errors import SuiteError, UnknownName
from tests.bench.conftest import WORK, Edit, write_suite


@pytest.mark.parametrize("path", sorted(SHIPPED.glob("*.toml")), ids=lambda path: path.stem)
def test_every_shipped_suite_names_what_exists(path: Path) -> None:
    suite = read_suite(path)
    check_names(suite)
    assert suite.name == path.stem


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ("[evaluate] -> color = 1\n[evaluate]", "color: unknown entry"),
        ("episodes = 1 -> episodes = 0", r"\[evaluate\] episodes: expected 1 or more"),
        ("seeds = [0] -> seeds = [0, 0]", "seeds: expected different whole numbers"),
        ("demonstrations = 2 -> demonstration = 2", r"\[tasks 1\] demonstration: unknown entry"),
        ("steps = 4 -> steps = 4\ngroup = 'one'", "unknown name 'one'"),
        ("cold = true -> cold = 1", r"\[rows 2\] cold: expected bool"),
        ("cold = true -> cold = true\ntuned = true", "give tuned, or cold, t_w and noise"),
        ("cold = true -> tuned = true\nt_w = 0.5", "give tuned, or cold, t_w and noise"),
        ("cold = true -> tuned = true\nnoise_cold = 0.0", "give tuned, or cold, t_w and noise"),
        ("cold = true -> noise_cold = -1", "noise_cold"),
        ("cold = true -> shift_px = -1", "shift_px: expected 0 or more"),
        ('"cold" -> "ours"', "'ours' is there twice"),
        ('"cold" -> "c/d"', "expected a word without /"),
        ('["flow", 2] -> ["flow", 9]', "evaluated at nfe"),
        ('["flow", 2] -> ["fow", 2]', "Did you mean 'flow'"),
        ('["flow", 2] -> "flow"', r"\[compare 1\] against: expected list"),
        ('["flow", 2] -> "bst"', r"\[compare 1\] against: expected list"),
        ("seeds = [0] -> seeds = [0]\nbudget = 'time'", "reference: missing"),
        ("seeds = [0] -> seeds = [0]\ntimed_on = 'metaworld/reach'", "timed_on: .*unknown"),
        (f"seeds = [0] -> seeds = [0]\ntimed_on = '{WORK}'", "timed_on: only budget = .time."),
        (
            "seeds = [0] -> seeds = [0]\nbudget = 'time'\nreference = 'flow'\n"
            f"timed_on = '{WORK}'\n[[rows]]\nname = 'on'\nmethod = 'ofp-plus'\nnfe = [1]\n"
            "start = 'flow'",
            "timed_on: row on starts from another",
        ),
        ("seeds = [0] -> seeds = [0", "not valid TOML"),
    ],
)
def test_each_wrong_entry_is_named(tmp_path: Path, change: str, says: str) -> None:
    path = write_suite(tmp_path / "s.toml", [change])
    with pytest.raises(SuiteError, match=says) as caught:
        read_suite(path)
    assert str(path) in str(caught.value)


def test_tasks_of_other_sizes_need_timing_runs_of_their_own(edited: Edit) -> None:
    suite = edited(
        a=f"seeds = [0] -> seeds = [0]\nbudget = 'time'\nreference = 'ours'\ntimed_on = '{WORK}'",
        b="steps = 4 -> steps = 4\n[[tasks]]\nname = 'planar/obstacle'\nsteps = 4",
    )
    with pytest.raises(SuiteError, match=r"timed_on: planar/obstacle has state .* \(39,\)"):
        check_names(suite)


def test_the_best_of_no_other_method_is_refused(edited: Edit) -> None:
    with pytest.raises(SuiteError, match='against = "best": every row has the method ofp-plus'):
        edited(a='["flow", 2] -> "best"', b='"flow"\nnfe = [2, 1] -> "ofp-plus"\nnfe = [2, 1]')


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ("button-press-topdown-wide -> button-pres", "unknown task .* Did you mean"),
        ('"flow"\nnfe -> "flw"\nnfe', r"\[\[rows\]\] flow: unknown method 'flw'"),
        ('"tiny"\nseeds -> "tny"\nseeds', "preset: unknown preset 'tny'"),
        ('"state" -> "stat"', "observe: unknown name 'stat'"),
        ("cold = true -> t_w = 1.0", "cold: --t-w 1: expected 0 <= t_w < 1"),
        ("cold = true -> cold = true\nt_w = 0.3", "cold: --cold and --t-w exclude each other"),
        ('"flow"\nnfe -> "diffusion"\nt_w = 0.3\nnfe', "flow: t_w: every chunk of .* starts alike"),
        ('"flow"\nnfe -> "diffusion"\ncold_nfe = 2\nnfe', "flow: cold_nfe: every chunk"),
        ("cold = true -> noise_warm = 3.0", "cold: --noise-warm: expected 0 to 2, got 3"),
        ("cold = true -> cold_nfe = 40", "cold: --cold-nfe: expected 1 to 16"),
        ("cold = true -> options = { lambda = 1 }", "cold: .*unknown option 'lambda'"),
        ('"flow"\nnfe = [2, 1] -> "diffusion"\nnfe = [2, 101]', "expected 1 to 100 evaluations"),
        ('"flow"\nnfe -> "flow"\nguard = 2\nnfe', "flow: .*guard"),
    ],
)
def test_each_name_that_does_not_exist_is_told(edited: Edit, change: str, says: str) -> None:
    with pytest.raises(SuiteError, match=says) as caught:
        check_names(edited(a=change))
    assert "\n" not in str(caught.value)


def test_a_suite_is_a_file_or_a_shipped_name(tmp_path: Path) -> None:
    path = write_suite(tmp_path / "mine.toml")
    assert find_suite(str(path)) == path
    assert find_suite("smoke") == SHIPPED / "smoke.toml"
    with pytest.raises(UnknownName, match="Did you mean 'small'"):
        find_suite("smal")


def test_rows_of_one_method_and_options_share_a_training(edited: Edit) -> None:
    ours, cold, flow = edited().rows
    assert ours.training == cold.training != flow.training
    other = edited(a="cold = true -> options = { lambda_c = 0 }").rows[1]
    assert other.training == "ofp-plus lambda_c=0"


def test_rows_whose_images_are_changed_otherwise_are_trained_apart(
    edited: Edit, tmp_path: Path
) -> None:
    suite = edited(a="cold = true -> color_jitter = 0.2\nshift_px = 0")
    row = suite.row("cold")
    assert row.training == "ofp-plus color_jitter=0.2 shift_px=0"
    assert row.augmentation == {"color_jitter": 0.2, "shift_px": 0}
    assert suite.row("ours").augmentation == {}
    with open_store(tmp_path / "work", suite.name, any_code=False) as store:
        asked = {
            x.rows[0].name: request_of(suite, store, x, tmp_path / "p", 4) for x in units(suite)
        }
    assert (asked["cold"].color_jitter, asked["cold"].shift_px) == (0.2, 0)
    assert (asked["ours"].color_jitter, asked["ours"].shift_px) == (None, None)
