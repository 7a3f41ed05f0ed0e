"""Rows that go on from another row's policy, and controls that see or hear another episode's."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("pyrealsense2")

from ofp_edge.bench import work  # noqa: E402
from ofp_edge.bench.cells import has_modes, timing_inputs, units  # noqa: E402
from ofp_edge.bench.check import check_names  # noqa: E402
from ofp_edge.bench.results import gather  # noqa: E402
from ofp_edge.bench.run import remaining, run_suite  # noqa: E402
from ofp_edge.bench.store import open_store  # noqa: E402
from ofp_edge.bench.suite import Suite  # noqa: E402
from ofp_edge.bench.suite_file import read_suite  # noqa: E402
from ofp_edge.errors import SuiteError  # noqa: E402
from ofp_edge.policy.folder import load_policy, read_config  # noqa: E402
from ofp_edge.train.request import Request  # noqa: E402
from tests.bench.conftest import HerePool  # noqa: E402

TEXT = """
name = "small-vla"
observe = "rgb"
image_size = [32, 32]
preset = "vla"
seeds = [0]
budget = "time"
reference = "jumps"
[evaluate]
episodes = 2
[[tasks]]
name = "planar/berths"
demonstrations = 4
steps = 2
[[rows]]
name = "base"
method = "flow"
steps = 3
nfe = [2]
[[rows]]
name = "jumps"
method = "ofp-plus"
start = "base"
nfe = [1]
[[rows]]
name = "on"
method = "flow"
start = "base"
nfe = [2]
[[rows]]
name = "other-words"
method = "ofp-plus"
start = "base"
nfe = [1]
words = "other"
[[rows]]
name = "other-images"
method = "ofp-plus"
start = "base"
nfe = [1]
frames = "other"
[[compare]]
candidate = ["jumps", 1]
against = ["on", 2]
"""


@pytest.fixture
def suite(tmp_path: Path) -> Suite:
    return written(tmp_path)


def written(folder: Path, old: str = "", new: str = "") -> Suite:
    assert old in TEXT
    path = folder / "s.toml"
    path.write_text(TEXT.replace(old, new, 1) if old else TEXT)
    return read_suite(path)


def test_a_vla_is_trained_distilled_told_and_shown(
    suite: Suite, here: HerePool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(work, "TIMING_ROUNDS", 1)
    asked: list[Request] = []

    def seconds_a_step(request: Request) -> float:
        asked.append(request)
        return 0.01 if request.method == "flow" else 0.02

    monkeypatch.setattr(work, "seconds_a_step", seconds_a_step)
    check_names(suite)
    with open_store(tmp_path / "work", suite.name, any_code=False) as store:
        run_suite(suite, store, units(suite), here)
        assert remaining(suite, store, units(suite)) == []
        found = gather(suite, store, command=["x"], pool="here", workers=1)
    where = "planar/berths"
    assert here.done == [
        f"collect {where}",
        f"train_and_evaluate {where}/base/0",
        f"time_training {where}/on/0",
        f"train_and_evaluate {where}/jumps+other-words+other-images/0",
        f"train_and_evaluate {where}/on/0",
    ]
    assert [(x.distill, x.init is not None) for x in asked] == [(False, True), (True, True)]
    policies = {read_config(x).method_options.get("rho_last", read_config(x).training.step): x
                for x in (tmp_path / "work").glob("policies/*/*")}  # fmt: skip
    base, on = (load_policy(policies[steps]) for steps in (3, 4))  # twice the reference's two
    kept = [x for x in base.network.state_dict() if x.startswith("encoder.")]
    was, now = base.network.state_dict(), on.network.state_dict()
    assert all(torch_equal(was[x], now[x]) for x in kept)
    assert on.config.training.init_sha256 is not None
    cells = {json.loads(x.read_text())["inputs"].get("words") for x in
             (tmp_path / "work").glob("cells/episodes-*.json")}  # fmt: skip
    assert cells == {None, "other"} and len(found["cells"]) == found["cells_planned"]


def test_a_timing_knows_what_its_rows_go_on_from(tmp_path: Path) -> None:
    """What a step costs depends on it: a frozen encoder, other losses."""

    class Stored:
        def read(self, kind: str, inputs: object) -> dict[str, str]:
            return {"sha256": "0"}

    def key(old: str = "", new: str = "") -> object:
        suite = written(tmp_path, old, new)
        unit = next(x for x in units(suite) if str(x).endswith("/on/0"))
        return timing_inputs(suite, Stored(), unit)  # type: ignore[arg-type]

    plain = key()
    assert key('method = "flow"\nsteps', 'method = "meanflow"\nsteps') != plain
    jumps = 'name = "jumps"\nmethod = "ofp-plus"\nstart = "base"'
    assert key(jumps, jumps.replace('\nstart = "base"', "")) != plain


def test_controls_have_no_modes_of_their_own(tmp_path: Path) -> None:
    sided = 'name = "planar/berths"\ngroup = "two-sided"'
    suite = written(tmp_path, 'name = "planar/berths"', sided)
    unit = next(x for x in units(suite) if "other-words" in str(x))
    assert [row.name for row in unit.rows if has_modes(unit, row)] == ["jumps"]


def torch_equal(one: object, other: object) -> bool:
    import torch

    return torch.equal(one, other)  # type: ignore[arg-type]


def test_one_row_alone_brings_what_it_starts_from(suite: Suite) -> None:
    assert [str(x) for x in units(suite, ("*/on",))] == [
        "planar/berths/base/0",
        "planar/berths/on/0",
    ]


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ('start = "base"', 'start = "bse"', "Did you mean 'base'"),
        ('name = "base"', 'name = "base"\nstart = "jumps"', "starts from itself"),
        ('words = "other"', 'words = "others"', "Did you mean 'other'"),
        ("image_size = [32, 32]", "image_size = [32]", "expected height and width"),
        ("steps = 3", "steps = 0", "expected 1 or more"),
    ],
)
def test_a_wrong_start_is_one_line(tmp_path: Path, old: str, new: str, says: str) -> None:
    with pytest.raises(SuiteError, match=says) as caught:
        written(tmp_path, old, new)
    assert "\n" not in str(caught.value)
