"""Builds the site of the documents into build/site/html, and checks it: `make site`.

Its pages are docs/ and the files that these link to.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from check import faults
from pages import ROOT, Pages

BUILD = ROOT / "build/site"
_SHIM = "https://unpkg.com/iframe-worker/shim"
"""What zensical's offline pages load from elsewhere, for a search without a server."""
_OWN = "assets/javascripts/worker.js"


def main() -> int:
    """Gather, build, check. Return 1 where something leads nowhere."""
    pages = Pages(BUILD / "pages")
    pages.gather()
    command = [str(Path(sys.executable).with_name("zensical")), "build", "--clean"]
    done = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True)
    if done.returncode:
        print(done.stdout + done.stderr, file=sys.stderr)
        return 1
    _own_worker(BUILD / "html")
    found = faults(BUILD / "html")
    print("\n".join(found) or f"{BUILD / 'html/index.html'}: open it in a browser")
    return 1 if found else 0


def _own_worker(site: Path) -> None:
    """Load our script instead of the one from another host."""
    shutil.copy(Path(__file__).with_name("worker.js"), site / _OWN)
    for page in site.rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        own = os.path.relpath(site / _OWN, page.parent)
        page.write_text(text.replace(_SHIM, own), encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
