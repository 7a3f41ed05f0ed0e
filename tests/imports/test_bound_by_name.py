"""A checkpoint's inputs are bound by name; where names and sizes don't decide, they are refused."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from ofp_edge.errors import SpecMismatch
from ofp_edge.imports.fields import Feature, Fields, Times, Wanted, resolve
from ofp_edge.normalize import FieldStatistics
from tests.synthetic import CAMERA

ACTION = {"name": "action", "shape": [2], "unit": "m", "frame": "base", "kind": "absolute",
          "scale": 1.0, "low": [-1] * 2, "high": [1] * 2}  # fmt: skip


def statistics(count: int, low: float, high: float) -> FieldStatistics:
    return FieldStatistics((low,) * count, (high,) * count, (0.0,) * count, (1.0,) * count, 1)


def state(name: str, size: int) -> dict[str, Any]:
    return {"name": name, "kind": "state", "shape": [size], "unit": "m", "frame": "base",
            "low": [-1] * size, "high": [1] * size}  # fmt: skip


def image(name: str, camera: str) -> dict[str, Any]:
    return {"name": name, "kind": "rgb", "shape": [3, 8, 8], "unit": "1", "frame": camera,
            "camera": camera, "low": [0] * 3, "high": [1] * 3}  # fmt: skip


def resolved(
    folder: Path, observations: list[dict[str, Any]], features: Sequence[Feature]
) -> Fields:
    spec = {"observations": observations, "actions": [ACTION], "n_obs_steps": 1, "horizon": 8,
            "n_action_steps": 2, "control_hz": 10.0}  # fmt: skip
    cameras = {x["camera"]: CAMERA.to_json() for x in observations if "camera" in x}
    (folder / "s.json").write_text(json.dumps({"spec": spec, "cameras": cameras}))
    action = Feature("action", False, (2,), statistics(2, -1, 1), "min_max")
    return resolve(Wanted(spec=folder / "s.json"), features, action, Times(1, 8, 2, 0))


def cameras(*names: str) -> list[Feature]:
    return [
        Feature(f"observation.images.{x}", True, (3, 8, 8), statistics(3, i, i + 1), "identity")
        for i, x in enumerate(names)
    ]


def vectors(*sizes: tuple[str, int]) -> list[Feature]:
    return [
        Feature(f"observation.{x}", False, (n,), statistics(n, 10 * i, 10 * i + 1), "mean_std")
        for i, (x, n) in enumerate(sizes)
    ]


@pytest.mark.parametrize("prefix", ["", "rgb_", "picture of "])
def test_images_go_where_their_name_or_camera_says(prefix: str, tmp_path: Path) -> None:
    names = [f"{prefix}wrist".replace(" ", "_"), f"{prefix}front".replace(" ", "_")]
    given = [image(names[0], "wrist"), image(names[1], "front")]
    found = resolved(tmp_path, given, cameras("front", "wrist"))
    assert [f.camera for f in found.spec.observations] == ["front", "wrist"]
    assert found.statistics[names[0]].low == (1.0,) * 3


def test_images_that_no_name_tells_apart_are_refused(tmp_path: Path) -> None:
    given = [image("a", "left"), image("b", "right")]
    with pytest.raises(SpecMismatch, match="name each field, or its camera, as"):
        resolved(tmp_path, given, cameras("front", "wrist"))


def test_the_only_image_and_the_last_that_is_left_need_no_name(tmp_path: Path) -> None:
    one = resolved(tmp_path, [image("a", "left")], cameras("front"))
    assert [f.name for f in one.spec.observations] == ["a"]
    two = resolved(tmp_path, [image("a", "left"), image("b", "front")], cameras("front", "wrist"))
    assert [f.name for f in two.spec.observations] == ["b", "a"]


def test_states_go_where_their_name_says(tmp_path: Path) -> None:
    wanted = vectors(("state", 2), ("environment_state", 1))
    found = resolved(tmp_path, [state("environment_state", 1), state("state", 2)], wanted)
    assert [f.name for f in found.spec.observations] == ["state", "environment_state"]
    assert found.statistics["environment_state"].low == (10.0,)
    alike = vectors(("state", 2), ("environment_state", 2))
    found = resolved(tmp_path, [state("environment_state", 2), state("state", 2)], alike)
    assert found.statistics["state"].low == (0.0, 0.0)


def test_states_of_other_names_go_where_only_they_fit(tmp_path: Path) -> None:
    wanted = vectors(("state", 2), ("environment_state", 1))
    found = resolved(tmp_path, [state("goal", 1), state("joints", 2)], wanted)
    assert [f.name for f in found.spec.observations] == ["joints", "goal"]
    with pytest.raises(SpecMismatch, match="name each field"):
        alike = vectors(("state", 2), ("environment_state", 2))
        resolved(tmp_path, [state("goal", 2), state("joints", 2)], alike)


def test_one_field_may_lie_across_and_parts_fill_what_is_left(tmp_path: Path) -> None:
    wanted = vectors(("state", 2), ("environment_state", 1))
    assert resolved(tmp_path, [state("all", 3)], wanted).statistics["all"].low == (0, 0, 10)
    parts = [state("joints", 1), state("gripper", 1), state("environment_state", 1)]
    found = resolved(tmp_path, parts, wanted)
    assert [f.name for f in found.spec.observations] == ["joints", "gripper", "environment_state"]
