"""The lock, scripts/lock/requirements.txt: what `make setup` installs, by version and sha256.

lock.py entries NAME...  print the entries of these packages, for `pip install -r`
lock.py hashes NAME      print the sha256 of each file that may be installed of this package
lock.py unnamed          print the packages of this environment that the lock does not name
lock.py differences      exit 1 and print where this environment and the lock differ

All but `differences` need nothing but Python: they run in a .venv that holds nothing yet.
"""

from __future__ import annotations

import re
import sys
import sysconfig
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LOCK = Path(__file__).with_name("requirements.txt")
PYTHONS = ("3.11", "3.12", "3.13")

# Beyond pyproject.toml: what installs, and what builds the packages that come as source and the
# project itself (with hatchling, which the extra `dev` brings). Nothing of it is fetched unpinned.
TOOLS = ("pip", "setuptools", "editables")
OWN = {"ofp-edge", "ofp-edge-executorch"}

ENTRY = re.compile(
    r"(?P<name>[a-z0-9-]+)==(?P<version>[a-z0-9.!]+)(?: ; (?P<marker>[^\\\n]+?))?"
    r"(?P<hashes>(?: \\\n    --hash=sha256:[0-9a-f]{64})+)\n"
)


@dataclass(frozen=True)
class Entry:
    """One version of one package; `marker` is empty where it is for every Python of the lock."""

    name: str
    version: str
    marker: str
    hashes: tuple[str, ...]

    def __str__(self) -> str:
        marker = f" ; {self.marker}" if self.marker else ""
        hashes = "".join(f" \\\n    --hash=sha256:{value}" for value in self.hashes)
        return f"{self.name}=={self.version}{marker}{hashes}\n"


def parse(text: str) -> list[Entry]:
    """The entries of a lock; whatever is neither an entry nor a comment ends the program."""
    entries = []
    position = 0
    while position < len(text):
        if text[position] in "#\n":
            position = text.index("\n", position) + 1
            continue
        match = ENTRY.match(text, position)
        if match is None:
            line = text[position:].splitlines()[0]
            sys.exit(f"lock: expected name==version and its hashes, got {line!r}. Run: make lock")
        hashes = tuple(re.findall(r"sha256:([0-9a-f]{64})", match["hashes"]))
        entries.append(Entry(match["name"], match["version"], match["marker"] or "", hashes))
        position = match.end()
    return entries


def read() -> list[Entry]:
    """The entries of the lock in the tree."""
    return parse(LOCK.read_text(encoding="utf-8"))


def canonical(name: str) -> str:
    """A package's name as indexes compare it: small letters, single hyphens."""
    return re.sub(r"[-_.]+", "-", name).lower()


def extras() -> list[str]:
    """The extras of pyproject.toml that `make setup` installs: the line stands in scripts/setup."""
    text = (ROOT / "scripts/setup").read_text(encoding="utf-8")
    match = re.search(r"(?m)^extras=([a-z0-9,]+)$", text)
    if match is None:
        sys.exit("lock: scripts/setup has no line extras=...")
    return match[1].split(",")


def installed() -> dict[str, str]:
    """Version by name of what this environment holds, the project's own packages left out."""
    # Not sys.path: PYTHONPATH may lead to another program's packages.
    folders = [sysconfig.get_path("purelib"), sysconfig.get_path("platlib")]
    found = {
        canonical(str(distribution.metadata["Name"])): distribution.version
        for distribution in metadata.distributions(path=folders)
    }
    return {name: version for name, version in found.items() if name not in OWN}


def unnamed() -> list[str]:
    """Installed packages that the lock does not name, sorted."""
    return sorted(installed().keys() - {entry.name for entry in read()})


def differences() -> list[str]:
    """A line for each package of which this environment and the lock hold different versions."""
    from packaging.markers import Marker
    from packaging.specifiers import SpecifierSet

    have = installed()
    lines = [f"{name}: {have[name]} installed, not in the lock" for name in unnamed()]
    for entry in read():
        if entry.marker and not Marker(entry.marker).evaluate():
            continue
        version = have.get(entry.name)
        if version is None or version not in SpecifierSet(f"=={entry.version}"):
            lines.append(f"{entry.name}: {entry.version} in the lock, {version} installed")
    return lines


def main() -> None:
    """See the module's docstring."""
    command, names = (sys.argv[1:2] or [""])[0], sys.argv[2:]
    found = [entry for entry in read() if entry.name in names]
    if set(names) - {entry.name for entry in found}:
        sys.exit(f"lock: it must name {' '.join(names)}. Run: make lock")
    if command == "entries" and names:
        print("".join(map(str, found)), end="")
    elif command == "hashes" and len(names) == 1:
        print("\n".join(value for entry in found for value in entry.hashes))
    elif command == "unnamed" and not names:
        print("\n".join(unnamed()))
    elif command == "differences" and not names:
        sys.exit("\n".join(differences()) or None)
    else:
        sys.exit(__doc__)


if __name__ == "__main__":
    main()
