"""Runs whose policy is a server: silent and dead ones are held and stopped by the state machine."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from ofp_edge.cli.main import build_app
from ofp_edge.errors import NoAnswer, OfpError
from ofp_edge.runtime.control.loop import Limits
from ofp_edge.runtime.log.reader import LogReader
from ofp_edge.runtime.openpi.line import PolicyAddress
from ofp_edge.runtime.run_files import Request, read_run
from ofp_edge.runtime.session import open_session
from tests.runtime.openpi.openpi_server import Gone, Silent, openpi_server
from tests.runtime.standins import DT, MS
from tests.runtime.test_loop import Stand

POLICY = """
schema_version = 1
[policy]
control_hz = 20.0
horizon = 16
n_action_steps = 4
[[policy.observations]]
name = "state"
kind = "state"
shape = [SIZE]
unit = "m"
frame = "base"
low = [LOW]
high = [HIGH]
[[policy.actions]]
name = "move"
shape = [2]
unit = "m"
frame = "base"
kind = "delta"
scale = 0.05
low = [-1.0, -1.0]
high = [1.0, 1.0]
hold = 0.0
"""


class Dying:
    """Makes `act` raise NoAnswer during some of the loop's ticks."""

    def __init__(self, stand: Stand, dead: Any) -> None:
        self.asked: list[int] = []
        answer = stand.act.function

        def act(*buffers: Any) -> None:
            tick = (stand.clock.now_ns - 1_000 * MS) // DT
            self.asked.append(tick)
            if dead(tick):
                raise NoAnswer("ws://x:1: gone.")
            answer(*buffers)

        stand.act.function = act


def test_a_question_without_an_answer_is_put_again_at_the_next_tick_and_the_plan_goes_on() -> None:
    stand = Stand()
    dying = Dying(stand, lambda tick: tick in (10, 11))
    report = stand.loop.run(Limits(duration_s=2.0))
    assert report.fault is None and stand.loop.planner.unanswered == 2
    assert {7, 10, 11, 12} < set(dying.asked) and 13 not in dying.asked
    times = [t for t, _ in stand.robot.sent]
    assert set(np.diff(times)) == {DT}, "a command in every slot"
    assert stand.controller.counters.held <= 3  # before the first plan


def test_a_server_that_is_gone_for_good_is_held_once_and_stopped() -> None:
    stand = Stand()
    Dying(stand, lambda tick: tick >= 12)
    report = stand.loop.run(Limits(duration_s=4.0))
    assert report.fault is not None and "no plan younger than max_plan_age_ms" in report.fault
    assert stand.robot.stops >= 1
    last = stand.robot.sent[-1][0]
    followed = (last - 1_000 * MS) // DT
    assert 12 < followed <= 12 + 8 + 2, "the plan to its age, then one held step"
    assert (stand.robot.sent[-1][1][:3] == 0).all(), "a delta policy holds by not moving"
    assert stand.loop.planner.why_unanswered == "ws://x:1: gone."


def test_a_first_plan_that_never_comes_ends_the_run_too() -> None:
    stand = Stand()
    Dying(stand, lambda tick: True)
    report = stand.loop.run(Limits(duration_s=4.0))
    assert report.fault is not None and "no plan" in report.fault


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """A description and a rig of the simulated planar robot."""
    from ofp_edge.sim.fields import observation_fields
    from ofp_edge.sim.tasks import find_task

    (field,) = observation_fields(find_task("planar/obstacle"), "state")
    text = POLICY.replace("SIZE", str(field.shape[0]))
    for name, ends in (("LOW", field.low), ("HIGH", field.high)):  # type: ignore[attr-defined]
        text = text.replace(name, ", ".join(str(float(x)) for x in ends))
    (tmp_path / "policy.toml").write_text(text)
    (tmp_path / "rig.toml").write_text(
        """
schema_version = 1
[robot]
driver = "ofp_edge.sim.robot:SimulatedRobot"
options = { task = "planar/obstacle", world = "remote" }
[timing]
latency_ms = 100.0
max_plan_age_ms = 400.0
"""
    )
    return tmp_path


def request(files: Path, port: int, **more: Any) -> Request:
    address = PolicyAddress(f"ws://127.0.0.1:{port}")
    return Request(files / "policy.toml", files / "rig.toml", policy_server=address, **more)


def test_a_run_by_an_openpi_server_has_its_log_and_its_report(files: Path) -> None:
    with openpi_server(lambda seen: {"actions": np.full((16, 2), 0.25)}) as port:
        words = ["run", str(files / "policy.toml"), "--rig", str(files / "rig.toml"),
                 "--policy-server", f"ws://127.0.0.1:{port}", "--duration", "1",
                 "--log", str(files / "run.mcap"), "--json"]  # fmt: skip
        result = CliRunner().invoke(build_app(), words)
    assert result.exit_code == 0, result.stderr
    document = json.loads(result.stdout)
    assert document["engine"] == "openpi" and document["plans"] >= 3
    assert document["policy_server"] == f"ws://127.0.0.1:{port}" and document["unanswered"] == 0
    assert document["start"] is None and document["threads"] == 0
    plans = [row for _, row in LogReader(files / "run.mcap").rows("/plan")]
    assert len(plans) >= 3
    again = ["replay", str(files / "run.mcap"), "--bundle", str(files / "policy.toml"), "--json"]
    result = CliRunner().invoke(build_app(), again)
    assert result.exit_code == 0, result.stderr
    replayed = json.loads(result.stdout)
    assert replayed["same"] and replayed["same_bundle"] and replayed["ticks"] == document["ticks"]
    assert replayed["chunks"] == len(plans) and replayed["engine"] == "openpi"
    refused = CliRunner().invoke(build_app(), [*again, "--engine", "onnxruntime"])
    assert refused.exit_code == 1 and "a policy server computes" in refused.stdout


@pytest.mark.parametrize("how", ["closed", "silent", "nan"])
def test_a_server_that_dies_in_mid_run_stops_the_robot_as_a_fault(how: str, files: Path) -> None:
    answers, dead = [0], threading.Event()

    def policy(seen: dict[str, Any]) -> dict[str, Any]:
        answers[0] += 1
        if answers[0] > 4:
            dead.set()
            if how != "nan":
                raise Gone if how == "closed" else Silent
        return {"actions": np.full((16, 2), np.nan if answers[0] > 4 else 0.25)}

    with openpi_server(policy) as port:
        asked = request(files, port, log=files / "run.mcap")
        with open_session(read_run(asked)) as session:
            began = time.monotonic()
            report = session.loop.run(Limits(duration_s=30.0))
            assert time.monotonic() - began < 20
    assert dead.is_set() and report.fault is not None and "no plan younger" in report.fault
    rows = [row for _, row in LogReader(files / "run.mcap").rows("/event")]
    told = [row["detail"] for row in rows if row["what"] == "no answer"]
    assert told and len(told) == session.loop.planner.unanswered
    assert any(row["what"] == "fault" for row in rows)


def test_a_server_that_comes_back_goes_on(files: Path) -> None:
    answers = [0]

    def policy(seen: dict[str, Any]) -> dict[str, Any]:
        answers[0] += 1
        if answers[0] == 4:
            raise Gone
        return {"actions": np.full((16, 2), 0.25)}

    with openpi_server(policy) as port:
        with open_session(read_run(request(files, port))) as session:
            report = session.loop.run(Limits(duration_s=1.5))
    assert report.fault is None and session.loop.planner.unanswered == 1 and answers[0] > 6


def test_options_that_have_no_effect_on_a_server_are_refused(files: Path) -> None:
    for name, value in (("engine", "onnxruntime"), ("precision", "fp32"), ("threads", 2)):
        with pytest.raises(OfpError, match=f"--{name}"):
            read_run(request(files, 1, **{name: value}))
    with openpi_server(lambda seen: {"actions": np.zeros((16, 2))}) as port:
        for given in ({"guard": 3}, {"nfe": 2}):
            with pytest.raises(OfpError, match="deterministic"):
                with open_session(read_run(request(files, port, **given))):
                    pass


def test_a_token_without_a_server_and_a_bundle_in_its_place_are_refused(files: Path) -> None:
    token = files / "token"
    token.write_text("0123456789abcdef")
    token.chmod(0o600)
    base = ["run", str(files / "policy.toml"), "--rig", str(files / "rig.toml")]
    for words, said in (
        (["--policy-token-file", str(token)], "give --policy-server too"),
        (["--policy-server", "127.0.0.1"], "expected ws://HOST:PORT"),
        ([], "is not a bundle folder"),
    ):
        result = CliRunner().invoke(build_app(), [*base, *words])
        assert result.exit_code == 1 and said in " ".join(result.stderr.split())
    result = CliRunner().invoke(
        build_app(), ["run", str(files), *base[2:], "--policy-server", "ws://127.0.0.1:1"]
    )
    assert result.exit_code == 1 and "it is a folder, expected a file" in result.stderr
