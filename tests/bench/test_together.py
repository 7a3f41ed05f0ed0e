"""A row whose policy learns all tasks of a suite at once, and is told which."""

from __future__ import annotations

from pathlib import Path

import pytest

from ofp_edge.bench.cells import units
from ofp_edge.bench.results import gather
from ofp_edge.bench.run import remaining, run_suite
from ofp_edge.bench.store import open_store
from ofp_edge.bench.suite import Suite
from ofp_edge.errors import SuiteError
from ofp_edge.policy.folder import load_policy
from ofp_edge.train.plan import make_plan
from ofp_edge.train.request import Request
from tests.bench.conftest import Edit, HerePool

NAMES = ("metaworld/door-open-fine", "metaworld/reach-fine")
TASKS = f"""wide -> wide"
demonstrations = 2
steps = 4
[[tasks]]
name = "{NAMES[1]}"""
TOGETHER = """name = "flow"
method = "flow"
nfe = [2, 1] -> name = "many"
method = "ofp-plus"
nfe = [1]
steps = 6
together = true
[[rows]]
name = "many-cold"
method = "ofp-plus"
nfe = [1]
steps = 6
together = true
cold = true"""
COMPARED = '["flow", 2] -> ["many", 1]'
FIRST = f"metaworld/button-press-topdown-wide -> {NAMES[0]}"


@pytest.fixture
def suite(edited: Edit) -> Suite:
    return edited(tasks=TASKS, first=FIRST, rows=TOGETHER, compared=COMPARED)


def run(suite: Suite, folder: Path, pool: HerePool, *only: str) -> None:
    with open_store(folder, suite.name, any_code=False) as store:
        run_suite(suite, store, units(suite, only), pool)


def test_one_policy_is_trained_and_evaluated_on_every_task(
    suite: Suite, here: HerePool, tmp_path: Path
) -> None:
    folder, one, two = tmp_path / "work", *NAMES
    with open_store(folder, "tiny", any_code=False, write=False) as store:
        todo = remaining(suite, store, units(suite))
    assert f"train {one}/many+many-cold/0" in todo and f"train {two}/many+many-cold/0" not in todo
    assert f"evaluate {two}/many+many-cold/0 @1" in todo
    run(suite, folder, here)
    trained = sorted(x.name for x in (folder / "policies").glob("*/*") if "together" in x.name)
    assert len(trained) == 1
    policy = load_policy(next(folder.glob(f"policies/*/{trained[0]}")))
    assert [x.kind for x in policy.config.spec.observations] == ["state", "text"]
    with open_store(folder, "tiny", any_code=False) as store:
        assert remaining(suite, store, units(suite)) == []
        values = gather(suite, store, command=[], pool="here", workers=1)
    found = [x for x in values["cells"] if x["row"] == "many"]
    assert [x["task"] for x in found] == list(NAMES)
    assert found[0]["training"]["sha256"] == found[1]["training"]["sha256"]
    assert found[0]["training"]["steps"] == 6 and values["comparisons"][0]["pairs"] == 2
    # A run that was stopped goes on with the same data and words.
    data = [next((folder / "datasets").glob(f"{x.replace('/', '-')}-*")) for x in NAMES]
    path = next(folder.glob(f"policies/*/{trained[0]}"))
    assert make_plan(Request(data[0], path, resume=True, mixed=(data[1],))).resumed_from == 6
    # Nothing is done again.
    here.done.clear()
    run(suite, folder, here)
    assert here.done == []


def test_a_task_asked_for_alone_has_all_tasks_policy(
    suite: Suite, here: HerePool, tmp_path: Path
) -> None:
    run(suite, tmp_path / "work", here, f"{NAMES[1]}/many/0")
    assert [x for x in here.done if x.startswith("collect")] == [f"collect {x}" for x in NAMES]
    done = [x for x in here.done if x.startswith("train")]
    assert done[:2] == [f"train_and_evaluate {x}/many/0" for x in NAMES]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ("steps = 6\ntogether -> together", "rows.*together: one policy for all tasks .* steps"),
        ("steps = 6\ntogether -> steps = 6\nstart = 'ours'\ntogether", "starts from none"),
        (
            'name = "ours"\nmethod = "ofp-plus" -> name = "ours"\nmethod = "ofp-plus"\n'
            'start = "many"',
            "start: 'many' is together",
        ),
        ('preset = "tiny" -> preset = "tiny"\nreference = "many"', "reference: .*not together"),
        ("steps = 4 -> steps = 4\nlearning_rate = 2e-3", "'many': together: .* learning rates"),
    ],
)
def test_what_tasks_can_not_share_is_one_line(edited: Edit, change: str, says: str) -> None:
    with pytest.raises(SuiteError, match=says) as caught:
        edited(tasks=TASKS, first=FIRST, rows=TOGETHER, compared=COMPARED, change=change)
    assert "\n" not in str(caught.value)
