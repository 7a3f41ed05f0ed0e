"""The bundle: a folder that runs on a robot. Verified by hash before anything in it is parsed.

    manifest.json     schema version, spec, cameras, functions, artefacts, files, provenance
    manifest.sha256   the digest of manifest.json's bytes
    manifest.sig      a signature over manifest.sha256; the one file that need not be listed
    golden.npz        inputs and outputs to check an engine with (no pickled arrays)
    words.safetensors, prompt.json   of a policy that reads a prompt (words.py, prompt.py)
    time_rows.safetensors            time rows too long for the manifest (time_rows.py)
    task_rows.safetensors            a row for each instruction of the policy (task_rows.py)
    <function>.<precision>.data      weights of a graph that are too large to stand in it
    <artefact files>  ONNX graphs and ExecuTorch programs

Opening order: no symlink or foreign file, digest, schema version, listed sizes and hashes; only
then is any artefact read. `read` hands out the very bytes whose hash it checked.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from ofp_edge.arrays import read_npz
from ofp_edge.errors import BundleError, UnknownName
from ofp_edge.files import canonical_json, put_back, sha256_bytes, sha256_file
from ofp_edge.manifest import FILE, Artefact, FileEntry, Manifest
from ofp_edge.manifest_reader import read_manifest
from ofp_edge.one_tensor import largest_file
from ofp_edge.outside import MEBIBYTE, open_plain, read_plain, require_memory, require_size
from ofp_edge.spec import PolicySpec
from ofp_edge.strict import LARGEST_JSON, parse_json, shown
from ofp_edge.time_rows import rows_from

_MOST_ROWS = 64  # of golden.npz; compile writes 16
MANIFEST, DIGEST, SIGNATURE, GOLDEN = FILE, "manifest.sha256", "manifest.sig", "golden.npz"


@dataclass(frozen=True)
class Bundle:
    """An opened, verified bundle. Build one with `open_bundle`."""

    path: Path
    manifest: Manifest
    sha256: str

    @property
    def spec(self) -> PolicySpec:
        """Return the policy's interface."""
        return self.manifest.spec

    def engines(self) -> list[tuple[str, str]]:
        """Return every (engine, precision) that has all functions, in manifest order."""
        have: dict[tuple[str, str], set[str]] = {}
        for item in self.manifest.artefacts:
            have.setdefault((item.engine, item.precision), set()).add(item.function)
        every = {function.name for function in self.manifest.functions}
        return [key for key, functions in have.items() if functions == every]

    def choose(self, engine: str | None, precision: str | None) -> tuple[str, str]:
        """Fill in the manifest's defaults. Raises UnknownName listing what the bundle holds.

        A precision alone takes the default engine when that has it, else the first that does.
        """
        default = self.manifest.default
        pairs = self.engines()
        first = (engine or default.engine, precision or default.precision)
        fitting = [
            pair
            for pair in (first, *pairs)
            if pair in pairs and engine in (None, pair[0]) and precision in (None, pair[1])
        ]
        if not fitting:
            got = "/".join(x for x in (engine, precision) if x)
            raise UnknownName("engine/precision", got, ["/".join(pair) for pair in pairs])
        return fitting[0]

    def artefact(self, function: str, engine: str, precision: str) -> Artefact:
        """Return the artefact. Raises UnknownName listing what the bundle holds."""
        for item in self.manifest.artefacts:
            if (item.function, item.engine, item.precision) == (function, engine, precision):
                return item
        known = ["/".join(pair) for pair in self.engines()]
        raise UnknownName("engine/precision", f"{engine}/{precision}", known)

    def entry(self, name: str) -> FileEntry:
        """Return what the manifest says of a file. Raises BundleError where it lists none."""
        for entry in self.manifest.entries:
            if entry.file == name:
                return entry
        raise BundleError(f"{name} is not listed in {self.path / MANIFEST}.")

    def read(self, name: str) -> bytes:
        """Return the bytes of a listed file, checked again as they are read."""
        entry = self.entry(name)
        data = read_plain(self.path / name, BundleError, entry.size, inside=self.path)
        if sha256_bytes(data) != entry.sha256:
            raise BundleError(f"{self.path / name} changed after it was checked.")
        return data

    def mapped(self, name: str) -> BinaryIO:
        """Open a listed file that is too large to read whole, to map it; hashed again as it is
        opened. What maps it must not outlive another file's taking its place."""
        entry = self.entry(name)
        file = open_plain(self.path / name, BundleError, inside=self.path)
        digest = hashlib.sha256()
        while piece := file.read(MEBIBYTE):
            digest.update(piece)
        if digest.hexdigest() != entry.sha256:
            file.close()
            raise BundleError(f"{self.path / name} changed after it was checked.")
        return file

    def golden(self) -> dict[str, NDArray[np.float32]]:
        """Return the arrays of golden.npz: `input/<function>/<tensor>` (K, ...) and
        `output/<function>/<precision>/<tensor>` (K, ...), computed by torch in that precision."""
        what = str(self.path / GOLDEN)
        arrays = read_npz(self.read(GOLDEN), what, BundleError, self._largest_golden())
        for name, array in arrays.items():
            if array.dtype.kind not in "fiub" or not array.ndim or not len(array):
                raise BundleError(f"{what}: {shown(name)}: expected rows of numbers.")
        return arrays

    def _largest_golden(self) -> int:
        """Bytes, unpacked, that no golden.npz for these functions needs."""
        manifest, precisions = self.manifest, {x.precision for x in self.manifest.artefacts}
        given = [x for f in manifest.functions for x in f.inputs]
        answers = [x for f in manifest.functions for x in f.outputs]
        values = sum(x.size for x in (*given, *answers * len(precisions)))
        return _MOST_ROWS * (8 * values + 1024 * (len(given) + len(answers) * len(precisions)))


def open_bundle(path: Path) -> Bundle:
    """Verify a bundle folder and parse its manifest. Raises BundleError; parses nothing before."""
    put_back(path)
    if not path.is_dir():
        raise BundleError(f"{path} is not a bundle folder.")
    present = _plain_files(path)
    if "config.json" in present and MANIFEST not in present:
        raise BundleError(f"{path} is a policy, not a bundle. Run: ofp-edge compile {path}")
    if missing := {MANIFEST, DIGEST} - present:
        raise BundleError(f"{path} is not a bundle: {', '.join(sorted(missing))} is missing.")
    raw = read_plain(path / MANIFEST, BundleError, LARGEST_JSON)
    recorded = read_plain(path / DIGEST, BundleError, 1000)
    digest = recorded.decode("ascii", errors="replace").strip()
    if recorded != f"{sha256_bytes(raw)}\n".encode():
        raise BundleError(
            f"{path / MANIFEST} was edited: its SHA-256 is {sha256_bytes(raw)[:12]}…, "
            f"{DIGEST} says {digest[:12]}…. Compile the policy again."
        )
    value = parse_json(raw, str(path / MANIFEST), BundleError)
    try:
        manifest = read_manifest(value)
    except BundleError as cause:
        raise BundleError(f"{path}: {cause}") from None
    default = manifest.default
    if (default.engine, default.precision) not in Bundle(path, manifest, digest).engines():
        raise BundleError(f"{path / MANIFEST}: the bundle does not hold its {manifest.default}.")
    listed = {entry.file for entry in manifest.entries} | {MANIFEST, DIGEST, SIGNATURE}
    if extra := sorted(present - listed):
        raise BundleError(f"{path} holds a file that its manifest does not list: {extra[0]}.")
    for entry in {x.file: x for x in manifest.entries}.values():  # engines may share one
        _check_entry(path, entry, present)
    return _with_rows(Bundle(path, manifest, digest))


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write manifest.json (canonical bytes) and manifest.sha256 into `folder`."""
    raw = canonical_json(manifest.to_json())
    (folder / MANIFEST).write_bytes(raw)
    (folder / DIGEST).write_text(sha256_bytes(raw) + "\n", encoding="ascii")


def _with_rows(bundle: Bundle) -> Bundle:
    """The bundle with its time rows, where they stand in a file of their own."""
    manifest = bundle.manifest
    entry = next((x for x in manifest.files if x.role == "time_rows"), None)
    if entry is None:
        return bundle
    what, rows = str(bundle.path / entry.file), manifest.time_rows
    size = next(x.size for x in manifest.functions[-1].inputs if x.role == "time")
    require_size(bundle.path / entry.file, entry.size, BundleError, largest_file(len(rows), size))
    filled = rows_from(bundle.read(entry.file), rows, size, what)
    return replace(bundle, manifest=replace(manifest, time_rows=filled))


def _plain_files(path: Path) -> set[str]:
    present = set()

    def refuse(cause: OSError) -> None:
        raise BundleError(f"{cause.filename} cannot be read: {cause.strerror}.") from None

    for place, folders, files in os.walk(path, onerror=refuse):
        for item in (Path(place, x) for x in sorted((*folders, *files))):
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
    if entry.role not in ("words", "data"):  # they are mapped
        require_memory(entry.size, str(path / entry.file), BundleError)
    with open_plain(path / entry.file, BundleError):  # that it can be read at all
        digest = sha256_file(path / entry.file)
    if digest != entry.sha256:
        raise BundleError(f"{path / entry.file} is damaged or was edited: its SHA-256 differs.")
