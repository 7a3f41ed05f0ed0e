"""A run of a few lines: the real loop, planner, signals, supervision and clock, and a policy in
numpy. `python -m tests.runtime.ends.program '{"diary": …}'`; the command line's exit codes.

apart: the robot in a process of its own. wrong: see DiaryRobot; also "bug in camera", "hang in
load" and "slow load": after the robot was opened, before the first tick.
"""

import json
import sys
import time
from pathlib import Path

from ofp_edge.camera_parameters import CameraTolerance
from ofp_edge.errors import OfpError
from ofp_edge.rig.file import RobotEntry
from ofp_edge.runtime.control.controller import Controller
from ofp_edge.runtime.control.loop import ControlLoop
from ofp_edge.runtime.control.run_report import Limits
from ofp_edge.runtime.control.stopping import stop_on_signals
from ofp_edge.runtime.infer.inference import Inference
from ofp_edge.runtime.observer import Observer
from ofp_edge.runtime.supervisor.supervision import supervised_robot
from tests.runtime.ends.diary_robot import AFTER
from tests.runtime.standins import DT, MS, ROWS, FakeCamera, make_runners, make_spec
from tests.synthetic import CAMERA

SPEC = make_spec(points=True, horizon=100, n_action_steps=3)
DIARY = "tests.runtime.ends.diary_robot:DiaryRobot"
REMOTE = "ofp_edge.runtime.robots.remote:RemoteRobot"


class Camera(FakeCamera):
    """On the real clock. bug: once its robot has written three sends into this diary."""

    bug = ""

    def read(self, timeout_ms):
        if self.bug and Path(self.bug).read_text().count("send") >= AFTER:
            raise ZeroDivisionError("a bug of the camera")
        return super().read(timeout_ms)


def entry_of(diary, apart=False, wrong=""):
    options = {"diary": diary, "wrong": wrong}
    if not apart:
        return RobotEntry(DIARY, options)
    return RobotEntry(REMOTE, {"robot": DIARY, "options": options, "max_age_ms": 5000.0})


def run(diary, apart=False, wrong="", patience_s=5.0, **limits):
    camera = Camera(time.monotonic_ns)
    camera.bug = diary if wrong == "bug in camera" else ""
    observer = Observer(
        SPEC, {"front": camera}, {"front": CAMERA}, CameraTolerance(), {"front": 60_000 * MS}
    )
    inference = Inference(SPEC, *make_runners(SPEC), ROWS, 0)
    controller = Controller(SPEC, 2 * DT, 99 * DT)
    with stop_on_signals() as stop:
        stop.raises = True
        entry = entry_of(diary, apart, wrong)
        with supervised_robot(entry, SPEC, patience_s) as (robot, supervision):
            print("open", flush=True)
            while wrong == "hang in load":
                try:
                    time.sleep(60)
                except KeyboardInterrupt:  # as a library in C that never comes back
                    continue
            while wrong == "slow load":
                time.sleep(60)
            loop = ControlLoop(
                inference, controller, observer, robot, supervision=supervision,
                max_stall_ns=round(patience_s / 2 * 1e9),
            )  # fmt: skip
            return loop.run(Limits(**{"duration_s": None, **limits}), stop)


def main():
    try:
        report = run(**json.loads(sys.argv[1]))
    except OfpError as error:
        print(error, file=sys.stderr)
        sys.exit(error.exit_code)
    except KeyboardInterrupt as wish:
        sys.exit(wish.exit_code)
    print(report.stopped_because)
    sys.exit(report.fault is not None)


if __name__ == "__main__":
    main()
