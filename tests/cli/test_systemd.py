"""The unit of `ofp-edge service` under a real systemd: whatever ends it, the robot is at rest."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from ofp_edge.cli.main import build_app
from tests.cli.test_run_ends import APART, HERE, bundle, write_rig
from tests.runtime.ends.processes import ENVIRONMENT, PATIENCE_S, Run, until

__all__ = ["bundle"]  # a fixture
pytestmark = pytest.mark.slow


def manager() -> tuple[list[str], Path]:
    """How to reach a systemd that may be given a unit, and where it looks for one."""
    runtime = Path(os.environ.get("XDG_RUNTIME_DIR", "/nowhere")) / "systemd/user"
    found = [(["systemctl", "--user"], runtime)]
    if os.geteuid() == 0:
        found.insert(0, (["systemctl"], Path("/run/systemd/system")))
    for command, folder in found:
        if shutil.which("systemctl") is not None:
            asked = subprocess.run([*command, "show", "-p", "Version"], capture_output=True,
                                   check=False)  # fmt: skip
            if asked.returncode == 0:
                return command, folder
    pytest.skip("no systemd runs here that this user could give a unit to")


class Service:
    """One unit, as `service` wrote it; the robot's own diary says what happened."""

    def __init__(self, folder: Path, text: str) -> None:
        self.control, units = manager()
        self.name = f"ofp-edge-test-{os.getpid()}.service"
        self.unit = units / self.name
        self.run = Run.__new__(Run)  # its diary and its processes, but systemd starts it
        self.run.diary = folder / "diary"
        path = ENVIRONMENT["PYTHONPATH"]
        mark = f"OFP_EDGE_TESTED_RUN={self.run.diary}"
        lines = [line for line in text.splitlines()
                 if "--user" not in self.control
                 or not line.startswith(("User=", "Private"))]  # fmt: skip
        at = lines.index("[Service]") + 1
        lines[at:at] = [f'Environment="PYTHONPATH={path}" "{mark}"']
        units.mkdir(parents=True, exist_ok=True)
        self.unit.write_text("\n".join(lines) + "\n")
        self.tell("daemon-reload")

    def tell(self, *words: str) -> str:
        done = subprocess.run([*self.control, *words], capture_output=True, text=True, check=False,
                              timeout=PATIENCE_S)  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout

    def show(self, name: str) -> str:
        return self.tell("show", "--value", "-p", name, self.name).strip()

    def start(self) -> None:
        self.tell("start", self.name)
        until(lambda: self.run.words().count("send") >= 3)

    def clear(self) -> None:
        subprocess.run([*self.control, "kill", "-s", "KILL", self.name], capture_output=True,
                       check=False)  # fmt: skip
        self.unit.unlink()
        subprocess.run([*self.control, "reset-failed", self.name], capture_output=True, check=False)
        self.tell("daemon-reload")


@pytest.fixture(params=[HERE, APART], ids=["in the run", "in a process of its own"])
def service(request: pytest.FixtureRequest, bundle: Path, tmp_path: Path) -> Iterator[Service]:
    manager()
    unit = tmp_path / "x.service"
    rig = write_rig(tmp_path, request.param)
    done = CliRunner().invoke(
        build_app(), ["service", str(bundle), "--rig", str(rig), "-o", str(unit), "--watchdog", "3"]
    )
    assert done.exit_code == 0, done.output
    made = Service(tmp_path, unit.read_text())
    made.start()
    yield made
    made.clear()


ENDS = {
    "systemctl stop": (["stop", "UNIT"], "success", "inactive"),
    "the run is killed": (["kill", "-s", "KILL", "--kill-who=main", "UNIT"], "signal", "failed"),
    "the run hangs": (["kill", "-s", "STOP", "--kill-who=main", "UNIT"], "watchdog", "failed"),
    "all are told to end": (["kill", "-s", "TERM", "UNIT"], "success", "inactive"),
}


@pytest.mark.parametrize("words, result, state", ENDS.values(), ids=list(ENDS))
def test_however_systemd_ends_it_the_robot_is_at_rest(
    words: list[str], result: str, state: str, service: Service
) -> None:
    service.tell(*(service.name if word == "UNIT" else word for word in words))
    until(lambda: service.show("ActiveState") in ("inactive", "failed"))
    assert not service.run.alive()
    assert (service.show("Result"), service.show("ActiveState")) == (result, state)
    said = service.run.words()
    assert said[-1] == "close" and "stop" in said, said
    assert "send" not in said[said.index("stop") :]
