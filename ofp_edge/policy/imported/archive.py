"""Open a torch.export archive (.pt2) without executing anything in it.

`torch.export.load` reads such a file with full pickle where a weight, a constant or the sample
inputs say so, and hands symbolic shapes to sympy, which evaluates them as Python. So the archive is
read here first, as a zip of JSON and raw numbers: whatever would be unpickled or evaluated is
refused by name, the sample inputs are dropped, and the program is checked (exported_graph.py). What
is left is written anew, and only that is loaded.
"""

from __future__ import annotations

import io
import json
import os
import zipfile
from pathlib import Path
from typing import Any

import torch

from ofp_edge.contents import OLD_PROGRAM, ONNX, PROGRAM, told_of
from ofp_edge.errors import PolicyError
from ofp_edge.outside import open_plain, read_plain, said_by
from ofp_edge.policy.imported.exported_graph import (
    check_paths,
    check_program,
    check_tensor_meta,
    check_words,
)
from ofp_edge.strict import parse_json, shown

_LARGEST = 2 << 30  # bytes of a program; one for a robot has some ten million
_LARGEST_JSON = 64 << 20
_EXPORT = "torch.export.save(torch.export.export(network.eval(), inputs), 'u.pt2')"
_AGAIN = f"export the network again with torch {torch.__version__.partition('+')[0]}"
_WEIGHTS, _CONSTANTS = "data/weights/", "data/constants/"


def read_program(path: Path, *, inside: Path | None = None) -> bytes:
    """Read the bytes of a program file. Raises PolicyError when it is missing or far too large."""
    with open_plain(path, PolicyError, inside=inside) as file:
        size = os.fstat(file.fileno()).st_size
    if size > _LARGEST:
        raise PolicyError(
            f"{path}: {size / 2**30:.1f} GiB, expected a program below 2 GiB. Is it the right file?"
        )
    return read_plain(path, PolicyError, _LARGEST, inside=inside)


def clean_archive(data: bytes, what: str) -> bytes:
    """Return the same program without what could execute. PolicyError names what was refused.

    The same bytes for the same program; what: the file's name, for errors.
    """
    _require_program(data, what)
    files = _entries(data, what)
    models = [name for name in files if name.startswith("models/") and name.endswith(".json")]
    if len(models) != 1:
        raise PolicyError(
            f"{what} holds {len(models)} exported programs, expected 1: torch.export.save writes "
            "such a file."
        )
    name = models[0][len("models/") : -len(".json")]
    check_words([name], what)
    program = _parsed(files[models[0]], f"{what}, {models[0]}")
    _require_schema(program, what)
    check_program(program, what)
    kept = {
        "archive_format": b"pt2",
        "archive_version": files.get("archive_version", b"0"),
        models[0]: json.dumps(program).encode(),
        f"data/sample_inputs/{name}.pt": b"",
    }
    for folder, suffix, prefix in (
        (_WEIGHTS, "_weights_config.json", "weight_"),
        (_CONSTANTS, "_constants_config.json", "tensor_"),
    ):
        config_name = f"{folder}{name}{suffix}"
        if config_name not in files:
            raise PolicyError(
                f"{what}: {config_name} is missing, as where another torch wrote it: {_AGAIN}."
            )
        config = _parsed(files[config_name], f"{what}, {config_name}")
        kept[config_name] = json.dumps(config).encode()
        for key, file, pickled, meta in _listed(config, f"{what}, {config_name}"):
            check_paths([key], what)
            if pickled or not file.startswith(prefix) or "/" in file:
                raise PolicyError(
                    f"{what}: {key!r} ({shown(file)}) would be unpickled, which executes what it "
                    "holds: refused. Export plain tensors on the CPU."
                )
            if f"{folder}{file}" not in files:
                raise PolicyError(f"{what}: {folder}{file} is missing.")
            _check_storage(meta, files[f"{folder}{file}"], f"{what}, {key}")
            kept[f"{folder}{file}"] = files[f"{folder}{file}"]
    return _written(kept)


def _require_program(data: bytes, what: str) -> None:
    """Refuse by name what is another kind of file."""
    found = told_of(data)
    if found in (None, PROGRAM):
        return
    if found == ONNX:
        advice = "give it as --onnx"
    elif found == OLD_PROGRAM:
        advice = f"load it with the torch that wrote it, and {_AGAIN}"
    else:
        advice = f"export the network itself: {_EXPORT}"
    raise PolicyError(f"{what} is no torch.export archive: it is {found}; {advice}.")


def _require_schema(program: Any, what: str) -> None:
    """Refuse a program of a schema that this torch does not read, before its form is judged."""
    from torch._export.serde.schema import SCHEMA_VERSION  # `import torch` does not

    version = program.get("schema_version") if isinstance(program, dict) else None
    major = version.get("major") if isinstance(version, dict) else None
    if major != SCHEMA_VERSION[0]:
        raise PolicyError(
            f"{what} was exported by another torch: schema {shown(major)}, torch "
            f"{torch.__version__} reads {SCHEMA_VERSION[0]}. Load it with the torch that wrote it, "
            f"and {_AGAIN}."
        )


def load_program(data: bytes, what: str) -> torch.export.ExportedProgram:
    """Clean and load a program's archive. Raises PolicyError when torch can't read the rest."""
    cleaned = clean_archive(data, what)
    with said_by(f"{what}: torch {torch.__version__} can't read it", PolicyError):
        return torch.export.load(io.BytesIO(cleaned))


def _entries(data: bytes, what: str) -> dict[str, bytes]:
    """Files by their name inside the archive's one folder."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            found, items = {}, archive.infolist()
            if sum(x.file_size for x in items) > len(data):
                raise PolicyError(f"{what}: its files are larger than it is: refused.")
            for item in items:
                if item.compress_type != zipfile.ZIP_STORED:
                    raise PolicyError(
                        f"{what}: {shown(item.filename)} is compressed: torch writes none."
                    )
                found[item.filename.partition("/")[2]] = archive.read(item)
            return found
    except (zipfile.BadZipFile, RuntimeError, ValueError, OSError, EOFError) as cause:
        raise PolicyError(f"{what} is no torch.export archive: {cause}") from None


def _parsed(data: bytes, what: str) -> Any:
    return parse_json(data, what, PolicyError, largest=_LARGEST_JSON)


def _listed(config: Any, what: str) -> list[tuple[str, str, bool, Any]]:
    """(key, file, whether it is a pickle, the tensor's metadata) of every weight or constant."""
    try:
        return [
            (key, str(entry["path_name"]), bool(entry["use_pickle"]), entry["tensor_meta"])
            for key, entry in config["config"].items()
        ]
    except (KeyError, TypeError, AttributeError) as cause:
        raise PolicyError(f"{what}: not the form of an exported program: {cause!r}") from None


def _check_storage(meta: Any, data: bytes, what: str) -> None:
    """A tensor may not reach past the bytes that are its own."""
    from torch._export.serde.serialize import deserialize_scalar_type  # `import torch` does not

    try:
        dtype = deserialize_scalar_type(meta["dtype"])
        reach = check_tensor_meta(meta, what)
    except (KeyError, TypeError, AttributeError, ValueError) as cause:
        raise PolicyError(f"{what}: not the form of an exported program: {cause!r}") from None
    if reach * dtype.itemsize > len(data):
        raise PolicyError(f"{what}: {len(data)} bytes, its shape reaches to {reach} elements.")


def _written(files: dict[str, bytes]) -> bytes:
    from torch.export.pt2_archive._package import PT2ArchiveWriter

    buffer = io.BytesIO()
    with PT2ArchiveWriter(buffer) as writer:
        for name, data in files.items():
            if not writer.has_record(name):  # it writes the format's name itself
                writer.write_bytes(name, data)
    return buffer.getvalue()
