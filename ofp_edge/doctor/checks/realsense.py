"""The check of a RealSense: the SDK loads, the udev rule lets a user open a camera, a camera is
plugged in."""

from __future__ import annotations

from pathlib import Path

from ofp_edge.doctor.findings import Finding
from ofp_edge.doctor.probe import installed, probe
from ofp_edge.origin import install_line, reinstall_line
from ofp_edge.runtime.cameras.sdk import home_remedy

_LIST = """
import pyrealsense2 as rs
devices = [
    d.get_info(rs.camera_info.name) + " " + d.get_info(rs.camera_info.serial_number)
    for d in rs.context().query_devices()
]
print(getattr(rs, "__version__", "unknown version") + "|" + ", ".join(devices))
"""
_RULE_FOLDERS = ("etc/udev/rules.d", "lib/udev/rules.d", "usr/lib/udev/rules.d")
_RULE_REMEDY = (
    "Copy 99-realsense-libusb.rules of librealsense to /etc/udev/rules.d, then: "
    "sudo udevadm control --reload-rules && sudo udevadm trigger"
)


def check(root: Path = Path("/")) -> list[Finding]:
    """Check SDK, cameras and udev rule; the latter two only when the SDK is installed."""
    if not installed("pyrealsense2"):
        return [Finding("realsense sdk", "absent", "not installed", install_line("realsense"))]
    answer = probe(_LIST)
    if not answer.ok:
        remedy = "sudo apt-get install -y libusb-1.0-0"
        if "libusb" not in answer.text:
            remedy = reinstall_line("pyrealsense2")
        if "special folder" in answer.text:
            remedy = home_remedy()
        return [Finding("realsense sdk", "fail", f"does not load: {answer.text}", remedy)]
    version, _, cameras = answer.text.partition("|")
    found = [Finding("realsense sdk", "ok", version), udev_rule(root)]
    if cameras:
        return [*found, Finding("realsense camera", "ok", cameras)]
    return [*found, Finding("realsense camera", "absent", "none is plugged in")]


def udev_rule(root: Path) -> Finding:
    """Look for a rule file that names RealSense below `root`."""
    for folder in _RULE_FOLDERS:
        for rule in sorted((root / folder).glob("*realsense*.rules")):
            return Finding("realsense udev rule", "ok", f"/{rule.relative_to(root)}")
    detail = "no rule: only root can open a camera"
    return Finding("realsense udev rule", "warn", detail, _RULE_REMEDY)
