"""A package index in a folder: tiny wheels that have a name, a version and extras, nothing inside.
And the texts that name installation lines.

pip's own resolver then runs with no network, in a second, over our real wheels and real metadata.
"""

from __future__ import annotations

import ast
import base64
import hashlib
import re
import subprocess
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = [
    ROOT / "README.md", ROOT / "native/README.md", ROOT / "ARCHITECTURE.md",
    *sorted((ROOT / "docs").glob("*.md")), *sorted((ROOT / "examples").rglob("*.md")),
]  # fmt: skip
SOURCES = [
    path
    for folder in ("ofp_edge", "quantize", "targets", "calibration", "native")
    for path in sorted((ROOT / folder).rglob("*.py"))
    if not path.parent.is_symlink()
]
# What hatchling asks of the distribution `editables`, which it fetches for editable installations.
EDITABLES = """
class EditableProject:
    def __init__(self, name, root):
        self.name, self.paths = name, [root]
    def add_to_path(self, folder):
        self.paths.append(folder)
    def files(self):
        return [(self.name + ".pth", chr(10).join(map(str, self.paths)))]
    def dependencies(self):
        return []
"""
BUILDS_WITH = ("hatchling", "packaging", "pathspec", "pluggy", "trove-classifiers")


def write_wheel(
    folder: Path, name: str, version: str, *, requires: Iterable[str] = (),
    extras: Iterable[str] = (), tag: str = "py3-none-any", about: str = "",
    files: Mapping[str, str] | None = None,
) -> Path:  # fmt: skip
    """A distribution with nothing in it but `files`. about: more lines of its metadata."""
    stem = f"{re.sub(r'[-_.]+', '_', name)}-{version}"
    lines = ["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}"]
    lines += [f"Requires-Dist: {x}" for x in requires] + [f"Provides-Extra: {x}" for x in extras]
    kind = f"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: {tag}\n"
    held = {
        f"{stem}.dist-info/METADATA": "\n".join(lines) + f"\n{about}\n",
        f"{stem}.dist-info/WHEEL": kind,
        **(files or {}),
    }
    return _zip(folder / f"{stem}-{tag}.whl", stem, {k: v.encode() for k, v in held.items()})


def repack(folder: Path, name: str) -> Path:
    """An installed distribution of pure Python as the wheel it came from, to build with."""
    found = metadata.distribution(name)
    files = {
        str(x): Path(str(found.locate_file(x))).read_bytes()
        for x in found.files or ()
        if not str(x).startswith("..") and "__pycache__" not in str(x) and x.name != "RECORD"
    }
    info = next(x for x in files if x.endswith(".dist-info/METADATA")).partition(".dist-info")[0]
    return _zip(folder / f"{info}-py3-none-any.whl", info, files)


def our_requirements() -> dict[str, list[Requirement]]:
    """By extra, "" for none: what pyproject.toml asks for."""
    import tomlkit
    from packaging.requirements import Requirement

    project = tomlkit.parse((ROOT / "pyproject.toml").read_text()).unwrap()["project"]
    lines = {"": project["dependencies"], **project["optional-dependencies"]}
    return {extra: [Requirement(x) for x in found] for extra, found in lines.items()}


def write_index(folder: Path, others: Mapping[str, tuple[str, ...]]) -> Path:
    """A stand-in for all that we or `others` (name -> extras) ask for, and what builds us."""
    folder.mkdir(exist_ok=True)
    versions: dict[str, set[str]] = {}
    for requirement in (x for found in our_requirements().values() for x in found):
        versions.setdefault(requirement.name, set()).add(_version(requirement))
    own = {"ofp-edge-executorch", *BUILDS_WITH}
    for name in sorted(set(versions) - own):
        for version in versions[name]:
            write_wheel(folder, name, version)
    for name, extras in others.items():
        write_wheel(folder, name, "1.0", extras=extras)
    for name in BUILDS_WITH:
        repack(folder, name)
    write_wheel(folder, "editables", "0.5", files={"editables.py": EDITABLES})
    return folder


def copy_of_the_repository(folder: Path) -> Path:
    """What git has of it, as it stands in the working tree, less tests and documents."""
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard", "-z"], cwd=ROOT, capture_output=True,
        check=True,
    ).stdout.decode()  # fmt: skip
    for name in filter(None, listed.split("\0")):
        source = ROOT / name
        if name.split("/")[0] in ("docs", "tests", "examples") or not source.exists():
            continue
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_symlink():
            target.symlink_to(source.readlink())
        else:
            target.write_bytes(source.read_bytes())
            target.chmod(source.stat().st_mode)
    return folder


def texts(path: Path) -> Iterator[str]:
    """String constants of a module, docstrings left out."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    nodes = [x for x in ast.walk(tree) if hasattr(x, "body") and isinstance(x.body, list)]
    first = {id(x.body[0].value) for x in nodes if x.body and isinstance(x.body[0], ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in first:
            yield node.value


def _version(requirement: Requirement) -> str:
    """The first version that a specifier names and takes."""
    named = [x.version for x in requirement.specifier]
    return next((x for x in named if requirement.specifier.contains(x)), "1.0")


def _zip(path: Path, stem: str, files: dict[str, bytes]) -> Path:
    record = f"{stem}.dist-info/RECORD"
    rows = []
    for name, content in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
        rows.append(f"{name},sha256={digest},{len(content)}")
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
        archive.writestr(record, "\n".join([*rows, f"{record},,"]) + "\n")
    return path
