"""Where ofp-edge came from is where it stands, or what pip wrote down; lines follow from it."""

from __future__ import annotations

import json
import shlex
import sys
from importlib import metadata
from pathlib import Path
from urllib.parse import quote

import pytest

from ofp_edge import origin as module
from ofp_edge.origin import Origin, install_line, origin, pip, reinstall_line

ROOT = Path(__file__).resolve().parents[1]


def recorded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, url: str | None) -> None:
    """As if installed elsewhere, with this record of pip's."""
    monkeypatch.setattr(module, "__file__", str(tmp_path / "site-packages/ofp_edge/origin.py"))
    info = tmp_path / "ofp_edge-1.dist-info"
    info.mkdir()
    if url is not None:
        (info / "direct_url.json").write_text(json.dumps({"url": url, "dir_info": {}}))
    found = metadata.PathDistribution(info)
    monkeypatch.setattr(metadata, "distribution", lambda name: found)


def repository(folder: Path) -> Path:
    (folder / "native").mkdir(parents=True)
    (folder / "native/hatch_build.py").touch()
    (folder / "Makefile").touch()
    return folder


def pretend(monkeypatch: pytest.MonkeyPatch, there: Origin) -> None:
    monkeypatch.setattr(module, "origin", lambda: there)
    monkeypatch.setattr(module, "pip", lambda: "pip")


def test_a_checkout_that_runs_where_it_stands_is_told_without_pip() -> None:
    assert origin() == Origin(checkout=ROOT, editable=True)


def test_a_copy_that_was_installed_from_a_checkout_knows_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    place = repository(tmp_path / "a b#1 %41")
    recorded(monkeypatch, tmp_path, f"file://{quote(str(place))}")
    assert origin() == Origin(checkout=place)


def test_a_wheel_given_by_its_path_tells_its_folder_while_it_is_there(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    wheel = tmp_path / "ofp_edge-1-py3-none-any.whl"
    wheel.touch()
    recorded(monkeypatch, tmp_path, f"file://{wheel}")
    assert origin() == Origin(wheels=tmp_path)
    wheel.unlink()
    assert origin() == Origin()


@pytest.mark.parametrize("url", [None, "https://example.org/ofp.zip", "file:///no/such/place"])
def test_what_pip_does_not_tell_stays_open(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, url: str | None
) -> None:
    recorded(monkeypatch, tmp_path, url)
    assert origin() == Origin()


def test_what_pip_does_not_know_is_not_installed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    recorded(monkeypatch, tmp_path, None)

    def absent(name: str) -> metadata.Distribution:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "distribution", absent)
    assert origin() == Origin(installed=False)
    assert "install --find-links DIST ofp-edge (DIST: " in install_line()


def test_lines_name_what_is_known(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    odd = tmp_path / "it's; here"
    for there, line in (
        (Origin(checkout=Path("/src"), editable=True), "pip install --editable '/src[sim]'"),
        (Origin(checkout=Path("/src")), "pip install '/src[sim]'"),
        (Origin(wheels=Path("/a b")), "pip install --find-links '/a b' 'ofp-edge[sim]'"),
        (Origin(), "pip install 'ofp-edge[sim]'"),
        (
            Origin(checkout=odd, editable=True),
            f"pip install --editable {shlex.quote(f'{odd}[sim]')}",
        ),
        (Origin(checkout=odd), f"pip install 'ofp-edge[sim] @ file://{quote(str(odd))}'"),
    ):
        pretend(monkeypatch, there)
        assert install_line("sim") == line


def test_the_engine_is_made_first_or_taken_from_where_it_is(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pretend(monkeypatch, Origin(checkout=Path("/a b"), editable=True))
    assert install_line("executorch") == (
        "make -C '/a b' wheels && "
        "pip install --find-links '/a b/dist' --editable '/a b[executorch]'"
    )
    pretend(monkeypatch, Origin(wheels=tmp_path))
    assert "--find-links DIST 'ofp-edge[executorch]' (DIST: " in install_line("executorch")
    (tmp_path / "ofp_edge_executorch-1-py3-none-manylinux_2_28_riscv64.whl").touch()
    assert "DIST" in install_line("executorch")  # another machine's
    monkeypatch.setattr(module, "_ENGINE_FILES", "ofp_edge_executorch-*_riscv64.whl")
    line = f"pip install --find-links {tmp_path} 'ofp-edge[executorch]'"
    assert install_line("executorch") == line


def test_what_does_not_load_is_installed_again_in_its_version(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pretend(monkeypatch, Origin())
    version = metadata.version("numpy")
    again = f"pip install --force-reinstall --no-deps numpy=={version}"
    assert reinstall_line("numpy") == again
    monkeypatch.setattr(metadata, "packages_distributions", lambda: {"x": ["ofp-edge-executorch"]})
    monkeypatch.setattr(metadata, "version", lambda name: "1.5.1.1")
    assert "--no-deps --find-links DIST ofp-edge-executorch==1.5.1.1 (DIST: " in reinstall_line("x")
    pretend(monkeypatch, Origin(checkout=Path("/src")))
    assert reinstall_line("x").startswith("make -C /src wheels && pip install --force-reinstall ")
    assert "--find-links /src/dist ofp-edge-executorch==1.5.1.1" in reinstall_line("x")


def test_pip_is_that_of_the_python_that_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/env 1/bin/python")
    monkeypatch.setattr(sys, "prefix", "/env 1")
    monkeypatch.setattr(module.shutil, "which", lambda name: "/env 1/bin/pip")
    assert pip() == "pip"
    monkeypatch.setattr(module.shutil, "which", lambda name: "/usr/bin/pip")
    assert pip() == "'/env 1/bin/python' -m pip"
    monkeypatch.setattr(sys, "prefix", sys.base_prefix)
    monkeypatch.setattr(sys, "executable", "/usr/bin/python3.12")  # pip there is another Python's
    assert pip() == "/usr/bin/python3.12 -m pip"
