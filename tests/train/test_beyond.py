"""`train` says which numbers of a state leave what the network knows; shifts belong to that."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
from typer.testing import CliRunner

from ofp_edge.data.open import open_dataset
from ofp_edge.policy.folder import load_policy
from ofp_edge.policy.presets import preset
from ofp_edge.train.beyond import beyond
from ofp_edge.train.loop import train
from ofp_edge.train.plan import make_plan
from tests.synthetic import write_synthetic_dataset
from tests.train.conftest import Ask
from tests.train.test_command import app


def hardly_moving(path: Path, *, until: int, then: float) -> Path:
    """Ten episodes of states whose last number spans a millimetre, up to an episode from which on
    it is elsewhere; the last one is held out."""
    import zarr

    write_synthetic_dataset(path, obs="state", episodes=10)
    root = zarr.open_group(str(path), mode="r+")
    state, ends = root["data/state"][:], root["meta/episode_ends"][:]
    state[:, 6] = 0.5 + 0.0001 * (np.arange(len(state)) % 11)
    state[ends[until - 1] :, 6] = then
    root["data/state"][:] = state
    return path


def test_a_held_out_episode_that_leaves_the_range_is_said(tmp_path: Path) -> None:
    data = hardly_moving(tmp_path / "d.zarr", until=9, then=0.9)
    arguments = ["train", str(data), "-o", str(tmp_path / "p"), "--preset", "tiny", "--steps", "5"]
    result = CliRunner().invoke(app(), [*arguments, "--json"])
    assert result.exit_code == 0, result.output
    document = json.loads(result.stdout)
    (line,) = document["far"]
    assert line.startswith(f"{data}: 1 number of state goes further than 1.5 half-ranges")
    assert "state[6] furthest" in line and "to 0.9, known is 0.5 to" in line
    said = CliRunner().invoke(app(), [*arguments, "--force"])
    assert "far: " in " ".join(said.output.split())


def test_what_training_shows_is_not_far(tmp_path: Path, ask: Ask) -> None:
    data = hardly_moving(tmp_path / "d.zarr", until=8, then=0.9)
    assert beyond(make_plan(ask(dataset=data))) == []


def test_data_beyond_those_of_a_given_start_are_said(tmp_path: Path, ask: Ask) -> None:
    small = hardly_moving(tmp_path / "small.zarr", until=9, then=0.5)
    train(make_plan(ask(dataset=small, output=tmp_path / "start", steps=1)))
    wide = write_synthetic_dataset(tmp_path / "wide.zarr", obs="state", episodes=10, seed=1)
    on = make_plan(ask(dataset=wide, init=tmp_path / "start", output=tmp_path / "on"))
    (line,) = beyond(on)
    assert "state[6] furthest" in line and "are cut off there" in line
    old = replace(on.policy.config.network, state_bound=0.0)
    on.policy.config = replace(on.policy.config, network=old)
    (line,) = beyond(on)
    assert "are not cut off" in line


def test_positions_that_are_moved_with_their_clouds_are_known_as_far(
    points_data: Path, ask: Ask
) -> None:
    plan = make_plan(ask())
    dataset = open_dataset(points_data)
    own = dataset.statistics(dataset.split().train)["state"]
    shown = plan.policy.statistics["state"]
    by = preset("tiny").training.shift_m
    assert by > 0 and plan.policy.config.training.cloud_shift
    np.testing.assert_allclose(np.subtract(own.low, shown.low), [by, by, 0, 0], atol=1e-6)
    np.testing.assert_allclose(np.subtract(shown.high, own.high), [by, by, 0, 0], atol=1e-6)
    assert (shown.mean, shown.count) == (own.mean, own.count)


def test_a_policy_that_is_trained_on_keeps_the_range_it_was_trained_with(
    tmp_path: Path, ask: Ask
) -> None:
    train(make_plan(ask(steps=1, output=tmp_path / "start")))
    start = load_policy(tmp_path / "start").statistics
    on = make_plan(ask(init=tmp_path / "start", output=tmp_path / "on"))
    assert on.policy.statistics == start


def test_without_clouds_the_range_is_that_of_the_data(state_data: Path, ask: Ask) -> None:
    dataset = open_dataset(state_data)
    own = dataset.statistics(dataset.split().train)["state"]
    assert make_plan(ask(dataset=state_data)).policy.statistics["state"] == own
