"""Moments of a run that no row of its log has, called out where they happen.

"frame" (the frame) when a camera's read has ended, "prepare" and "prepared" (t_obs_ns) around an
observation's preparation, in the planner's thread; "step" and "stepped" around the state machine,
"send" and "sent" around the robot, in the control thread.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Mark = Callable[[str, Any], None]
"""Called with the moment's name and what is said of it. It must neither block nor raise."""


def unmarked(moment: str, of: Any = None) -> None:
    """Nobody listens."""
