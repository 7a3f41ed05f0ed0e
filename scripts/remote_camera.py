"""What a camera's own process costs: the age of frames at their reader, with and without it.

    python scripts/remote_camera.py --count 1000

examples/my_camera.py at 640 x 480, depth and colour (1.5 MB a frame), in this process and in its
own. An idle machine. The last line is JSON; milliseconds.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from pathlib import Path

import numpy as np

from ofp_edge.rig.file import CameraEntry
from ofp_edge.runtime.cameras.open import open_camera

EXAMPLES = Path(__file__).parents[1] / "examples"
POSE = [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]
MINE = "my_camera:MyCamera"
REMOTE = "ofp_edge.runtime.cameras.remote:RemoteCamera"


def ages_ms(entry: CameraEntry, count: int) -> list[float]:
    """How old each frame is when it is read, in ms."""
    camera = open_camera(entry)
    camera.start()
    found: list[float] = []
    while len(found) < count:
        frame = camera.read(10_000.0)
        if frame is None:
            raise SystemExit("no frame within 10 s")
        found.append((time.monotonic_ns() - frame.t_capture_ns) / 1e6)
    camera.close()
    return found[count // 10 :]


def main() -> None:
    """Measure both."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--count", type=int, default=1000)
    count = parser.parse_args().count
    os.chdir(EXAMPLES)
    parameters = {"T_base_camera": POSE}
    ages = {
        "own_class": CameraEntry("front", MINE, options={"rate_hz": 60.0}, parameters=parameters),
        "remote": CameraEntry(
            "front", REMOTE, options={"camera": MINE, "options": {"rate_hz": 60.0}},
            parameters=parameters,
        ),
    }  # fmt: skip
    print(json.dumps({
        "frames": count,
        "bytes": 640 * 480 * 5,
        **{
            f"{name}_ms": {
                f"p{p:g}": round(float(np.percentile(found, p)), 3) for p in (50, 99, 99.9)
            }
            for name, found in ((name, ages_ms(entry, count)) for name, entry in ages.items())
        },
    }))  # fmt: skip


if __name__ == "__main__":
    main()
