"""Make one page of every kind that ofp-edge writes, and its pictures for docs/reports.md.

    make demo && python -m tests.documents.reports [--demo demo]

The pages, in build/reports, are of what `make demo` left, but for the benchmark's, which is the
published one. The pictures, in docs/images/reports, are of each page's top at 1200 and 400 pixels,
light and dark. It needs Chromium.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image

from tests.documents.lines import ROOT
from tests.rendering import SCHEMES, WIDTHS, pictured

PAGES = ROOT / "build/reports"
PICTURES = ROOT / "docs/images/reports"
TASK = "metaworld/button-press-topdown-wide"
HEIGHT = 900


def make(demo: Path) -> list[Path]:
    """Write the pages of what is in `demo`."""
    shutil.rmtree(PAGES, ignore_errors=True)
    PAGES.mkdir(parents=True)
    (PAGES / "demo").symlink_to(demo)  # pages say what a command was given
    data, policy, bundle, rig = (f"demo/{x}" for x in ("data.zarr", "policy", "bundle", "rig.toml"))
    shutil.copy(demo / "report.html", PAGES / "profile.html")
    shutil.copy(ROOT / "docs/results/small/report.html", PAGES / "bench.html")
    _ofp_edge("data", "info", data, "-o", PAGES / "data.html")
    _ofp_edge("eval", bundle, "--task", TASK, "--episodes", "20", "--latency-ms", "0,50,100",
              "-o", PAGES / "eval.html")  # fmt: skip
    _ofp_edge("eval", bundle, "--dataset", data, "-o", PAGES / "offline.html")
    _ofp_edge("quantize", policy, "--recipe", "int8", "--calibration", data, "--sensitivity",
              "-o", PAGES / "int8")  # fmt: skip
    shutil.move(PAGES / "int8/sensitivity.html", PAGES / "sensitivity.html")
    _ofp_edge("profile-loop", bundle, "--rig", rig, "--duration", "20", "-o", PAGES / "loop.html")
    _ofp_edge("log", "demo/run.mcap", "-o", PAGES / "log.html")
    return sorted(PAGES.glob("*.html"))


def _ofp_edge(*arguments: object) -> None:
    command = [sys.executable, "-m", "ofp_edge", *map(str, arguments)]
    subprocess.run(command, cwd=PAGES, check=True, stdout=subprocess.DEVNULL)


def picture(page: Path, width: int, scheme: str) -> Path:
    """Take a picture of a page's top, `width` pixels wide. scheme: light or dark."""
    with tempfile.TemporaryDirectory() as folder:
        raw = pictured("chromium", page, Path(folder), width, HEIGHT, scheme)
        out = PICTURES / f"{page.stem}-{width}-{scheme}.webp"
        with Image.open(raw) as image:
            image.convert("RGB").crop((0, 0, width, HEIGHT)).save(out, quality=60, method=6)
    return out


def main() -> None:
    """Make the pages, take the pictures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--demo", type=Path, default=ROOT / "demo", help="what make demo left")
    demo: Path = parser.parse_args().demo.resolve()
    if not (demo / "run.mcap").exists():
        sys.exit(f"error: {demo}: no run.mcap; make demo writes it")
    PICTURES.mkdir(parents=True, exist_ok=True)
    for page in make(demo):
        for width in WIDTHS:
            for scheme in SCHEMES:
                print(picture(page, width, scheme).relative_to(ROOT))


if __name__ == "__main__":
    main()
