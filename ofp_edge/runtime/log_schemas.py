"""What each topic of a log holds: JSON schemas, which the file itself declares.

    /event         what began or ended: episode, outcome, fault, stop
    /observation   the exact network inputs of one frame, after preprocessing
    /plan          one chunk: its observation, warm or cold, evaluations, why it was refined or not,
                   timings, both scales
    /command       one tick: nominal time, wake-up, what the state machine was told (`heard`, with
                   the robot's state), its decision, the action before and after the safety layer
    /thumbnail/... what a camera saw, for people (thumbnail.py): foxglove.RawImage

`heard` and the order of a command's row are enough to run the state machine again (replay.py).
"""

from __future__ import annotations

from typing import Any

LOG_VERSION = 2
_INTEGER, _NUMBER, _TEXT = {"type": "integer"}, {"type": "number"}, {"type": "string"}
_FLAG = {"type": "boolean"}
_MAYBE_INTEGER = {"type": ["integer", "null"]}
_ARRAY = {
    "type": "object",
    "properties": {
        "dtype": _TEXT,
        "shape": {"type": "array", "items": _INTEGER},
        "data": {"type": "string", "contentEncoding": "base64"},
    },
    "required": ["dtype", "shape", "data"],
}
_ARRAYS = {"type": "object", "additionalProperties": _ARRAY}
_MAYBE_ARRAY = {"anyOf": [_ARRAY, {"type": "null"}]}
_HEARD = {
    "type": "object",
    "properties": {
        "event": {"enum": ["episode", "state", "planning", "chunk", "free", "stop"]},
        "t_ns": _INTEGER, "read_ns": _INTEGER, "t_obs_ns": _INTEGER, "refined": _FLAG,
        "refine_ns": _INTEGER,
        "reason": _TEXT, "values": _ARRAYS,
    },
    "required": ["event"],
}  # fmt: skip
SCHEMAS: dict[str, dict[str, Any]] = {
    "/event": {"t_ns": _INTEGER, "what": _TEXT, "detail": _TEXT, "episode": _INTEGER},
    "/observation": {
        "t_obs_ns": _INTEGER, "state_ns": _INTEGER, "inputs": _ARRAYS,
        "observe_ns": _INTEGER, "encode_ns": _INTEGER,
    },
    "/plan": {
        "t_obs_ns": _INTEGER, "tick_ns": _INTEGER, "ready_ns": _INTEGER, "due_ns": _INTEGER,
        "refined": _FLAG, "warm_from_ns": _MAYBE_INTEGER, "warm_from_refined": _FLAG,
        "refine_budget_ns": _MAYBE_INTEGER, "wanted_ns": _INTEGER,
        "nfe": _INTEGER, "evaluations": _INTEGER,
        "chunk": _ARRAY, "chunk_normalised": _ARRAY, "infer_ns": _INTEGER, "act_ns": _INTEGER,
    },
    "/command": {
        "tick_ns": _INTEGER, "woke_ns": _INTEGER, "sent_ns": _INTEGER, "kind": _TEXT,
        "reason": _TEXT, "t_obs_ns": _MAYBE_INTEGER, "index": {"type": ["number", "null"]},
        "action": _MAYBE_ARRAY, "wanted": _MAYBE_ARRAY, "cut": {"type": "array", "items": _TEXT},
        "sent": _FLAG, "plan_ordered": _FLAG, "misses": _INTEGER,
        "heard": {"type": "array", "items": _HEARD},
    },
}  # fmt: skip


# https://docs.foxglove.dev/docs/sdk/schemas/raw-image, in its JSON form.
RAW_IMAGE: dict[str, Any] = {
    "timestamp": {"type": "object", "properties": {"sec": _INTEGER, "nsec": _INTEGER}},
    "frame_id": _TEXT, "width": _INTEGER, "height": _INTEGER, "encoding": _TEXT, "step": _INTEGER,
    "data": {"type": "string", "contentEncoding": "base64"},
}  # fmt: skip


def schema_of(properties: dict[str, Any]) -> dict[str, Any]:
    """The JSON schema of a topic's rows; every entry is required."""
    return {"type": "object", "properties": properties, "required": sorted(properties)}
