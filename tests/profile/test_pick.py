"""pick: every candidate is timed, the choice follows its rule, the rig keeps it and why."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from ofp_edge.bundle import Bundle, open_bundle
from ofp_edge.cli.main import build_app
from ofp_edge.errors import OfpError, RigError, UnknownName
from ofp_edge.profile import pick as picking
from ofp_edge.profile.pick import Candidate, candidates, decide, pick, thread_counts
from ofp_edge.rig.file import read_rig
from ofp_edge.runtime.infer.engine_choice import choose_engine
from tests.runtime.small_bundle import write_small_bundle
from tests.runtime.standins import make_spec
from tests.synthetic import CAMERA

RIG = """# the lab's arm
schema_version = 1

[robot]
driver = "x:Y"          # ours

[cameras.front]
driver = "realsense"
[cameras.front.parameters]
T_base_camera = [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]

[timing]
latency_ms = 50.0       # measured in May
max_plan_age_ms = 300.0
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("pick") / "small"
    return write_small_bundle(path, make_spec(points=True, n_obs_steps=2), {"front": CAMERA})


@pytest.fixture(scope="module")
def bundle(folder: Path) -> Bundle:
    return open_bundle(folder)


@pytest.fixture
def rig(tmp_path: Path) -> Path:
    path = tmp_path / "rig.toml"
    path.write_text(RIG)
    return path


def test_thread_counts_double_and_end_with_the_most() -> None:
    assert [thread_counts(n) for n in (1, 2, 3, 4, 6)] == [
        [1], [1, 2], [1, 2, 3], [1, 2, 4], [1, 2, 4, 6],
    ]  # fmt: skip


def test_what_is_named_narrows_the_candidates(bundle: Bundle) -> None:
    assert candidates(bundle, [1, 2], None, "fp32") == [
        Candidate("onnxruntime", "fp32", n) for n in (1, 2)
    ]
    with pytest.raises(UnknownName):
        candidates(bundle, [1], None, "int8")


def test_within_five_percent_fewer_threads_then_the_default_win(bundle: Bundle) -> None:
    default, other = (("onnxruntime", "fp32"), ("executorch", "int8"))
    slow = {Candidate(*default, 1): 1.06, Candidate(*other, 2): 1.0}
    assert decide(slow, bundle) == Candidate(*other, 2)
    near = {Candidate(*default, 1): 1.04, Candidate(*other, 2): 1.0}
    assert decide(near, bundle) == Candidate(*default, 1)
    equal = {Candidate(*default, 1): 1.04, Candidate(*other, 1): 1.0}
    assert decide(equal, bundle) == Candidate(*default, 1)


def test_every_candidate_is_timed_and_a_refused_one_says_why(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(picking, "_TURN_S", 0.01)
    real = picking.load_inference

    def load(bundle: Bundle, engine: str, precision: str, **options: object) -> object:
        if options["threads"] == 2:
            raise OfpError("no second\nthread")
        return real(bundle, engine, precision, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(picking, "load_inference", load)
    picked = pick(bundle, candidates(bundle, [1, 2], None, None), rounds=2)
    assert (picked.entry.name, picked.entry.precision, picked.entry.threads) == (
        "onnxruntime", "fp32", 1,
    )  # fmt: skip
    assert picked.rows[0]["chunk_ms"] > 0 and picked.rows[0]["calls"] >= 10
    assert picked.rows[1] == {
        "engine": "onnxruntime", "precision": "fp32", "threads": 2, "refused": "no second thread",
    }  # fmt: skip


def profile(folder: Path, rig: Path | None, tmp_path: Path, *more: str) -> tuple[int, dict]:  # type: ignore[type-arg]
    arguments = ["profile", str(folder), "--pick", "--duration", "0.2", "--threads", "1", "--json"]
    arguments += ["-o", str(tmp_path / "report.html"), *more]
    if rig is not None:
        arguments += ["--rig", str(rig)]
    done = CliRunner().invoke(build_app(), arguments)
    return done.exit_code, json.loads(done.stdout)


def test_the_rig_keeps_its_comments_and_gets_the_choice_with_its_table(
    folder: Path, bundle: Bundle, rig: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(picking, "_TURN_S", 0.01)
    before = {p: p.read_bytes() for p in folder.iterdir()}
    # The camera is not there: the pick is recorded before the profile needs it.
    profile(folder, rig, tmp_path)
    profile(folder, rig, tmp_path)
    text = rig.read_text()
    assert text.startswith(RIG.rstrip()) and text.count("[engine]") == 1
    entry = read_rig(rig).engine
    assert entry is not None and (entry.name, entry.precision, entry.threads) == (
        "onnxruntime", "fp32", 1,
    )  # fmt: skip
    assert entry.picked["bundle"] == bundle.sha256
    assert entry.picked["table"][0]["chunk_ms"] > 0
    assert {p: p.read_bytes() for p in folder.iterdir()} == before


def test_pick_without_a_rig_is_refused(folder: Path, tmp_path: Path) -> None:
    code, document = profile(folder, None, tmp_path)
    assert code == 1 and "give --rig" in document["error"]


def test_a_run_obeys_the_rig_unless_something_is_named(bundle: Bundle, rig: Path) -> None:
    assert choose_engine(bundle, read_rig(rig)).threads == 1
    rig.write_text(RIG + '\n[engine]\nname = "onnxruntime"\nprecision = "fp32"\nthreads = 3\n')
    chosen = choose_engine(bundle, read_rig(rig))
    assert (chosen.engine, chosen.precision, chosen.threads, chosen.note) == (
        "onnxruntime", "fp32", 3, "",
    )  # fmt: skip
    assert choose_engine(bundle, read_rig(rig), threads=2).threads == 2
    assert choose_engine(bundle, read_rig(rig), engine="onnxruntime").threads == 1


def test_a_choice_for_another_bundle_is_followed_and_said(bundle: Bundle, rig: Path) -> None:
    rig.write_text(
        RIG + '\n[engine]\nname = "onnxruntime"\nprecision = "fp32"\nthreads = 1\n'
        '[engine.picked]\nbundle = "0123456789abcdef"\n'
    )
    assert "another bundle (0123456789ab" in choose_engine(bundle, read_rig(rig)).note


@pytest.mark.parametrize(
    ("table", "what"),
    [
        ('name = "executorch"\nprecision = "int8"\nthreads = 1', "is not in the bundle.*--pick"),
        ('name = "onnxruntime"\nprecision = "fp32"\nthreads = 0', r"\[engine\] threads"),
        ('name = "onnxruntime"\nthreads = 1', r"\[engine\] precision: missing"),
        ('name = "onnxruntime"\nprecision = "fp32"\nthreads = 1\nfast = 1', "fast: unknown"),
    ],
)
def test_a_wrong_engine_table_is_one_line(table: str, what: str, bundle: Bundle, rig: Path) -> None:
    rig.write_text(f"{RIG}\n[engine]\n{table}\n")
    with pytest.raises(RigError, match=what):
        choose_engine(bundle, read_rig(rig))
