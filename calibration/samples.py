"""The file of calibration samples (.npz): what ranges are measured on, and what checks them.

    observation/<field>, episode, frame                     the samples
    held_out/observation/<field>, held_out/episode, …       windows of other episodes: error, gate
    about                                                   JSON: source, hash, how they were chosen

The two never share an episode: a file in which they do is refused.
"""

from __future__ import annotations

import io
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ofp_edge import arrays
from ofp_edge.calibration.coverage import Coverage
from ofp_edge.calibration.windows import ObservationWindows
from ofp_edge.errors import OfpError, PolicyError
from ofp_edge.files import canonical_json
from ofp_edge.outside import MEBIBYTE, read_plain
from ofp_edge.spec import PolicySpec
from ofp_edge.strict import parse_json, read_as, shown

FILE = "calibration.npz"
KIND, SCHEMA_VERSION = "calibration samples", 1
_HELD_OUT = "held_out/"
_LARGEST_BYTES = 256 * MEBIBYTE  # a recording keeps 128 MB


@dataclass(frozen=True)
class CalibrationSet:
    """The samples and the windows that check them. `source` names the dataset or recording and has
    its hash; `coverage` says how the samples lie among those they were chosen from."""

    samples: ObservationWindows
    held_out: ObservationWindows
    source: str
    source_sha256: str
    seed: int
    coverage: Coverage

    def to_bytes(self) -> bytes:
        """Return the file's content; equal sets give equal bytes."""
        about = {
            "kind": KIND,
            "schema_version": SCHEMA_VERSION,
            "source": self.source,
            "source_sha256": self.source_sha256,
            "seed": self.seed,
            "coverage": asdict(self.coverage),
        }
        return npz({**arrays_of(self.samples), **arrays_of(self.held_out, _HELD_OUT)}, about)

    def check_apart(self, where: str) -> None:
        """Raises OfpError when samples and held-out windows share an episode."""
        shared = sorted(set(self.samples.episode.tolist()) & set(self.held_out.episode.tolist()))
        if shared:
            raise OfpError(
                f"{where}: episode {shared[0]} gives both calibration samples and windows to check "
                "them by. Choose the samples again: ofp-edge calibrate samples."
            )


@dataclass(frozen=True)
class _About:
    """The document `about` of the file."""

    kind: str
    schema_version: int
    source: str
    source_sha256: str
    seed: int
    coverage: Coverage


def read_samples(path: Path, spec: PolicySpec) -> CalibrationSet:
    """Read a file of samples. Raises PolicyError when it is damaged or does not fit the spec,
    OfpError when its episodes overlap."""
    values, about = read_npz(path)
    if about.get("kind") != KIND or about.get("schema_version") != SCHEMA_VERSION:
        raise PolicyError(
            f"{path} holds {shown(about.get('kind', 'something else'))}, schema version "
            f"{shown(about.get('schema_version'))}; expected {KIND}, {SCHEMA_VERSION}: write them "
            "with ofp-edge calibrate samples."
        )
    said = read_as(_About, about, f"{path} is missing or damaged", PolicyError)
    found = CalibrationSet(
        windows_of(values, spec, path),
        windows_of(values, spec, path, _HELD_OUT),
        said.source,
        said.source_sha256,
        said.seed,
        said.coverage,
    )
    found.check_apart(str(path))
    return found


def arrays_of(windows: ObservationWindows, prefix: str = "") -> dict[str, NDArray[Any]]:
    """Return the windows as the arrays of a file."""
    found = {f"{prefix}observation/{name}": values for name, values in windows.fields.items()}
    return {**found, f"{prefix}episode": windows.episode, f"{prefix}frame": windows.frame}


def windows_of(
    values: dict[str, NDArray[Any]], spec: PolicySpec, path: Path, prefix: str = ""
) -> ObservationWindows:
    """Read what `arrays_of` returned. Raises PolicyError when a field is missing or has another
    form."""
    wanted = {f.name: f"{prefix}observation/{f.name}" for f in spec.observations}
    for name in (*wanted.values(), f"{prefix}episode", f"{prefix}frame"):
        if name not in values:
            raise PolicyError(f"{path} is missing or damaged: it has no {name!r}.")
    episode, frame = values[f"{prefix}episode"], values[f"{prefix}frame"]
    for name, numbers in (("episode", episode), ("frame", frame)):
        if numbers.dtype.kind not in "iu" or numbers.shape != (len(np.atleast_1d(episode)),):
            raise PolicyError(
                f"{path}, {prefix}{name}: expected a whole number a sample, got "
                f"{numbers.shape} {numbers.dtype}."
            )
    for field in spec.observations:
        want = (len(episode), spec.n_obs_steps, *field.shape)
        found = values[wanted[field.name]]
        if found.shape != want or found.dtype != field.dtype or not len(episode):
            raise PolicyError(
                f"{path}, {field.name!r}: expected shape {want} {field.dtype}, got "
                f"{found.shape} {found.dtype}."
            )
    return ObservationWindows({n: values[key] for n, key in wanted.items()}, episode, frame)


def npz(values: dict[str, NDArray[Any]], about: dict[str, Any]) -> bytes:
    """Write compressed arrays with a JSON document among them; the bytes are the same every
    time."""
    buffer = io.BytesIO()
    text = np.frombuffer(canonical_json(about), np.uint8)
    np.savez_compressed(buffer, allow_pickle=False, about=text, **values)
    return buffer.getvalue()


def read_npz(path: Path) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    """Read the arrays and the document of `npz`. Raises PolicyError when the file is missing,
    damaged, or larger than any that is written."""
    what = f"{path} is missing or damaged"
    try:
        data = read_plain(path, PolicyError, _LARGEST_BYTES)
        values = arrays.read_npz(data, what, PolicyError, _LARGEST_BYTES)
        if "about" not in values:
            raise PolicyError(f"{what}: it has no 'about'.")
        about = parse_json(values.pop("about").tobytes(), f"{what}: about", PolicyError)
    except PolicyError as cause:
        text = str(cause)
        raise PolicyError(text if text.startswith(what) else f"{what}: {text}") from None
    if not isinstance(about, dict):
        raise PolicyError(f"{what}: `about` is no object.")
    return values, about
