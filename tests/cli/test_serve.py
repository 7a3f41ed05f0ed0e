"""`ofp-edge serve` as a user starts it, and openpi's client against a run's own log."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

pytest.importorskip("onnxruntime")
pytest.importorskip("onnx")

from ofp_edge.cli.main import build_app  # noqa: E402
from ofp_edge.runtime.control.loop import Limits  # noqa: E402
from ofp_edge.runtime.log.reader import LogReader  # noqa: E402
from ofp_edge.runtime.log.telemetry import array_from_json  # noqa: E402
from ofp_edge.runtime.run_files import Request, read_run  # noqa: E402
from ofp_edge.runtime.session import open_session  # noqa: E402
from ofp_edge.sim.fields import action_fields, observation_fields  # noqa: E402
from ofp_edge.sim.tasks import find_task  # noqa: E402
from ofp_edge.spec import PolicySpec  # noqa: E402
from tests.cli.test_replay import RIG  # noqa: E402
from tests.runtime.openpi.serving import openpi_client  # noqa: E402
from tests.runtime.small_bundle import write_small_bundle  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore:connect:DeprecationWarning")  # of openpi's client
TASK = find_task("planar/obstacle")
SPEC = PolicySpec(observation_fields(TASK, "state"), action_fields(TASK), 2, 16, 4, TASK.control_hz)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle, a rig and the log of a run."""
    made = tmp_path_factory.mktemp("serve")
    write_small_bundle(made / "bundle", SPEC, {})
    (made / "rig.toml").write_text(RIG)
    request = Request(made / "bundle", made / "rig.toml", log=made / "run.mcap", seed=5)
    with open_session(read_run(request)) as session:
        session.loop.run(Limits(duration_s=1.0))
    return made


@contextlib.contextmanager
def started(*words: str) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """The command in a process of its own, and its port; it is asked to end at the end."""
    command = [sys.executable, "-m", "ofp_edge", "serve", *words, "--port", "0", "--json"]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "COLUMNS": "200"},
    )  # fmt: skip
    assert process.stderr is not None
    try:
        line = ""
        for line in process.stderr:
            if "serving at" in line:
                break
        found = re.search(r"ws://127.0.0.1:(\d+)", line)
        assert found is not None, line
        yield process, int(found[1])
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


def test_openpis_client_gets_the_chunks_of_a_run_bit_for_bit(folder: Path) -> None:
    names = folder / "names.toml"
    names.write_text('schema_version = 1\nactions = "action"\n[observations]\nstate = "joints"\n')
    plans, last_ns = 0, None
    with started(str(folder / "bundle"), "--seed", "5", "--names", str(names)) as (process, port):
        client = openpi_client().WebsocketClientPolicy("127.0.0.1", port)
        about = client.get_server_metadata()
        assert about["observations"]["joints"]["shape"] == list(SPEC.observations[0].shape)
        assert about["actions"]["shape"] == [16, SPEC.action_dim] and about["n_action_steps"] == 4
        for topic, row in LogReader(folder / "run.mcap").rows("/observation", "/plan"):
            about_it: dict[str, Any] = {"t_obs_ns": row["t_obs_ns"], "plan": topic == "/plan"}
            message: dict[str, Any] = {"ofp_edge": about_it}
            if topic == "/observation":
                message["joints"] = array_from_json(row["inputs"]["state"], "state")
            answer = client.infer(message)
            if topic == "/plan":
                wanted = array_from_json(row["chunk"], "chunk")
                assert answer["action"].dtype == wanted.dtype == np.float32
                assert answer["action"].tobytes() == wanted.tobytes()
                assert row["warm_from_ns"] == last_ns  # what the loop started from, too
                assert answer["ofp_edge"]["warm"] == (last_ns is not None)
                plans, last_ns = plans + 1, row["t_obs_ns"]
        with pytest.raises(RuntimeError, match="expected"):
            client.infer({"joints": np.zeros(99)})
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    document = json.loads(out)
    assert process.returncode == 0, err
    assert plans >= 3 and document["answers"] >= plans and document["refused"] == 1
    assert document["connections"] == 1 and document["failures"] == 0
    assert document["latency_ms"]["p50"] > 0 and document["address"].endswith(f":{port}")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--host", "0.0.0.0"], "Give --token-file, or leave --host out"),
        (["--port", "65536"], "expected 0..65535"),
        (["--connections", "0"], "expected 1..1000"),
        (["--largest-mb", "0"], "expected 1..1024"),
        (["--tls-cert", "BUNDLE/manifest.json"], "give both"),
        (["--token-file", "BUNDLE/manifest.json"], "other users may read the token"),
        (["--token-file", "none"], "does not exist"),
        (["--instruction", "dance"], "the policy takes none"),
        (["--names", "BUNDLE/manifest.json"], "is not valid TOML"),
        (["--nfe", "9"], "--nfe 9"),
        (["--threads", "0"], "--threads 0"),
        (["--seed", "-1"], "--seed -1"),
        (["--engine", "tensorflow"], "unknown engine"),
        (["--host", "192.0.2.1", "--token-file", "TOKEN"], "192.0.2.1, port 8000"),
    ],
)
def test_what_can_not_be_served_is_said_in_a_line(
    words: list[str], said: str, folder: Path
) -> None:
    (folder / "token").write_text("0123456789abcdef0123456789abcdef\n")
    (folder / "token").chmod(0o600)
    places = {"BUNDLE": str(folder / "bundle"), "TOKEN": str(folder / "token")}
    given = [re.sub("BUNDLE|TOKEN", lambda m: places[m[0]], word) for word in words]
    result = CliRunner().invoke(build_app(), ["serve", str(folder / "bundle"), *given])
    line = " ".join(result.stderr.split())
    assert result.exit_code == 1 and said in line and "Traceback" not in line, line


def test_a_port_that_is_taken_is_said_in_a_line(folder: Path) -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        result = CliRunner().invoke(build_app(), ["serve", str(folder / "bundle"), "--port", port])
    assert result.exit_code == 1 and "Give another --host or --port" in result.stderr
