"""A RealSense recording and a rig that reads it, for a run on an emulated processor.

    python recorded_run.py FOLDER

FOLDER gets front.db3, three seconds of the demo's task seen by its simulated depth camera, and
rig.toml: that recording, and the hand of examples/my_robot.py, which goes where it is told. Ages
and latency are as long as the policy allows: an emulated processor is slow.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import numpy as np

from ofp_edge.sim.camera import SimulatedCamera

TASK = "metaworld/button-press-topdown-wide"
_FRAMES = 60

RIG = """schema_version = 1

[robot]
driver = "examples.my_robot:MyRobot"

[cameras.front]
driver = "recording"
max_age_ms = 5000.0

[cameras.front.options]
path = "{folder}/front.db3"
repeat = true

[cameras.front.parameters]
base_frame = "world"
T_base_camera = {pose}

[timing]
latency_ms = 300.0
max_plan_age_ms = 400.0

[safety]
max_state_age_ms = 5000.0

[safety.limits.hand]
max_velocity = 1.4
"""


def main() -> None:
    """See the module."""
    folder = Path(sys.argv[1]).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    camera = SimulatedCamera(
        "front", time.monotonic_ns, {}, task=TASK, record_to=str(folder / "front.db3")
    )
    camera.start()
    for _ in range(_FRAMES):
        if camera.read(5000) is None:
            sys.exit("recorded_run: the simulated camera gave no frame")
    pose = np.asarray(camera.parameters.T_base_camera).tolist()
    camera.close()
    (folder / "rig.toml").write_text(RIG.format(folder=folder, pose=pose), encoding="utf-8")


if __name__ == "__main__":
    main()
