"""The present power mode, clocks, temperatures, power and throttling of a Jetson, from plain sysfs,
without root.

The sources are NVIDIA's Jetson Linux documentation, "Platform Power and Performance" for Jetson
Orin (nvpmodel, devfreq, INA3221, thermal zones, soctherm over-current events), and the kernel's
thermal and devfreq sysfs interfaces. What is absent is None or left out, never guessed.
"""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ofp_edge.runtime.jetson.machine import Machine

_AGX_RAILS = ("VDD_GPU_SOC", "VDD_CPU_CV", "VIN_SYS_5V0", "VDDQ_VDD2_1V8AO")
_ABSENT_MILLI_C = (0, -256, -256000)
# Cooling devices that cap a clock; a fan does not.
_CAPPING = re.compile(r"cpufreq|devfreq|throttle|thermal-cpu|hot-surface")


@dataclass(frozen=True)
class Live:
    """The state of a Jetson.

    `power_mode` is nvpmodel's name, e.g. "MAXN_SUPER". `clocks_hz` maps "gpu" and "cpu0" … to
    {"current", "min", "max"}. `temperatures_c` is by zone, `rails_mw` by label; `power_mw` is the
    whole module's. `throttled` names what holds clocks down at this moment. `events` are
    over-current counters since boot.
    """

    power_mode: str | None
    clocks_hz: dict[str, dict[str, int]]
    temperatures_c: dict[str, float]
    rails_mw: dict[str, float]
    power_mw: float | None
    throttled: tuple[str, ...]
    events: dict[str, int]
    swap_used_mib: int

    @property
    def clocks_locked(self) -> bool | None:
        """Whether jetson_clocks made the GPU's lowest clock its highest; None when that is
        unknown."""
        gpu = self.clocks_hz.get("gpu")
        return None if gpu is None else gpu["min"] == gpu["max"]

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {
            **asdict(self),
            "throttled": list(self.throttled),
            "clocks_locked": self.clocks_locked,
        }


def look(machine: Machine, *, power_mode: str | None = None) -> Live:
    """Read everything once, in a few milliseconds. With `power_mode` given, nvpmodel is not asked
    again."""
    rails = _rails(machine)
    return Live(
        power_mode or read_power_mode(machine),
        _clocks(machine),
        _temperatures(machine),
        rails,
        _total(rails),
        _throttled(machine),
        _events(machine),
        _swap_used_mib(machine),
    )


def read_power_mode(machine: Machine) -> str | None:
    """Read the name that `nvpmodel -q` gives; ids differ between modules."""
    for line in (machine.command(("nvpmodel", "-q")) or "").splitlines():
        if found := re.match(r"\s*NV Power Mode:\s*(\S+)", line):
            return found[1]
    return None


def _clocks(machine: Machine) -> dict[str, dict[str, int]]:
    found: dict[str, Path] = {}
    for folder in machine.glob("sys/class/devfreq/*"):
        name = machine.text(folder / "device/of_node/name") or ""
        if name in ("gpu", "ga10b"):
            found["gpu"] = folder
    clocks = {
        name: _three(machine, folder, ("cur_freq", "min_freq", "max_freq"), 1)
        for name, folder in found.items()
    }
    for folder in machine.glob("sys/devices/system/cpu/cpu[0-9]*/cpufreq"):
        names = ("scaling_cur_freq", "scaling_min_freq", "scaling_max_freq")
        clocks[folder.parent.name] = _three(machine, folder, names, 1000)
    return {name: values for name, values in clocks.items() if len(values) == 3}


def _three(
    machine: Machine, folder: Path, names: tuple[str, str, str], factor: int
) -> dict[str, int]:
    values = zip(
        ("current", "min", "max"), (machine.number(folder / n) for n in names), strict=True
    )
    return {key: value * factor for key, value in values if value is not None}


def _temperatures(machine: Machine) -> dict[str, float]:
    found = {}
    for zone in machine.glob("sys/class/thermal/thermal_zone*"):
        milli, name = machine.number(zone / "temp"), machine.text(zone / "type")
        if name and milli is not None and milli not in _ABSENT_MILLI_C:
            found[name] = milli / 1000
    return found


def _rails(machine: Machine) -> dict[str, float]:
    found = {}
    for chip in machine.glob("sys/bus/i2c/devices/*"):
        if "ina3221" not in (machine.text(chip / "name") or ""):
            continue
        for label_file in sorted(chip.glob("hwmon/hwmon*/in*_label")):
            label = machine.text(label_file) or ""
            number = label_file.name[2 : -len("_label")]
            milli_v = machine.number(label_file.with_name(f"in{number}_input"))
            milli_a = machine.number(label_file.with_name(f"curr{number}_input"))
            if label and label != "NC" and milli_v is not None and milli_a is not None:
                found[label] = milli_v * milli_a / 1000
    return found


def _total(rails: dict[str, float]) -> float | None:
    """Return VDD_IN, the module's own total; an AGX has none, and its four rails add up to it."""
    if "VDD_IN" in rails:
        return rails["VDD_IN"]
    if all(name in rails for name in _AGX_RAILS):
        return sum(rails[name] for name in _AGX_RAILS)
    return None


def _throttled(machine: Machine) -> tuple[str, ...]:
    found = []
    for device in machine.glob("sys/class/thermal/cooling_device*"):
        kind = machine.text(device / "type") or ""
        if _CAPPING.search(kind) and (machine.number(device / "cur_state") or 0) > 0:
            found.append(kind)
    return tuple(found)


def _events(machine: Machine) -> dict[str, int]:
    found = {}
    for counter in machine.glob("sys/class/hwmon/hwmon*/oc*_event_cnt"):
        if (count := machine.number(counter)) is not None:
            found[counter.name.removesuffix("_event_cnt")] = count
    return found


def _swap_used_mib(machine: Machine) -> int:
    values = machine.memory_kib()
    return (values.get("SwapTotal", 0) - values.get("SwapFree", 0)) // 1024
