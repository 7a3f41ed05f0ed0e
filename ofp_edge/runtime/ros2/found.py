"""What of robots and cameras stands in a domain of ROS 2, by listening: nothing is published."""

from __future__ import annotations

import time

from ofp_edge.errors import OfpError
from ofp_edge.ros2.messages import (
    CompressedImage,
    Float64MultiArray,
    Image,
    JointState,
    JointTrajectory,
)
from ofp_edge.runtime.plugged import Plugged
from ofp_edge.runtime.ros2.dds import Dds, domain_id

_ROBOTS = {"publishes": (JointState,), "listens": (JointTrajectory, Float64MultiArray)}
_CAMERAS = {"publishes": (Image, CompressedImage), "listens": ()}


def found_in_domain(
    kind: str, domain: int | None, seconds: float, config: str | None = None
) -> tuple[list[Plugged], str]:
    """Listen for so long, and return the topics that the driver "ros2" may be told, with a note.

    kind: "robot" (joint states, and controllers' commands) or "camera" (images). domain, config: as
    in a rig. Raises OfpError, one line: no extra `ros2`, no such domain or network.
    """
    number = domain_id(domain, OfpError)
    wire = Dds(number, config, OfpError)
    try:
        time.sleep(seconds)
        wanted = _ROBOTS if kind == "robot" else _CAMERAS
        ends = {"publishes": wire.topics(), "listens": wire.heeded()}
    finally:
        wire.close()
    found = [
        Plugged(f"ROS 2 node that {verb}", topic, of, "ros2")
        for verb, topics in ends.items()
        for topic, of in sorted(topics.items())
        if of in {x.TYPE for x in wanted[verb]}
    ]
    others = sorted(set(ends["publishes"]) - {x.device for x in found})
    note = f"ROS 2, domain {number}: listened for {seconds:g} s"
    if not found:
        heard = f"only {', '.join(others[:8])}" if others else "no topic at all"
        note += f" and heard of no {kind}, {heard}. Another domain? --domain, ROS_DOMAIN_ID"
    return found, f"{note}."
