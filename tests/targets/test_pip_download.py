"""pip itself, offline, over a folder of tiny wheels and sources: what a board gets and does not."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest

from ofp_edge.boards.cpu import boards, this_machine
from ofp_edge.errors import OfpError, UnknownName
from ofp_edge.targets import pip_download
from ofp_edge.targets.systems import system
from ofp_edge.targets.wheels import collect_wheels
from tests.packaging.offline import write_wheel

# A build back end that needs nothing: an empty wheel with the tag that the source asks for.
BACKEND = """
import sys
from pathlib import Path
sys.path.insert(0, @ROOT@)
from tests.packaging.offline import write_wheel
def build_wheel(folder, *more):
    Path(@BUILT@).touch()
    return write_wheel(Path(folder), @NAME@, "1.0", tag=@TAG@, about=@ABOUT@).name
"""


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "index"
    folder.mkdir()
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


@pytest.fixture
def out(tmp_path: Path) -> Path:
    (tmp_path / "out").mkdir()
    return tmp_path / "out"


def write_source(folder: Path, name: str, tag: str, about: str = "") -> Path:
    """A source archive; the file returned is there once it was built."""
    built = folder / f"{name}-was-built"
    values = {"ROOT": str(Path(__file__).resolve().parents[2]), "BUILT": str(built), "NAME": name,
              "TAG": tag, "ABOUT": about}  # fmt: skip
    code = BACKEND
    for key, value in values.items():
        code = code.replace(f"@{key}@", repr(value))
    project = '[build-system]\nrequires = []\nbuild-backend = "end"\nbackend-path = ["."]\n'
    project += f'[project]\nname = "{name}"\nversion = "1.0"\n'
    info = f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n{about}\n"
    with tarfile.open(folder / f"{name}-1.0.tar.gz", "w:gz") as archive:
        for file, text in (("pyproject.toml", project), ("end.py", code), ("PKG-INFO", info)):
            entry = tarfile.TarInfo(f"{name}-1.0/{file}")
            entry.size = len(text.encode())
            archive.addfile(entry, io.BytesIO(text.encode()))
    return built


def test_each_jetpack_gets_what_its_glibc_and_python_take(index: Path, tmp_path: Path) -> None:
    for glibc, version in (("2_17", "1.0"), ("2_35", "1.5"), ("2_39", "2.0"), ("2_40", "3.0")):
        for python in ("cp310", "cp312"):
            tag = f"{python}-{python}-manylinux_{glibc}_aarch64"
            write_wheel(index, "camera", version, tag=tag)
    for python, version in (("3.10", "1.5"), ("3.12", "2.0")):
        folder = tmp_path / python
        folder.mkdir()
        found = collect_wheels(folder, system("orin-nano-super", python), ["camera"])
        assert found["camera"].version == version


def test_every_board_that_targets_lists_is_served_for_every_python_it_has() -> None:
    for name, board in boards().items():
        assert [system(name, x).glibc for x in board.python] == [board.glibc] * len(board.python)
    for name in ("orin-nano", "orin-nano-super", "orin-nx-8", "orin-nx-16", "agx-orin-64"):
        assert system(name, "3.10").platforms()[0] == "manylinux_2_35_aarch64"
        assert system(name, "3.12").platforms()[0] == "manylinux_2_39_aarch64"
        assert system(name, "3.10").extras == ("jetson", "realsense")
        assert "TensorRT" in system(name, "3.10").note
    with pytest.raises(UnknownName, match=r"orin-nano '3\.11'.*Known: 3\.10, 3\.12"):
        system("orin-nano", "3.11")
    with pytest.raises(UnknownName, match="board 'orin'.*orin-nano-super.*raspberry-pi-5"):
        system("orin", "3.10")


def test_pure_python_that_is_source_alone_is_built(index: Path, out: Path) -> None:
    write_wheel(index, "robot", "1.0", requires=["servo"])
    built = write_source(index, "servo", "py3-none-any")
    said: list[str] = []
    found = collect_wheels(out, system("rk3588", "3.11"), ["robot"], say=said.append)
    assert set(found) == {"robot", "servo"} and built.exists()
    assert found["servo"].path.parent == out
    assert "servo: no wheel anywhere, building one from its source" in said


def test_beside_it_the_others_are_still_asked_for_at_once(
    index: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("arm", "camera", "lidar"):
        write_wheel(index, name, "1.0")
    for name in ("glove", "servo-sdk"):
        write_source(index, name.replace("-", "_"), "py3-none-any")
    asked: list[tuple[str, ...]] = []
    pip = pip_download._pip

    def heard(*arguments: str) -> str:
        asked.append(arguments)
        return pip(*arguments)

    monkeypatch.setattr(pip_download, "_pip", heard)
    names = ["arm", "camera", "glove", "lidar", "servo-sdk>=1"]
    assert set(collect_wheels(out, system("rk3588", "3.11"), names)) == {
        "arm", "camera", "glove", "lidar", "servo-sdk",
    }  # fmt: skip
    downloads = [x for x in asked if x[0] == "download"]
    assert [x[-1] for x in downloads] == ["servo-sdk>=1", "servo-sdk>=1", "lidar"], asked


@pytest.mark.parametrize(
    ("tag", "about", "says"),
    [
        ("cp311-cp311-linux_x86_64", "", "servo comes as source alone and is compiled: .*rk3588"),
        ("py2-none-any", "", "servo comes as source alone and is compiled"),
        ("py3-none-any", "Requires-Python: >=3.11", "asks for Python >=3.11, rk3588 has 3.10"),
    ],
)
def test_other_sources_are_refused_by_name(
    index: Path, out: Path, tag: str, about: str, says: str
) -> None:
    write_source(index, "servo", tag, about)
    with pytest.raises(OfpError, match=says):
        collect_wheels(out, system("rk3588", "3.10"), ["servo"])


def test_what_has_wheels_for_other_machines_is_not_built(index: Path, out: Path) -> None:
    built = write_source(index, "maths", "py3-none-any")
    write_wheel(index, "maths", "1.0", tag=f"py3-none-linux_{this_machine()}")
    with pytest.raises(OfpError, match="no wheel for orin-nano with Python 3.10: .*maths"):
        collect_wheels(out, system("orin-nano", "3.10"), ["maths"])
    assert not built.exists()


def test_a_source_that_does_not_build_is_one_line(index: Path, out: Path) -> None:
    write_source(index, "broken", "no-such-tag")  # three parts are no tag of a file's name
    (index / "broken-1.0.tar.gz").write_bytes(b"not an archive")
    with pytest.raises(OfpError, match="broken comes as source alone, which does not build") as e:
        collect_wheels(out, system("rk3588", "3.11"), ["broken"])
    assert "\n" not in str(e.value) and "--find-links" in str(e.value)


def test_an_extra_that_does_not_exist_is_refused(index: Path, out: Path) -> None:
    write_wheel(index, "robot", "1.0", extras=["so101"])
    with pytest.raises(UnknownName, match="extra of robot 'so10'. Did you mean 'so101'"):
        collect_wheels(out, system("rk3588", "3.11"), ["robot[so10]"])
