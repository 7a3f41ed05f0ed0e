"""Collect every wheel that a board and a Python need in one folder: a robot installs offline.

pip chooses and fetches each wheel for the board's tags, but it judges markers ("; python_version <
'3.11'") by the machine it runs on. So requirements are followed here, by the board's own markers,
and pip is asked for single wheels.
"""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from email.parser import Parser
from pathlib import Path
from typing import Any

from ofp_edge.errors import OfpError, UnknownName
from ofp_edge.extras import require
from ofp_edge.files import sha256_file
from ofp_edge.targets.pip_download import Say, fetch_wheels
from ofp_edge.targets.systems import System

_ROUNDS = 12  # deeper than any tree of requirements we have


@dataclass(frozen=True)
class Wheel:
    """A wheel file. extras: those it provides. unpacked: bytes it takes when installed."""

    name: str
    version: str
    path: Path
    requires: tuple[str, ...]
    extras: tuple[str, ...]
    unpacked: int


def collect_wheels(
    folder: Path,
    system: System,
    requirements: Sequence[str],
    find_links: Sequence[Path] = (),
    say: Say = lambda text: None,
) -> dict[str, Wheel]:
    """Bring whatever `requirements` need on the system into `folder`; return it by canonical name.

    find_links: folders with wheels besides those of pip's own configuration. What lies in `folder`
    and fits is taken first. say: hears each step in a few words. Raises UnknownName (an extra that
    does not exist) or OfpError with pip's line for what can't be had.
    """
    for _ in range(_ROUNDS):
        have = _read(folder)
        _check_extras(requirements, have)
        wanted = _walk(requirements, have, system)
        missing = [
            text
            for name, text in wanted.items()
            if name not in have or not _satisfies(have[name], text)
        ]
        if not missing:
            for name in set(have) - set(wanted):
                have.pop(name).path.unlink()
            return have
        for name, text in wanted.items():
            if text in missing and name in have:
                have[name].path.unlink()
        fetch_wheels(folder, system, missing, find_links, say)
    raise OfpError(f"the requirements of {', '.join(requirements)} do not settle.")


def closure(wheels: dict[str, Wheel], system: System, requirement: str) -> list[Wheel]:
    """Return the wheels that one requirement needs, e.g. "ofp-edge[onnxruntime]"."""
    return [wheels[name] for name in _walk([requirement], wheels, system)]


def document(wheels: dict[str, Wheel]) -> list[dict[str, Any]]:
    """Return plain JSON, one entry a wheel."""
    return [
        {
            "name": x.name,
            "version": x.version,
            "file": x.path.name,
            "size": x.path.stat().st_size,
            "unpacked": x.unpacked,
            "sha256": sha256_file(x.path),
        }
        for x in sorted(wheels.values(), key=lambda x: x.name)
    ]


def _walk(requirements: Sequence[str], have: dict[str, Wheel], system: System) -> dict[str, str]:
    """What is needed as far as the wheels at hand tell: canonical name -> requirement for pip."""
    parse, canonical = _packaging()
    environment = {
        "python_version": system.python,
        "python_full_version": f"{system.python}.0",
        "platform_machine": system.machine,
        "platform_system": "Linux",
        "sys_platform": "linux",
        "os_name": "posix",
        "platform_python_implementation": "CPython",
        "implementation_name": "cpython",
        "implementation_version": f"{system.python}.0",
        "platform_release": "",
        "platform_version": "",
    }
    limits: dict[str, set[str]] = {}
    seen: set[tuple[str, str]] = set()
    todo = [(parse(text), "") for text in requirements]
    while todo:
        item, extra = todo.pop(0)
        if item.marker is not None and not item.marker.evaluate({**environment, "extra": extra}):
            continue
        name = canonical(item.name)
        limits.setdefault(name, set()).update(filter(None, str(item.specifier).split(",")))
        if name not in have:
            continue
        for wanted in ("", *sorted(item.extras)):
            if (name, wanted) not in seen:
                seen.add((name, wanted))
                todo.extend((parse(text), wanted) for text in have[name].requires)
    return {name: name + ",".join(sorted(found)) for name, found in limits.items()}


def _check_extras(requirements: Sequence[str], have: dict[str, Wheel]) -> None:
    """pip passes over an extra that does not exist, with a warning that nobody reads."""
    parse, canonical = _packaging()
    for item in map(parse, requirements):
        known = have[canonical(item.name)].extras if canonical(item.name) in have else item.extras
        for extra in sorted(item.extras):
            if canonical(extra) not in known:
                raise UnknownName(f"extra of {item.name}", extra, known)


def _satisfies(wheel: Wheel, text: str) -> bool:
    parse, _ = _packaging()
    return bool(parse(text).specifier.contains(wheel.version, prereleases=True))


def _read(folder: Path) -> dict[str, Wheel]:
    _, canonical = _packaging()
    found = {}
    for path in sorted(folder.glob("*.whl")):
        with zipfile.ZipFile(path) as archive:
            file = next(n for n in archive.namelist() if n.endswith(".dist-info/METADATA"))
            about = Parser().parsestr(archive.read(file).decode("utf-8"))
            unpacked = sum(x.file_size for x in archive.infolist())
        name = canonical(about["Name"])
        requires = tuple(about.get_all("Requires-Dist") or ())
        extras = tuple(canonical(x) for x in about.get_all("Provides-Extra") or ())
        found[name] = Wheel(name, about["Version"], path, requires, extras, unpacked)
    return found


def _packaging() -> tuple[Any, Any]:
    requirements, utils = (require(f"packaging.{x}", "quantize") for x in ("requirements", "utils"))
    return requirements.Requirement, utils.canonicalize_name
