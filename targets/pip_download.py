"""Ask pip for single wheels of another system; build pure Python that is source alone."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from email.parser import Parser
from pathlib import Path
from zipfile import ZipFile

from ofp_edge.errors import OfpError
from ofp_edge.extras import require
from ofp_edge.targets.systems import System

Say = Callable[[str], None]


def fetch_wheels(
    folder: Path, system: System, wanted: Sequence[str], find_links: Sequence[Path], say: Say
) -> None:
    """Put the wheel of each requirement into `folder`. OfpError carries pip's own line."""
    say(f"fetching {', '.join(wanted)}")
    left = list(wanted)
    while left and (why := _download(folder, system, left, find_links)):
        lacking = _lacking(left, why)
        if lacking is None:
            break
        _from_source(folder, system, lacking, find_links, why, say)
        left.remove(lacking)
    else:
        return
    # One of them can't be had as a wheel, and pip did not say which.
    for text in left:
        if why := _download(folder, system, [text], find_links):
            _from_source(folder, system, text, find_links, why, say)


def _lacking(wanted: Sequence[str], why: str) -> str | None:
    """The requirement that pip's line says there is no wheel for."""
    _, found, named = why.partition("No matching distribution found for ")
    name = re.match(r"[\w.-]+", named) if found else None
    parse = require("packaging.requirements", "quantize").Requirement
    canonical = require("packaging.utils", "quantize").canonicalize_name
    same = [x for x in wanted if name and canonical(parse(x).name) == canonical(name[0])]
    return same[0] if len(same) == 1 else None


def _download(
    folder: Path, system: System, wanted: Sequence[str], find_links: Sequence[Path]
) -> str:
    """Empty, or why not."""
    tags = [part for tag in system.platforms() for part in ("--platform", tag)]
    return _pip(
        "download",
        "--no-deps",
        "--only-binary=:all:",
        "--implementation",
        "cp",
        "--python-version",
        system.python,
        *tags,
        "--dest",
        str(folder),
        *_links(find_links),
        *wanted,
    )


def _from_source(
    folder: Path, system: System, text: str, find_links: Sequence[Path], why: str, say: Say
) -> None:
    """Build what exists as source alone, if the result fits every machine."""
    links = _links(find_links)
    here = ("install", "--dry-run", "--ignore-installed", "--no-deps", "--only-binary=:all:")
    if not _pip(*here, *links, text):  # this machine's wheels exist, so the board's are left out
        raise OfpError(_refusal(system, why))
    say(f"{text}: no wheel anywhere, building one from its source")
    name = require("packaging.requirements", "quantize").Requirement(text).name
    with tempfile.TemporaryDirectory() as build:
        failed = _pip(
            "wheel", "--no-deps", f"--no-binary={name}", "--wheel-dir", build, *links, text
        )
        if "No matching distribution" in failed:
            raise OfpError(_refusal(system, why))
        if failed:
            raise OfpError(
                f"{text} comes as source alone, which does not build here: pip says: {failed} "
                f"{_by_hand(system)}"
            )
        wheel = next(Path(build).glob("*.whl"))
        if not wheel.name.endswith("-none-any.whl") or "py3" not in wheel.name.split("-")[-3]:
            raise OfpError(
                f"{text} comes as source alone and is compiled: built here it is {wheel.name}. "
                f"{_by_hand(system)}"
            )
        _check_python(wheel, system)
        shutil.copy2(wheel, folder)


def _check_python(wheel: Path, system: System) -> None:
    """pip chose a version for this machine's Python; the board's may be another."""
    with ZipFile(wheel) as archive:
        file = next(n for n in archive.namelist() if n.endswith(".dist-info/METADATA"))
        asked = Parser().parsestr(archive.read(file).decode("utf-8"))["Requires-Python"]
    specifiers = require("packaging.specifiers", "quantize")
    if asked and not specifiers.SpecifierSet(asked).contains(f"{system.python}.0"):
        raise OfpError(f"{wheel.name} asks for Python {asked}, {system.board} has {system.python}.")


def _refusal(system: System, why: str) -> str:
    return (
        f"no wheel for {system.board} with Python {system.python}: pip says: {why} Wheels that are "
        "in no index are taken from --find-links."
    )


def _by_hand(system: System) -> str:
    return f"Build its wheel on a {system.board} and give its folder by --find-links."


def _links(find_links: Sequence[Path]) -> list[str]:
    return [part for place in find_links for part in ("--find-links", str(place))]


def _pip(*arguments: str) -> str:
    """Run it; empty, or the line that says what went wrong."""
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", *arguments, "--quiet"]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL
    )
    if not done.returncode:
        return ""
    lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
    said = [line for line in lines if line.startswith("ERROR:")]
    return (said or lines or ["no reason given"])[-1].removeprefix("ERROR: ")
