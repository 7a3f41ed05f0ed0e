"""What each topic of a log holds: JSON schemas, which the file itself declares.

    /event         what began or ended: episode, outcome, fault, stop
    /observation   the exact network inputs of one frame, after preprocessing
    /plan          one chunk: its observation, warm or cold, evaluations, why it was refined or not,
                   timings, both scales
    /command       one tick: nominal time, wake-up, what the state machine was told (`heard`, with
                   the robot's state), its decision, the action before and after the safety layer
    /numbers/...   state, wanted, sent and times by name, for plotting tools (numbers.py)
    /thumbnail/... what a camera saw, for people (thumbnail.py): foxglove.RawImage
    /frame/...     what a camera saw, whole (/frame/<camera>/color, /frame/<camera>/depth), "png" or
                   "jpeg": foxglove.CompressedImage; its timestamp is the capture time

`heard` and the order of a command's row are enough to run the state machine again (replay.py).

Version 3 has places for what later versions of ofp-edge do, or not every policy takes; they hold
UNFILLED otherwise:

    /observation  frames: capture time in ns of each camera's frame that it was made from
    /plan         instruction_id: its place in the header's list `instructions`
                  prompt_id: SHA-256 of the ids (int64, little-endian, no padding) of the prompt
                  that the network was given
                  committed, mask: what `act` was given of them, (horizon, action_dim) normalised
                  and (horizon,): the part of the chunk that was decided already
    /command      by: who commanded, "policy" or "human"; intervention: what the human wanted
    heard         "told": another `instruction`; "human": a human took over or let go, `by`, or
                  commanded, `action`
"""

from __future__ import annotations

from typing import Any

LOG_VERSION = 3
_INTEGER, _TEXT = {"type": "integer"}, {"type": "string"}
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
        "event": {"enum": ["episode", "state", "planning", "chunk", "free", "unsent", "told",
                           "stop", "human"]},
        "t_ns": _INTEGER, "read_ns": _INTEGER, "t_obs_ns": _INTEGER, "refined": _FLAG,
        "refine_ns": _INTEGER, "reason": _TEXT, "values": _ARRAYS, "by": _TEXT,
        "action": _MAYBE_ARRAY, "instruction": _TEXT,
    },
    "required": ["event"],
}  # fmt: skip
SCHEMAS: dict[str, dict[str, Any]] = {
    "/event": {"t_ns": _INTEGER, "what": _TEXT, "detail": _TEXT, "episode": _INTEGER},
    "/observation": {
        "t_obs_ns": _INTEGER, "state_ns": _INTEGER, "inputs": _ARRAYS,
        "observe_ns": _INTEGER, "encode_ns": _INTEGER,
        "frames": {"type": "object", "additionalProperties": _INTEGER},
    },
    "/plan": {
        "t_obs_ns": _INTEGER, "tick_ns": _INTEGER, "ready_ns": _INTEGER, "due_ns": _INTEGER,
        "refined": _FLAG, "warm_from_ns": _MAYBE_INTEGER, "warm_from_refined": _FLAG,
        "refine_budget_ns": _MAYBE_INTEGER, "wanted_ns": _INTEGER,
        "nfe": _INTEGER, "evaluations": _INTEGER,
        "chunk": _ARRAY, "chunk_normalised": _ARRAY, "infer_ns": _INTEGER, "act_ns": _INTEGER,
        "instruction_id": _MAYBE_INTEGER, "prompt_id": {"type": ["string", "null"]},
        "committed": _MAYBE_ARRAY, "mask": _MAYBE_ARRAY,
    },
    "/command": {
        "tick_ns": _INTEGER, "woke_ns": _INTEGER, "sent_ns": _INTEGER, "kind": _TEXT,
        "reason": _TEXT, "t_obs_ns": _MAYBE_INTEGER, "index": {"type": ["number", "null"]},
        "action": _MAYBE_ARRAY, "wanted": _MAYBE_ARRAY, "cut": {"type": "array", "items": _TEXT},
        "sent": _FLAG, "plan_ordered": _FLAG, "misses": _INTEGER,
        "heard": {"type": "array", "items": _HEARD},
        "by": _TEXT, "intervention": _MAYBE_ARRAY,
    },
}  # fmt: skip
UNFILLED: dict[str, dict[str, Any]] = {
    "/observation": {"frames": {}},
    "/plan": {"instruction_id": None, "prompt_id": None, "committed": None, "mask": None},
    "/command": {"by": "policy", "intervention": None},
}

# https://docs.foxglove.dev/docs/sdk/schemas/raw-image and compressed-image, in their JSON forms.
_TIMESTAMP = {"type": "object", "properties": {"sec": _INTEGER, "nsec": _INTEGER}}
RAW_IMAGE: dict[str, Any] = {
    "timestamp": _TIMESTAMP,
    "frame_id": _TEXT, "width": _INTEGER, "height": _INTEGER, "encoding": _TEXT, "step": _INTEGER,
    "data": {"type": "string", "contentEncoding": "base64"},
}  # fmt: skip


COMPRESSED_IMAGE: dict[str, Any] = {
    "timestamp": _TIMESTAMP, "frame_id": _TEXT, "format": _TEXT,
    "data": {"type": "string", "contentEncoding": "base64"},
}  # fmt: skip


def picture_schema(topic: str) -> tuple[str, dict[str, Any]]:
    """Return the name and the JSON schema of a topic that holds pictures."""
    if topic.startswith("/frame/"):
        return "foxglove.CompressedImage", schema_of(COMPRESSED_IMAGE)
    return "foxglove.RawImage", schema_of(RAW_IMAGE)


def schema_of(properties: dict[str, Any]) -> dict[str, Any]:
    """Return the JSON schema of a topic's rows; every entry is required."""
    return {"type": "object", "properties": properties, "required": sorted(properties)}
