"""The JSON file that says what an imported network sees and does: a PolicySpec and some extras.

    {"spec": {...}, "cameras": {...}, "predicts": "average", "encode": null, "task": null,
     "inputs": {"t": "time", "r": "end"}, "output": "u", "encode_inputs": {}, "encode_output": null}

Only "spec" must be there. predicts: "average" for u(z, t, r, observations), "velocity" for
v(z, t, observations), "chunk" for chunk(observations). encode: a program beside the file that
takes one frame's fields. inputs, encode_inputs: what the programs call their inputs, by our names,
where theirs are others; output, encode_output: which of several outputs is the answer. Actions lie
between -1 and 1 for the network and between their low and high for the robot; observations go in
raw.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ofp_edge.camera_parameters import CameraParameters
from ofp_edge.errors import OfpError, PolicyError
from ofp_edge.policy.imported.binding import OUTPUTS, Names
from ofp_edge.policy.imported.program_config import PREDICTS
from ofp_edge.spec import PolicySpec
from ofp_edge.strict import read_json_file, shown

_KNOWN = ("spec", "cameras", "predicts", "encode", "task", *OUTPUTS, *OUTPUTS.values())
_LARGEST = 4 << 20


@dataclass(frozen=True)
class SpecFile:
    """The file's content, which is checked. encode: the program's path. names: what the programs
    call their inputs and answers, by entry ("inputs", "encode_inputs")."""

    spec: PolicySpec
    cameras: dict[str, CameraParameters]
    predicts: str
    encode: Path | None
    task: str | None
    names: dict[str, Names]


def small_json(path: Path) -> Any:
    """Read a JSON file of a few kilobytes. PolicyError when it is missing, huge or no JSON."""
    return read_json_file(path, PolicyError, largest=_LARGEST)


def read_spec_file(path: Path) -> SpecFile:
    """Read the file. Raises PolicyError or SpecMismatch, naming the entry."""
    value = small_json(path)
    if not isinstance(value, dict) or "spec" not in value:
        raise PolicyError(f'{path}: expected {{"spec": …}} with {", ".join(_KNOWN[1:])} at will.')
    if unknown := sorted(set(value) - set(_KNOWN)):
        raise PolicyError(f"{path}: unknown entry {shown(unknown[0])}. Known: {', '.join(_KNOWN)}.")
    predicts = value.get("predicts", PREDICTS[0])
    if predicts not in PREDICTS:
        raise PolicyError(
            f"{path}: predicts: expected {' or '.join(PREDICTS)}, got {shown(predicts)}. Policies "
            "of other kinds (vision-language ones) can't be imported."
        )
    for name in ("encode", "task", *OUTPUTS.values()):
        if not isinstance(value.get(name), (str, type(None))):
            raise PolicyError(f"{path}: {name}: expected a text, got {shown(value[name])}.")
    try:
        spec = PolicySpec.from_json(value["spec"])
        cameras = {
            name: CameraParameters.from_json(item)
            for name, item in (value.get("cameras") or {}).items()
        }
    except (OfpError, AttributeError, TypeError) as cause:
        raise PolicyError(f"{path}: {cause}") from None
    if missing := sorted(set(spec.cameras) - set(cameras)):
        raise PolicyError(f"{path}: cameras: the parameters of {missing[0]!r} are missing.")
    encode = value.get("encode")
    return SpecFile(
        spec,
        cameras,
        predicts,
        path.parent / encode if encode else None,
        value.get("task"),
        {entry: _names(path, value, entry, output) for entry, output in OUTPUTS.items()},
    )


def _names(path: Path, value: dict[str, Any], entry: str, output: str) -> Names:
    found = value.get(entry, {})
    if not isinstance(found, dict) or not all(isinstance(x, str) for x in found.values()):
        raise PolicyError(f"{path}: {entry}: expected names by names, got {shown(found)}.")
    return Names(found, value.get(output))
