"""Read manifest.json from outside: by its schema version, typed, and checked against itself."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from ofp_edge.camera_parameters import CameraParameters, CameraTolerance
from ofp_edge.errors import BundleError, SpecMismatch
from ofp_edge.functions import ACT, ENCODE, Function, Tensor, encode_and_act, observed
from ofp_edge.manifest import (
    FILE,
    INTERFACE,
    SCHEMA_VERSION,
    Artefact,
    Default,
    FileEntry,
    Manifest,
    Start,
    TimeRow,
)
from ofp_edge.provenance import check_provenance
from ofp_edge.spec import PolicySpec
from ofp_edge.strict import read_as, shown

_LARGEST_TENSOR, _WIDEST, _MOST_FUNCTIONS = 1 << 26, 1 << 14, 16
_SHA256 = re.compile(r"[0-9a-f]{64}")
_ROLES = ("observation", "feature", "noise", "time", "chunk", "chunk_normalised")
_FILE_ROLES = (None, "golden", "plan")
_DTYPES = ("float32", "float16", "int64", "int32", "int8", "uint8", "bool")


def read_manifest(value: Any) -> Manifest:
    """Read the manifest from a JSON value. Raises BundleError naming the entry that is missing,
    mistyped or unknown, or a schema version that this ofp-edge does not read."""
    version = value.get("schema_version") if isinstance(value, dict) else None
    if version == 1:
        manifest = _upgraded(read_as(_Version1, value, FILE, BundleError))
    elif version == SCHEMA_VERSION:
        manifest = _read(value)
    else:
        raise BundleError(
            f"bundle schema version {shown(version)}, this ofp-edge reads 1 and {SCHEMA_VERSION}. "
            "Compile the policy again with this version."
        )
    for name in manifest.spec.cameras:
        if name not in manifest.cameras:
            raise BundleError(f"{FILE}: no parameters of the training camera {name!r}.")
    _check_known(manifest)
    _check_sizes(manifest)
    _check_functions(manifest)
    _check_entries(manifest)
    check_provenance(manifest.provenance, FILE, BundleError)
    return manifest


@dataclass(frozen=True)
class _Version1:
    """What ofp-edge 0.1 wrote: the two functions are implied by the spec and two sizes."""

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
    schema_version: int


def _upgraded(old: _Version1) -> Manifest:
    if not 0 < old.feature_dim <= _LARGEST_TENSOR:
        raise BundleError(f"{FILE}: feature_dim: expected a size, got {old.feature_dim}.")
    functions = encode_and_act(old.spec, old.feature_dim, _row_size(old.time_rows))
    seen = [(x.name, x.shape, x.dtype) for x in old.encode_inputs]
    wanted = [(x.name, x.shape, x.dtype) for x in functions[0].inputs]
    if seen != wanted:
        raise BundleError(f"{FILE}: encode_inputs: expected {wanted}, got {seen}.")
    return Manifest(
        old.target,
        old.board,
        old.spec,
        old.cameras,
        old.camera_tolerance,
        functions,
        old.time_rows,
        old.artefacts,
        old.files,
        old.default,
        old.provenance,
    )


def _read(value: dict[str, Any]) -> Manifest:
    parts = []
    for key in ("interface", "chunking"):
        if not isinstance(part := value.get(key), dict):
            raise BundleError(f"{FILE}: {key}: expected an object, got {shown(part)}.")
        parts.append(part)
    seen = [set(value) & {"spec"}, set(parts[0]) ^ set(INTERFACE), set(parts[1]) & set(INTERFACE)]
    if wrong := sorted(set().union(*seen)):
        raise BundleError(
            f"{FILE}: expected {' and '.join(INTERFACE)} in `interface` alone, and no `spec`: "
            f"not so {shown(wrong)}."
        )
    try:
        spec = PolicySpec.from_json({**parts[0], **parts[1]})
    except SpecMismatch as cause:
        raise BundleError(f"{FILE}: {cause}") from None
    others = {key: x for key, x in value.items() if key not in ("interface", "chunking")}
    return read_as(Manifest, others, FILE, BundleError, spec=spec)


def _row_size(rows: tuple[TimeRow, ...]) -> int:
    sizes = {len(x.row) for x in rows}
    if len(sizes) != 1 or not 0 < max(sizes) <= _WIDEST or len(rows) > _WIDEST:
        raise BundleError(f"{FILE}: time_rows: expected rows, all of one length.")
    return sizes.pop()


def _check_sizes(manifest: Manifest) -> None:
    if not 0 < len(manifest.functions) <= _MOST_FUNCTIONS:
        raise BundleError(f"{FILE}: functions: expected 1 to {_MOST_FUNCTIONS}.")
    names = [x.name for x in manifest.functions]
    if len(set(names)) != len(names) or ENCODE not in names or names[-1] != ACT:
        expected = f"{ENCODE!r} and at the end {ACT!r}, each name once"
        raise BundleError(f"{FILE}: functions: expected {expected}, got {shown(names)}.")
    for function in manifest.functions:
        for tensor in (*function.inputs, *function.outputs):
            if tensor.dtype not in _DTYPES:
                raise BundleError(
                    f"{FILE}: {tensor.name!r}: dtype: expected one of {', '.join(_DTYPES)}, got "
                    f"{shown(tensor.dtype)}."
                )
            if not tensor.shape or min(tensor.shape) < 1 or tensor.size > _LARGEST_TENSOR:
                raise BundleError(
                    f"{FILE}: {tensor.name!r} would be {tensor.shape}, expected at most "
                    f"{_LARGEST_TENSOR} values."
                )
    if manifest.default.nfe < 1:
        raise BundleError(f"{FILE}: default.nfe: expected 1 or more, got {manifest.default.nfe}.")


def _check_functions(manifest: Manifest) -> None:
    """What `Inference` goes by: where each input comes from, and what `act` takes and gives."""
    spec, (*before, act) = manifest.spec, manifest.functions
    seen = [x for f in before for x in f.inputs if x.role == "observation"]
    _same("observations", seen, observed(spec))
    for number, function in enumerate(manifest.functions):
        for tensor in function.inputs:
            if tensor.source is not None:
                steps = spec.n_obs_steps if tensor is act.kept_feature else 1
                _check_source(tensor, steps, manifest.functions[:number])
            elif tensor.resident or (function is not act and tensor.role != "observation"):
                raise BundleError(f"{FILE}: {function.name}: nothing feeds {tensor.name!r}.")
    row, flat = _row_size(manifest.time_rows), (1, spec.horizon * spec.action_dim)
    _same(
        "inputs of act",
        [x for x in act.inputs if x.source is None],
        [
            Tensor("z", flat, role="noise"),
            Tensor("time_row", (1, row), role="time"),
        ],
    )
    _same(
        "outputs of act",
        act.outputs,
        [
            Tensor("chunk", (1, spec.plan_steps * spec.action_dim), role="chunk"),
            Tensor("chunk_normalised", flat, role="chunk_normalised"),
        ],
    )


def _same(what: str, got: Any, wanted: Any) -> None:
    if list(got) != list(wanted):
        texts = [[f"{x.role} {x.name} {x.shape} {x.dtype}" for x in side] for side in (wanted, got)]
        raise BundleError(f"{FILE}: {what}: expected {texts[0]}, got {shown(texts[1])}.")


def _check_source(tensor: Tensor, steps: int, before: tuple[Function, ...]) -> None:
    """An input is made of one output: itself, or `steps` of them side by side, oldest first."""
    where, output = tensor.fed_by
    found = [x for f in before if f.name == where for x in f.outputs if x.name == output]
    if not found:
        raise BundleError(f"{FILE}: {tensor.name!r}: no function before has {tensor.source!r}.")
    source = found[0]
    shape = (*source.shape[:-1], steps * source.shape[-1])
    if (tensor.shape, tensor.dtype) != (shape, source.dtype):
        raise BundleError(
            f"{FILE}: {tensor.name!r}: expected {shape} {source.dtype} of {tensor.source}, got "
            f"{tensor.shape} {tensor.dtype}."
        )
    if tensor.resident != source.resident:
        raise BundleError(f"{FILE}: {tensor.name!r}: resident on one side of {tensor.source} only.")


def _check_entries(manifest: Manifest) -> None:
    names = [x.name for x in manifest.functions]
    for number, item in enumerate(manifest.artefacts):
        where = f"{FILE}: artefacts[{number}]"
        if item.function not in names:
            expected = " or ".join(names)
            raise BundleError(f"{where}.function: expected {expected}, got {item.function!r}.")
        if any(x < 0 for values in item.tolerance.values() for x in values):
            raise BundleError(f"{where}.tolerance: expected numbers from 0 on.")
    seen: dict[str, tuple[int, str]] = {}
    for entry in manifest.entries:
        facts = entry.size, entry.sha256
        if seen.setdefault(entry.file, facts) != facts:  # engines may share one
            raise BundleError(f"{FILE}: {shown(entry.file)} is listed twice, differently.")
        if entry.size < 0 or not _SHA256.fullmatch(entry.sha256):
            raise BundleError(f"{FILE}: {shown(entry.file)}: expected a size and a SHA-256.")


def _check_known(manifest: Manifest) -> None:
    """What schema 2 has a place for and this ofp-edge does nothing with is refused by name."""
    for what in _unknown(manifest):
        raise BundleError(f"{FILE}: the bundle has {what}: install a newer ofp-edge to run it.")


def _unknown(manifest: Manifest) -> Iterator[str]:
    for function in manifest.functions:
        for tensor in (*function.inputs, *function.outputs):
            if tensor.role not in _ROLES:
                yield f"a tensor {tensor.name!r} of role {tensor.role!r}"
    for entry in manifest.files:
        if entry.role not in _FILE_ROLES:
            yield f"a file of role {entry.role!r} ({shown(entry.file)})"
    if any(x.data for x in manifest.artefacts):
        yield "weights in files of their own"
    if manifest.start != Start():
        yield f"starts of its own ({manifest.start})"
    if manifest.instructions is not None:
        yield "instructions"
