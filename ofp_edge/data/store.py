"""Read the bytes of a replay buffer: arrays and attributes of a Zarr group, schema checked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ofp_edge.camera_parameters import CameraParameters
from ofp_edge.data.writer import DATA_SCHEMA_VERSION
from ofp_edge.data.zarr_store import open_zarr
from ofp_edge.errors import DatasetError, OfpError
from ofp_edge.extras import require_installed
from ofp_edge.outside import require_memory, said_by
from ofp_edge.spec import Interface, require_rate
from ofp_edge.strict import shown

_ATTRIBUTES: dict[str, tuple[type, ...]] = {
    "task": (str, type(None)), "control_hz": (int, float), "observations": (list,),
    "actions": (list,), "cameras": (dict,), "seeds": (list,), "success": (list,),
}  # fmt: skip


def read_store(path: Path) -> tuple[dict[str, Any], dict[str, Any], NDArray[np.int64]]:
    """Read attributes and episode ends, and open the arrays under data/ (without images that no
    field reads): each has shape, dtype and nbytes, and reads its rows when they are asked for.

    Raises DatasetError.
    """
    require_installed("zarr", "train")
    if not path.is_dir():
        raise DatasetError(f"{path} is not a dataset folder.")
    root = open_zarr(path, "train")
    with said_by(f"{path}: its attributes cannot be read", DatasetError):
        found = dict(root.attrs).get("ofp_edge")
    attrs = check_attributes(path, found)
    seen = [f.array((), ())[0] for f in interface_of(str(path), attrs).observations]
    with said_by(f"{path}: an array cannot be read", DatasetError):
        for name in ("data", "meta"):
            if name not in root:
                raise DatasetError(f"{path}: group {name} is missing.")
        if "episode_ends" not in root["meta"]:
            raise DatasetError(f"{path}: array meta/episode_ends is missing.")
        names = [name for name in root["data"].array_keys() if name in seen or name[:4] != "rgb_"]
        stored = {f"data/{name}": root["data"][name] for name in names}
        stored["meta/episode_ends"] = root["meta/episode_ends"]
        gaps = {name: x.nchunks - x.nchunks_initialized for name, x in stored.items()}
    for name, gap in gaps.items():  # Zarr reads a chunk that is not there as zeros
        if gap:
            raise DatasetError(
                f"{path}: {name}: {gap} of its {stored[name].nchunks} chunks are missing. Copy the "
                "dataset again, or write it with write_empty_chunks on."
            )
    require_memory(stored["meta/episode_ends"].nbytes, str(path), DatasetError)
    with said_by(f"{path}: an array cannot be read", DatasetError):
        ends = np.asarray(stored["meta/episode_ends"][:])
    arrays = {name: stored[f"data/{name}"] for name in names}
    if ends.ndim != 1 or ends.dtype.kind != "i":
        raise DatasetError(
            f"{path}: meta/episode_ends: expected integers (E,), got {ends.dtype} {ends.shape}."
        )
    return attrs, arrays, ends.astype(np.int64)


def interface_of(where: str, attrs: dict[str, Any]) -> Interface:
    """Return the typed fields. DatasetError when one is malformed, or nothing has this rate."""
    try:
        found = Interface.from_json({key: attrs[key] for key in ("observations", "actions")})
        found.require_actions()
        require_rate(attrs["control_hz"])
    except (OfpError, TypeError) as cause:
        raise DatasetError(f"{where}: {cause}") from None
    return found


def camera_parameters(path: Path, attrs: dict[str, Any]) -> dict[str, CameraParameters]:
    """Return the cameras by name. DatasetError when one is malformed."""
    cameras = {}
    for name, value in attrs["cameras"].items():
        try:
            cameras[name] = CameraParameters.from_json(value)
        except (OfpError, TypeError, ValueError) as cause:
            raise DatasetError(f"{path}: camera {shown(name)}: {cause}") from None
    return cameras


def odd_of(path: Path, attrs: dict[str, Any]) -> tuple[str, ...]:
    """What was odd about the data that a dataset was converted from. DatasetError."""
    origin = attrs.get("converted_from")
    lines = origin.get("odd", []) if isinstance(origin, dict) else []
    if not isinstance(lines, list) or not all(isinstance(x, str) for x in lines):
        raise DatasetError(f"{path}: attribute converted_from, odd: expected lines of text.")
    return tuple(lines)


def labels_of(
    path: Path, attrs: dict[str, Any], episodes: int
) -> tuple[tuple[str | None, ...], tuple[bool | None, ...]]:
    """Return the task of each episode, () where none is stated, and whether it was done. None is
    unknown, as all are in what was converted before success_unknown was there. DatasetError."""
    tasks, success = attrs.get("tasks", []), attrs["success"]
    unknown = attrs.get("success_unknown")
    if unknown is None:
        unknown = list(range(episodes)) if "converted_from" in attrs else []
    texts = isinstance(tasks, list) and all(isinstance(x, (str, type(None))) for x in tasks)
    if not texts or len(tasks) not in (0, episodes):
        raise DatasetError(
            f"{path}: attribute tasks: expected a text or null for each of {episodes} episodes, "
            f"got {shown(tasks)}."
        )
    if len(success) != episodes:
        raise DatasetError(
            f"{path}: attribute success: expected one entry for each of {episodes} episodes, got "
            f"{len(success)}."
        )
    numbers = isinstance(unknown, list) and all(type(x) is int for x in unknown)
    if not numbers or any(not 0 <= x < episodes for x in unknown):
        raise DatasetError(
            f"{path}: attribute success_unknown: expected numbers of episodes, got "
            f"{shown(unknown)}."
        )
    blank = set(unknown)
    return tuple(tasks), tuple(None if i in blank else x for i, x in enumerate(success))


def check_attributes(path: Path, attrs: Any) -> dict[str, Any]:
    """Return the attributes of a dataset, each there and of its type. Raises DatasetError."""
    if not isinstance(attrs, dict):
        raise DatasetError(
            f"{path}: root attribute 'ofp_edge' is missing: not an ofp-edge dataset."
        )
    version = attrs.get("schema_version")
    if version != DATA_SCHEMA_VERSION:
        raise DatasetError(
            f"{path}: dataset schema version {shown(version)}, this ofp-edge reads "
            f"{DATA_SCHEMA_VERSION}."
        )
    for name, kinds in _ATTRIBUTES.items():
        if name not in attrs:
            raise DatasetError(f"{path}: attribute {name} is missing.")
        if not isinstance(attrs[name], kinds):
            raise DatasetError(f"{path}: attribute {name}: unexpected {shown(attrs[name])}.")
    if not isinstance(attrs.get("instructions", {}), dict):
        raise DatasetError(f"{path}: attribute instructions: expected texts by field.")
    for name, kind in (("seeds", int), ("success", bool)):
        if wrong := [x for x in attrs[name] if type(x) is not kind]:
            raise DatasetError(
                f"{path}: attribute {name}: expected {kind.__name__}s, got {shown(wrong[0])}."
            )
    return attrs
