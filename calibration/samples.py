"""The file of calibration samples (.npz): what ranges are measured on, and what checks them.

    observation/<field>, episode, frame                     the samples
    held_out/observation/<field>, held_out/episode, …       windows of other episodes: error, gate
    about                                                   JSON: source, hash, how they were chosen

The two never share an episode: a file in which they do is refused.
"""

from __future__ import annotations

import io
import json
import zipfile
import zlib
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ofp_edge.calibration.coverage import Coverage
from ofp_edge.calibration.windows import ObservationWindows
from ofp_edge.errors import OfpError, PolicyError
from ofp_edge.files import canonical_json
from ofp_edge.spec import PolicySpec

FILE = "calibration.npz"
KIND, SCHEMA_VERSION = "calibration samples", 1
_HELD_OUT = "held_out/"


@dataclass(frozen=True)
class CalibrationSet:
    """source: name of the dataset or recording, with its hash. coverage: how the samples lie among
    those they were chosen from."""

    samples: ObservationWindows
    held_out: ObservationWindows
    source: str
    source_sha256: str
    seed: int
    coverage: Coverage

    def to_bytes(self) -> bytes:
        """The file's content; equal bytes for an equal set."""
        about = {
            "kind": KIND, "schema_version": SCHEMA_VERSION, "source": self.source,
            "source_sha256": self.source_sha256, "seed": self.seed,
            "coverage": asdict(self.coverage),
        }  # fmt: skip
        return npz({**arrays_of(self.samples), **arrays_of(self.held_out, _HELD_OUT)}, about)

    def check_apart(self, where: str) -> None:
        """Raise OfpError when samples and held-out windows share an episode."""
        shared = sorted(set(self.samples.episode.tolist()) & set(self.held_out.episode.tolist()))
        if shared:
            raise OfpError(
                f"{where}: episode {shared[0]} gives both calibration samples and windows to check "
                "them by. Choose the samples again: ofp-edge calibrate samples."
            )


def read_samples(path: Path, spec: PolicySpec) -> CalibrationSet:
    """Read a file of samples; PolicyError when it is damaged or does not fit the spec, OfpError
    when its episodes overlap."""
    values, about = read_npz(path)
    if about.get("kind") != KIND or about.get("schema_version") != SCHEMA_VERSION:
        raise PolicyError(
            f"{path} holds {about.get('kind', 'something else')}, schema version "
            f"{about.get('schema_version')}; expected {KIND}, {SCHEMA_VERSION}: write them with "
            "ofp-edge calibrate samples."
        )
    try:
        found = CalibrationSet(
            windows_of(values, spec, path), windows_of(values, spec, path, _HELD_OUT),
            about["source"], about["source_sha256"], about["seed"], Coverage(**about["coverage"]),
        )  # fmt: skip
    except (KeyError, TypeError) as cause:
        raise PolicyError(f"{path} is missing or damaged: {cause}") from None
    found.check_apart(str(path))
    return found


def arrays_of(windows: ObservationWindows, prefix: str = "") -> dict[str, NDArray[Any]]:
    """The windows as arrays of a file."""
    found = {f"{prefix}observation/{name}": values for name, values in windows.fields.items()}
    return {**found, f"{prefix}episode": windows.episode, f"{prefix}frame": windows.frame}


def windows_of(
    values: dict[str, NDArray[Any]], spec: PolicySpec, path: Path, prefix: str = ""
) -> ObservationWindows:
    """The inverse of `arrays_of`. PolicyError when a field is missing or has another form."""
    wanted = {f.name: f"{prefix}observation/{f.name}" for f in spec.observations}
    for name in (*wanted.values(), f"{prefix}episode", f"{prefix}frame"):
        if name not in values:
            raise PolicyError(f"{path} is missing or damaged: it has no {name!r}.")
    episode, frame = values[f"{prefix}episode"], values[f"{prefix}frame"]
    for field in spec.observations:
        want = (len(episode), spec.n_obs_steps, *field.shape)
        found = values[wanted[field.name]]
        if found.shape != want or found.dtype != field.dtype or not len(episode):
            raise PolicyError(
                f"{path}, {field.name!r}: expected shape {want} {field.dtype}, got "
                f"{found.shape} {found.dtype}."
            )
    return ObservationWindows({n: values[key] for n, key in wanted.items()}, episode, frame)


def npz(arrays: dict[str, NDArray[Any]], about: dict[str, Any]) -> bytes:
    """Compressed arrays with a JSON document among them; the same bytes every time."""
    buffer = io.BytesIO()
    text = np.frombuffer(canonical_json(about), np.uint8)
    np.savez_compressed(buffer, allow_pickle=False, about=text, **arrays)
    return buffer.getvalue()


def read_npz(path: Path) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    """Arrays and document of `npz`. PolicyError when the file is missing or damaged."""
    try:
        with np.load(path, allow_pickle=False) as arrays:
            values = {name: arrays[name] for name in arrays.files}
        about = json.loads(values.pop("about").tobytes())
        if not isinstance(about, dict):
            raise ValueError("`about` is no object")
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error) as cause:
        raise PolicyError(f"{path} is missing or damaged: {cause}") from None
    return values, about
