"""manifest.json of a bundle as dataclasses: what it holds, how it is called, what it came from."""

from __future__ import annotations

import json
import math
import re
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ofp_edge.camera_parameters import CameraParameters, CameraTolerance
from ofp_edge.errors import BundleError, UnknownName
from ofp_edge.files import sha256_file
from ofp_edge.provenance import check_provenance
from ofp_edge.spec import PolicySpec
from ofp_edge.strict import read_as, shown

SCHEMA_VERSION = 1
_FILE = "manifest.json"
_LARGEST_TENSOR, _WIDEST = 1 << 26, 1 << 14
_SHA256 = re.compile(r"[0-9a-f]{64}")
FUNCTIONS = ("encode", "act")


@dataclass(frozen=True)
class Tensor:
    """Name, fixed shape and dtype of one input or output of a deployed function."""

    name: str
    shape: tuple[int, ...]
    dtype: str = "float32"


@dataclass(frozen=True)
class FileEntry:
    """A file of the bundle: path relative to it, size in bytes, hex SHA-256."""

    file: str
    size: int
    sha256: str

    @staticmethod
    def of(folder: Path, name: str) -> FileEntry:
        """Measure an existing file."""
        path = folder / name
        return FileEntry(name, path.stat().st_size, sha256_file(path))


@dataclass(frozen=True)
class Artefact:
    """One compiled function: `file` runs `function` on `engine` in `precision`.

    tolerance: per output name, the largest absolute difference to the golden output that this
    precision may show, in that output's own units (one number per action dimension for `chunk`;
    one number otherwise). `requires`: module or runtime versions, e.g. {"onnxruntime": ">=1.23"}.
    """

    function: str
    engine: str
    precision: str
    file: str
    size: int
    sha256: str
    tolerance: dict[str, list[float]]
    requires: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class TimeRow:
    """One shipped pair of times: `name` cold (0, 1), warm (t_w, 1) or refine (t2, 1).

    `row` is the constant input `time_row` of `act` for that pair; its last element is r - t.
    A policy of many steps ships rows called ladder instead, walked in their order; `noise` is the
    standard deviation of what is drawn anew and added to the last result before the evaluation.
    """

    name: str
    t: float
    r: float
    row: tuple[float, ...]
    noise: float = 0.0


@dataclass(frozen=True)
class Default:
    """What runs when the user names neither engine nor precision."""

    engine: str
    precision: str
    nfe: int = 1  # or 2, with the refining step


@dataclass(frozen=True)
class Manifest:
    """Everything a robot must know before it opens an artefact.

    encode_inputs: the observation fields of the newest frame, each in its `input_shape`.
    encode -> `feature` (1, F).
    act inputs: `features` (1, n_obs_steps * F, oldest first), `z` (1, horizon * action_dim),
    `time_row` (1, E); outputs `chunk` (1, (horizon - start_index) * action_dim), whose first action
    acts at the observation, and `chunk_normalised` (1, horizon * action_dim).
    """

    target: str
    board: str | None
    spec: PolicySpec
    cameras: dict[str, CameraParameters]
    camera_tolerance: CameraTolerance
    encode_inputs: tuple[Tensor, ...]
    feature_dim: int
    time_rows: tuple[TimeRow, ...]
    artefacts: tuple[Artefact, ...]
    files: tuple[FileEntry, ...]
    default: Default
    provenance: dict[str, Any]
    schema_version: int = SCHEMA_VERSION

    @property
    def act_inputs(self) -> tuple[Tensor, ...]:
        """The three inputs of `act`."""
        spec = self.spec
        return (
            Tensor("features", (1, spec.n_obs_steps * self.feature_dim)),
            Tensor("z", (1, spec.horizon * spec.action_dim)),
            Tensor("time_row", (1, len(self.time_rows[0].row))),
        )

    @property
    def entries(self) -> tuple[FileEntry, ...]:
        """Every file the manifest lists: the artefacts and the others."""
        artefacts = (FileEntry(a.file, a.size, a.sha256) for a in self.artefacts)
        return (*artefacts, *self.files)

    def outputs(self, function: str) -> tuple[Tensor, ...]:
        """The outputs of `encode` or `act`."""
        if function == "encode":
            return (Tensor("feature", (1, self.feature_dim)),)
        plan, whole = self.spec.plan_steps, self.spec.horizon
        return (
            Tensor("chunk", (1, plan * self.spec.action_dim)),
            Tensor("chunk_normalised", (1, whole * self.spec.action_dim)),
        )

    def inputs(self, function: str) -> tuple[Tensor, ...]:
        """The inputs of `encode` or `act`."""
        return self.encode_inputs if function == "encode" else self.act_inputs

    def time_row(self, name: str) -> TimeRow:
        """The shipped (t, r) pair called cold, warm or refine."""
        for row in self.time_rows:
            if row.name == name:
                return row
        raise UnknownName("time row", name, [row.name for row in self.time_rows])

    def to_json(self) -> dict[str, Any]:
        """Plain JSON; `from_json` is the inverse."""
        value = asdict(self)
        value["spec"] = self.spec.to_json()
        value["cameras"] = {name: camera.to_json() for name, camera in self.cameras.items()}
        plain: dict[str, Any] = json.loads(json.dumps(value))
        return plain

    @staticmethod
    def from_json(value: Any) -> Manifest:
        """The schema version is checked by the caller. BundleError names the entry that is missing,
        of another type, or no bundle's."""
        manifest = read_as(Manifest, value, _FILE, BundleError)
        for name in manifest.spec.cameras:
            if name not in manifest.cameras:
                raise BundleError(f"{_FILE}: no parameters of the training camera {name!r}.")
        manifest._check_tensors()
        manifest._check_entries()
        check_provenance(manifest.provenance, _FILE, BundleError)
        return manifest

    def _check_tensors(self) -> None:
        seen = [(x.name, x.shape, x.dtype) for x in self.encode_inputs]
        wanted = [(f.name, f.input_shape, f.input_dtype) for f in self.spec.observations]
        if seen != wanted:
            raise BundleError(f"{_FILE}: encode_inputs: expected {wanted}, got {seen}.")
        rows = {len(x.row) for x in self.time_rows}
        if len(rows) != 1 or not 0 < max(rows) <= _WIDEST or len(self.time_rows) > _WIDEST:
            raise BundleError(f"{_FILE}: time_rows: expected rows, all of one length.")
        if not 0 < self.feature_dim <= _LARGEST_TENSOR:
            raise BundleError(f"{_FILE}: feature_dim: expected a size, got {self.feature_dim}.")
        for tensor in (*self.act_inputs, *self.outputs("act")):
            if math.prod(tensor.shape) > _LARGEST_TENSOR:
                raise BundleError(
                    f"{_FILE}: {tensor.name!r} would be {tensor.shape}, expected at most "
                    f"{_LARGEST_TENSOR} values."
                )
        if self.default.nfe < 1:
            raise BundleError(f"{_FILE}: default.nfe: expected 1 or more, got {self.default.nfe}.")

    def _check_entries(self) -> None:
        for number, item in enumerate(self.artefacts):
            where = f"{_FILE}: artefacts[{number}]"
            if item.function not in FUNCTIONS:
                raise BundleError(
                    f"{where}.function: expected {' or '.join(FUNCTIONS)}, got {item.function!r}."
                )
            if any(x < 0 for values in item.tolerance.values() for x in values):
                raise BundleError(f"{where}.tolerance: expected numbers from 0 on.")
        seen: dict[str, FileEntry] = {}
        for entry in self.entries:
            if seen.setdefault(entry.file, entry) != entry:  # engines may share one
                raise BundleError(f"{_FILE}: {shown(entry.file)} is listed twice, differently.")
            if entry.size < 0 or not _SHA256.fullmatch(entry.sha256):
                raise BundleError(f"{_FILE}: {shown(entry.file)}: expected a size and a SHA-256.")
