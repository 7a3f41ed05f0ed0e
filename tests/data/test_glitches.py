"""A value far from all others is said and can be clipped; healthy numbers are not accused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from typer.testing import CliRunner

from ofp_edge.cli.main import build_app
from ofp_edge.data.convert import convert
from ofp_edge.data.glitches import Glitch, glitches
from ofp_edge.data.layouts import open_source
from ofp_edge.data.open import open_dataset
from ofp_edge.data.survey import survey
from ofp_edge.errors import DatasetError
from tests.data.foreign import FIXTURES, LAYOUTS
from tests.synthetic import write_raw, write_synthetic_dataset

Numbers = NDArray[np.float64]


def found(values: Numbers, lengths: list[int] | None = None) -> list[Glitch]:
    columns = values.reshape(len(values), -1)
    return glitches(columns, columns, lengths or [len(values)])


def walk(rows: int, seed: int = 0) -> Numbers:
    """A smooth path of about 0..1."""
    t = np.linspace(0, 20, rows)
    return 0.5 + 0.5 * np.sin(t + seed)


def write(path: Path, rows: int = 24, **changed: NDArray[Any]) -> Path:
    """Two episodes of a foreign set: hand and action walk, a cloud fills a cube of 1 m."""
    rng = np.random.default_rng(1)
    arrays: dict[str, NDArray[Any]] = {
        "state": np.stack([walk(rows, 1), walk(rows, 2)], 1).astype(np.float32),
        "action": np.stack([walk(rows, 3), walk(rows, 4)], 1).astype(np.float32),
        "point_cloud": rng.uniform(0, 1, (rows, 64, 3)).astype(np.float32),
    }
    write_raw(path, {}, {**arrays, **changed}, np.array([rows // 2, rows], np.int64))
    (path / ".zattrs").write_text("{}")  # another project's
    return path


def glitched(rows: int = 24) -> NDArray[np.float32]:
    action = np.stack([walk(rows, 3), walk(rows, 4)], 1).astype(np.float32)
    action[15, 0] = -100
    return action


MAPPING = """source = "d.zarr"
control_hz = 10.0
[[observation]]
name = "hand"
key = "state"
kind = "state"
unit = "m"
frame = "base"
[[observation]]
name = "points"
key = "point_cloud"
kind = "points"
unit = "m"
frame = "base"
camera = "front"
shape = [3, 64]
POINTS
[[action]]
name = "go"
key = "action"
kind = "absolute"
unit = "m"
frame = "base"
ACTION
"""


def mapping(folder: Path, points: str = "", action: str = "") -> Path:
    path = folder / "m.toml"
    path.write_text(MAPPING.replace("POINTS", points).replace("ACTION", action))
    return path


@pytest.mark.parametrize("row", [0, 5, 11, 12, 23])  # also the first and last of an episode
@pytest.mark.parametrize("to", [-100.0, 37.0])
def test_one_far_value_is_found_wherever_it_stands(row: int, to: float) -> None:
    values = walk(24)
    values[row] = to
    (glitch,) = found(values, [12, 12])
    assert glitch.rows == (row,) and glitch.value == to
    assert -0.01 <= glitch.low < glitch.high <= 1.01
    said = glitch.said("x", [12, 12], [4, 9], 0)
    assert f"at episode {4 if row < 12 else 9} frame {row % 12}, to {to:g}" in said


def test_a_dropout_of_some_frames_in_a_large_set_is_found() -> None:
    values = np.tile(walk(200), 50)
    values[4321:4329] = 65535
    (glitch,) = found(values, [200] * 50)
    assert glitch.rows == tuple(range(4321, 4329))
    assert "(and 7 more frames)" in glitch.said("x", [200] * 50, range(50), 0)


def test_two_glitches_of_different_size_and_sign_are_both_named() -> None:
    values = np.tile(walk(200), 10)
    values[[300, 1500]] = -9, 4000
    (glitch,) = found(values, [200] * 10)
    assert glitch.rows == (300, 1500) and glitch.whole == (-9, 4000)


def healthy() -> dict[str, tuple[Numbers, list[int]]]:
    rng = np.random.default_rng(3)
    rare = np.full(3000, 0.08) + rng.normal(0, 1e-3, 3000)
    rare[1500:1530] = 0.0  # closed in 1 % of the frames
    once = np.zeros(40)
    once[[-1, -2]] = 1.0
    rises = walk(400) * 0.01
    rises[300:] += np.linspace(0, 3, 100) ** 3  # far, and reached step by step
    reset = np.tile(np.r_[5.0, walk(49)], 40)  # every episode begins elsewhere
    goal = np.repeat(rng.uniform(0, 1, 30), 20)
    goal[-20:] = 50.0  # one episode's own goal
    return {
        "a gripper that is rarely closed": (rare, [300] * 10),
        "a flag set at the end": (once, [40]),
        "constant": (np.full(50, 3.0), [50]),
        "a heavy tail": (rng.standard_t(3, 20_000), [200] * 100),
        "a normal one": (rng.normal(0, 1, 20_000), [200] * 100),
        "a laplacian one": (rng.laplace(0, 1, 20_000), [200] * 100),
        "a slow excursion": (rises, [400]),
        "a first frame of its own": (reset, [50] * 40),
        "a goal of its own": (goal, [20] * 30),
        "an angle that wraps": ((np.linspace(0, 40, 400) + np.pi) % (2 * np.pi), [400]),
        "few frames": (np.array([0.0, 0.1, 0.2, 9.0, 0.3]), [5]),
        "two values": ((rng.uniform(size=500) < 0.004) * 1.0, [500]),
        "noise at rest": (rng.normal(0, 1e-6, 100) + (np.arange(100) == 50) * 1e-3, [100]),
    }


@pytest.mark.parametrize("name", healthy())
def test_healthy_numbers_are_not_accused(name: str) -> None:
    values, lengths = healthy()[name]
    assert found(values, lengths) == []


@pytest.mark.parametrize("name", LAYOUTS)
def test_healthy_sets_are_not_accused(name: str) -> None:
    assert not [line for line in survey(open_source(FIXTURES / name)).odd if "jump of" in line]
    assert not [line for line in open_dataset(FIXTURES / name).odd if "jump of" in line]


def test_data_info_train_and_convert_name_it(tmp_path: Path) -> None:
    path = write(tmp_path / "d.zarr", action=glitched())
    line = next(x for x in survey(open_source(path)).odd if "jump of" in x)
    assert line.startswith("action[0]: jump of 100") and "episode 1 frame 3, to -100" in line
    assert "fill 0.99 %" in line and "`clip = true`" in line
    assert [x for x in open_dataset(path).odd if "jump of" in x] == [line]  # what train prints
    result = CliRunner().invoke(
        build_app(), ["data", "convert", str(path), "-o", str(tmp_path / "o"), "--json"]
    )
    assert line in json.loads(result.stdout)["odd"]
    assert [x for x in open_dataset(tmp_path / "o").odd if "jump of" in x] == [line]
    for said, action in ((True, ""), (False, "clip = true")):
        words = ["data", "info", str(mapping(tmp_path, action=action)), "--json"]
        odd = json.loads(CliRunner().invoke(build_app(), words).stdout)["odd"]
        assert (line in odd) is said


def test_our_own_data_are_judged_too(tmp_path: Path) -> None:
    path = write_synthetic_dataset(tmp_path / "d.zarr", obs="state", episodes=3, length=30)
    assert open_dataset(path).odd == ()
    import zarr

    stored = zarr.open_group(str(path))["data/state"]
    stored[40, 1] = 1e4
    (line,) = open_dataset(path).odd
    assert line.startswith("state[1]: jump of") and "at episode 1 frame 10, to 1e+04" in line


def test_clip_takes_the_others_range_and_moves_the_far_value_to_it(tmp_path: Path) -> None:
    write(tmp_path / "d.zarr", action=glitched())
    data = open_dataset(mapping(tmp_path, action="clip = true"))
    rest = np.delete(glitched()[:, 0], 15)
    assert not data.odd and data.action[15, 0] == rest.min()
    (field,) = data.interface.actions
    assert (field.low[0], field.high[0]) == (float(rest.min()), float(rest.max()))
    np.testing.assert_array_equal(np.delete(data.action[:, 0], 15), rest)
    low, high = data.statistics([0, 1])["go"].low[0], data.statistics([0, 1])["go"].high[0]
    assert (low, high) == (float(rest.min()), float(rest.max()))
    convert(tmp_path / "m.toml", tmp_path / "o", force=False)
    np.testing.assert_array_equal(open_dataset(tmp_path / "o").action, data.action)


def test_clip_keeps_to_a_stated_range(tmp_path: Path) -> None:
    write(tmp_path / "d.zarr", action=glitched())
    stated = "low = [0.25, 0.0]\nhigh = [0.75, 1.0]"
    data = open_dataset(mapping(tmp_path, action=stated))
    assert data.action.min() == -100 and any("go[0]: jump" in x for x in data.odd)
    data = open_dataset(mapping(tmp_path, action=stated + "\nclip = true"))
    assert data.action[:, 0].min() == 0.25 and data.action[:, 0].max() == 0.75 and not data.odd


def test_one_far_point_is_named_and_cropped(tmp_path: Path) -> None:
    cloud = np.random.default_rng(1).uniform(0, 1, (24, 64, 3)).astype(np.float32)
    cloud[15, 40, 2] = 300
    path = write(tmp_path / "d.zarr", point_cloud=cloud)
    said = next(x for x in survey(open_source(path)).odd if "jump of" in x)
    assert "point_cloud[2]" in said and "episode 1 frame 3, to 300" in said
    plain = open_dataset(mapping(tmp_path))
    assert any("points[2]: jump of 299" in x for x in plain.odd)
    assert plain.interface.observations[1].high[2] == 300  # type: ignore[attr-defined]
    data = open_dataset(mapping(tmp_path, points="clip = true"))
    assert not data.odd and data.interface.observations[1].high[2] <= 1  # type: ignore[attr-defined]
    assert data.fields["points"].max() <= 1


@pytest.mark.parametrize(("value", "said"), [('"yes"', "true or false"), ("1", "true or false")])
def test_clip_is_true_or_false(value: str, said: str, tmp_path: Path) -> None:
    write(tmp_path / "d.zarr")
    with pytest.raises(DatasetError, match=said):
        open_dataset(mapping(tmp_path, action=f"clip = {value}"))


def test_drop_frames_are_counted_in_the_frames_number(tmp_path: Path) -> None:
    write(tmp_path / "d.zarr", action=glitched())
    path = mapping(tmp_path)
    path.write_text("drop_frames = [1, 0]\nepisodes = [1]\n" + path.read_text())
    assert any("at episode 1 frame 3, to -100" in x for x in open_dataset(path).odd)
