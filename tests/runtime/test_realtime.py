"""What is asked of the kernel is what it then says of us; what fails names its remedy."""

import ctypes
import json
import os
import platform
import subprocess
import sys
import threading

import pytest

from ofp_edge.errors import CheckFailed, RigError
from ofp_edge.rig.realtime import RealtimeEntry, read_realtime
from ofp_edge.runtime.kernel import realtime
from ofp_edge.runtime.kernel.realtime import Setting, choose_cpu, isolated_cpus
from ofp_edge.runtime.kernel.wakeup import WakeUps, measure_wakeups, require_floor
from ofp_edge.toml import Table

PROGRAM = """
import ctypes, json, os, threading, time
from ofp_edge.rig.realtime import RealtimeEntry
from ofp_edge.runtime.kernel.realtime import enter, prepare
import numpy as np
settings = prepare()
stay = threading.Event()
other = [threading.Thread(target=stay.wait, name=name, daemon=True)
         for name in ("planner", "telemetry", "camera top")]
for thread in other: thread.start()
libc = ctypes.CDLL(None)  # a thread that Python does not know, as an SDK's
libc.pthread_create(ctypes.byref(ctypes.c_ulong()), None, libc.pause, None)
settings += enter(RealtimeEntry(priority=30))
found = {"settings": {s.name: [s.ok, s.remedy] for s in settings}, "threads": {}}
for thread in threading.enumerate():
    i = thread.native_id
    found["threads"][thread.name] = [
        os.sched_getscheduler(i), os.sched_getparam(i).sched_priority,
        sorted(os.sched_getaffinity(i)),
    ]
known = {thread.native_id for thread in threading.enumerate()}
unknown = {int(task) for task in os.listdir("/proc/self/task")} - known
found["unknown"] = [os.sched_getparam(i).sched_priority for i in unknown]
tiny = np.float32(1e-38)
found["denormal"] = [float(tiny * np.float32(0.01))]
def run(): found["denormal"].append(float(tiny * np.float32(0.01)))
late = threading.Thread(target=run); late.start(); late.join()
status = open("/proc/self/status").read()
found["locked_kib"] = int(status.split("VmLck:")[1].split()[0])
print(json.dumps(found))
"""


def test_the_kernel_confirms_every_setting_or_the_remedy_is_named():
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True, timeout=120,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([os.getcwd(), *sys.path])},
    )  # fmt: skip
    found = json.loads(done.stdout)
    settings, threads = found["settings"], found["threads"]
    assert set(settings) == {"memory", "denormals", "core", "priority"}
    for name, (ok, remedy) in settings.items():
        assert ok or remedy or name == "denormals"
    if settings["memory"][0]:
        assert found["locked_kib"] > 1000
    if settings["denormals"][0]:
        assert found["denormal"] == [0.0, 0.0]  # in threads that were started later, too
    main, others = threads["MainThread"], [threads[k] for k in threads if k != "MainThread"]
    if settings["core"][0] and len(os.sched_getaffinity(0)) > 1:
        (core,) = main[2]
        assert all(core not in other[2] for other in others)
    if settings["priority"][0]:
        assert main[:2] == [os.SCHED_FIFO, 30]
        assert threads["planner"][:2] == [os.SCHED_FIFO, 20]
        assert threads["camera top"][:2] == [os.SCHED_FIFO, 25]
        assert threads["telemetry"][:2] == [os.SCHED_FIFO, 15]
        assert found["unknown"] and set(found["unknown"]) == {15}


def test_what_is_not_allowed_names_the_line_that_would_allow_it(monkeypatch):
    def refuse(*_):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "sched_setscheduler", refuse)
    (setting,) = realtime._priorities(80)
    assert not setting.ok and "Operation not permitted" in setting.detail
    assert "rtprio 80" in setting.remedy and "limits.d" in setting.remedy


def test_a_core_that_may_not_be_used_is_said(monkeypatch):
    monkeypatch.setattr(realtime, "_fifo", lambda *_: None)
    core, _ = realtime.enter(RealtimeEntry(cpu=4711))
    assert not core.ok and "cpu 4711" in core.detail and "[realtime]" in core.remedy


def test_an_isolated_core_comes_first(tmp_path):
    file = tmp_path / "sys/devices/system/cpu/isolated"
    assert isolated_cpus(tmp_path) == [] and choose_cpu(None, [0, 1, 2], tmp_path) == 2
    file.parent.mkdir(parents=True)
    file.write_text("1,4-6\n")
    assert isolated_cpus(tmp_path) == [1, 4, 5, 6]
    assert choose_cpu(None, [0, 1, 2], tmp_path) == 1
    assert choose_cpu(0, [0, 1, 2], tmp_path) == 0


def test_wakeups_are_never_early_and_each_moment_is_asked_for_once():
    found = measure_wakeups(0.2)
    assert found.samples == 200
    assert 0 <= found.p50 <= found.p99 <= found.p99_9 <= found.max


def test_the_floor_refuses_a_failed_setting_and_a_late_wakeup():
    good = WakeUps(2000, 20.0, 50.0, 90.0, 150.0)
    require_floor([Setting("memory", True, "")], good, 200.0)
    with pytest.raises(CheckFailed, match="150 µs at worst .* budget 100 µs"):
        require_floor([], good, 100.0)
    failed = Setting("priority", False, "SCHED_FIFO 80: no", "do this")
    with pytest.raises(CheckFailed, match="priority: SCHED_FIFO 80: no. do this"):
        require_floor([failed], good, 1000.0)


def test_the_rigs_table_is_read_strictly(tmp_path):
    def read(**values):
        return read_realtime(Table(tmp_path / "rig.toml", "realtime", values, RigError))

    assert read() == RealtimeEntry(80, None, None)
    assert read(priority=50, cpu=0, wakeup_budget_us=300) == RealtimeEntry(50, 0, 300.0)
    for wrong in ({"priority": 100}, {"cpu": -1}, {"wakeup_budget_us": 0}, {"core": 1}):
        with pytest.raises(RigError, match="realtime"):
            read(**wrong)


@pytest.mark.skipif(platform.machine() != "x86_64", reason="reads the register of x86")
def test_denormals_are_flushed_in_the_thread_that_asks_alone():
    libm = ctypes.CDLL("libm.so.6")

    def control_word():
        environment = (ctypes.c_uint8 * 64)()
        libm.fegetenv(environment)
        return ctypes.c_uint32.from_buffer(environment, 28).value

    before, inside = control_word(), []

    def ask():
        realtime.flush_denormals()
        inside.append(control_word())

    thread = threading.Thread(target=ask)
    thread.start()
    thread.join()
    assert inside[0] == before | 0x8040 and control_word() == before
