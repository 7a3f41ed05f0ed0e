"""What is stated of a policy after its training: said, and nothing of what it computes changes."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from ofp_edge.camera_parameters import UNKNOWN, CameraParameters
from ofp_edge.cli.main import build_app
from ofp_edge.errors import OfpError
from ofp_edge.files import sha256_folder
from ofp_edge.policy.amend import Statement
from ofp_edge.policy.folder import load_policy, read_config
from ofp_edge.quantize.amend import amend_policy
from ofp_edge.quantize.apply import quantize_policy
from ofp_edge.quantize.plan import policy_sha256, read_plan
from ofp_edge.spec import PolicySpec
from tests.synthetic import (
    CAMERA,
    CONTROL_HZ,
    action_fields,
    rgb_fields,
    state_field,
    tiny_policy,
    write_synthetic_dataset,
)

MAPPING = """\
source = "nowhere"
task = "reach the blob"

[[observation]]
name = "state"
key = "observation.state"
kind = "state"
unit = "deg"
frame = "base"

[[action]]
name = "move"
key = "action"
kind = "delta"
hold = 0.0
unit = "deg"
frame = "base"
low = [-0.5, -0.5, -0.5]
high = [0.5, 0.5, 0.5]

[camera.side]
width = 32
height = 24
fx = 30.0
fy = 30.0
cx = 15.5
cy = 11.5
T_hand_camera = [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0.1], [0, 0, 0, 1]]
"""


def unstated(folder: Path) -> Path:
    """A policy of two cameras and joints of which the data stated nothing."""
    state = replace(state_field(4), unit="1", frame=UNKNOWN)
    actions = tuple(replace(x, unit="1", frame=UNKNOWN) for x in action_fields())
    spec = PolicySpec((state, *rgb_fields()), actions, 1, 8, 4, CONTROL_HZ)
    path = tiny_policy(folder, "rgb", spec=spec)
    config = json.loads((path / "config.json").read_text())
    config["cameras"] = {
        name: CameraParameters.unknown(32, 24).to_json() for name in ("front", "side")
    }
    (path / "config.json").write_text(json.dumps(config))
    return path


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    return unstated(tmp_path / "policy")


def others(folder: Path) -> dict[str, bytes]:
    return {x.name: x.read_bytes() for x in folder.iterdir() if x.name != "config.json"}


def test_a_mapping_is_taken_whole_and_nothing_else_changes(policy: Path, tmp_path: Path) -> None:
    (tmp_path / "mapping.toml").write_text(MAPPING)
    before, kept, old = policy_sha256(policy), others(policy), read_config(policy)
    asked = ["policy", "set", str(policy), "--mapping", str(tmp_path / "mapping.toml"), "--json"]
    ran = CliRunner().invoke(build_app(), asked)
    assert ran.exit_code == 0, ran.output
    said = json.loads(ran.stdout)
    config = load_policy(policy).config
    state, action = config.spec.observations[0], config.spec.actions[0]
    assert (state.unit, state.frame, action.unit, action.low) == ("deg", "base", "deg", (-0.5,) * 3)
    assert config.cameras["side"].base_frame == "hand" and config.cameras["side"].fx == 30.0
    assert not config.cameras["front"].known and config.task == "reach the blob"
    assert others(policy) == kept
    assert said["sha256"] == policy_sha256(policy) != before
    assert {x["what"] for x in said["changed"]} == {
        "observation state, unit", "observation state, frame", "action move, unit",
        "action move, frame", "action move, low", "action move, high", "camera side", "task",
    }  # fmt: skip
    assert any("action grip" in x for x in said["unstated"])
    assert replace(
        config, spec=old.spec, cameras=old.cameras, task=old.task
    ) == old  # fmt: skip
    again = json.loads(CliRunner().invoke(build_app(), asked).stdout)
    assert (again["changed"], again["written"], again["sha256"]) == ([], False, said["sha256"])


def test_flags_state_single_entries_and_a_dry_run_changes_nothing(policy: Path) -> None:
    before = sha256_folder(policy)
    asked = ["policy", "set", str(policy), "--unit", "move=deg", "--frame", "move=base"]
    dry = CliRunner().invoke(build_app(), [*asked, "--dry-run"])
    assert "action move, unit: 1 -> deg" in dry.stdout and sha256_folder(policy) == before
    assert CliRunner().invoke(build_app(), asked).exit_code == 0
    assert read_config(policy).spec.actions[0].unit == "deg"


def test_the_policy_of_lowest_validation_loss_is_stated_alike(policy: Path) -> None:
    best = policy / "best"
    shutil.copytree(unstated(policy.parent / "other"), best)
    weights = others(best)
    said = Statement({"move": {"unit": "deg"}}, {})
    assert [x.what for x in amend_policy(policy, said)] == ["action move, unit"]
    assert read_config(best).spec.actions[0].unit == "deg" and others(best) == weights
    load_policy(best)
    assert amend_policy(policy, said) == []
    # One that was left behind, as by an older `policy set`, catches up.
    shutil.rmtree(best)
    shutil.copytree(policy.parent / "other", best)
    assert [x.what for x in amend_policy(policy, said, dry_run=True)] == [
        "best/, action move, unit"
    ]
    assert read_config(best).spec.actions[0].unit == "1"
    amend_policy(policy, said)
    assert read_config(best).spec.actions[0].unit == "deg"


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"arm": {"unit": "deg"}}, "unknown field of .*'arm'.*Known: grip, move"),
        ({"move": {"kind": "absolute"}}, "'move', kind: expected 'delta' as in training"),
        ({"rgb_front": {"shape": (3, 96, 96)}}, "'rgb_front', shape: expected .* Train again"),
        ({"rgb_front": {"low": (0.1,) * 3}}, "'rgb_front', low: expected"),
        ({"move": {"unit": ""}}, "'move', unit: expected a text"),
        ({"move": {"gain": 2}}, "'move' has no gain"),
        ({"move": {"low": (2.0,) * 3}}, "action 'move'"),
        ({"move": {"low": (False,) * 3}}, "'move', low: expected a list of numbers"),
        ({"move": {"high": 1.5}}, "'move', high: expected a list of numbers, got 1.5"),
        ({"move": {"low": ("a", "b", "c")}}, "'move', low: expected a list of numbers"),
    ],
)
def test_what_decides_the_network_s_answers_is_refused_and_nothing_changes(
    policy: Path, fields: dict[str, dict[str, object]], said: str
) -> None:
    before = sha256_folder(policy)
    with pytest.raises(OfpError, match=said):
        amend_policy(policy, Statement(fields, {}))
    assert sha256_folder(policy) == before


def test_another_size_of_a_camera_and_other_points_are_refused(
    policy: Path, tmp_path: Path
) -> None:
    with pytest.raises(OfpError, match="expected 32 x 24 as in training, got 64 x 48"):
        amend_policy(policy, Statement({}, {"front": CameraParameters.unknown(64, 48)}))
    points = tiny_policy(tmp_path / "points", "points")
    with pytest.raises(OfpError, match="points were made by the parameters stated in training"):
        amend_policy(points, Statement({}, {"front": replace(CAMERA, fx=40.0)}))


def test_a_policy_in_training_is_refused(policy: Path) -> None:
    (policy / "training").mkdir()
    with pytest.raises(OfpError, match="still in training"):
        amend_policy(policy, Statement({"move": {"unit": "deg"}}, {}))


def test_a_quantised_policy_keeps_its_plan_and_its_ranges(tmp_path: Path) -> None:
    policy = tiny_policy(tmp_path / "policy", "points")
    dataset = write_synthetic_dataset(tmp_path / "data.zarr", obs="points")
    folder = tmp_path / "int8"
    plan = quantize_policy(policy, "int8", dataset, folder, samples=16).plan
    amend_policy(folder, Statement({"move": {"unit": "cm"}}, {}))
    again = read_plan(folder)
    assert again is not None and again.policy_sha256 != plan.policy_sha256
    assert replace(again, policy_sha256=plan.policy_sha256) == plan
    assert read_config(folder).spec.actions[0].unit == "cm"
    with pytest.raises(OfpError, match="its plan's errors are parts of the range"):
        amend_policy(folder, Statement({"move": {"low": (-0.5,) * 3}}, {}))
