"""manifest.json of a bundle as dataclasses: its contents, their use and their origin."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from ofp_edge.camera_parameters import CameraParameters, CameraTolerance
from ofp_edge.errors import UnknownName
from ofp_edge.files import sha256_file
from ofp_edge.functions import Function, named
from ofp_edge.spec import PolicySpec
from ofp_edge.start import Start

SCHEMA_VERSION = 2
FILE = "manifest.json"
INTERFACE = ("observations", "actions")
FileRole = Literal["golden", "plan", "data", "time_rows", "words", "tasks", "prompt"]


@dataclass(frozen=True)
class FileEntry:
    """A file of the bundle: path relative to it, size in bytes, hex SHA-256.

    role: what it holds. "data": weights that an artefact's graph names (`Artefact.data`).
    "time_rows", "words", "tasks" (task_rows.py): tables too long for the manifest. "prompt": how a
    state and an instruction become words. None: of an artefact, or of a bundle of schema 1.
    """

    file: str
    size: int
    sha256: str
    role: FileRole | None = None

    @staticmethod
    def of(folder: Path, name: str, role: FileRole | None = None) -> FileEntry:
        """Measure an existing file."""
        path = folder / name
        return FileEntry(name, path.stat().st_size, sha256_file(path), role)


@dataclass(frozen=True)
class Artefact:
    """One compiled function: `file` runs `function` on `engine` in `precision`.

    tolerance: per output name, the largest absolute difference to the golden output that this
    precision may show, in that output's own units (one number per action dimension for `chunk`;
    one number otherwise; none for what stays on the device). `requires`: module or runtime
    versions, e.g. {"onnxruntime": ">=1.23"}. `data`: listed files with weights that `file` names.
    """

    function: str
    engine: str
    precision: str
    file: str
    size: int
    sha256: str
    tolerance: dict[str, list[float]]
    requires: dict[str, str] = field(default_factory=dict)
    data: tuple[str, ...] = ()


@dataclass(frozen=True)
class TimeRow:
    """One shipped pair of times: `name` cold (0, 1), warm (t_w, 1) or refine (t2, 1).

    `row` is the constant input `time_row` of `act` for that pair; its last element is r - t. With
    r = t it is the velocity at t, followed to the end, and that element 1 - t. It is
    empty in a manifest that lists a file of role "time_rows", which has it then (time_rows.py).
    A cold start of several evaluations walks rows called cold-ladder, in their order. A policy of
    many steps ships rows called ladder instead of all these, walked alike; `noise` is the
    standard deviation of what is drawn anew and added to the last result before the evaluation.
    """

    name: str
    t: float
    r: float
    row: tuple[float, ...]
    noise: float = 0.0


@dataclass(frozen=True)
class Committed:
    """The committed prefix that `act` can be told: the longest it was trained with, control steps,
    and the scale of its values, by action dimension: raw = normalised * scale + offset."""

    steps: int
    scale: tuple[float, ...]
    offset: tuple[float, ...]


@dataclass(frozen=True)
class StateBounds:
    """Where the network cuts off the numbers of a state field, (D,) each, in the field's unit: it
    was trained on a narrower range (normalize.STATE_BOUND)."""

    low: tuple[float, ...]
    high: tuple[float, ...]


@dataclass(frozen=True)
class Prompted:
    """The prompt that a policy reads, of the files of roles "prompt" and "words".

    first: the place in every `valid` of the prompt's first word; what is before and behind the
    prompt's places, pictures and a state, is always there.
    """

    first: int


@dataclass(frozen=True)
class Default:
    """The engine and precision that run when the user names neither."""

    engine: str
    precision: str
    nfe: int = 1  # or 2, with the refining step


@dataclass(frozen=True)
class Manifest:
    """Everything a robot must know before it opens an artefact.

    functions: in the order in which they run; the last is `act`. time_rows: none for a
    deterministic policy, whose `act` takes features alone. instructions: the closed list that
    an instruction is chosen from, None for a policy that takes none. counter: grows with every
    release of a policy. committed: None for a policy that was not trained with a prefix. prompt:
    None for a policy that reads none. state_bounds: by field; empty where the network cuts nothing
    off, or nobody knows where.
    """

    target: str
    board: str | None
    spec: PolicySpec
    cameras: dict[str, CameraParameters]
    camera_tolerance: CameraTolerance
    functions: tuple[Function, ...]
    time_rows: tuple[TimeRow, ...]
    artefacts: tuple[Artefact, ...]
    files: tuple[FileEntry, ...]
    default: Default
    provenance: dict[str, Any]
    start: Start = Start()
    instructions: tuple[str, ...] | None = None
    counter: int = 0
    committed: Committed | None = None
    prompt: Prompted | None = None
    state_bounds: dict[str, StateBounds] = field(default_factory=dict)
    schema_version: int = SCHEMA_VERSION

    @property
    def deterministic(self) -> bool:
        """Return whether a chunk follows from the observation alone: no noise, no times."""
        return not self.time_rows

    @property
    def entries(self) -> tuple[FileEntry, ...]:
        """Return every file the manifest lists: the artefacts and the others."""
        artefacts = (FileEntry(a.file, a.size, a.sha256) for a in self.artefacts)
        return (*artefacts, *self.files)

    def function(self, name: str) -> Function:
        """Return the deployed function of that name."""
        return named(self.functions, name)

    def time_row(self, name: str) -> TimeRow:
        """Return the shipped (t, r) pair called cold, warm or refine."""
        for row in self.time_rows:
            if row.name == name:
                return row
        raise UnknownName("time row", name, [row.name for row in self.time_rows])

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON; `manifest_reader.read_manifest` is the inverse. The spec is split into
        `interface`, what is seen and done, and `chunking`, its times."""
        value = asdict(self)
        chunking = self.spec.to_json()
        del value["spec"]
        if self.committed is None:
            del value["committed"]  # as it was before there were prefixes
        if self.prompt is None:
            del value["prompt"]  # as it was before there were prompts
        if not self.state_bounds:
            del value["state_bounds"]
        if any(x.role == "time_rows" for x in self.files):
            value["time_rows"] = [{**row, "row": []} for row in value["time_rows"]]
        value["interface"] = {key: chunking.pop(key) for key in INTERFACE}
        value["chunking"] = chunking
        value["cameras"] = {name: camera.to_json() for name, camera in self.cameras.items()}
        plain: dict[str, Any] = json.loads(json.dumps(value))
        return plain
