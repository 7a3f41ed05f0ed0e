"""The layouts, one file each; `open_source` finds which one a path has."""

from __future__ import annotations

from pathlib import Path

from ofp_edge.contents import HDF5, told
from ofp_edge.data.source import Source
from ofp_edge.errors import DatasetError
from ofp_edge.hub import fetching

LAYOUTS = (
    "ofp-edge, Diffusion Policy or DP3 Zarr, LeRobot v3.0 or v2.1, robomimic HDF5, RoboTwin 2.0 "
    "HDF5 (raw or native), rosbag2 (MCAP or SQLite)"
)


def open_source(path: Path, filter_key: str | None = None) -> Source:
    """Open demonstrations, whichever layout they have. DatasetError when it is none of them.

    filter_key: the episodes that robomimic lists under /mask; other layouts have none.
    """
    source = _open(path, filter_key)
    if filter_key is not None and source.layout != "robomimic":
        raise DatasetError(f"{path}: filter {filter_key!r}: only robomimic files have filters.")
    if not source.lengths:
        raise DatasetError(f"{path}: no episodes.")
    for episode, length in enumerate(source.lengths):
        if length < 0:
            raise DatasetError(f"{path}: episode {episode}: {length} frames, expected at least 1.")
    return source


def _open(path: Path, filter_key: str | None) -> Source:
    if not path.exists():
        raise DatasetError(f"{path} does not exist.{fetching(path, dataset=True)}")
    if path.is_dir():
        if (path / ".zgroup").exists() or (path / "zarr.json").exists():
            from ofp_edge.data.layouts.replay_buffer import open_replay

            return open_replay(path)
        if (path / "meta" / "info.json").exists():
            from ofp_edge.data.layouts.lerobot import open_lerobot

            return open_lerobot(path)
    from ofp_edge.data.layouts.rosbag2 import BagSource, bags_of

    if bags := bags_of(path):
        return BagSource(path, bags)
    from ofp_edge.data.layouts.robotwin import episode_files, open_robotwin

    if path.is_dir() and (files := episode_files(path)):
        return open_robotwin(path, files)
    what = told(path) if path.is_file() else None
    # A file with bytes of its user's in front of HDF5's says what it is by its name alone.
    named = path.is_file() and what is None and path.suffix in (".hdf5", ".h5")
    if what == HDF5 or named:
        from ofp_edge.data.layouts.robomimic import is_robomimic, open_robomimic

        if is_robomimic(path):
            return open_robomimic(path, filter_key)
        return open_robotwin(path, [path])
    if what is not None:
        raise DatasetError(f"{path} cannot be read: it is {what}. Expected: {LAYOUTS}.")
    raise DatasetError(f"{path}: no layout that is known. Expected: {LAYOUTS}.")
