"""A board's wheels: followed by its own markers, pip asked for single wheels, nothing left over."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from pathlib import Path

import pytest

from ofp_edge.errors import OfpError, UnknownName
from ofp_edge.targets import wheels
from ofp_edge.targets.systems import system
from ofp_edge.targets.wheels import closure, collect_wheels

PI = system("raspberry-pi-5", "3.11")
PI_310 = system("raspberry-pi-5", "3.10")

# What the index has: name, version -> requirements.
INDEX = {
    ("robot", "1.0"): [
        "numpy>=1", "old; python_version<'3.11'", "mac; sys_platform=='darwin'",
        "camera; extra=='eyes' and platform_machine=='aarch64'", "x86; platform_machine=='x86_64'",
        "both",
    ],
    ("numpy", "2.0"): [],
    ("numpy", "1.9"): [],
    ("old", "3.0"): [],
    ("camera", "7.0"): ["robot[nothing]"],
    ("both", "1.0"): ["numpy<2"],
}  # fmt: skip


def put(folder: Path, name: str, version: str) -> None:
    path = folder / f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        requires = "".join(f"Requires-Dist: {x}\n" for x in INDEX[name, version])
        extras = "Provides-Extra: eyes\nProvides-Extra: nothing\n"
        about = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{requires}{extras}\n"
        archive.writestr(f"{name}-{version}.dist-info/METADATA", about)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """A pip that has INDEX: the newest version that fits; what it was asked, round by round."""
    from packaging.requirements import Requirement

    rounds: list[list[str]] = []

    def fetch(
        folder: Path, system: object, wanted: Sequence[str], links: object, say: object
    ) -> None:
        rounds.append(sorted(wanted))
        for text in wanted:
            one = Requirement(text)
            fitting = [v for n, v in INDEX if n == one.name and one.specifier.contains(v)]
            put(folder, one.name, max(fitting))

    monkeypatch.setattr(wheels, "fetch_wheels", fetch)
    return rounds


def test_the_boards_markers_decide_and_a_later_limit_replaces_a_wheel(
    asked: list[list[str]], tmp_path: Path
) -> None:
    found = collect_wheels(tmp_path, PI, ["robot"])
    assert {x.name: x.version for x in found.values()} == {
        "robot": "1.0", "numpy": "1.9", "both": "1.0",
    }  # fmt: skip
    assert asked == [["robot"], ["both", "numpy>=1"], ["numpy<2,>=1"]]
    assert len(list(tmp_path.iterdir())) == 3


def test_an_older_python_and_an_extra_bring_more(asked: list[list[str]], tmp_path: Path) -> None:
    found = collect_wheels(tmp_path, PI_310, ["robot[eyes]"])
    assert set(found) == {"robot", "numpy", "both", "old", "camera"}
    assert {x.name for x in closure(found, PI_310, "robot")} == {
        "robot",
        "numpy",
        "both",
        "old",
    }


def test_what_nothing_needs_is_taken_out(asked: list[list[str]], tmp_path: Path) -> None:
    put(tmp_path, "camera", "7.0")
    assert "camera" not in collect_wheels(tmp_path, PI, ["robot"])
    assert not list(tmp_path.glob("camera*"))


def test_a_python_without_wheels_is_refused() -> None:
    with pytest.raises(UnknownName, match="3.9.*Known: 3.10, 3.11, 3.12, 3.13"):
        system("raspberry-pi-5", "3.9")


def test_what_pip_refuses_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    with pytest.raises(
        OfpError, match="no wheel for raspberry-pi-5 with Python 3.11: pip says: "
    ) as e:
        collect_wheels(tmp_path, PI, ["no-such-thing"])
    assert "\n" not in str(e.value) and "--find-links" in str(e.value)


def test_tags_reach_from_the_boards_glibc_to_the_oldest() -> None:
    tags = PI.platforms()
    assert tags[0] == "manylinux_2_36_aarch64" and "manylinux_2_17_aarch64" in tags
    assert tags[-1] == "manylinux2014_aarch64"
