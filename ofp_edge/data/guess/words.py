"""What the tokens of a name say: `tcp_action` is an action, `index_finger_pos` is no index."""

from __future__ import annotations

import re

_TOKEN = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|[0-9]+")
_LABELS = {
    "reward": "a reward", "rewards": "a reward", "score": "a reward",
    "return": "a return", "returns": "a return", "rtg": "a return", "advantage": "a return",
    "discount": "a discount", "discounts": "a discount",
    "done": "an episode's end", "dones": "an episode's end",
    "terminal": "an episode's end", "terminals": "an episode's end",
    "terminated": "an episode's end", "truncated": "an episode's end",
    "termination": "an episode's end", "terminations": "an episode's end",
    "truncation": "an episode's end", "truncations": "an episode's end",
    "timeout": "an episode's end", "timeouts": "an episode's end",
    "success": "an outcome", "successes": "an outcome", "progress": "an outcome",
    "label": "a label", "labels": "a label", "annotation": "a label", "annotations": "a label",
    "stage": "a label", "subtask": "a label", "subgoal": "a label",
    "intervention": "a label", "quality": "a label",
    "mask": "a mask", "masks": "a mask", "pad": "a mask", "padding": "a mask", "valid": "a mask",
    "language": "an instruction", "instruction": "an instruction",
    "instructions": "an instruction", "lang": "an instruction", "prompt": "an instruction",
    "episode": "bookkeeping", "seed": "bookkeeping", "timestamp": "bookkeeping",
    "timestamps": "bookkeeping",
}  # fmt: skip
_LAST = ("index", "idx", "id", "ids", "indices", "time", "times", "stamp", "stamps", "step",
         "steps", "count", "frame")  # fmt: skip
_ACTIONS = ("action", "actions", "command", "commands", "commanded", "cmd", "ctrl")
_UNSEEN = "not what a robot measures"
_MEASURED_ACTION = "joint_action/"  # RoboTwin's raw files call so what was measured
_EXACT = ("n_contacts", "keypoint")  # of PushT: what its own policies leave
_DELTA = {"delta", "deltas", "rel", "relative", "dx", "dy", "dz", "dpos", "drot", "droll", "dpitch",
          "dyaw", "dtheta", "displacement"}  # fmt: skip
_VELOCITY = {"vel", "velocity", "velocities", "qvel", "speed", "twist"}
_ABSOLUTE = {"abs", "absolute"}
_POSITION = {"pos", "position", "positions", "qpos", "pose"}
_MEASURED = _POSITION | _VELOCITY | {"quat", "angle", "angles", "force", "torque", "effort"}
_GRIPPER = {"gripper", "grippers", "grip", "grasp", "claw", "suction", "vacuum"}
_MODE = {"mode", "modes", "switch", "toggle"}


def tokens(name: str) -> tuple[str, ...]:
    """Split a name into lower-case words and numbers: jointPos_2 is joint, pos, 2."""
    return tuple(x.lower() for x in _TOKEN.findall(name))


def label(name: str, width: int = 1, *, image: bool = False) -> str | None:
    """Say what a key is that no policy may see, by its name; None for what it may.

    Answers (actions and commands), what the future holds, rewards, marks and bookkeeping. A goal is
    none of them: it is known beforehand, and what a policy for goals is told. width: of a frame's
    numbers; image: it is a picture, whose camera may be called what it likes.
    """
    parts = [tokens(part) for part in re.split(r"[./]", name)]
    words = [word for part in parts for word in part]
    if not words:
        return None
    if any(part[:1] == ("next",) or "future" in part for part in parts):
        return "of a later frame, which tells what will happen"
    if image:
        return f"a mask, {_UNSEEN}" if {*words} & {"mask", "masks"} else None
    if not name.startswith(_MEASURED_ACTION) and any(word in _ACTIONS for word in words):
        return "an action or a command, which would tell the answer"
    if parts[-1][:1] in (("is",), ("has",)):
        return f"a mark, {_UNSEEN}"
    found = next((word for word in words if word in _LABELS), None)
    if found is not None and not {*words} & _MEASURED:
        return f"{_LABELS[found]}, {_UNSEEN}"
    if (width == 1 and words[-1] in _LAST) or re.split(r"[./]", name)[-1] in _EXACT:
        return f"bookkeeping, {_UNSEEN}"
    return None


def is_action(name: str) -> bool:
    """Say whether a name is one of an action, and not of an earlier, a later or another's."""
    words = tokens(name)
    others = {"prev", "previous", "last", "next", "future", "expert", "mask", "pad", "is", "past",
              "history"}  # fmt: skip
    return any(x in ("action", "actions") for x in words) and not others & {*words}


def kind_of(name: str) -> str | None:
    """Return the kind of action that a name says: "delta", "velocity", "absolute"; "position"
    where it names what is moved and no more."""
    words = set(tokens(name))
    for said, kind in ((_DELTA, "delta"), (_ABSOLUTE, "absolute"), (_VELOCITY, "velocity")):
        if words & said:
            return kind
    return "position" if words & _POSITION else None


def switch_of(name: str) -> str | None:
    """Return "gripper" or "mode" for the name of one, else None."""
    words = set(tokens(name))
    return "gripper" if words & _GRIPPER else "mode" if words & _MODE else None


def is_rot6d(name: str) -> bool:
    """Say whether a name is one of two columns of a rotation matrix."""
    return bool(re.search(r"rot(ation)?_?6d|6d_?rot|r6d", name.lower()))


def side_of(name: str) -> str | None:
    """Return "left" or "right" where a name says so of an arm."""
    words = tokens(name)
    return next((x for x in ("left", "right") if x in words), None)


def no_picture(name: str) -> bool:
    """Say whether an image of one channel is by its name none that a colour camera took."""
    words = set(tokens(name))
    return bool(words & {"depth", "seg", "segmentation", "mask", "masks", "label", "labels", "ids",
                         "disparity", "heatmap"})  # fmt: skip
