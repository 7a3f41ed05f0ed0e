"""Open any path to demonstrations, according to its content."""

from __future__ import annotations

from pathlib import Path

from ofp_edge.data.cache.access import Access
from ofp_edge.data.dataset import Dataset, is_ours, open_ours
from ofp_edge.data.known_hashes import forget
from ofp_edge.data.mapping import SUFFIX, read_mapping


def open_dataset(path: Path, access: Access | None = None) -> Dataset:
    """Read and check demonstrations: ours, any layout of `layouts`, or a mapping file that names
    such. access: how what is large is held, `Access()` by default. Raises DatasetError: one line,
    with episode and field."""
    from ofp_edge.data.imported import open_imported

    access = access or Access()
    return open_ours(path, access) if is_ours(path) else open_imported(path, access)


def rehash(path: Path) -> None:
    """Let the next opening hash every file again, whatever their times say. DatasetError for a
    mapping file that can't be read."""
    forget(read_mapping(path).source if path.suffix == SUFFIX and path.is_file() else path)


def is_dataset(path: Path) -> bool:
    """Say whether a path is read as demonstrations: a folder, a mapping file or HDF5."""
    return path.is_dir() or path.suffix in (".toml", ".hdf5", ".h5")
