"""What `doctor --realtime` reads off a machine."""

import shutil

from ofp_edge.doctor import realtime
from ofp_edge.runtime.kernel.wakeup import WakeUps


def write(root, path, text):
    file = root / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


def test_kernel_clocks_and_isolation_are_read_where_linux_keeps_them(tmp_path):
    assert realtime.kernel(tmp_path).status == "warn"
    write(tmp_path, "sys/kernel/realtime", "1\n")
    assert realtime.kernel(tmp_path).status == "ok"
    assert realtime.governor(tmp_path).status == "absent"
    write(tmp_path, "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor", "performance\n")
    assert realtime.governor(tmp_path).status == "ok"
    write(tmp_path, "sys/devices/system/cpu/cpu1/cpufreq/scaling_governor", "schedutil\n")
    found = realtime.governor(tmp_path)
    assert found.status == "warn" and "schedutil" in found.detail and "performance" in found.remedy
    assert "isolcpus" in realtime.isolation(tmp_path).remedy
    write(tmp_path, "sys/devices/system/cpu/isolated", "2-3\n")
    assert realtime.isolation(tmp_path).detail == "2, 3"


def test_late_wakeups_are_a_warning_with_a_remedy_only_where_priority_was_had():
    late = WakeUps(5000, 50.0, 300.0, 900.0, 5000.0)
    assert realtime.judge("x", late, strict=True).remedy
    assert realtime.judge("x", late, strict=False).remedy == ""
    assert realtime.judge("x", WakeUps(5000, 50.0, 80.0, 200.0, 260.0), strict=True).status == "ok"


def test_cyclictests_own_words_are_understood(monkeypatch):
    text = "T: 0 (12) P:80 I:1000 C:   4980 Min:      2 Act:    9 Avg:   11 Max:     211\n"

    class Done:
        stdout, stderr, returncode = text, "", 0

    monkeypatch.setattr(realtime.subprocess, "run", lambda *a, **k: Done())
    monkeypatch.setattr(shutil, "which", lambda name: "/usr/bin/" + name)
    found = realtime.cyclictest(5, 80, 1)
    assert found.status == "ok" and "max 211" in found.detail and "4980 times" in found.detail
    Done.stdout, Done.stderr = "", "WARN: stat\nUnable to change scheduling policy!\n"
    found = realtime.cyclictest(5, 80, 1)
    assert found.status == "absent" and found.detail == "Unable to change scheduling policy!"
    monkeypatch.setattr(shutil, "which", lambda name: None)
    assert "rt-tests" in realtime.cyclictest(5, 80, 1).remedy


def test_everything_is_looked_at_and_this_thread_stays_as_it_was():
    import os

    before = (os.sched_getscheduler(0), os.sched_getaffinity(0))
    names = [finding.name for finding in realtime.realtime_findings(0.1)]
    assert names[0] == "kernel" and any(name.startswith("wake-up, FIFO 80") for name in names)
    assert (os.sched_getscheduler(0), os.sched_getaffinity(0)) == before
