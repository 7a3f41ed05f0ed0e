"""The check of whether this machine can keep time: kernel, clocks, limits, and how late a thread
wakes up.

Everything is tried in a thread of its own, whose priority and core end with it.
"""

from __future__ import annotations

import os
import re
import resource
import shutil
import subprocess
import threading
from pathlib import Path

from ofp_edge.doctor.findings import Finding, Status
from ofp_edge.rig.realtime import RealtimeEntry
from ofp_edge.runtime.kernel.realtime import choose_cpu, isolated_cpus, limit_line
from ofp_edge.runtime.kernel.wakeup import WakeUps, measure_wakeups

_GOOD_US, _BAD_US = 250.0, 2000.0
_CYCLIC = re.compile(r"C:\s*(\d+) Min:\s*(\d+) Act:\s*\d+ Avg:\s*(\d+) Max:\s*(\d+)")


def realtime_findings(seconds: float, root: Path = Path("/")) -> list[Finding]:
    """Return all findings; this takes two or three times `seconds`."""
    entry = RealtimeEntry()
    cpu = choose_cpu(None, sorted(os.sched_getaffinity(0)), root)
    plain = measure_wakeups(seconds)
    found = [
        kernel(root),
        governor(root),
        isolation(root),
        *limits(entry.priority),
        judge("wake-up, as started", plain, strict=False),
        fifo(seconds, entry.priority, cpu),
    ]
    return [*found, cyclictest(seconds, entry.priority, cpu)]


def kernel(root: Path) -> Finding:
    """Check the kernel: a preemptible one says so in /sys/kernel/realtime."""
    try:
        realtime = (root / "sys/kernel/realtime").read_text(encoding="ascii").strip() == "1"
    except OSError:
        realtime = False
    if realtime:
        return Finding("kernel", "ok", "PREEMPT_RT")
    return Finding(
        "kernel",
        "warn",
        "not PREEMPT_RT: long waits are rare, but possible",
        "install a real-time kernel (Debian: linux-image-rt-amd64; Ubuntu Pro: pro "
        "enable realtime-kernel), if the wake-ups below are too late",
    )


def governor(root: Path) -> Finding:
    """Check the governor: a clock that is scaled down when idle makes the first work after a pause
    slow."""
    paths = sorted(root.glob("sys/devices/system/cpu/cpu[0-9]*/cpufreq/scaling_governor"))
    names = {path.read_text(encoding="ascii").strip() for path in paths}
    if not names:
        return Finding("clock governor", "absent", "the kernel does not scale the clock here")
    if names == {"performance"}:
        return Finding("clock governor", "ok", "performance")
    remedy = "sudo cpupower frequency-set -g performance (Jetson: sudo jetson_clocks)"
    return Finding("clock governor", "warn", ", ".join(sorted(names)), remedy)


def isolation(root: Path) -> Finding:
    """Check which cores the kernel keeps free."""
    cpus = isolated_cpus(root)
    if cpus:
        return Finding("isolated cores", "ok", ", ".join(str(cpu) for cpu in cpus))
    remedy = "boot with isolcpus=N nohz_full=N rcu_nocbs=N, and set cpu = N in [realtime]"
    detail = "none: any program may run on the control core"
    return Finding("isolated cores", "absent", detail, remedy)


def limits(priority: int) -> list[Finding]:
    """Check what this user may ask for."""
    root = os.geteuid() == 0
    allowed, _ = resource.getrlimit(resource.RLIMIT_RTPRIO)
    locked, _ = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    rt = root or allowed >= priority or allowed == resource.RLIM_INFINITY
    memory = root or locked == resource.RLIM_INFINITY
    return [
        Finding(
            "limit rtprio",
            "ok" if rt else "warn",
            "root" if root else str(allowed),
            "" if rt else limit_line(f"rtprio {priority}"),
        ),
        Finding(
            "limit memlock",
            "ok" if memory else "warn",
            "root" if root else "unlimited" if memory else f"{locked // 1024} KiB",
            "" if memory else limit_line("memlock unlimited"),
        ),
    ]


def fifo(seconds: float, priority: int, cpu: int) -> Finding:
    """Measure the wake-ups of a thread that has the priority and core of `run --realtime`."""
    name = f"wake-up, FIFO {priority} on cpu {cpu}"
    answer: list[WakeUps | OSError] = []

    def measure() -> None:
        try:
            os.sched_setaffinity(0, {cpu})
            os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(priority))
            answer.append(measure_wakeups(seconds))
        except OSError as cause:
            answer.append(cause)

    thread = threading.Thread(target=measure)
    thread.start()
    thread.join()
    found = answer[0]
    if isinstance(found, OSError):
        return Finding(name, "absent", f"not allowed: {found.strerror}", "see limit rtprio")
    return judge(name, found, strict=True)


def judge(name: str, found: WakeUps, *, strict: bool) -> Finding:
    """Judge wake-ups. `strict` says that the thread had priority, so that a late one is the
    machine's fault."""
    status: Status = "ok" if found.p99_9 <= _GOOD_US else "warn"
    detail = (
        f"µs after the moment asked for: p50 {found.p50:.0f}, p99 {found.p99:.0f}, p99.9 "
        f"{found.p99_9:.0f}, max {found.max:.0f} ({found.samples} times)"
    )
    remedy = ""
    if status == "warn" and strict:
        worst = (
            "a real-time kernel or fewer programs" if found.max > _BAD_US else "an isolated core"
        )
        remedy = f"{worst} would help; the figures under load are what counts"
    return Finding(name, status, detail, remedy)


def cyclictest(seconds: float, priority: int, cpu: int) -> Finding:
    """Measure with the kernel developers' own tool, for comparison: it shares no code with
    ours."""
    name = f"cyclictest, FIFO {priority} on cpu {cpu}"
    if shutil.which("cyclictest") is None:
        return Finding(name, "absent", "not installed", "sudo apt-get install -y rt-tests")
    found = run_cyclictest(seconds, priority, cpu)
    if isinstance(found, str):
        return Finding(name, "absent", found, "see limit rtprio")
    return Finding(
        name,
        "ok" if found["max"] <= _BAD_US else "warn",
        f"µs: min {found['min']}, avg {found['avg']}, max {found['max']} "
        f"({found['samples']} times)",
    )


def run_cyclictest(seconds: float, priority: int, cpu: int) -> dict[str, int] | str:
    """Return microseconds min, avg, max and the samples of one thread, or in one line why there
    are none."""
    command = [
        "cyclictest",
        "-q",
        "-m",
        "-p",
        str(priority),
        "-a",
        str(cpu),
        "-t",
        "1",
        "-i",
        "1000",
        "-D",
        str(max(1, round(seconds))),
    ]
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            timeout=seconds + 60,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"no answer within {seconds + 60:g} s"
    match = _CYCLIC.search(done.stdout)
    if match is None:
        lines = (done.stderr or done.stdout).strip().splitlines()
        return lines[-1] if lines else f"exit code {done.returncode}"
    count, least, mean, most = (int(text) for text in match.groups())
    return {"min": least, "avg": mean, "max": most, "samples": count}
