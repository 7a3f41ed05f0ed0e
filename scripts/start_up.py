"""From the start of `ofp-edge run` to the first action, and the loop's resident memory, as JSON.

    python scripts/start_up.py BUNDLE --runs 5

Each run is a new process with a camera that delivers at once and a robot that notes when it is
first sent an action. Beside it, in turns, an interpreter that only imports numpy: what start-up
costs on this machine whatever we do; "ratio" is against that.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from ofp_edge.bundle import open_bundle
from ofp_edge.report.fingerprint import fingerprint

ROOT = Path(__file__).resolve().parents[1]

STAND_INS = """
import json, os, time
import numpy as np
from ofp_edge.camera_parameters import CameraParameters
from ofp_edge.profile.bench import SyntheticCamera
from ofp_edge.runtime.robot import RobotState

class Camera(SyntheticCamera):
    def __init__(self, name, clock, parameters):
        known = json.load(open("cameras.json"))[name]
        super().__init__(CameraParameters.from_json(known))
        self.next = 0.0
    def read(self, timeout_ms):
        now = time.monotonic()
        if now < self.next:
            if timeout_ms <= 0:
                return None
            time.sleep(min(timeout_ms / 1e3, self.next - now))
        self.next = time.monotonic() + 0.03
        return super().read(timeout_ms)

class Robot:
    def __init__(self, spec):
        self.fields = {f.name: ((np.asarray(f.low) + np.asarray(f.high)) / 2).astype(np.float32)
                       for f in spec.states}
        self.told = False
    def state(self):
        return RobotState(time.monotonic_ns(), self.fields)
    def send(self, action):
        if not self.told:
            self.told = True
            open("first", "w").write(str(time.monotonic()))
    def stop(self): pass
    def close(self):
        text = open("/proc/self/status").read()
        open("memory", "w").write(text.split("VmRSS:")[1].split()[0])
"""


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--engine")
    parser.add_argument("--precision")
    parser.add_argument("--runs", type=int, default=5)
    given = parser.parse_args()
    bundle = open_bundle(given.bundle)
    engine, precision = bundle.choose(given.engine, given.precision)
    spec = bundle.spec
    latency_ms = 1000 * spec.dt_s
    cameras = "".join(
        f'[cameras.{name}]\ndriver = "stand_ins:Camera"\nmax_age_ms = 5000.0\n'
        for name in spec.cameras
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    first_s, numpy_s, memory = [], [], []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "stand_ins.py").write_text(STAND_INS)
        known = {n: c.to_json() for n, c in bundle.manifest.cameras.items()}
        (folder / "cameras.json").write_text(json.dumps(known))
        (folder / "rig.toml").write_text(
            f'schema_version = 1\n[robot]\ndriver = "stand_ins:Robot"\n{cameras}[timing]\n'
            f"latency_ms = {latency_ms}\nmax_plan_age_ms = {1000 * spec.plan_steps * spec.dt_s}\n"
            "[safety]\nmax_cut_in_a_row = 1000000\n"
        )
        run = [sys.executable, "-m", "ofp_edge", "run", str(given.bundle.resolve()), "--rig",
               "rig.toml", "--engine", engine, "--precision", precision, "--duration", "1",
               "--json"]  # fmt: skip
        for _ in range(given.runs + 1):
            began = time.monotonic()
            subprocess.run(
                [sys.executable, "-c", "import numpy"], cwd=folder, env=environment, check=True
            )
            between = time.monotonic()
            (folder / "first").unlink(missing_ok=True)
            done = subprocess.run(run, cwd=folder, env=environment, capture_output=True, text=True)
            if not (folder / "first").exists():
                raise SystemExit(f"no action was sent:\n{done.stdout}{done.stderr}")
            first_s.append(float((folder / "first").read_text()) - between)
            numpy_s.append(between - began)
            memory.append(int((folder / "memory").read_text()) / 1024)
    first_s, numpy_s, memory = first_s[1:], numpy_s[1:], memory[1:]  # the first reads the disk
    print(json.dumps({
        "bundle": given.bundle.name, "preset": bundle.manifest.provenance.get("preset"),
        "engine": engine, "precision": precision, "runs": given.runs,
        "start_to_first_action_s": round(statistics.median(first_s), 3),
        "fastest_s": round(min(first_s), 3),
        "import_numpy_s": round(statistics.median(numpy_s), 3),
        "ratio": round(statistics.median(first_s) / statistics.median(numpy_s), 2),
        "resident_mib": round(max(memory), 1), "fingerprint": fingerprint(1),
    }, indent=1))  # fmt: skip


if __name__ == "__main__":
    main()
