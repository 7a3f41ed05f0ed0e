"""Marks: moments of a run that its log does not record, reported as they happen.

"frame" (the frame) when a camera's read has ended, "prepare" and "prepared" (t_obs_ns) around an
observation's preparation, in the planner's thread; "step" and "stepped" around the state machine,
"send" and "sent" around the robot, in the control thread.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Mark = Callable[[str, Any], None]
"""A callback for the name and details of a moment. It must neither block nor raise."""


def unmarked(moment: str, of: Any = None) -> None:
    """Ignore marks."""
