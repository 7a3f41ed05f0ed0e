"""Find where this ofp-edge comes from, and pip lines that add to it and work as printed.

ofp-edge and its ExecuTorch engine are in no package index. pip takes the ofp-edge that is installed
for what it is, so a line that adds an extra need not say where it came from; where that is known,
the line names it all the same, and then works in an empty environment too.
"""

from __future__ import annotations

import json
import platform
import shlex
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

DISTRIBUTION = "ofp-edge"
_ENGINE = "executorch"  # the extra whose wheel is made beside ofp-edge's own
_ENGINE_FILES = f"ofp_edge_executorch-*_{platform.machine()}.whl"
_PLACEHOLDER = (
    "--find-links DIST ",
    " (DIST: the folder of ofp-edge's wheels, which `make wheels` makes in its repository)",
)


@dataclass(frozen=True)
class Origin:
    """The source that the running ofp-edge was installed from.

    checkout: the repository's folder. editable: its files are run where they stand. wheels: the
    folder of the wheel that was installed. installed: pip knows of it. None where that is unknown:
    pip keeps no record of a --find-links.
    """

    checkout: Path | None = None
    editable: bool = False
    wheels: Path | None = None
    installed: bool = True


def origin() -> Origin:
    """Find the origin: from where this file stands, else from pip's record (direct_url.json)."""
    here = Path(__file__).resolve().parents[1]
    if _is_checkout(here):
        return Origin(checkout=here, editable=True)
    from importlib import metadata

    try:
        record = metadata.distribution(DISTRIBUTION).read_text("direct_url.json")
    except metadata.PackageNotFoundError:
        return Origin(installed=False)
    place = _local(record)
    if place is None:
        return Origin()
    if _is_checkout(place):
        return Origin(checkout=place)
    if place.suffix == ".whl" and place.exists():
        return Origin(wheels=place.parent)
    return Origin()


def install_line(extra: str = "") -> str:
    """Return the command that installs ofp-edge with an extra, or adds the extra to it."""
    here = origin()
    before = links = after = ""
    if extra == _ENGINE:
        before, links, after = _engine(here)
    elif here.wheels is not None:
        links = _find_links(here.wheels)
    elif not here.installed and here.checkout is None:
        links, after = _PLACEHOLDER
    what = DISTRIBUTION + (f"[{extra}]" if extra else "")
    if here.checkout is not None:
        what = _source(here.checkout, extra, here.editable)
    editable = "--editable " if here.editable else ""
    return f"{before}{pip()} install {links}{editable}{shlex.quote(what)}{after}"


def reinstall_line(module: str) -> str:
    """Return the command that reinstalls a module's package, when it is there but does not load."""
    from importlib import metadata

    names = metadata.packages_distributions().get(module, [])
    name = f"{names[0]}=={metadata.version(names[0])}" if names else module.replace("_", "-")
    before = links = after = ""
    if name.startswith(f"{DISTRIBUTION}-"):
        before, links, after = _engine(origin())
    return f"{before}{pip()} install --force-reinstall --no-deps {links}{shlex.quote(name)}{after}"


def pip() -> str:
    """Return the pip of the running Python: `pip` where that is it, as in an active environment."""
    found = shutil.which("pip")
    if sys.prefix != sys.base_prefix and found == str(Path(sys.executable).parent / "pip"):
        return "pip"
    return f"{shlex.quote(sys.executable)} -m pip"


def _engine(here: Origin) -> tuple[str, str, str]:
    """What makes the ExecuTorch wheel first, where pip finds it, and what is to be filled in."""
    if here.checkout is not None:
        make = f"make -C {shlex.quote(str(here.checkout))} wheels && "
        return make, _find_links(here.checkout / "dist"), ""
    if here.wheels is not None and any(here.wheels.glob(_ENGINE_FILES)):
        return "", _find_links(here.wheels), ""
    return "", *_PLACEHOLDER


def _is_checkout(folder: Path) -> bool:
    return (folder / "native/hatch_build.py").exists() and (folder / "Makefile").exists()


def _local(record: str | None) -> Path | None:
    """The local file or folder that a direct_url.json names."""
    url = urlsplit(str(json.loads(record)["url"])) if record else None
    return Path(unquote(url.path)) if url is not None and url.scheme == "file" else None


def _source(checkout: Path, extra: str, editable: bool) -> str:
    extras = f"[{extra}]" if extra else ""
    if ";" in str(checkout) and not editable:  # pip would take what follows for a marker
        return f"{DISTRIBUTION}{extras} @ file://{quote(str(checkout))}"
    return f"{checkout}{extras}"


def _find_links(folder: Path) -> str:
    return f"--find-links {shlex.quote(str(folder))} "
