"""The bundle: a folder that runs on a robot. Verified by hash before anything in it is parsed.

    manifest.json     schema version, spec, cameras, time table, artefacts, files, provenance
    manifest.sha256   the digest of manifest.json's bytes
    golden.npz        inputs and outputs to check an engine with (no pickled arrays)
    <artefact files>  ONNX graphs and ExecuTorch programs

Opening order: no symlink or foreign file, digest, schema version, listed sizes and hashes; only
then is any artefact read. `read` hands out the very bytes whose hash it checked.
"""

from __future__ import annotations

import io
import json
import zipfile
import zlib
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ofp_edge.camera_parameters import CameraParameters, CameraTolerance
from ofp_edge.errors import BundleError, OfpError, UnknownName
from ofp_edge.files import canonical_json, sha256_bytes, sha256_file
from ofp_edge.spec import PolicySpec

SCHEMA_VERSION = 1
MANIFEST, DIGEST, GOLDEN = "manifest.json", "manifest.sha256", "golden.npz"
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
    """

    name: str
    t: float
    r: float
    row: tuple[float, ...]


@dataclass(frozen=True)
class Default:
    """What runs when the user names neither engine nor precision."""

    engine: str
    precision: str
    nfe: int = 1  # or 2, with the refining step


@dataclass(frozen=True)
class Manifest:
    """Everything a robot must know before it opens an artefact.

    encode_inputs: the observation fields of the newest frame, each with a leading batch axis of 1
    ((1, D) for "state"; (1, 3, 1, N) for "points"; (1, 3, H, W), 0..1, for "rgb").
    encode -> `feature` (1, F).
    act inputs: `features` (1, n_obs_steps * F, oldest first), `z` (1, horizon * action_dim),
    `time_row` (1, E); outputs `chunk` and `chunk_normalised`, both (1, horizon * action_dim).
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
        shape = (1, self.spec.horizon * self.spec.action_dim)
        return Tensor("chunk", shape), Tensor("chunk_normalised", shape)

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
    def from_json(value: dict[str, Any]) -> Manifest:
        """The schema version is checked by the caller; anything missing raises BundleError."""
        try:
            parts = dict(value)
            parts["spec"] = PolicySpec.from_json(value["spec"])
            parts["cameras"] = {
                name: CameraParameters.from_json(item) for name, item in value["cameras"].items()
            }
            parts["camera_tolerance"] = CameraTolerance(**value["camera_tolerance"])
            parts["encode_inputs"] = tuple(
                Tensor(t["name"], tuple(t["shape"]), t["dtype"]) for t in value["encode_inputs"]
            )
            parts["time_rows"] = tuple(
                TimeRow(t["name"], t["t"], t["r"], tuple(t["row"])) for t in value["time_rows"]
            )
            parts["artefacts"] = tuple(Artefact(**item) for item in value["artefacts"])
            parts["files"] = tuple(FileEntry(**item) for item in value["files"])
            parts["default"] = Default(**value["default"])
            manifest = Manifest(**parts)
            for name in manifest.spec.cameras:
                if name not in manifest.cameras:
                    raise BundleError(f"no parameters of the training camera {name!r}.")
            return manifest
        except (KeyError, TypeError, ValueError, AttributeError) as cause:
            raise BundleError(f"manifest.json is incomplete: {cause}.") from None
        except OfpError as cause:
            raise BundleError(f"manifest.json: {cause}") from None


@dataclass(frozen=True)
class Bundle:
    """An opened, verified bundle. Build one with `open_bundle`."""

    path: Path
    manifest: Manifest
    sha256: str

    @property
    def spec(self) -> PolicySpec:
        """The policy's interface."""
        return self.manifest.spec

    def engines(self) -> list[tuple[str, str]]:
        """Every (engine, precision) for which both functions are there, in manifest order."""
        have: dict[tuple[str, str], set[str]] = {}
        for item in self.manifest.artefacts:
            have.setdefault((item.engine, item.precision), set()).add(item.function)
        return [key for key, functions in have.items() if functions == set(FUNCTIONS)]

    def choose(self, engine: str | None, precision: str | None) -> tuple[str, str]:
        """Fill in the manifest's defaults; UnknownName lists what the bundle holds.

        A precision alone takes the default engine when that has it, else the first that does.
        """
        default = self.manifest.default
        pairs = self.engines()
        first = (engine or default.engine, precision or default.precision)
        fitting = [
            pair for pair in (first, *pairs)
            if pair in pairs and engine in (None, pair[0]) and precision in (None, pair[1])
        ]  # fmt: skip
        if not fitting:
            got = "/".join(x for x in (engine, precision) if x)
            raise UnknownName("engine/precision", got, ["/".join(pair) for pair in pairs])
        return fitting[0]

    def artefact(self, function: str, engine: str, precision: str) -> Artefact:
        """The artefact, or UnknownName listing what the bundle holds."""
        for item in self.manifest.artefacts:
            if (item.function, item.engine, item.precision) == (function, engine, precision):
                return item
        known = ["/".join(pair) for pair in self.engines()]
        raise UnknownName("engine/precision", f"{engine}/{precision}", known)

    def read(self, name: str) -> bytes:
        """The bytes of a listed file, checked again as they are read."""
        for entry in self.manifest.entries:
            if entry.file == name:
                data = (self.path / name).read_bytes()
                if sha256_bytes(data) != entry.sha256:
                    raise BundleError(f"{self.path / name} changed after it was checked.")
                return data
        raise BundleError(f"{name} is not listed in {self.path / MANIFEST}.")

    def golden(self) -> dict[str, NDArray[np.float32]]:
        """Arrays of golden.npz: `input/<function>/<tensor>` (K, ...) and
        `output/<function>/<precision>/<tensor>` (K, ...), computed by torch in that precision."""
        try:
            with np.load(io.BytesIO(self.read(GOLDEN)), allow_pickle=False) as arrays:
                return {name: arrays[name] for name in arrays.files}
        except (ValueError, EOFError, OSError, zipfile.BadZipFile, zlib.error) as cause:
            raise BundleError(f"{self.path / GOLDEN} cannot be read: {cause}") from None


def open_bundle(path: Path) -> Bundle:
    """Verify a bundle folder and parse its manifest. Raises BundleError; parses nothing before."""
    if not path.is_dir():
        raise BundleError(f"{path} is not a bundle folder.")
    present = _plain_files(path)
    if "config.json" in present and MANIFEST not in present:
        raise BundleError(f"{path} is a policy, not a bundle. Run: ofp-edge compile {path}")
    if missing := {MANIFEST, DIGEST} - present:
        raise BundleError(f"{path} is not a bundle: {', '.join(sorted(missing))} is missing.")
    raw = (path / MANIFEST).read_bytes()
    recorded = (path / DIGEST).read_bytes()
    digest = recorded.decode("ascii", errors="replace").strip()
    if recorded != f"{sha256_bytes(raw)}\n".encode():
        raise BundleError(
            f"{path / MANIFEST} was edited: its SHA-256 is {sha256_bytes(raw)[:12]}…, "
            f"{DIGEST} says {digest[:12]}…. Compile the policy again."
        )
    try:
        value = json.loads(raw)
    except ValueError as cause:
        raise BundleError(f"{path / MANIFEST} is not valid JSON: {cause}") from None
    version = value.get("schema_version") if isinstance(value, dict) else None
    if version != SCHEMA_VERSION:
        raise BundleError(
            f"{path}: bundle schema version {version!r}, this ofp-edge reads {SCHEMA_VERSION}. "
            "Compile the policy again with this version."
        )
    manifest = Manifest.from_json(value)
    default = manifest.default
    if (default.engine, default.precision) not in Bundle(path, manifest, digest).engines():
        raise BundleError(f"{path / MANIFEST}: the bundle does not hold its {manifest.default}.")
    listed = {entry.file for entry in manifest.entries} | {MANIFEST, DIGEST}
    if extra := sorted(present - listed):
        raise BundleError(f"{path} holds a file that its manifest does not list: {extra[0]}.")
    for entry in manifest.entries:
        _check_entry(path, entry, present)
    return Bundle(path, manifest, digest)


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write manifest.json (canonical bytes) and manifest.sha256 into `folder`."""
    raw = canonical_json(manifest.to_json())
    (folder / MANIFEST).write_bytes(raw)
    (folder / DIGEST).write_text(sha256_bytes(raw) + "\n", encoding="ascii")


def _plain_files(path: Path) -> set[str]:
    present = set()
    for item in sorted(path.rglob("*")):
        name = item.relative_to(path).as_posix()
        if item.is_symlink():
            raise BundleError(f"{path} holds a symbolic link, which a bundle may not: {name}.")
        if item.is_file():
            present.add(name)
        elif not item.is_dir():
            raise BundleError(f"{path} holds something that is not a plain file: {name}.")
    return present


def _check_entry(path: Path, entry: FileEntry, present: set[str]) -> None:
    if entry.file not in present:
        raise BundleError(f"{path}: {entry.file} is missing. Copy the bundle again.")
    size = (path / entry.file).stat().st_size
    if size != entry.size:
        raise BundleError(
            f"{path / entry.file}: expected {entry.size} bytes, got {size}. Copy the bundle again."
        )
    if sha256_file(path / entry.file) != entry.sha256:
        raise BundleError(f"{path / entry.file} is damaged or was edited: its SHA-256 differs.")
