"""The tensors of a checkpoint: one safetensors file, or an index and its shards."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from torch import Tensor

from ofp_edge.errors import PolicyError
from ofp_edge.files import sha256_bytes, sha256_file
from ofp_edge.imports.values import Values
from ofp_edge.policy.weights import MODEL, read_tensors
from ofp_edge.strict import read_json_file, shown

INDEX = "model.safetensors.index.json"
_MOST_SHARDS, _LONGEST_NAME = 1000, 200


def read_checkpoint_tensors(folder: Path) -> tuple[dict[str, Tensor], str]:
    """Return all tensors by name, mapped from the disk, and a SHA-256 of their files.

    Raises PolicyError: a file is missing or damaged, or the index and its shards do not agree.
    """
    if (folder / MODEL).exists() or not (folder / INDEX).exists():
        return read_tensors(folder / MODEL), sha256_file(folder / MODEL)
    path = folder / INDEX
    whole = Values(read_json_file(path, PolicyError), str(path))
    places = whole.texts("weight_map")
    names = sorted(set(places.values()))
    for name in names:
        plain = name.isprintable() and 0 < len(name) < 200 and "/" not in name
        if not plain or name.startswith(".") or len(names) > _MOST_SHARDS:
            raise PolicyError(f"{path}: weight_map: expected plain file names, got {shown(name)}.")
    found: dict[str, Tensor] = {}
    for name in names:
        tensors = read_tensors(folder / name)
        listed = {tensor for tensor, place in places.items() if place == name}
        if wrong := sorted(listed ^ set(tensors)):
            which = "lacks" if wrong[0] in listed else "has, unlisted,"
            tensor = repr(wrong[0][:_LONGEST_NAME])
            raise PolicyError(f"{folder / name} {which} tensor {tensor}: see {INDEX}.")
        found.update(tensors)
    hashes = "".join(sha256_file(folder / name) for name in names)
    return found, sha256_bytes(hashes.encode())


class Taking:
    """Tensors that are taken out of a checkpoint one by one, so that none is left unaccounted for.

    unread: those that nothing reads when a chunk is made, by their reason.
    """

    def __init__(self, tensors: Mapping[str, Tensor], what: str) -> None:
        self.tensors, self.what = tensors, what
        self.unread: dict[str, list[str]] = {}
        self._taken: set[str] = set()

    def take(self, name: str, shape: tuple[int, ...]) -> Tensor:
        """Return a tensor as float32. PolicyError where it is missing or has another shape."""
        if name not in self.tensors:
            raise PolicyError(f"{self.what}: tensor {name!r} is missing.")
        tensor = self.tensors[name]
        if tuple(tensor.shape) != shape:
            got = tuple(tensor.shape)
            raise PolicyError(f"{self.what}: tensor {name!r}: expected shape {shape}, got {got}.")
        self._taken.add(name)
        return tensor.float()

    def leave(self, name: str, shape: tuple[int, ...], why: str) -> None:
        """Say that a tensor, which may be missing, is not read. PolicyError for another shape."""
        if name in self.tensors:
            self.take(name, shape)
            self.unread.setdefault(why, []).append(name)

    def require_all_taken(self) -> None:
        """PolicyError naming the first tensor that has no place."""
        if left := sorted(set(self.tensors) - self._taken):
            raise PolicyError(
                f"{self.what}: tensor {left[0][:_LONGEST_NAME]!r} is unknown (and "
                f"{len(left) - 1} more): this "
                "is no policy of that type, or of another version."
            )


Put = Callable[[str, Tensor], None]
"""Takes a tensor under our name for it."""
