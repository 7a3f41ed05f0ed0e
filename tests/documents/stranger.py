"""A stranger with LeRobot's usual kit, who knows what docs/journeys/my-data.md says and no more.

    python -m tests.documents.stranger CHECKOUT

plays the journey in CHECKOUT, line by line as it stands there, with an empty home; what a person
fills into the rig stands in `answered`. Ends at the first line that fails, and names it.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.documents.kit import CAMERAS, arm, write_calibration, write_recordings, write_set
from tests.documents.lines import ROOT, blocks, lines_of

JOURNEY = ROOT / "docs/journeys/my-data.md"
_DRIVER = "ofp_edge.runtime.robots.so101:So101"
_NOT_HERE = "needs a robot"
_REACHES = re.compile(r"PIP_|(https?|no)_proxy$", re.IGNORECASE).match  # the package index


def steps(*, installs: bool) -> list[str]:
    """The lines to type, in order: those of `make setup` only where it installs."""
    text = JOURNEY.read_text(encoding="utf-8")
    lines = [x for block, mark in blocks(text) if mark != _NOT_HERE for x in lines_of(block)]
    return [x for x in lines if installs or not x.startswith("make setup")]


def answered(rig: Path, port: Path) -> None:
    """What a person who has the kit before them writes for every "?", by what stands beside it."""
    text = rig.read_text(encoding="utf-8")
    arm_options = f'port = "{port}"\ncalibration = "so101.json"\nunit = "deg"\n'
    text = re.sub(
        r"(?ms)^\[robot\]\n.*?(?=^\[cameras)",
        f'[robot]\ndriver = "{_DRIVER}"\n\n[robot.options]\n{arm_options}\n',
        text,
    )
    for name in CAMERAS:  # recordings stand for the two webcams
        text = re.sub(
            rf"(?ms)^\[cameras\.{name}\]\n.*?(?=^\[(?!cameras\.{name}))",
            f'[cameras.{name}]\ndriver = "rosbag2"\nmax_age_ms = 200.0\n\n'
            f'[cameras.{name}.options]\npath = "recordings/{name}"\ncolor = "/image"\n'
            'info = "/info"\nrectified = true\nrepeat = true\n\n',
            text,
        )
    for key, value in {"max_velocity": "90.0", "max_first_step": "60.0"}.items():
        text = text.replace(f'{key} = "?"', f"{key} = {value}")
    rig.write_text(text, encoding="utf-8")


def play(folder: Path, binaries: Path | None) -> list[str]:
    """Play the journey in a folder that holds the checkout. Return what each line took; raises
    SystemExit with the line that failed and what it printed. binaries: of an environment that is
    there already."""
    home = folder.parent / "home"
    home.mkdir()
    write_set(folder / "data/so101")
    write_recordings(folder / "recordings")
    write_calibration(folder / "so101.json")
    path = os.pathsep.join([str(binaries or folder / ".venv/bin"), "/usr/local/bin:/usr/bin:/bin"])
    environment = {
        "HOME": str(home),
        "PATH": path,
        "COLUMNS": "80",
        "LANG": "C.UTF-8",
        **{k: x for k, x in os.environ.items() if k in ("PYTHON", "PYTHONPATH") or _REACHES(k)},
    }
    said = []
    with arm(folder) as port:
        for line in steps(installs=binaries is None):
            began = time.monotonic()
            done = subprocess.run(
                ["bash", "-c", line], cwd=folder, env=environment, stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
            )  # fmt: skip
            said.append(f"{time.monotonic() - began:6.1f} s  {line}")
            print(said[-1], flush=True)
            if done.returncode:
                raise SystemExit(f"{line}\nended with {done.returncode}:\n{done.stdout[-4000:]}")
            if "rig new" in line:
                answered(folder / "rig.toml", port)
    return said


def main() -> None:
    """See the module's docstring."""
    with tempfile.TemporaryDirectory(prefix="stranger-") as made:
        folder = Path(made) / "ofp-edge"
        subprocess.run(["git", "clone", "--quiet", sys.argv[1], str(folder)], check=True)
        play(folder, None)


if __name__ == "__main__":
    main()
