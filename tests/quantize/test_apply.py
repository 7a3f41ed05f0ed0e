"""quantize: what it writes, what it measures, and that evaluation data stay apart."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from ofp_edge.calibration.samples import FILE as SAMPLES
from ofp_edge.calibration.samples import read_samples
from ofp_edge.counted import counted
from ofp_edge.data.open import open_dataset
from ofp_edge.errors import OfpError, OutputExists, PolicyError, SpecMismatch, UnknownName
from ofp_edge.files import sha256_file
from ofp_edge.policy.deployed import deploy
from ofp_edge.policy.folder import load_policy
from ofp_edge.quantize.apply import quantize_policy
from ofp_edge.quantize.chunk_errors import compare
from ofp_edge.quantize.functions import build_functions
from ofp_edge.quantize.inputs import act_inputs, synthetic_windows
from tests.quantize.conftest import Quantised
from tests.synthetic import tiny_policy, write_synthetic_dataset


def test_writes_the_policy_with_plan_and_samples(quantised: Quantised) -> None:
    names = {x.name for x in quantised.folder.iterdir()}
    assert names == {
        "config.json", "model.safetensors", "statistics.json", "quantization.json",
        "calibration.npz",
    }  # fmt: skip
    for name in ("model.safetensors", "statistics.json"):
        assert (quantised.folder / name).read_bytes() == (quantised.policy / name).read_bytes()
    before, after = (json.loads((p / "config.json").read_text()) for p in
                     (quantised.policy, quantised.folder))  # fmt: skip
    assert after.pop("plan_sha256") == sha256_file(quantised.folder / "quantization.json")
    assert before.pop("plan_sha256") is None and before == after


def test_samples_come_from_training_episodes_and_errors_from_the_others(
    quantised: Quantised,
) -> None:
    split = open_dataset(quantised.dataset).split()
    spec = load_policy(quantised.policy).config.spec
    found = read_samples(quantised.folder / SAMPLES, spec)
    assert len(found.samples) == quantised.plan.samples == 16
    assert set(found.samples.episode.tolist()) <= set(split.train)
    assert set(found.held_out.episode.tolist()) == set(split.held_out)
    assert counted(len(split.held_out), "held-out episode") in quantised.plan.error_measured_on


def test_every_layer_is_in_the_plan_with_its_precision(quantised: Quantised) -> None:
    layers = quantised.plan.layers
    assert {x.function for x in layers} == {"encode", "act"}
    assert len({(x.function, x.name) for x in layers}) == len(layers)
    for layer in layers:
        assert (layer.reason is not None) == (layer.precision == "fp32")
        assert layer.input is not None and layer.output is not None
    assert sum(x.precision == "int8" for x in layers) > sum(x.precision == "fp32" for x in layers)


def test_error_is_stated_in_robot_units(quantised: Quantised) -> None:
    error = {x.name: x for x in quantised.plan.error}
    assert list(error) == ["move[0]", "move[1]", "move[2]", "grip"]
    assert error["move[0]"].unit == "m" and error["grip"].unit == "1"
    # 2 % of the range: raw 2 times 0.05 m for the move, 2 for the gripper.
    assert error["move[0]"].budget == pytest.approx(0.02 * 2 * 0.05)
    assert error["grip"].budget == pytest.approx(0.02 * 2)
    for item in error.values():
        assert 0 < item.mean < item.max


def test_comparing_float_with_itself_gives_no_error(quantised: Quantised) -> None:
    deployed = deploy(load_policy(quantised.policy))
    windows = synthetic_windows(deployed.spec, 4, 0)
    same = compare(deployed, deployed.modules, windows, 0, 2.0)
    assert all(x.max == 0 for x in same)
    low = compare(deployed, build_functions(deployed, quantised.plan), windows, 0, 2.0)
    assert all(x.max > 0 for x in low)


def test_same_seed_gives_the_same_bytes(quantised: Quantised, tmp_path: Path) -> None:
    quantize_policy(quantised.policy, "int8", quantised.dataset, tmp_path / "b", samples=16)
    for item in quantised.folder.iterdir():
        assert (tmp_path / "b" / item.name).read_bytes() == item.read_bytes(), item.name


def test_act_is_calibrated_on_what_the_robot_feeds_it(quantised: Quantised) -> None:
    deployed = deploy(load_policy(quantised.policy))
    inputs = act_inputs(deployed, synthetic_windows(deployed.spec, 8, 0), 0)
    assert [name for name, _ in inputs[:3]] == ["cold", "warm", "refine"]
    rows = {row.name: np.float32(row.row) for row in deployed.time_rows}
    for name, (_, _, row) in inputs:
        assert np.array_equal(row.numpy()[0], rows[name])
    warm = [values[1] for name, values in inputs if name == "warm"]
    cold = [values[1] for name, values in inputs if name == "cold"]
    assert not any(np.array_equal(a, b) for a, b in zip(warm, cold, strict=True))


def test_unknown_recipe_and_taken_output_are_found_before_any_work(
    quantised: Quantised, tmp_path: Path
) -> None:
    absent = tmp_path / "absent"
    with pytest.raises(UnknownName, match="recipe 'int4'"):
        quantize_policy(absent, "int4", absent, tmp_path / "out")
    with pytest.raises(OutputExists):
        quantize_policy(absent, "int8", absent, quantised.folder)
    with pytest.raises(OfpError, match="--samples"):
        quantize_policy(absent, "int8", absent, tmp_path / "out", samples=0)
    assert not (tmp_path / "out").exists()


def test_a_dataset_with_other_observations_is_refused(quantised: Quantised, tmp_path: Path) -> None:
    other = write_synthetic_dataset(tmp_path / "state.zarr", obs="state")
    with pytest.raises(SpecMismatch, match="observation fields"):
        quantize_policy(quantised.policy, "int8", other, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_state_policy_quantises_too(tmp_path: Path) -> None:
    policy = tiny_policy(tmp_path / "p", "state")
    data = write_synthetic_dataset(tmp_path / "d.zarr", obs="state")
    plan = quantize_policy(policy, "int8", data, tmp_path / "q", samples=8).plan
    assert {x.function for x in plan.layers} == {"act"}  # there is nothing to encode


def test_a_many_step_method_is_neither_quantised_nor_compiled(tmp_path: Path) -> None:
    from ofp_edge.targets.compile import compile_policy

    policy = tiny_policy(tmp_path / "policy")
    config = json.loads((policy / "config.json").read_text())
    (policy / "config.json").write_text(json.dumps({**config, "method": "diffusion"}))
    line = "method diffusion answers in many steps; evaluate it with `eval --nfe`"
    with pytest.raises(PolicyError, match=line):
        quantize_policy(policy, "int8", tmp_path / "not-read.zarr", tmp_path / "out")
    with pytest.raises(PolicyError, match=line):
        compile_policy(policy, "host", tmp_path / "out")
    assert not (tmp_path / "out").exists()
