from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from typer.testing import CliRunner

pytest.importorskip("onnxruntime")
pytest.importorskip("onnx")

from ofp_edge.cli.live import live_table  # noqa: E402
from ofp_edge.cli.main import build_app  # noqa: E402
from ofp_edge.errors import OfpError  # noqa: E402
from ofp_edge.runtime.control.loop import Limits  # noqa: E402
from ofp_edge.runtime.log.reader import LogReader  # noqa: E402
from ofp_edge.runtime.log.rows import made_of  # noqa: E402
from ofp_edge.runtime.run_files import Request, read_run  # noqa: E402
from ofp_edge.runtime.session import open_session  # noqa: E402
from ofp_edge.sim.fields import action_fields, observation_fields  # noqa: E402
from ofp_edge.sim.tasks import find_task  # noqa: E402
from ofp_edge.spec import PolicySpec  # noqa: E402
from ofp_edge.start import Start  # noqa: E402
from tests.runtime.small_bundle import write_small_bundle  # noqa: E402

TASK = find_task("planar/obstacle")
SPEC = PolicySpec(observation_fields(TASK, "state"), action_fields(TASK), 2, 16, 4, TASK.control_hz)
RIG = """
schema_version = 1
[robot]
driver = "ofp_edge.sim.robot:SimulatedRobot"
options = { task = "planar/obstacle", world = "replay" }
[timing]
latency_ms = 100.0
max_plan_age_ms = 800.0
"""


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A folder with a bundle, another one, a rig and a log; and the live view of the run."""
    folder = tmp_path_factory.mktemp("replay")
    write_small_bundle(folder / "bundle", SPEC, {})
    write_small_bundle(folder / "other", SPEC, {}, seed=1)
    (folder / "rig.toml").write_text(RIG)
    request = Request(folder / "bundle", folder / "rig.toml", log=folder / "run.mcap", nfe="auto")
    with open_session(read_run(request)) as session:
        session.loop.run(Limits(duration_s=1.0))
        console = Console(width=100, record=True, quiet=True)
        with console.capture() as shown:
            console.quiet = False
            console.print(live_table(session, None))
    return folder, shown.get()


def replayed(folder: Path, bundle: str) -> tuple[int, dict[str, Any]]:
    words = ["replay", str(folder / "run.mcap"), "--bundle", str(folder / bundle), "--json"]
    result = CliRunner().invoke(build_app(), words)
    return result.exit_code, json.loads(result.stdout)


def test_the_runs_own_bundle_gives_every_action_again(ran: tuple[Path, str]) -> None:
    code, document = replayed(ran[0], "bundle")
    assert code == 0 and document["same"] and document["same_bundle"]
    assert document["ticks_same"] == document["ticks"] > 5 and document["nfe"] == "auto"


def test_a_run_with_a_start_of_its_own_is_replayed_with_it(
    ran: tuple[Path, str], tmp_path: Path
) -> None:
    """Nobody tells `replay`: the log does. One of before has no start, and means the plain one."""
    rig = tmp_path / "rig.toml"
    rig.write_text(RIG.replace("latency_ms = 100.0", "latency_ms = 100.0\ncold_latency_ms = 200.0"))
    quiet = Start(noise_cold=0.5, noise_warm=0.25)
    request = Request(ran[0] / "bundle", rig, log=tmp_path / "run.mcap", start=lambda own: quiet)
    with open_session(read_run(request)) as session:
        session.loop.run(Limits(duration_s=1.0))
    reader = LogReader(tmp_path / "run.mcap")
    first = next(row for _, row in reader.rows("/plan"))
    assert first["due_ns"] - first["t_obs_ns"] == 200_000_000
    words = ["replay", str(tmp_path / "run.mcap"), "--bundle", str(ran[0] / "bundle"), "--json"]
    document = json.loads(CliRunner().invoke(build_app(), words).stdout)
    assert document["same"] and document["chunks_same"] == document["chunks"] > 2
    del reader.header["start"]
    assert made_of(reader.header, "log").start == Start()
    with pytest.raises(OfpError, match="start.noise_warm: expected 0 to 2, got 3"):
        made_of({**reader.header, "start": {"noise_warm": 3.0}}, "log")


def test_another_bundle_is_told_apart_with_exit_code_1(ran: tuple[Path, str]) -> None:
    code, document = replayed(ran[0], "other")
    assert code == 1 and not document["same"] and not document["same_bundle"]
    assert document["chunks_same"] == 0 and document["differences"][0]["apart"] > 0


def test_the_live_view_names_what_matters(ran: tuple[Path, str]) -> None:
    for word in ("ticks", "plans", "L = 100 ms", "frames", "rows lost"):
        assert word in ran[1]
