"""Every installation line that a document, doctor or an error names is run, as it is printed.

pip really resolves: our two real wheels, our real metadata, and a stand-in for each requirement of
somebody else's. What pip would install is read, nothing is installed. Real packages: test_wheel.py.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from urllib.parse import quote

import pytest

from ofp_edge.doctor.checks.jetson import check as check_jetson
from tests.packaging.offline import DOCUMENTS, ROOT, SOURCES, our_requirements, texts, write_index
from tests.runtime.jetson.constructed import construct

# What documents name besides ours:
OTHERS = {"lerobot": ("feetech",), "openpi-client": (), "pycuda": ()}
COMMAND = re.compile(r"(?:[\w./~-]*/)?(?:pip|python3? -m pip) install +([^\s`|][^\n`|]*)")
HOW = ("editable", "checkout", "wheel", "find-links")


def documented() -> list[tuple[str, str]]:
    """(document, what stands after `pip install`)."""
    return [
        (str(path.relative_to(ROOT)), found[1].partition("  #")[0].strip(" )"))
        for path in DOCUMENTS
        for found in COMMAND.finditer(path.read_text(encoding="utf-8"))
    ]


class Shell:
    """A user's shell: an activated environment that has pip alone, and no network."""

    def __init__(self, folder: Path, index: Path) -> None:
        self.bin = folder / "env/bin"
        subprocess.run([sys.executable, "-m", "venv", folder / "env"], check=True)
        keep = {k: v for k, v in os.environ.items() if not k.startswith(("PIP_", "PYTHON"))}
        self.environment = {
            **keep, "HOME": str(folder), "PATH": f"{self.bin}:{os.environ['PATH']}",
            "PIP_CONFIG_FILE": os.devnull, "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(index),
            "PIP_DISABLE_PIP_VERSION_CHECK": "1", "PYTHON": sys.executable,
        }  # fmt: skip

    def run(self, line: str, cwd: Path) -> str:
        """What it says; a failure shows the line."""
        done = subprocess.run(
            ["bash", "-c", line], cwd=cwd, env=self.environment, capture_output=True, text=True,
            stdin=subprocess.DEVNULL,
        )  # fmt: skip
        if done.returncode:
            pytest.fail(f"{line}\n{done.stdout}\n{done.stderr}", pytrace=False)
        return done.stdout + done.stderr

    def resolve(self, line: str, cwd: Path) -> set[str]:
        """The distributions that an installation line would bring, canonical names."""
        said = self.run(line.replace("pip install ", "pip install --dry-run "), cwd)
        assert "does not provide the extra" not in said, f"{line}\n{said}"
        would = re.search(r"(?m)^Would install (.*)$", said)
        return {x.rpartition("-")[0].lower() for x in would[1].split()} if would else set()


@pytest.fixture(scope="session")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Shell:
    folder = tmp_path_factory.mktemp("user")
    return Shell(folder, write_index(folder / "index", OTHERS))


def needs(*extras: str) -> set[str]:
    """What these extras ask for on this machine."""
    found = our_requirements()
    return {
        requirement.name.lower()
        for extra in ("", *extras)
        for requirement in found[extra]
        if requirement.marker is None or requirement.marker.evaluate()
    }


def test_the_documents_have_lines_to_be_run() -> None:
    places = {place for place, _ in documented()}
    assert {"README.md", "native/README.md", "docs/jetson.md", "docs/robots.md"} <= places


@pytest.mark.parametrize(("place", "arguments"), documented())
def test_a_documented_line_resolves(
    place: str, arguments: str, shell: Shell, checkout: Path, dist: Path
) -> None:
    """In the repository, where `make wheels` was run; `wheels` is what `ofp-edge wheels` writes."""
    folder = checkout / "wheels"
    if not folder.exists():
        folder.symlink_to(dist)
    brought = shell.resolve(f"pip install {arguments}", checkout)
    extras = re.findall(r"(?:ofp-edge|\.)\[([\w,]+)\]", arguments)
    ours = re.search(r"(?:^|\s)(?:ofp-edge\b|'?(?:ofp-edge|\.)\[)", arguments)
    assert ours or arguments.split("[")[0] in OTHERS, f"{place}: whose is {arguments}?"
    if ours:
        assert needs(*(x for found in extras for x in found.split(","))) <= brought
        assert "ofp-edge" in brought


class Installed:
    """ofp-edge in the shell's environment, in one way at a time."""

    def __init__(self, shell: Shell, checkout: Path, dist: Path) -> None:
        self.shell, self.checkout, self.dist, self.how = shell, checkout, dist, "not"

    def lines(self, how: str) -> dict[str, str]:
        """Install it so; the lines that it then prints, by extra."""
        if self.how != how:
            self.shell.run("pip uninstall --yes ofp-edge", self.dist)
            self.shell.run(f"pip install --no-deps {self.arguments(how)}", self.checkout)
            self.how = how
        code = "import json, sys; from ofp_edge.origin import install_line as line\n"
        code += "print(json.dumps({x: line(x) for x in sys.argv[1:]}))"
        extras = " ".join(f"'{x}'" for x in our_requirements())
        found = self.shell.run(f"python -c {shlex.quote(code)} {extras}", self.dist)
        lines: dict[str, str] = json.loads(found)
        return lines

    def arguments(self, how: str) -> str:
        if how == "find-links":
            return f"--find-links {shlex.quote(str(self.dist))} ofp-edge"
        if how == "editable":
            return f"--editable {shlex.quote(str(self.checkout))}"
        place = self.checkout if how == "checkout" else next(self.dist.glob("ofp_edge-*.whl"))
        # In a bare path `;` would begin a marker.
        return shlex.quote(f"ofp-edge @ file://{quote(str(place))}")


@pytest.fixture(scope="session")
def installed(shell: Shell, checkout: Path, dist: Path) -> Installed:
    return Installed(shell, checkout, dist)


@pytest.mark.parametrize("extra", ["train", "executorch"])
@pytest.mark.parametrize(
    "how", [pytest.param(x, marks=() if x in HOW[2:] else pytest.mark.slow) for x in HOW]
)
def test_a_printed_line_brings_the_extra(
    how: str, extra: str, installed: Installed, shell: Shell, dist: Path, tmp_path: Path
) -> None:
    line = installed.lines(how)[extra]
    if how == "find-links" and extra == "executorch":
        assert "--find-links DIST " in line and "(DIST: " in line
        line = line.partition(" (DIST: ")[0].replace("DIST", shlex.quote(str(dist)))
    assert "DIST" not in line
    assert needs(extra) - needs() <= shell.resolve(line, tmp_path)


def test_every_other_extras_line_names_one_that_resolves(
    installed: Installed, shell: Shell, tmp_path: Path
) -> None:
    """They differ by the extra's name alone, so one pip takes them all."""
    lines = installed.lines("find-links")
    names = [lines[x].partition("pip install ")[2] for x in lines if x != "executorch"]
    assert len(names) == len(our_requirements()) - 1
    brought = shell.resolve(f"pip install {' '.join(names)}", tmp_path)
    assert needs(*(x for x in lines if x != "executorch")) - needs() <= brought


def test_the_camera_driver_that_needs_no_patch_can_be_had(shell: Shell, tmp_path: Path) -> None:
    machine = construct(tmp_path, "orin-nano-super", "7.2.1")
    remedies = {x.name: x.remedy for x in check_jetson(machine, python=(3, 12))}
    _, line = remedies["jetson realsense kernel"].split(" && ")
    assert shell.resolve(line.replace(f"{sys.executable} -m pip", "pip"), tmp_path) == {
        "dreamscale-pyrealsense2"
    }
    remedies = {x.name: x.remedy for x in check_jetson(machine, python=(3, 10))}
    assert "dreamscale" not in remedies["jetson realsense kernel"]  # it has no wheel for 3.10


def test_no_other_line_hides_in_the_code() -> None:
    """Lines are made in origin.py; two others are run above and in test_own_wheels.py."""
    places = {
        str(path.relative_to(ROOT))
        for path in SOURCES
        for text in texts(path)
        if "pip install" in text or text.startswith(" install ")
    }
    assert places == {
        "ofp_edge/origin.py", "ofp_edge/doctor/checks/jetson.py", "ofp_edge/cli/wheels.py",
    }  # fmt: skip


def test_make_targets_that_are_named_exist() -> None:
    targets = set(re.findall(r"(?m)^([\w-]+):", (ROOT / "Makefile").read_text()))
    text = "\n".join(x.read_text(encoding="utf-8") for x in DOCUMENTS)
    code = "\n".join(x for path in SOURCES for x in texts(path))
    named = set(re.findall(r"(?:^|`|&& )make ([a-z][\w-]*)", text + "\n" + code, re.M))
    assert {"wheels", "setup", "demo"} <= named and named <= targets
