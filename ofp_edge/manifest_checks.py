"""Hold a manifest that was read against itself: names, sizes, functions, time rows, files."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import zip_longest

from ofp_edge.errors import BundleError
from ofp_edge.functions import ACT, ENCODE, Function, Tensor, observed, prefix_of
from ofp_edge.manifest import FILE, Committed, Manifest
from ofp_edge.manifest_prompt import PROMPT_ROLES, check_prompted
from ofp_edge.manifest_rows import ROWS, check_rows, size_of_rows
from ofp_edge.provenance import check_provenance
from ofp_edge.spec import PolicySpec
from ofp_edge.strict import shown
from ofp_edge.task_rows import FILE as TASK_ROWS
from ofp_edge.task_rows import task_size

LARGEST_TENSOR, _MOST_FUNCTIONS = 1 << 26, 16
_MOST_AXES, _MOST_TENSORS, _MOST_FILES = 8, 512, 4096
_LARGEST_NUMBER = 3.4e38  # of float32
_SMALLEST_SCALE = 1e-30  # what is divided by it stays a number
_SHA256 = re.compile(r"[0-9a-f]{64}")
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,63}")  # in file names and keys of golden.npz
_TENSOR_NAME = re.compile(r"[^\x00-\x1f\x7f]{1,200}")  # a field's, which may have spaces
_ROLES = (
    "observation", "words", "valid", "feature", "cache", "noise", "time", "task", "committed",
    "free", "chunk", "chunk_normalised",
)  # fmt: skip
_FILE_ROLES = (None, "golden", "plan", "words", "prompt", "time_rows", "tasks", "data")
_DTYPES = ("float32", "float16", "int64", "int32", "int8", "uint8", "bool")


def check_manifest(manifest: Manifest) -> None:
    """Raise BundleError, naming the entry, where nothing could run by this manifest."""
    for name in manifest.spec.cameras:
        if name not in manifest.cameras:
            raise BundleError(f"{FILE}: no parameters of the training camera {name!r}.")
    _check_names(manifest)
    _check_known(manifest)
    _check_sizes(manifest)
    check_rows(manifest)
    _check_functions(manifest)
    if manifest.committed is not None:
        _check_committed(manifest.committed, manifest.spec)
    _check_bounds(manifest)
    _check_entries(manifest)
    check_provenance(manifest.provenance, FILE, BundleError)


def _check_names(manifest: Manifest) -> None:
    """Names become keys and names of files: they are short, plain, and each one means one thing."""
    if len(manifest.artefacts) + len(manifest.files) > _MOST_FILES:
        raise BundleError(f"{FILE}: expected at most {_MOST_FILES} artefacts and files.")
    for entry in manifest.artefacts:
        for what in ("function", "engine", "precision"):
            _require_name(what, getattr(entry, what), _NAME)
    for function in manifest.functions:
        _require_name("function", function.name, _NAME)
        for side, tensors in (("inputs", function.inputs), ("outputs", function.outputs)):
            names = [x.name for x in tensors]
            for name in names[:_MOST_TENSORS]:
                _require_name("tensor", name, _TENSOR_NAME)
            if len(names) > _MOST_TENSORS or len(set(names)) != len(names):
                raise BundleError(
                    f"{FILE}: {function.name}.{side}: expected at most {_MOST_TENSORS}, each name "
                    f"once, got {shown(names)}."
                )


def _require_name(what: str, name: str, form: re.Pattern[str]) -> None:
    if not form.fullmatch(name):
        raise BundleError(f"{FILE}: {what}: {shown(name)} is no name that one may have.")


def _check_sizes(manifest: Manifest) -> None:
    if not 0 < len(manifest.functions) <= _MOST_FUNCTIONS:
        raise BundleError(f"{FILE}: functions: expected 1 to {_MOST_FUNCTIONS}.")
    names = [x.name for x in manifest.functions]
    if len(set(names)) != len(names) or ENCODE not in names or names[-1] != ACT:
        expected = f"{ENCODE!r} and at the end {ACT!r}, each name once"
        raise BundleError(f"{FILE}: functions: expected {expected}, got {shown(names)}.")
    for function in manifest.functions:
        for tensor in (*function.inputs, *function.outputs):
            _check_size(tensor)
    if manifest.default.nfe < 1:
        raise BundleError(f"{FILE}: default.nfe: expected 1 or more, got {manifest.default.nfe}.")


def _check_size(tensor: Tensor) -> None:
    shape = tensor.shape
    if tensor.dtype not in _DTYPES:
        raise BundleError(
            f"{FILE}: {tensor.name!r}: dtype: expected one of {', '.join(_DTYPES)}, got "
            f"{shown(tensor.dtype)}."
        )
    if not 0 < len(shape) <= _MOST_AXES or min(shape) < 1 or tensor.size > LARGEST_TENSOR:
        raise BundleError(
            f"{FILE}: {tensor.name!r} would be {shown(shape)}, expected at most {LARGEST_TENSOR} "
            f"values on 1 to {_MOST_AXES} axes."
        )
    if shape[0] != 1 and not tensor.resident:  # golden.npz has its rows there
        raise BundleError(f"{FILE}: {tensor.name!r}: expected a first axis of 1, got {shape}.")


def _check_functions(manifest: Manifest) -> None:
    """What `Inference` goes by: where each input comes from, and what `act` takes and gives."""
    spec, (*before, act) = manifest.spec, manifest.functions
    fed: tuple[str, ...] = ("observation", "task")
    if manifest.prompt is None:
        seen = [x for f in before for x in f.inputs if x.role in fed]
        require_same("observations", seen, observed(spec, task_size(before)))
    else:
        check_prompted(manifest)
        fed = ("observation", *PROMPT_ROLES)
    _check_tasks(manifest)
    for number, function in enumerate(manifest.functions):
        for tensor in function.outputs:
            if tensor.source is not None or (tensor.name == "chunk" and function is not act):
                expected = f"no source, and no {'chunk'!r} but act's"
                raise BundleError(f"{FILE}: {function.name}.outputs: expected {expected}.")
        for tensor in function.inputs:
            if tensor.source is not None:
                steps = spec.n_obs_steps if tensor is act.kept_feature else 1
                _check_source(tensor, steps, manifest.functions[:number])
            elif tensor.resident or (function is not act and tensor.role not in fed):
                raise BundleError(f"{FILE}: {function.name}: nothing feeds {tensor.name!r}.")
    before_prompts = manifest.prompt is None
    row, flat = size_of_rows(manifest), (1, spec.horizon * _width(manifest))
    drawn = (Tensor("z", flat, role="noise"), Tensor("time_row", (1, row), role="time"))
    require_same(
        "inputs of act",
        [x for x in act.inputs if x.source is None and (before_prompts or x.role not in fed)],
        [
            *(drawn if row else ()),
            *(() if manifest.committed is None else prefix_of(spec)),
        ],
    )
    require_same(
        "outputs of act",
        act.outputs,
        [
            Tensor("chunk", (1, spec.plan_steps * spec.action_dim), role="chunk"),
            Tensor("chunk_normalised", flat, role="chunk_normalised"),
        ],
    )


def _check_tasks(manifest: Manifest) -> None:
    """The table of task rows is there where a function takes one, and nowhere else."""
    found = [x.file for x in manifest.files if x.role == "tasks"]
    taken = [x.name for f in manifest.functions for x in f.inputs if x.role == "task"]
    if len(taken) > 1:
        raise BundleError(f"{FILE}: expected one input of role 'task', got {shown(taken)}.")
    wanted = [TASK_ROWS] if taken else []
    if found != wanted:
        raise BundleError(
            f"{FILE}: files: expected {shown(wanted)} of role 'tasks', got {shown(found)}."
        )


def _width(manifest: Manifest) -> int:
    """Numbers of an action as the network flows it: the robot's, or more where a method draws and
    is told no prefix."""
    spec, act = manifest.spec, manifest.functions[-1]
    normalised = next((x for x in act.outputs if x.name == "chunk_normalised"), None)
    if normalised is None or manifest.committed is not None or manifest.deterministic:
        return spec.action_dim
    return max(normalised.size // spec.horizon, spec.action_dim)


def _check_committed(committed: Committed, spec: PolicySpec) -> None:
    most, size = spec.plan_steps - spec.n_action_steps, spec.action_dim
    if not 0 < committed.steps <= most:
        raise BundleError(
            f"{FILE}: committed.steps: expected 1..{most} (horizon - n_action_steps), got "
            f"{committed.steps}."
        )
    for name in ("scale", "offset"):
        values = getattr(committed, name)
        if len(values) != size or max(map(abs, values)) > _LARGEST_NUMBER:
            raise BundleError(f"{FILE}: committed.{name}: expected {size} numbers of float32.")
    if min(map(abs, committed.scale)) < _SMALLEST_SCALE:
        raise BundleError(f"{FILE}: committed.scale: expected no 0.")


def _check_bounds(manifest: Manifest) -> None:
    states = {field.name: field.shape[0] for field in manifest.spec.states}
    for name, bounds in manifest.state_bounds.items():
        at = f"{FILE}: state_bounds.{shown(name)[1:-1]}"
        if name not in states:
            raise BundleError(f"{at}: expected a state of {shown(sorted(states))}.")
        for end in ("low", "high"):
            values = getattr(bounds, end)
            if len(values) != states[name] or max(map(abs, values)) > _LARGEST_NUMBER:
                raise BundleError(f"{at}.{end}: expected {states[name]} numbers of float32.")
        if any(a >= b for a, b in zip(bounds.low, bounds.high, strict=True)):
            raise BundleError(f"{at}: expected low below high.")


def require_same(what: str, got: Iterable[Tensor], wanted: Iterable[Tensor]) -> None:
    """Raise BundleError naming the first tensor that is another one."""
    for number, (one, other) in enumerate(zip_longest(got, wanted)):
        if one != other:
            expected = f"expected {_described(other)}, got {_described(one)}"
            raise BundleError(f"{FILE}: {what}[{number}]: {expected}.")


def _described(tensor: Tensor | None) -> str:
    if tensor is None:
        return "none"
    role = "" if tensor.role is None else f"{tensor.role} "
    source = "" if tensor.source is None else f" of {shown(tensor.source)}"
    resident = " resident" if tensor.resident else ""
    return f"{role}{tensor.name!r} {shown(tensor.shape)} {tensor.dtype}{source}{resident}"


def _check_source(tensor: Tensor, steps: int, before: tuple[Function, ...]) -> None:
    """An input is made of one output: itself, or `steps` of them side by side, oldest first."""
    where, output = tensor.fed_by
    found = [x for f in before if f.name == where for x in f.outputs if x.name == output]
    if not found:
        got = shown(tensor.source)
        raise BundleError(f"{FILE}: {tensor.name!r}: no function before has {got}.")
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
    keys = set()
    for number, item in enumerate(manifest.artefacts):
        where = f"{FILE}: artefacts[{number}]"
        if (key := (item.function, item.engine, item.precision)) in keys:
            raise BundleError(f"{where}: {' '.join(key)} is listed twice.")
        keys.add(key)
        if item.function not in names:
            expected = " or ".join(names)
            raise BundleError(f"{where}.function: expected {expected}, got {item.function!r}.")
        if any(x < 0 for values in item.tolerance.values() for x in values):
            raise BundleError(f"{where}.tolerance: expected numbers from 0 on.")
    _check_beside(manifest)
    seen: dict[str, tuple[int, str]] = {}
    for entry in manifest.entries:
        facts = entry.size, entry.sha256
        if seen.setdefault(entry.file, facts) != facts:  # engines may share one
            raise BundleError(f"{FILE}: {shown(entry.file)} is listed twice, differently.")
        if entry.size < 0 or not _SHA256.fullmatch(entry.sha256):
            raise BundleError(f"{FILE}: {shown(entry.file)}: expected a size and a SHA-256.")


def _check_beside(manifest: Manifest) -> None:
    """Files of weights: each that a graph names is listed as one, and the other way round."""
    listed = {x.file for x in manifest.files if x.role == "data"}
    named: dict[str, tuple[str, ...]] = {}
    for item in manifest.artefacts:
        if named.setdefault(item.file, item.data) != item.data:
            raise BundleError(f"{FILE}: {shown(item.file)} is listed twice, differently.")
    wanted = {name for names in named.values() for name in names}
    if odd := sorted(listed ^ wanted):
        raise BundleError(
            f"{FILE}: files: {shown(odd[0])}: expected weights that an artefact names, of role "
            "'data'."
        )


def _check_known(manifest: Manifest) -> None:
    """What schema 2 has a place for and this ofp-edge does nothing with is refused by name."""
    for what in _unknown(manifest):
        raise BundleError(f"{FILE}: the bundle has {what}: install a newer ofp-edge to run it.")


def _unknown(manifest: Manifest) -> Iterator[str]:
    for function in manifest.functions:
        for tensor in (*function.inputs, *function.outputs):
            if tensor.role not in _ROLES:
                yield f"a tensor {tensor.name!r} of role {tensor.role!r}"
    for row in manifest.time_rows:
        if row.name not in ROWS:
            yield f"a time row {shown(row.name)}"
    for entry in manifest.files:
        if entry.role not in _FILE_ROLES:
            yield f"a file of role {entry.role!r} ({shown(entry.file)})"
    if manifest.instructions is not None:
        yield "instructions"
