"""The plan survives the round trip, and is refused beside other weights or samples."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from ofp_edge.errors import PolicyError
from ofp_edge.quantize.plan import FILE, Range, action_names, policy_sha256, read_plan
from tests.quantize.conftest import Quantised
from tests.test_bundle import SPEC


@pytest.fixture
def copy(quantised: Quantised, tmp_path: Path) -> Path:
    shutil.copytree(quantised.folder, tmp_path / "copy")
    return tmp_path / "copy"


def edit(folder: Path, **entries: object) -> None:
    value = json.loads((folder / FILE).read_text())
    (folder / FILE).write_text(json.dumps({**value, **entries}))


def test_plan_survives_the_round_trip(quantised: Quantised) -> None:
    assert read_plan(quantised.folder) == quantised.plan


def test_a_policy_without_plan_has_none(quantised: Quantised) -> None:
    assert read_plan(quantised.policy) is None


def test_a_deleted_plan_is_an_error_not_a_float_policy(copy: Path) -> None:
    (copy / FILE).unlink()
    with pytest.raises(PolicyError, match=r"quantization\.json is missing: it would run in float"):
        read_plan(copy)
    from ofp_edge.evaluate.choice import Choice
    from ofp_edge.evaluate.contestant import open_contestant
    from ofp_edge.targets.compile import compile_policy

    with pytest.raises(PolicyError, match="is missing"):
        open_contestant(copy, Choice())
    with pytest.raises(PolicyError, match="is missing"):
        compile_policy(copy, "host", copy.parent / "bundle")


def test_an_edited_plan_and_one_put_beside_a_float_policy_are_refused(
    copy: Path, quantised: Quantised, tmp_path: Path
) -> None:
    edit(copy, seed=99)
    with pytest.raises(PolicyError, match="another version of the configuration"):
        read_plan(copy)
    shutil.copytree(quantised.policy, tmp_path / "float")
    for name in (FILE, "calibration.npz"):
        shutil.copyfile(quantised.folder / name, tmp_path / "float" / name)
    with pytest.raises(PolicyError, match="another version of the configuration"):
        read_plan(tmp_path / "float")


def test_a_plan_is_refused_beside_other_weights(copy: Path) -> None:
    weights = bytearray((copy / "model.safetensors").read_bytes())
    weights[-1] ^= 1
    (copy / "model.safetensors").write_bytes(weights)
    with pytest.raises(PolicyError, match="another version of the policy's files"):
        read_plan(copy)


@pytest.mark.parametrize("damage", ["change", "remove"])
def test_a_plan_is_refused_beside_other_samples(copy: Path, damage: str) -> None:
    path = copy / "calibration.npz"
    if damage == "change":
        path.write_bytes(path.read_bytes() + b"\0")
    else:
        path.unlink()
    with pytest.raises(PolicyError, match=r"another version of calibration\.npz"):
        read_plan(copy)


@pytest.mark.parametrize(
    ("entries", "what"),
    [
        ({"schema_version": 9}, "schema version 9, this ofp-edge reads 2"),
        ({"layers": [{"function": "act"}]}, "malformed"),
        ({"layers": 3}, "malformed"),
        ({"surprise": 1}, "malformed"),
    ],
)
def test_a_malformed_plan_is_one_line(copy: Path, entries: dict[str, object], what: str) -> None:
    edit(copy, **entries)
    with pytest.raises(PolicyError, match=what):
        read_plan(copy)


def test_scale_covers_the_larger_side_and_is_never_zero() -> None:
    assert Range(-0.5, 2.54).scale == pytest.approx(0.02)
    assert Range(-12.7, 1.0).scale == pytest.approx(0.1)
    assert Range(0.0, 0.0).scale > 0


def test_the_hash_follows_the_files_that_make_the_answer(copy: Path, quantised: Quantised) -> None:
    assert policy_sha256(copy) == policy_sha256(quantised.policy)  # a plan does not count
    (copy / "statistics.json").write_text("{}")
    assert policy_sha256(copy) != policy_sha256(quantised.policy)


def test_dimensions_of_a_field_are_numbered() -> None:
    assert action_names(SPEC) == ("move[0]", "move[1]")
