"""Our own two wheels: those of a given folder in this version, built where it has none."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from ofp_edge import __version__
from ofp_edge.cli import wheels as command
from ofp_edge.errors import OfpError
from ofp_edge.origin import Origin
from ofp_edge.targets import own_wheels
from ofp_edge.targets.own_wheels import bring_own
from ofp_edge.targets.systems import system
from tests.packaging.offline import write_index, write_wheel

PI = system("raspberry-pi-5", "3.11")


@pytest.fixture
def built(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is built, without building it."""
    names: list[str] = []
    monkeypatch.setattr(own_wheels, "_build", lambda root, name, *rest: names.append(name))
    return names


@pytest.fixture
def given(tmp_path: Path) -> Path:
    (tmp_path / "given").mkdir()
    return tmp_path / "given"


def bring(folder: Path, given: Path) -> list[str]:
    said: list[str] = []
    folder.mkdir(exist_ok=True)
    bring_own(folder, PI, [given], said.append, executorch=True)
    return said


def test_a_given_folder_does_not_stop_the_building(
    built: list[str], given: Path, tmp_path: Path
) -> None:
    write_wheel(given, "ofp-edge", "0.0.1")
    write_wheel(given, "ofp-edge-executorch", "1.5.1.1", tag="py3-none-manylinux_2_28_x86_64")
    assert bring(tmp_path / "out", given) == []
    assert built == ["ofp-edge", "ofp-edge-executorch"]


def test_what_it_has_in_this_version_is_taken_and_told(
    built: list[str], given: Path, tmp_path: Path
) -> None:
    own = write_wheel(given, "ofp-edge", __version__)
    tag = "py3-none-manylinux_2_28_aarch64"
    engine = write_wheel(given, "ofp-edge-executorch", "1.5.1.1", tag=tag)
    assert bring(tmp_path / "out", given) == [f"taking {own}", f"taking {engine}"]
    assert built == []
    assert {x.name for x in (tmp_path / "out").iterdir()} == {own.name, engine.name}


def test_neither_wheel_nor_checkout_names_what_makes_one(
    monkeypatch: pytest.MonkeyPatch, given: Path, tmp_path: Path
) -> None:
    monkeypatch.setattr(own_wheels, "origin", lambda: Origin())
    with pytest.raises(OfpError, match="make wheels MACHINE=aarch64.*--find-links"):
        bring(tmp_path / "out", given)


def test_what_the_builder_says_last_is_the_error(tmp_path: Path) -> None:
    script = tmp_path / "scripts/wheels"
    script.parent.mkdir()
    script.write_text("#!/bin/sh\necho 'wheels: compiling' >&2; echo 'no compiler' >&2; exit 1\n")
    script.chmod(0o755)
    said: list[str] = []
    with pytest.raises(OfpError, match="ofp-edge: no compiler"):
        own_wheels._build(tmp_path, "ofp-edge", PI, tmp_path, said.append)
    assert said == ["compiling"]


def test_an_orins_folder_holds_what_its_extra_asks_for_and_says_what_it_can_not(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The command, with ofp-edge's own wheel really built and a stand-in for everything else."""
    index = write_index(tmp_path / "index", {})
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    app = typer.Typer()
    app.callback()(lambda: None)
    command.add(app)
    out = tmp_path / "the wheels"
    done = CliRunner().invoke(
        app, ["wheels", "--board", "orin-nano-super", "--python", "3.10", "-o", str(out), "--json",
              "--find-links", str(index)],
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    names = {x["name"]: x["version"] for x in found["wheels"]}
    assert names["ofp-edge"] == __version__
    assert {"cuda-python", "pyrealsense2", "numpy"} <= set(names) and "pycuda" not in names
    assert names["cuda-python"].startswith("12.")
    assert found["extras"] == ["jetson", "realsense"]
    assert "sudo apt-get install -y nvidia-jetpack" in found["note"]
    words = shlex.split(found["install"])
    assert words[:5] == ["python3.10", "-m", "venv", "--system-site-packages", ".venv"]
    assert words[5:8] == ["&&", ".venv/bin/pip", "install"]
    assert words[-2:] == ["the wheels", "ofp-edge[jetson,realsense]"]
    there = subprocess.run(
        [sys.executable, "-m", "pip", *words[7:], "--dry-run", "--ignore-installed"],
        cwd=tmp_path, capture_output=True, text=True,
    )  # fmt: skip
    assert "Would install" in there.stdout and "cuda-python-12" in there.stdout, there.stderr
    said = done.stderr.splitlines()
    assert "wheels for orin-nano-super: building ofp-edge" in said
    assert any("fetching" in x and "cuda-python" in x for x in said)
