"""Replay buffers are written whole, or refused."""

import numpy as np
import pytest

zarr = pytest.importorskip("zarr")

from ofp_edge.data.writer import DATA_SCHEMA_VERSION, MARKER, write_replay  # noqa: E402
from ofp_edge.errors import DatasetError, OutputExists  # noqa: E402
from ofp_edge.files import new_folder  # noqa: E402

ARRAYS = {
    "state": np.random.default_rng(0).standard_normal((250, 3)).astype(np.float32),
    "depth_front": np.random.default_rng(1).integers(0, 65535, (250, 4, 5), dtype=np.uint16),
}


def test_what_is_written_is_read_back(tmp_path):
    with new_folder(tmp_path / "d.zarr", force=False, marker=MARKER) as folder:
        write_replay(folder, {"task": None, "seeds": [1, 2]}, ARRAYS, [100, 250])
    root = zarr.open_group(str(tmp_path / "d.zarr"), mode="r")
    for name, array in ARRAYS.items():
        stored = root[f"data/{name}"]
        np.testing.assert_array_equal(stored[:], array)
        assert stored.dtype == array.dtype and stored.chunks == (100, *array.shape[1:])
    assert root["meta/episode_ends"][:].tolist() == [100, 250]
    assert root.attrs["ofp_edge"] == {
        "schema_version": DATA_SCHEMA_VERSION, "task": None, "seeds": [1, 2],
    }  # fmt: skip
    assert (tmp_path / "d.zarr" / MARKER).is_file()
    with pytest.raises(OutputExists), new_folder(tmp_path / "d.zarr", force=False, marker=MARKER):
        pass


@pytest.mark.parametrize("ends", [[], [0, 250], [100, 100, 250], [250, 100], [-1, 250]])
def test_empty_or_falling_episodes_are_refused(tmp_path, ends):
    with pytest.raises(DatasetError, match="episode_ends"):
        write_replay(tmp_path, {}, ARRAYS, ends)
    assert list(tmp_path.iterdir()) == []


def test_an_array_of_another_length_is_named(tmp_path):
    with pytest.raises(DatasetError, match="data/state: expected 200 rows, got 250"):
        write_replay(tmp_path, {}, ARRAYS, [200])
