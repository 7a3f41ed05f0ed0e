"""Opening foreign data, converting them, and mapping files."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ofp_edge.data.convert import convert
from ofp_edge.data.guess import guess
from ofp_edge.data.layouts import open_source
from ofp_edge.data.mapping import mapping_text, read_mapping
from ofp_edge.data.open import open_dataset
from ofp_edge.data.source import Key, Source
from ofp_edge.errors import DatasetError, OfpError
from tests.data.foreign import FIXTURES, LAYOUTS, one_line
from tests.synthetic import write_synthetic_dataset


def written(folder: Path, name: str, text: str) -> Path:
    path = folder / "m.toml"
    path.write_text(f'source = "{FIXTURES / name}"\n{text}')
    return path


STATE = (
    '[[observation]]\nname = "hand"\nkey = "state"\nkind = "state"\nunit = "m"\nframe = "base"\n'
)
ACTION = '[[action]]\nname = "go"\nkey = "action"\nkind = "absolute"\nunit = "m"\nframe = "base"\n'


@pytest.mark.parametrize("name", LAYOUTS)
def test_converted_data_open_as_the_source_does(name: str, tmp_path: Path) -> None:
    direct = open_dataset(FIXTURES / name)
    convert(FIXTURES / name, tmp_path / "x.zarr", force=False)
    ours = open_dataset(tmp_path / "x.zarr")
    assert (
        direct.interface.observations == ours.interface.observations
        and direct.interface.actions == ours.interface.actions
    )
    assert direct.cameras == ours.cameras and direct.control_hz == ours.control_hz
    assert set(direct.fields) == set(ours.fields)
    for field, values in direct.fields.items():
        np.testing.assert_array_equal(values, ours.fields[field])
    np.testing.assert_array_equal(direct.action, ours.action)
    np.testing.assert_array_equal(direct.episode_ends, ours.episode_ends)
    assert direct.guessed and not ours.guessed


@pytest.mark.parametrize("obs", ["points", "rgb"])
def test_our_own_data_convert_to_themselves(obs: str, tmp_path: Path) -> None:
    first = write_synthetic_dataset(tmp_path / "a.zarr", obs=obs, length=6)
    convert(first, tmp_path / "b.zarr", force=False)
    one, two = open_dataset(first), open_dataset(tmp_path / "b.zarr")
    assert one.interface.observations == two.interface.observations and one.cameras == two.cameras
    for field, values in one.fields.items():
        np.testing.assert_array_equal(values, two.fields[field])


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_written_guess_reads_as_the_guess(name: str, tmp_path: Path) -> None:
    path = tmp_path / "m.toml"
    path.write_text(mapping_text(guess(open_source(FIXTURES / name)), path))
    by_file, by_guess = open_dataset(path), open_dataset(FIXTURES / name)
    assert (
        by_file.interface.observations == by_guess.interface.observations
        and by_file.interface.actions == by_guess.interface.actions
    )
    assert by_file.sha256 == by_guess.sha256 and by_file.guessed == ()


def test_a_mapping_chooses_columns_episodes_units_and_ranges(tmp_path: Path) -> None:
    text = "control_hz = 5\nepisodes = [2, 0]\n" + STATE + "columns = [0, 3]\n"
    text += "low = [-2, -2, -2]\nhigh = [2, 2, 2]\n" + ACTION
    data = open_dataset(written(tmp_path, "dp3.zarr", text))
    assert data.control_hz == 5 and data.episodes == 2 and len(data) == 11 + 14
    source = open_source(FIXTURES / "dp3.zarr")
    np.testing.assert_array_equal(data.fields["hand"][:11], source.read("state", 2)[:, :3])
    (hand,) = data.interface.observations
    assert (hand.unit, hand.low, hand.shape) == ("m", (-2, -2, -2), (3,))
    assert data.interface.actions[0].low == tuple(data.action.min(0).tolist())


def test_the_hash_is_of_the_bytes_and_of_what_is_made_of_them(tmp_path: Path) -> None:
    texts = [f"control_hz = {hz}\n{STATE}{ACTION}" for hz in (5, 5, 10)]
    first, again, other = (
        open_dataset(written(tmp_path, "dp3.zarr", text)).sha256 for text in texts
    )
    assert first == again != other


def test_points_outside_the_box_are_dropped(tmp_path: Path) -> None:
    text = STATE + '[[observation]]\nname = "cloud"\nkey = "point_cloud"\nkind = "points"\n'
    text += 'unit = "m"\nframe = "base"\ncamera = "top"\nshape = [3, 16]\n'
    text += "low = [-0.1, -1.0, 0.05]\nhigh = [0.28, 0.18, 0.28]\n" + ACTION
    points = open_dataset(written(tmp_path, "dp3.zarr", "control_hz = 10\n" + text)).fields["cloud"]
    assert points.shape == (34, 3, 16) and points.dtype == np.float32
    low, high = (np.float32(x)[:, None] for x in ([-0.1, -1.0, 0.05], [0.28, 0.18, 0.28]))
    assert (points >= low).all() and (points <= high).all()
    assert len(np.unique(points[0], axis=1).T) > 3


def test_a_robosuite_pose_and_its_gripper_are_two_fields() -> None:
    class Robosuite(Source):
        layout, path, lengths, rates_hz, delta = "robomimic", Path("x"), (4,), (20.0,), True
        keys = {"actions": Key((7,), "float64"), "obs/pos": Key((3,), "float64")}

        def blocks(self, key: str, episode: int) -> Iterator[Any]:
            yield np.zeros((4, *self.keys[key].shape))

    move, gripper = guess(Robosuite()).actions
    assert (move.values["kind"], move.columns) == ("delta", (0, 6))
    assert (gripper.values["kind"], gripper.columns) == ("absolute", (6, 7))
    assert gripper.values["interpolation"] == "nearest"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (STATE + ACTION, ("control_hz",)),
        ("control_hz = 5\n" + STATE.replace('"state"', '"stat"', 1) + ACTION, ("stat", "point_cl")),
        ("control_hz = 5\nepisodes = [3]\n" + STATE + ACTION, ("episode 3", "0 to 2")),
        ("control_hz = 5\n" + STATE + "columns = [3, 9]\n" + ACTION, ("columns", "5")),
        ("control_hz = 5\n" + STATE + "colums = [3, 9]\n" + ACTION, ("colums",)),
        ("control_hz = 5\n" + STATE + ACTION.replace("absolute", "delta"), ("hold",)),
        ("control_hz = 5\n" + STATE, ("action",)),
        ('control_hz = 5\nfilter = "train"\n' + STATE + ACTION, ("filter",)),
        ("control_hz = 5\nwho = 3\n" + STATE + ACTION, ("who",)),
    ],
)
def test_a_wrong_mapping_is_one_line(text: str, words: tuple[str, ...], tmp_path: Path) -> None:
    with pytest.raises(DatasetError) as caught:
        open_dataset(written(tmp_path, "dp3.zarr", text))
    one_line(caught, *words)


def test_a_rate_that_contradicts_the_data_is_refused(tmp_path: Path) -> None:
    text = "control_hz = 30\n" + STATE.replace('key = "state"', 'key = "observation.state"')
    with pytest.raises(DatasetError) as caught:
        open_dataset(written(tmp_path, "lerobot-v3.0", text + ACTION))
    one_line(caught, "20 Hz", "30")


def test_mapping_files_name_their_source_from_their_own_folder(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    path = tmp_path / "a" / "m.toml"
    path.write_text('source = "../d.zarr"\n' + STATE + ACTION)
    assert read_mapping(path).source.resolve() == tmp_path / "d.zarr"


class Long(Source):
    """Many large frames that exist only while they are read."""

    layout, path, keys = "long", Path(__file__), {
        "img": Key((96, 128, 3), "uint8"), "state": Key((3,), "float32"),
        "action": Key((2,), "float32"),
    }  # fmt: skip
    rates_hz = (10.0,)

    def __init__(self, episodes: int) -> None:
        self.lengths = (250,) * episodes

    def blocks(self, key: str, episode: int) -> Iterator[Any]:
        about = self.keys[key]
        for first in range(0, 250, 50):
            yield np.full((50, *about.shape), (first + episode) % 7, about.dtype)


def peak_bytes(episodes: int, folder: Path, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr("ofp_edge.data.reading.open_source", lambda *_: Long(episodes))
    tracemalloc.start()
    convert(Path(__file__), folder / f"{episodes}.zarr", force=False)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak


def test_converting_takes_no_more_memory_for_more_episodes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    few, many = (peak_bytes(n, tmp_path, monkeypatch) for n in (2, 12))
    assert many < 1.3 * few and many < 60e6 < 12 * 250 * 96 * 128 * 3


def test_nothing_is_written_when_a_later_frame_is_bad(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Bad(Long):
        def blocks(self, key: str, episode: int) -> Iterator[Any]:
            if key == "img" and episode == 2:
                raise DatasetError("episode 2: the disk is broken")
            yield from super().blocks(key, episode)

    monkeypatch.setattr("ofp_edge.data.reading.open_source", lambda *_: Bad(3))
    with pytest.raises(OfpError, match="broken"):
        convert(Path(__file__), tmp_path / "x.zarr", force=False)
    assert not list(tmp_path.iterdir())


def test_a_field_has_the_names_of_its_own_columns_where_the_files_state_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = next(x for x in LAYOUTS if x.endswith(".zarr"))
    source = open_source(FIXTURES / name)
    wide, act = source.keys["state"].shape[0], source.keys["action"].shape[0]
    stated = {
        "state": tuple(f"s{i}" for i in range(wide)),
        "action": tuple(f"a{i}" for i in range(act + 1)),  # not as many as there are: none
    }
    monkeypatch.setattr(type(source), "names", stated)
    part = "control_hz = 10\n" + STATE + "columns = [1, 2]\n" + ACTION
    assert open_dataset(written(tmp_path, name, part)).names == {"hand": ("s1",)}
