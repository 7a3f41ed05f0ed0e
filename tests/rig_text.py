"""A rig file that is right, and a policy that fits it."""

from __future__ import annotations

from pathlib import Path

from ofp_edge.fields import Points, Rgb
from ofp_edge.spec import ActionField, PolicySpec

GOOD = """\
# my robot
schema_version = 1

[robot]
driver = "package.module:Arm"     # the arm on the left bench
[robot.options]
port = "/dev/ttyUSB0"

[cameras.front]
driver = "realsense"
[cameras.front.options]
serial = "839112060000"

[timing]
latency_ms = 50.0   # measured on Tuesday
max_plan_age_ms = 500.0
"""

IMAGE = Rgb("p", (3, 8, 8), "1", "front", (0.0,) * 3, (1.0,) * 3, "front")
POINTS = Points("p", (3, 8), "m", "base", (-1.0,) * 3, (1.0,) * 3, "front")
MOVE = ActionField("move", (3,), "m", "base", "delta", 1.0, (-1.0,) * 3, (1.0,) * 3, hold=0.0)
SPEC = PolicySpec((IMAGE,), (MOVE,), 1, 16, 8, 20.0)


def rig(tmp_path: Path, text: str = GOOD) -> Path:
    path = tmp_path / "rig.toml"
    path.write_text(text)
    return path
