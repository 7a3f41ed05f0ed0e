"""The control loop for a long time: a bundle, idle and under stress-ng, then cyclictest.

soak.py BUNDLE --name light --load idle --seconds 600 --results DIR    one case -> light-idle.json
soak.py --summary --results DIR                                        README.md with the table

A copy of the bundle runs at --hz; all else in it is as it was. The simulator's physics run in a
process of their own, on any core but the control thread's.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
PRIORITY = 80
STEPS_OF_LATENCY = {"light": 1, "heavy": 2}
_RIG = """\
schema_version = 1
[robot]
driver = "ofp_edge.runtime.robots.remote:RemoteRobot"
[robot.options]
robot = "scripts.soak_parts:SoakRobot"
max_age_ms = 2000.0
options = {{ task = "{task}" }}
[timing]
latency_ms = {latency}
max_plan_age_ms = {age}
[safety]                             # the heavy policy is untrained: it is cut all the time
max_cut_in_a_row = 1000000000
[safety.limits.hand]
max_velocity = 10.0
[realtime]
priority = {priority}
"""
_CAMERA = """\
[cameras.{name}]
driver = "scripts.soak_parts:SoakCamera"
max_age_ms = 200.0
options = {{ bundle = "{bundle}", color = {color} }}
"""


def at_rate(bundle: Path, hz: float, out: Path) -> Path:
    """A copy of the bundle whose spec says `hz`."""
    from ofp_edge.bundle import open_bundle, write_manifest

    shutil.rmtree(out, ignore_errors=True)
    shutil.copytree(bundle, out)
    manifest = open_bundle(bundle).manifest
    write_manifest(out, replace(manifest, spec=replace(manifest.spec, control_hz=hz)))
    return out


def write_rig(path: Path, bundle: Path, task: str, latency_steps: int) -> Path:
    """The rig of a case."""
    from ofp_edge.bundle import open_bundle

    spec = open_bundle(bundle).spec
    dt_ms = 1000 / spec.control_hz
    steps = min(latency_steps, spec.plan_steps - spec.n_action_steps)
    colored = {f.camera for f in spec.observations if f.stream == "color"}
    text = _RIG.format(
        task=task, latency=steps * dt_ms, age=spec.plan_steps * dt_ms, priority=PRIORITY
    )
    for name in spec.cameras:
        color = "true" if name in colored else "false"
        text += _CAMERA.format(name=name, bundle=bundle, color=color)
    path.write_text(text, encoding="utf-8")
    return path


def stress(seconds: float) -> subprocess.Popen[bytes]:
    """A worker a core, memory and input/output."""
    command = ["stress-ng", "--cpu", str(os.cpu_count()), "--vm", "1", "--vm-bytes", "256M", "--io",
               "1", "--timeout", f"{seconds:.0f}s", "--quiet"]  # fmt: skip
    return subprocess.Popen(command)


def rss_kib(pid: int) -> int | None:
    """Resident memory of a process."""
    try:
        text = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    except OSError:
        return None
    found = re.search(r"VmRSS:\s+(\d+)", text)
    return int(found[1]) if found else None


def run_loop(bundle: Path, rig: Path, seconds: float, out: Path) -> dict[str, Any]:
    """profile-loop in a process of its own, its memory watched."""
    command = [sys.executable, "-m", "ofp_edge", "profile-loop", str(bundle), "--rig", str(rig),
               "--duration", str(seconds), "--realtime", "-o", str(out), "--force",
               "--json"]  # fmt: skip
    process = subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT, text=True)
    memory = []
    while process.poll() is None:
        memory.append((time.monotonic(), rss_kib(process.pid)))
        time.sleep(min(1.0, seconds / 20))
        if process.stdout is not None and len(memory) > 100 * seconds + 6000:
            process.kill()
    text = process.stdout.read() if process.stdout is not None else ""
    values = json.loads(text) if text else {"error": f"exit code {process.returncode}"}
    if "error" in values:
        raise SystemExit(f"profile-loop: {values['error']}")
    return {"loop": values, "memory": flatness(memory)}


def flatness(memory: list[tuple[float, int | None]]) -> dict[str, Any]:
    """KiB in the middle half of the process's life, away from start and report: the first, the
    last, and the slope in KiB a minute."""
    kept = [(t, kib) for t, kib in memory if kib]
    later = kept[len(kept) // 4 : -len(kept) // 4]
    if len(later) < 3:
        return {"samples": len(kept)}
    times, sizes = np.array([t for t, _ in later]), np.array([kib for _, kib in later])
    slope = float(np.polyfit(times - times[0], sizes, 1)[0])
    return {"samples": len(kept), "first_kib": int(sizes[0]), "last_kib": int(sizes[-1]),
            "kib_per_minute": round(60 * slope, 1)}  # fmt: skip


def cyclictest(seconds: float, cpu: int, period_us: int) -> dict[str, Any]:
    """The same priority and core, after the loop and under the same load: at the same time the two
    would measure each other."""
    if shutil.which("cyclictest") is None:
        return {"error": "not installed (rt-tests)"}
    command = ["cyclictest", "-q", "-m", "-p", str(PRIORITY), "-a", str(cpu), "-t", "1", "-i",
               str(period_us), "-D", str(round(seconds)), "-h", "100000"]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    rows = re.findall(r"^(\d{6}) (\d+)$", done.stdout, re.M)
    if not rows:
        return {"error": (done.stderr.strip().splitlines() or ["no answer"])[-1]}
    late, count = np.array([[int(a), int(b)] for a, b in rows]).T
    share = np.cumsum(count) / count.sum()
    quantiles = {
        name: int(late[np.searchsorted(share, q)])
        for name, q in (("p50", 0.5), ("p99", 0.99), ("p99_9", 0.999))
    }
    return {"samples": int(count.sum()), **quantiles, "max": int(late[count > 0].max()),
            "unit": "us"}  # fmt: skip


def one_case(arguments: argparse.Namespace) -> None:
    """Run it and write its JSON."""
    from ofp_edge.runtime.kernel.realtime import choose_cpu

    out, seconds = arguments.output, arguments.seconds
    out.mkdir(parents=True, exist_ok=True)
    # As seen from ROOT, where the loop runs: the results name no machine's folders.
    out = Path(os.path.relpath(out, ROOT))
    bundle = at_rate(arguments.bundle, arguments.hz, out / f"{arguments.name}-bundle")
    steps = STEPS_OF_LATENCY[arguments.name]
    rig = write_rig(out / f"{arguments.name}.toml", bundle, arguments.task, steps)
    case = f"{arguments.name}-{arguments.load}"
    load = stress(1.5 * seconds + 120) if arguments.load == "stress" else None
    try:
        found = run_loop(bundle, rig, seconds, out / f"{case}.html")
        cpu = choose_cpu(None, sorted(os.sched_getaffinity(0)))
        # As many wake-ups as the loop had, in a fifth of its time.
        found["cyclictest"] = cyclictest(seconds / 5, cpu, round(1e6 / arguments.hz / 5))
    finally:
        if load is not None:
            load.terminate()
            load.wait()
    stages = found["loop"]["stages"]
    if found["loop"]["ticks"] < arguments.hz:
        raise SystemExit(f"{case}: {found['loop']['stopped_because']}")
    think_ms = stages["encode"]["p50"] + stages["act"]["p50"]
    document = {"case": case, "load": arguments.load, "seconds": seconds, "hz": arguments.hz,
                "encode_and_act_percent_of_period": round(think_ms * arguments.hz / 10, 1),
                **found}  # fmt: skip
    arguments.results.mkdir(parents=True, exist_ok=True)
    text = json.dumps(document, indent=1) + "\n"
    (arguments.results / f"{case}.json").write_text(text, encoding="utf-8")
    print(row(document))


def row(case: dict[str, Any]) -> str:
    """One line of the table."""
    loop, cyclic, memory = case["loop"], case["cyclictest"], case["memory"]
    counts, late = loop["counts"], loop["stages"]["tick late"]
    return (
        f"| {case['case']} | {case['encode_and_act_percent_of_period']:.0f} % | {loop['ticks']} | "
        f"{counts['plans']} | {counts['misses']} | {counts['skipped ticks']} | "
        f"{counts['sent out of their slot']} | {1000 * late['p50']:.0f} / "
        f"{1000 * late['p99_9']:.0f} / {1000 * late['max']:.0f} | "
        f"{cyclic.get('p50', '–')} / {cyclic.get('p99_9', '–')} / {cyclic.get('max', '–')} | "
        f"{memory.get('kib_per_minute', '–')} |"
    )


HEAD = (
    "# Soak\n\n`make soak`, from the JSON beside it: [realtime.md](../../realtime.md#soak).\n\n"
    "| case | encode + act of a period | ticks | plans | late | ticks skipped | out of slot | tick "
    "late p50 / p99.9 / max, µs | cyclictest, µs | memory, KiB a minute |\n" + "|---" * 10 + "|"
)


def summary(folder: Path) -> None:
    """The table of every case."""
    cases = [json.loads(p.read_text()) for p in sorted(folder.glob("*-*.json"))]
    if not cases:
        raise SystemExit(f"no case in {folder}")
    table = "\n".join([HEAD, *(row(case) for case in cases)])
    (folder / "README.md").write_text(table + "\n", encoding="utf-8")
    print(table)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bundle", type=Path, nargs="?")
    parser.add_argument("--summary", action="store_true")
    parser.add_argument("--name", choices=sorted(STEPS_OF_LATENCY), default="light")
    parser.add_argument("--load", choices=("idle", "stress"), default="idle")
    parser.add_argument("--task", default="metaworld/button-press-topdown-wide")
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--hz", type=float, default=50.0)
    parser.add_argument("-o", "--output", type=Path, default=ROOT / "build/soak")
    parser.add_argument("--results", type=Path, required=True)
    arguments = parser.parse_args()
    if arguments.summary:
        summary(arguments.results)
    elif arguments.bundle is None:
        parser.error("a bundle, or --summary FOLDER")
    else:
        one_case(arguments)


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    main()
